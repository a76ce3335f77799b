#!/usr/bin/env bash
# Proves l2fwd, with the programs in $COHORT_BUILD_DIR: TCP gets through while each forwarder is killed, and what
# cannot be is refused. `run.sh --parts` lists the parts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ ${1:-} != --parts ]] || { echo all && exit 0; }
missing=()
[[ $(id -u) -eq 0 ]] || missing+=(root)
[[ -w /dev/net/tun ]] || missing+=(/dev/net/tun)
for tool in ip python3 nsenter setpriv; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[[ ${#missing[@]} -eq 0 ]] || { echo "needs ${missing[*]}" && exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/l2fwd
refused() { # exit code, part of the sentence, command...
    local status=0 said
    said=$("${@:3}" 2>&1) || status=$?
    [[ $status -eq $1 && $said == *"$2"* ]] || { echo "FAILED ${*:3}: $status, $said" && exit 1; }
    echo "ok     refused: l2fwd ${*:4}"
}
refused 2 "Usage: l2fwd" "$program"
refused 2 "Usage: l2fwd" "$program" demo forward left
COHORT_RUNTIME_DIR=$scratch refused 10 "l2fwd: " "$program" nobody show

shown=$("$here/demo.sh" 32 2>&1) || { echo "FAILED demo.sh: $shown" && exit 1; }
for part in "received 33554432 bytes over TCP, all as sent" $'\nclean' \
    "killing left to right, queue 0" "killing right to left, queue 1" "right to left, queue 1: "; do
    [[ $shown == *"$part"* ]] || { echo "FAILED demo.sh does not say \"$part\": $shown" && exit 1; }
done
echo "ok     TCP through forwarders that are killed"

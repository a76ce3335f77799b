#!/usr/bin/env bash
# Proves l2fwd, with the programs in $COHORT_BUILD_DIR: TCP gets through while each forwarder is killed, and what
# cannot be is refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/prove.sh
source "$here/../prove.sh"
need root /dev/net/tun ip python3 nsenter setpriv

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/l2fwd
refused 2 "Usage: l2fwd" "$program"
refused 2 "Usage: l2fwd" "$program" demo forward left
COHORT_RUNTIME_DIR=$scratch refused 10 "l2fwd: " "$program" nobody show

shown=$("$here/demo.sh" 32 2>&1) || fail "demo.sh: $shown"
for part in "received 33554432 bytes over TCP, all as sent" $'\nclean' \
    "killing left to right, queue 0" "killing right to left, queue 1" "right to left, queue 1: "; do
    [[ $shown == *"$part"* ]] || fail "demo.sh does not say \"$part\": $shown"
done
echo "ok     TCP through forwarders that are killed"

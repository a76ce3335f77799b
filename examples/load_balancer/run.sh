#!/usr/bin/env bash
# Proves load_balancer, with the programs in $COHORT_BUILD_DIR: every packet comes through once while a worker is
# killed, and what cannot be is refused. `run.sh --parts` lists the parts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ ${1:-} != --parts ]] || { echo all && exit 0; }
missing=()
for tool in python3 setpriv; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[[ ${#missing[@]} -eq 0 ]] || { echo "needs ${missing[*]}" && exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/load_balancer
refused() { # exit code, part of the sentence, command...
    local status=0 said
    said=$("${@:3}" 2>&1) || status=$?
    [[ $status -eq $1 && $said == *"$2"* ]] || { echo "FAILED ${*:3}: $status, $said" && exit 1; }
    echo "ok     refused: load_balancer ${*:4}"
}
refused 2 "Usage: load_balancer" "$program"
refused 2 "Usage: load_balancer" "$program" demo work
COHORT_RUNTIME_DIR=$scratch refused 10 "load_balancer: " "$program" nobody show

shown=$("$here/demo.sh" 20 "$scratch/out.pcap" 2>&1) || { echo "FAILED demo.sh: $shown" && exit 1; }
[[ $shown == *$'\nclean'* ]] || { echo "FAILED demo.sh does not end clean: $shown" && exit 1; }
for worker in 0 1 2; do
    grep -q "^worker $worker  *[1-9][0-9]* packets, .*; 0 dropped before it$" <<<"$shown" ||
        { echo "FAILED worker $worker had nothing, or drops: $shown" && exit 1; }
done
PYTHONDONTWRITEBYTECODE=1 python3 "$here/../../tests/support/compare_captures.py" \
    "$here/../captures/veth.pcap" "$scratch/out.pcap" --loops 20
echo "ok     each packet once, while a worker is killed"

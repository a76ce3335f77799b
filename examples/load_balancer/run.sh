#!/usr/bin/env bash
# Proves load_balancer, with the programs in $COHORT_BUILD_DIR: every packet comes through once while a worker is
# killed, and what cannot be is refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/prove.sh
source "$here/../prove.sh"
need python3 setpriv

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/load_balancer
refused 2 "Usage: load_balancer" "$program"
refused 2 "Usage: load_balancer" "$program" demo work
COHORT_RUNTIME_DIR=$scratch refused 10 "load_balancer: " "$program" nobody show

shown=$("$here/demo.sh" 20 "$scratch/out.pcap" 2>&1) || fail "demo.sh: $shown"
[[ $shown == *$'\nclean'* ]] || fail "demo.sh does not end clean: $shown"
for worker in 0 1 2; do
    grep -q "^worker $worker  *[1-9][0-9]* packets, .*; 0 dropped before it$" <<<"$shown" ||
        fail "worker $worker had nothing, or drops: $shown"
done
PYTHONDONTWRITEBYTECODE=1 python3 "$here/../../tests/support/compare_captures.py" \
    "$here/../captures/veth.pcap" "$scratch/out.pcap" --loops 20
echo "ok     each packet once, while a worker is killed"

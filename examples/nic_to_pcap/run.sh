#!/usr/bin/env bash
# Proves nic_to_pcap, with the programs in $COHORT_BUILD_DIR: each frame is recorded once while the recorder is
# killed, and what cannot be is refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/prove.sh
source "$here/../prove.sh"
need root ip python3 setpriv

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/nic_to_pcap
refused 2 "Usage: nic_to_pcap" "$program"
refused 2 "Usage: nic_to_pcap" "$program" demo make null
COHORT_RUNTIME_DIR=$scratch refused 10 "nic_to_pcap: " "$program" nobody show

shown=$("$here/demo.sh" 3000 2>&1) || fail "demo.sh: $shown"
for part in "3000 frames in the capture, each once" "missed 0" $'\nclean'; do
    [[ $shown == *"$part"* ]] || fail "demo.sh does not say \"$part\": $shown"
done
echo "ok     each frame once, while the recorder is killed"

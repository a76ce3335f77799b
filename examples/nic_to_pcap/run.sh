#!/usr/bin/env bash
# Proves nic_to_pcap, with the programs in $COHORT_BUILD_DIR: each frame is recorded once while the recorder is
# killed, and what cannot be is refused. `run.sh --parts` lists the parts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ ${1:-} != --parts ]] || { echo all && exit 0; }
missing=()
[[ $(id -u) -eq 0 ]] || missing+=(root)
for tool in ip python3 setpriv; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[[ ${#missing[@]} -eq 0 ]] || { echo "needs ${missing[*]}" && exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
program=$COHORT_BUILD_DIR/examples/nic_to_pcap
refused() { # exit code, part of the sentence, command...
    local status=0 said
    said=$("${@:3}" 2>&1) || status=$?
    [[ $status -eq $1 && $said == *"$2"* ]] || { echo "FAILED ${*:3}: $status, $said" && exit 1; }
    echo "ok     refused: nic_to_pcap ${*:4}"
}
refused 2 "Usage: nic_to_pcap" "$program"
refused 2 "Usage: nic_to_pcap" "$program" demo make null
COHORT_RUNTIME_DIR=$scratch refused 10 "nic_to_pcap: " "$program" nobody show

shown=$("$here/demo.sh" 3000 2>&1) || { echo "FAILED demo.sh: $shown" && exit 1; }
for part in "3000 frames in the capture, each once" "missed 0" $'\nclean'; do
    [[ $shown == *"$part"* ]] || { echo "FAILED demo.sh does not say \"$part\": $shown" && exit 1; }
done
echo "ok     each frame once, while the recorder is killed"

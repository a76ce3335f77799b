#!/usr/bin/env bash
# Numbered datagrams come over a veth pair and are recorded; the recorder is killed on the way and followed by
# another. Each is in the capture once.
# Needs root, and the programs in $COHORT_BUILD_DIR. Usage: demo.sh [DATAGRAMS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/demo.sh
source "$here/../demo.sh"
datagrams=${1:-5000}
in_own_network "$@"

start_recorder() {
    start "$build/examples/nic_to_pcap" demo record
    recorder=$!
}

ip link add nic type veth peer name far
ip link set nic up
ip link set far up

start_primary
"$build/examples/nic_to_pcap" demo make af_packet:iface=nic "$scratch/nic.pcap"

start_recorder
python3 "$here/numbered.py" send far 0 $((datagrams / 2))
echo "killing the recorder (pid $recorder), and starting another"
kill_now "$recorder"
python3 "$here/numbered.py" send far $((datagrams / 2)) $((datagrams / 2 + 500))  # nobody records these yet
start_recorder
python3 "$here/numbered.py" send far $((datagrams / 2 + 500)) "$datagrams"

until=$((SECONDS + 60))
until python3 "$here/numbered.py" check "$scratch/nic.pcap" "$datagrams"; do
    [[ $? -eq 1 ]] || exit 1
    [[ $SECONDS -lt $until ]] || { echo "not all of them within 60 s" >&2 && exit 1; }
    sleep 0.2
done
kill -TERM "$recorder"
wait "$recorder"
"$build/examples/nic_to_pcap" demo show
audit

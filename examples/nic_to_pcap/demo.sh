#!/usr/bin/env bash
# Numbered datagrams come over a veth pair and are recorded; the recorder is killed on the way and followed by
# another. Each is in the capture once.
# Needs root, and the programs in $COHORT_BUILD_DIR. Usage: demo.sh [DATAGRAMS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(realpath "${COHORT_BUILD_DIR:-build}")
datagrams=${1:-5000}

# All of it happens in a namespace that ends with this script.
[[ ${COHORT_RECORD_NAMESPACE:-} == own ]] || COHORT_RECORD_NAMESPACE=own exec unshare --net -- "$0" "$@"

scratch=$(mktemp -d)
export COHORT_RUNTIME_DIR=$scratch
pids=()
at_end() {
    [[ ${#pids[@]} -eq 0 ]] || kill -KILL "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap at_end EXIT

start() { # command...
    setpriv --pdeathsig KILL "$@" &
    pids+=("$!")
}
start_recorder() {
    start "$build/examples/nic_to_pcap" demo record
    recorder=$!
}

ip link add nic type veth peer name far
ip link set nic up
ip link set far up

mkfifo "$scratch/ready"
exec {ready}<>"$scratch/ready"
start "$build/primary/cohortd" --domain demo --memory 64M --huge none >"$scratch/ready"
read -r -t 30 _ <&"$ready"
"$build/examples/nic_to_pcap" demo make af_packet:iface=nic "$scratch/nic.pcap"

start_recorder
python3 "$here/numbered.py" send far 0 $((datagrams / 2))
echo "killing the recorder (pid $recorder), and starting another"
{ kill -KILL "$recorder" && wait "$recorder"; } 2>/dev/null || true
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
"$build/secondary/cohort" --domain demo audit

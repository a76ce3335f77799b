#!/usr/bin/env bash
# Three workers share the packets of a capture, which is played LOOPS times. Each is killed on the way and followed
# by another. At the end every packet is in the output once, its TTL lowered by one.
# Needs the programs in $COHORT_BUILD_DIR. Usage: demo.sh [LOOPS [OUTPUT]]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/demo.sh
source "$here/../demo.sh"
loops=${1:-100}
capture=$here/../captures/veth.pcap

balancer() { "$build/examples/load_balancer" demo "$@"; }
count_of() { # "in" or "out"
    balancer show | sed -n "s/^$1  *\([0-9]*\) packets$/\1/p"
}
await() { # what it is, command...
    local what=$1 until=$((SECONDS + 100))
    shift
    until "$@"; do
        [[ $SECONDS -lt $until ]] || { echo "$what: not within 100 s" >&2 && exit 1; }
        sleep 0.02
    done
}

start_primary
output=${2:-$scratch/out.pcap}
balancer make "pcap:rx=$capture,loops=$loops" "pcap:tx=$output" 3

declare -A worker
start_worker() { # number
    start "$build/examples/load_balancer" demo work "$1"
    worker[$1]=$!
}
for number in 0 1 2; do start_worker "$number"; done
start "$build/examples/load_balancer" demo tx
start "$build/examples/load_balancer" demo rx
rx=$!

some_are_out() { [[ $(count_of out) -gt $1 ]]; }
all_are_out() { [[ $(count_of out) -eq $(count_of in) ]]; }
for number in 0 1 2; do
    await "packets in the output" some_are_out $((loops * 500 * (number + 1)))
    echo "killing worker $number (pid ${worker[$number]}), and starting another"
    kill_now "${worker[$number]}"
    start_worker "$number"
done
wait "$rx"  # until the capture ends
await "each packet in the output" all_are_out
balancer show
audit

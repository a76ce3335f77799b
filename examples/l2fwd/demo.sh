#!/usr/bin/env bash
# Two hosts, each in a network namespace of its own, talk TCP over two tap interfaces between which four
# processes forward. Each of the four is killed on the way, and followed by another.
# Needs root, and the programs in $COHORT_BUILD_DIR. Usage: demo.sh [MIB]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/demo.sh
source "$here/../demo.sh"
mib=${1:-64}
in_own_network "$@"

declare -A forwarder

# A process whose namespace is a host; its pid is in $host.
add_host() {
    start unshare --net -- sleep 600
    host=$!
    until [[ $(readlink "/proc/$host/ns/net") != $(readlink /proc/self/ns/net) ]]; do sleep 0.01; done
}
on() { # host command...
    local target=$1
    shift
    nsenter --net="/proc/$target/ns/net" -- "$@"
}

# The kernel's end of a tap interface becomes the host's card.
plug_in() { # host interface address
    ip link set "$2" netns "$1"
    on "$1" ip addr add "$3/24" dev "$2"
    on "$1" ip link set "$2" up
}

start_forwarder() { # from to queue
    start "$build/examples/l2fwd" demo forward "$1" "$2" "$3"
    forwarder[$1$3]=$!
}

kill_forwarders() { # queue
    local from to
    for from in left right; do
        to=$([[ $from == left ]] && echo right || echo left)
        echo "killing $from to $to, queue $1 (pid ${forwarder[$from$1]}), and starting another"
        kill_now "${forwarder[$from$1]}"
        start_forwarder "$from" "$to" "$1"
    done
}

start_primary
mkfifo "$scratch/progress"
exec {progress}<>"$scratch/progress"
"$build/examples/l2fwd" demo make tap:iface=left,queues=2 tap:iface=right,queues=2

add_host && left=$host
add_host && right=$host
plug_in "$left" left 10.77.0.1
plug_in "$right" right 10.77.0.2
for queue in 0 1; do
    start_forwarder left right "$queue"
    start_forwarder right left "$queue"
done

start nsenter --net="/proc/$right/ns/net" -- python3 "$here/talk.py" receive 10.77.0.2 "$mib" >"$scratch/progress"
killed=0
while read -r -t 100 what detail <&"$progress"; do
    case $what in
    listening) start nsenter --net="/proc/$left/ns/net" -- python3 "$here/talk.py" send 10.77.0.2 "$mib" ;;
    quarter) [[ $killed -ge 2 ]] || kill_forwarders $((killed++)) ;;
    received) echo "received $detail" && break ;;
    esac
done
[[ $what == received && $killed -eq 2 ]]
for each in left0 right0 left1 right1; do
    kill -TERM "${forwarder[$each]}"
    wait "${forwarder[$each]}"
done
"$build/examples/l2fwd" demo show
audit

#!/usr/bin/env bash
# Records veth.pcap anew: real traffic between two network namespaces joined by a veth pair.
#
#   sudo examples/captures/record.sh [output.pcap]
#
# Client and server each have an untagged network and one inside VLAN 77; DNS, HTTP, ICMP echo,
# fragments, bulk TCP and UDP run over IPv4 and IPv6 in both. Offloads are off, so that what is
# recorded is what a wire would carry: frames no longer than the MTU, checksums complete, tags in
# the frame.
#
# Everything made here carries this shell's process id in its name and is gone when the script ends.
set -euo pipefail

output=${1:-$(dirname "$0")/veth.pcap}
client=cohort-client-$$
server=cohort-server-$$
vlan_id=77
scratch=
children=()

fail() {
    echo "record.sh: $*" >&2
    exit 1
}

require_root_and_tools() {
    [[ $(id -u) == 0 ]] || fail "needs root to make network namespaces; run it with sudo"
    local missing=() tool
    for tool in ip sysctl taskset ethtool tcpdump dnsmasq dig curl ping python3; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]} == 0)) || fail "missing ${missing[*]}; try: apt-get install iproute2" \
        "procps util-linux ethtool tcpdump dnsmasq-base bind9-dnsutils curl iputils-ping python3"
    [[ -c /dev/net/tun ]] || fail "needs /dev/net/tun for the VLAN interfaces"
}

clean_up() {
    local pid
    for pid in "${children[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    ip netns delete "$client" 2>/dev/null || true
    ip netns delete "$server" 2>/dev/null || true
    [[ -z $scratch ]] || rm -rf "$scratch"
}

# Waits up to 5 s for a command to succeed; the words before `--` say what for.
await() {
    local what=() tries
    while [[ $1 != -- ]]; do
        what+=("$1")
        shift
    done
    shift
    for ((tries = 0; tries < 100; ++tries)); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.05
    done
    fail "gave up after 5 s: ${what[*]}"
}

on() { # on <namespace> command...
    ip netns exec "$@"
}

# Unlike `on`, replaces the subshell of a background job, so that $! is the command itself.
become() {
    exec ip netns exec "$@"
}

# ---- The two hosts ----

write_helpers() {
    # A VLAN sub-interface in user space: a tap whose frames travel over the trunk with a tag. The
    # kernel's own (`ip link add type vlan`) would do, but not every kernel is built with it.
    cat >"$scratch/vlan.py" <<'PYTHON'
import fcntl, os, select, socket, struct, sys

tap_name, trunk_name, vlan_id = sys.argv[1], sys.argv[2], int(sys.argv[3])
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 0x10

tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", tap_name.encode(), IFF_TAP | IFF_NO_PI))
trunk = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
trunk.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
trunk.bind((trunk_name, 0))


def tag_of(ancillary):
    """The kernel takes the tag out of a received frame and reports it beside the frame."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack_from("=IIIHHHH", data)
            if status & TP_STATUS_VLAN_VALID:
                return tci & 0xFFF
    return None


while True:
    for ready in select.select([tap, trunk], [], [])[0]:
        if ready == tap:
            frame = os.read(tap, 4096)
            trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan_id) + frame[12:])
            continue
        frame, ancillary, _, sender = trunk.recvmsg(4096, 256)
        if sender[2] != socket.PACKET_OUTGOING and tag_of(ancillary) == vlan_id:
            os.write(tap, frame)
PYTHON

    cat >"$scratch/udp_echo.py" <<'PYTHON'
import socket

echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
echo.bind(("::", 7000))
while True:
    data, peer = echo.recvfrom(2048)
    echo.sendto(data, peer)
PYTHON

    cat >"$scratch/udp_flows.py" <<'PYTHON'
import socket, sys

address, flows, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(flows)]
for turn in range(rounds):
    for index, flow in enumerate(sockets):
        flow.settimeout(2)
        flow.sendto(f"flow {index} round {turn} ".encode() * (1 + index % 8), (address, 7000))
    for flow in sockets:
        flow.recv(2048)
PYTHON
}

# Interfaces take these settings when they are made. Without them each would announce itself for the
# first seconds, in packets whose hop limit is 1.
add_namespace() {
    ip netns add "$1"
    on "$1" sysctl -qw net.ipv6.conf.default.accept_dad=0 \
        net.ipv6.conf.default.router_solicitations=0 \
        net.ipv6.conf.default.mldv2_unsolicited_report_interval=10
}

configure() { # configure <namespace> <host number>
    local ns=$1 host=$2 mac=02:00:00:00:00:0$2 device
    ip -n "$ns" link set veth0 address "$mac"
    on "$ns" ethtool -K veth0 tso off gso off gro off tx off rx off sg off txvlan off rxvlan off \
        >/dev/null 2>&1 || fail "cannot turn off the offloads of a veth with ethtool"
    ip -n "$ns" link set lo up
    ip -n "$ns" link set veth0 up

    become "$ns" python3 "$scratch/vlan.py" vlan$vlan_id veth0 $vlan_id &
    children+=($!)
    await "for the VLAN interface" -- ip -n "$ns" link show vlan$vlan_id
    ip -n "$ns" link set vlan$vlan_id address "$mac" up

    for device in "veth0 10.77.0.$host/24 fd00:77::$host/64" \
        "vlan$vlan_id 10.78.0.$host/24 fd00:78::$host/64"; do
        # shellcheck disable=SC2086  # three words
        set -- $device
        ip -n "$ns" addr add "$2" dev "$1"
        ip -n "$ns" addr add "$3" dev "$1" nodad
    done
}

start_servers() {
    mkdir "$scratch/www"
    head -c 600000 /dev/urandom >"$scratch/www/bulk.bin"
    head -c 150000 /dev/urandom >"$scratch/www/medium.bin"
    echo '<!doctype html><title>sample</title><p>A page of a few bytes.' >"$scratch/www/index.html"

    become "$server" python3 -m http.server 80 --bind :: --directory "$scratch/www" \
        >/dev/null 2>&1 &
    children+=($!)
    become "$server" python3 "$scratch/udp_echo.py" &
    children+=($!)
    become "$server" dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null \
        --user=root --pid-file= --local=/sample.test/ \
        --host-record=www.sample.test,10.77.0.2,fd00:77::2 \
        --host-record=vlan.sample.test,10.78.0.2,fd00:78::2 \
        --cname=web.sample.test,www.sample.test \
        --txt-record=sample.test,"recorded between two namespaces" --log-facility=/dev/null &
    children+=($!)
    await "for the web server" -- on "$client" curl -sf -o /dev/null http://10.77.0.2/
    await "for the name server" -- on "$client" dig +time=1 +tries=1 @10.77.0.2 www.sample.test
    await "for the VLAN" -- on "$client" ping -c 1 -W 1 10.78.0.2
    await "for IPv6 in the VLAN" -- on "$client" ping -c 1 -W 1 fd00:78::2
}

# ---- The traffic ----

ask_names() { # ask_names <server address> <rounds>
    local round name
    for ((round = 0; round < $2; ++round)); do
        for name in "www.sample.test A" "vlan.sample.test AAAA" "web.sample.test A" \
            "sample.test TXT" "absent-$round.sample.test A"; do
            # shellcheck disable=SC2086  # name and type
            on "$client" dig +time=2 +tries=1 "@$1" $name >/dev/null
        done
    done
}

fetch() { # fetch <host part of the URL> <file> <times>; all at once, so that flows interleave
    local pids=() i pid
    for ((i = 0; i < $3; ++i)); do
        on "$client" curl -sf -o /dev/null "http://$1/$2" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || fail "a download of http://$1/$2 failed"
    done
}

echo_requests() { # echo_requests <address> <count>
    on "$client" ping -q -c "$2" -i 0.01 -W 2 "$1" >/dev/null
    on "$client" ping -q -c 4 -i 0.01 -W 2 -s 4000 "$1" >/dev/null # three fragments each way
}

generate_traffic() {
    ask_names 10.77.0.2 10
    ask_names fd00:77::2 6
    ask_names 10.78.0.2 6
    echo_requests 10.77.0.2 40
    echo_requests fd00:77::2 40
    echo_requests 10.78.0.2 30
    echo_requests fd00:78::2 30
    fetch 10.77.0.2 index.html 24
    fetch '[fd00:77::2]' index.html 12
    fetch 10.78.0.2 index.html 12
    fetch '[fd00:78::2]' index.html 8
    on "$client" python3 "$scratch/udp_flows.py" 10.77.0.2 32 10
    on "$client" python3 "$scratch/udp_flows.py" fd00:77::2 16 10
    on "$client" python3 "$scratch/udp_flows.py" 10.78.0.2 16 10
    fetch 10.77.0.2 bulk.bin 1
    fetch '[fd00:77::2]' medium.bin 1
    fetch 10.78.0.2 medium.bin 1
    fetch '[fd00:78::2]' medium.bin 1
}

record() {
    become "$client" tcpdump --interface=veth0 --nano --snapshot-length=0 --buffer-size=16384 \
        --relinquish-privileges=root -w "$scratch/veth.pcap" 2>"$scratch/tcpdump.log" &
    local tcpdump_pid=$!
    children+=("$tcpdump_pid")
    await "for tcpdump" -- grep -q 'listening on' "$scratch/tcpdump.log"

    generate_traffic

    sleep 1 # the last packets are in the kernel's buffer for that long at most
    kill -INT "$tcpdump_pid"
    wait "$tcpdump_pid"
    grep -q '^0 packets dropped by kernel' "$scratch/tcpdump.log" ||
        fail "the kernel dropped packets while recording; try again on a quieter machine"
}

require_root_and_tools
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
scratch=$(mktemp -d)
write_helpers
# On one CPU packets are stamped in the order in which they are recorded.
last_cpu=$(taskset --pid --cpu-list $$ | grep -oE '[0-9]+' | tail -1)
taskset --pid --cpu-list "$last_cpu" $$ >/dev/null
add_namespace "$client"
add_namespace "$server"
ip -n "$client" link add veth0 type veth peer name veth0 netns "$server"
configure "$client" 1
configure "$server" 2
start_servers
record
cp "$scratch/veth.pcap" "$output"
chmod 0644 "$output"
echo "recorded $output: $(grep 'packets captured' "$scratch/tcpdump.log")," \
    "$(stat -c %s "$output") bytes"

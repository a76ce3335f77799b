#!/usr/bin/env bash
# Proves record.sh and what README.md says of veth.pcap: a new recording has the kinds of packets that the shipped one
# has, goes through the pipeline, and leaves nothing behind.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=examples/prove.sh
source "$here/../prove.sh"
need python3
export PYTHONDONTWRITEBYTECODE=1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

kinds() { # capture; how many packets of an ARP cache there are is chance
    python3 "$here/kinds.py" "$1" >"$scratch/kinds" || fail "$(basename "$1") is not as recorded" >&2
    grep -v ' 0x0806' "$scratch/kinds"
}
shipped=$(kinds "$here/veth.pcap")
# A line of the table: | kind | untagged | in VLAN 77 |; the last one has the sums.
[[ $(awk -F'[|* ]+' '/^\| \*\*all/ {print $3 + $4}' "$here/README.md") -eq \
    $(awk '{sum += $1} END {print sum}' "$scratch/kinds") ]] || fail "README.md counts other packets"
while read -r count kind; do
    column=3
    [[ $kind != *' in a VLAN' ]] || column=4
    row=${kind% in a VLAN}
    row=${row/UDP /UDP, }
    row=${row/IPv4 fragment/IPv4 ICMP}  # they have one row, with both numbers
    row=${row/IPv6 fragment/IPv6 ICMPv6}
    awk -F'|' -v row=" $row" -v column="$column" -v count="$count" \
        'index($2, row) == 1 && $column ~ (" " count " ") {found = 1} END {exit !found}' \
        "$here/README.md" || fail "README.md does not count $count $kind"
done <<<"$shipped"
echo "ok     veth.pcap is what README.md says"

need root /dev/net/tun ip sysctl taskset ethtool tcpdump dnsmasq dig curl ping setpriv
# By standard input, for that user may not look into this directory.
refused 1 "needs root" setpriv --reuid 65534 --clear-groups bash -s "$scratch/none.pcap" <"$here/record.sh"
mkdir "$scratch/bin"
ln -s "$(command -v bash)" "$(command -v dirname)" "$(command -v id)" "$scratch/bin"
refused 1 "missing ip sysctl taskset ethtool tcpdump dnsmasq dig curl ping python3" \
    env "PATH=$scratch/bin" bash "$here/record.sh" "$scratch/none.pcap"
[[ ! -e $scratch/none.pcap ]] || fail "a refused recording left a file"

before=$(ip netns list)
record() { said=$("$here/record.sh" "$scratch/new.pcap" 2>&1); }
record || record || fail "record.sh: $said"  # a busy machine may drop packets, and record.sh says so
[[ $said == "recorded $scratch/new.pcap: "* ]] || fail "record.sh says $said"
[[ $(ip netns list) == "$before" ]] || fail "record.sh leaves a namespace"
fresh=$(kinds "$scratch/new.pcap")
[[ $(cut -d' ' -f2- <<<"$fresh") == "$(cut -d' ' -f2- <<<"$shipped")" ]] ||
    fail "a new recording has other kinds of packets: $fresh"
"$here/../quickstart.sh" --pcap "$scratch/new.pcap" --loops 1 >"$scratch/said" 2>&1 ||
    fail "quickstart.sh: $(<"$scratch/said")"
echo "ok     recorded anew"

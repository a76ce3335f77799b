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
    python3 "$here/kinds.py" "$1" >"$scratch/kinds" || fail "$(basename "$1") is not as recorded"
    grep -v ' 0x0806' "$scratch/kinds"
}
shipped=$(kinds "$here/veth.pcap")
# A line of the table: | kind | untagged | in VLAN 77 |; the last one has the sums.
[[ $(awk -F'[|* ]+' '/^\| \*\*all/ {print $3 + $4}' "$here/README.md") -eq \
    $(awk '{sum += $1} END {print sum}' "$scratch/kinds") ]] || fail "README.md counts other packets"
while read -r count kind; do
    grep -Eq "^\|.* $count( |\b).*\|$" "$here/README.md" || fail "README.md knows of no $count $kind"
done <<<"$shipped"
echo "ok     veth.pcap is what README.md says"

need root /dev/net/tun ip sysctl taskset ethtool tcpdump dnsmasq dig curl ping setpriv
refused 1 "needs root" setpriv --reuid 65534 --clear-groups "$here/record.sh" "$scratch/none.pcap"
mkdir "$scratch/bin"
ln -s "$(command -v bash)" "$(command -v dirname)" "$(command -v id)" "$scratch/bin"
refused 1 "missing ip sysctl taskset ethtool tcpdump dnsmasq dig curl ping python3" \
    env "PATH=$scratch/bin" bash "$here/record.sh" "$scratch/none.pcap"
[[ ! -e $scratch/none.pcap ]] || fail "a refused recording left a file"

before=$(ip netns list)
said=$("$here/record.sh" "$scratch/new.pcap" 2>&1) || fail "record.sh: $said"
[[ $said == "recorded $scratch/new.pcap: "* ]] || fail "record.sh says $said"
[[ $(ip netns list) == "$before" ]] || fail "record.sh leaves a namespace"
fresh=$(kinds "$scratch/new.pcap")
[[ $(cut -d' ' -f2- <<<"$fresh") == "$(cut -d' ' -f2- <<<"$shipped")" ]] ||
    fail "a new recording has other kinds of packets: $fresh"
"$here/../quickstart.sh" --pcap "$scratch/new.pcap" --loops 1 >"$scratch/said" 2>&1 ||
    fail "quickstart.sh: $(<"$scratch/said")"
echo "ok     recorded anew"

"""What kinds of packets a capture holds: kinds.py FILE prints one line a kind, with its number of packets.

Ends with a sentence and exit code 1 if the file is not what record.sh promises: Ethernet frames no longer than
the MTU allows, whole, in strict order of time, and every IPv4 header with its right checksum.
"""

import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/support"))
import captures  # noqa: E402

LONGEST_FRAME = 1518
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 44: "fragment", 58: "ICMPv6"}


def kind_of(data):
    """As "IPv4 UDP DNS" or "IPv6 TCP in a VLAN"."""
    where = " in a VLAN" if data[12:14] == b"\x81\x00" else ""
    found = captures.ip_header(captures.ETHERNET, data)
    if not found:
        _, ethertype = captures.link_header(captures.ETHERNET, data)
        return f"{ethertype:#06x}{where}"
    version, at = found
    if version == 4:
        following, protocol = at + (data[at] & 15) * 4, data[at + 9]
        later = int.from_bytes(data[at + 6 : at + 8], "big") & 0x1FFF
    else:
        following, protocol, later = at + 40, data[at + 6], 0
        if protocol == 44:
            later = int.from_bytes(data[following + 2 : following + 4], "big") >> 3
            following, protocol = following + 8, data[following]
    name = "fragment" if later else PROTOCOLS.get(protocol, str(protocol))
    if name == "UDP":
        ports = {data[following : following + 2], data[following + 2 : following + 4]}
        name += " DNS" if b"\0\x35" in ports else " echo"
    return f"IPv{version} {name}{where}"


def find_fault(link, packets):
    if link != captures.ETHERNET:
        return f"link type {link} is not Ethernet"
    last = 0
    for number, packet in enumerate(packets, 1):
        if packet.time <= last:
            return f"packet {number} is not later than the one before"
        last = packet.time
        if packet.wire != len(packet.data) or packet.wire > LONGEST_FRAME:
            return f"packet {number} has {packet.wire} bytes, {len(packet.data)} of them captured"
        found = captures.ip_header(link, packet.data)
        if found and found[0] == 4 and not captures.header_is_valid(packet.data, found[1]):
            return f"packet {number} has a wrong IPv4 checksum"
    return None


def main():
    path = pathlib.Path(sys.argv[1])
    link, packets = captures.read(path)
    if fault := find_fault(link, packets):
        sys.exit(f"{path}: {fault}")
    kinds = collections.Counter(kind_of(packet.data) for packet in packets)
    for kind, count in sorted(kinds.items()):
        print(f"{count} {kind}")


main()

"""Reading and writing capture files without any library, and what a router does to one packet.

Deliberately independent of the C++ code: the tests compare the two.
"""

import struct

ETHERNET, NULL, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 1, 0, 101, 108, 113, 228, 229, 276
VLAN_TYPES = {0x8100, 0x88A8, 0x9100}


class Packet:
    """Time in nanoseconds, length on the wire, and the bytes that were captured."""

    __slots__ = ("time", "wire", "data")

    def __init__(self, time, wire, data):
        self.time, self.wire, self.data = time, wire, data

    def key(self):
        return self.time, self.wire, self.data


def read(path):
    """(link type, packets) of a pcap or pcapng file; a record cut off at the end is left out."""
    blob = path.read_bytes()
    return read_pcapng(blob) if blob[:4] == b"\x0a\x0d\x0d\x0a" else read_pcap(blob)


def read_pcap(blob):
    magics = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
    order = "<" if struct.unpack_from("<I", blob)[0] in magics else ">"
    magic, *_, link = struct.unpack_from(order + "IHHiIII", blob)
    packets, at = [], 24
    while at + 16 <= len(blob):
        seconds, fraction, captured, wire = struct.unpack_from(order + "IIII", blob, at)
        at += 16 + captured
        if at <= len(blob):
            time = seconds * 10**9 + fraction * magics[magic]
            packets.append(Packet(time, wire, blob[at - captured : at]))
    return link & 0xFFFF, packets


def read_pcapng(blob):
    packets, links, units, at, order = [], [], [], 0, "<"
    while at + 12 <= len(blob):
        kind = struct.unpack_from(order + "I", blob, at)[0]
        if kind == 0x0A0D0D0A:
            order = "<" if blob[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links, units = [], []
        length = struct.unpack_from(order + "I", blob, at + 4)[0]
        if at + length > len(blob):
            break
        body = blob[at + 8 : at + length - 4]
        if kind == 1:
            links.append(struct.unpack_from(order + "H", body)[0])
            units.append(time_unit(order, body[8:]))
        elif kind == 6:
            unit, high, low, captured, wire = struct.unpack_from(order + "IIIII", body)
            ticks = high << 32 | low
            packets.append(Packet(ticks * 10**9 // units[unit], wire, body[20 : 20 + captured]))
        at += length
    return links[0], packets


def time_unit(order, options):
    """Ticks in a second, from the options of an interface block."""
    while len(options) >= 4:
        code, length = struct.unpack_from(order + "HH", options)
        if code == 9:
            return 2 ** (options[4] & 0x7F) if options[4] & 0x80 else 10 ** options[4]
        options = options[4 + (length + 3) // 4 * 4 :]
    return 10**6


def pcap(packets, link=ETHERNET, nanoseconds=True, order="<", snap=262144):
    """The bytes of a classic capture file."""
    unit = 1 if nanoseconds else 1000
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    blob = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)]
    for packet in packets:
        seconds, rest = divmod(packet.time, 10**9)
        header = struct.pack(order + "IIII", seconds, rest // unit, len(packet.data), packet.wire)
        blob += [header, packet.data]
    return b"".join(blob)


def pcapng(packets, links=(ETHERNET,), nanoseconds=True, order="<"):
    """The bytes of a pcapng file with one interface for each of `links`, used in turn."""

    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        length = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + length + body + length

    resolution = struct.pack(order + "HHB3xI", 9, 1, 9, 0) if nanoseconds else b""
    blob = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    blob += [block(1, struct.pack(order + "HHI", link, 0, 262144) + resolution) for link in links]
    for index, packet in enumerate(packets):
        ticks = packet.time if nanoseconds else packet.time // 1000
        fields = (index % len(links), ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.wire)
        blob.append(block(6, struct.pack(order + "IIIII", *fields) + packet.data))
    return b"".join(blob)


# --- what the pipeline is to do ------------------------------------------------------------------


def ip_header(link, data):
    """(version, offset) of the IP header, or None. The fixed part of it lies inside `data`."""
    offset, kind = link_header(link, data)
    if kind == "version":
        kind = {4: 0x0800, 6: 0x86DD}.get(data[offset] >> 4) if len(data) > offset else None
        if (link, kind) in ((IPV4, 0x86DD), (IPV6, 0x0800)):
            return None
    if kind == 0x0800 and len(data) >= offset + 20:
        return (4, offset) if data[offset] >> 4 == 4 and data[offset] & 15 >= 5 else None
    if kind == 0x86DD and len(data) >= offset + 40:
        return (6, offset) if data[offset] >> 4 == 6 else None
    return None


def link_header(link, data):
    """(bytes before the next header, its type)."""
    fixed = {ETHERNET: 14, SLL: 16, SLL2: 20, NULL: 4, LOOP: 4}.get(link, 0)
    if len(data) < fixed:
        return 0, None
    if link in (RAW, 12, IPV4, IPV6):
        return 0, "version"
    if link in (NULL, LOOP):
        return 4, "version"
    if link not in (ETHERNET, SLL, SLL2):
        return 0, None
    kind = int.from_bytes(data[0:2] if link == SLL2 else data[fixed - 2 : fixed], "big")
    tags = 0
    while kind in VLAN_TYPES and tags < 4 and len(data) >= fixed + 4:
        kind = int.from_bytes(data[fixed + 2 : fixed + 4], "big")
        fixed, tags = fixed + 4, tags + 1
    return fixed, kind


def ones_sum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def header_is_valid(data, offset):
    length = (data[offset] & 15) * 4
    return len(data) >= offset + length and ones_sum(data[offset : offset + length]) == 0xFFFF


def forwarded(link, data):
    """The packet as a router passes it on: TTL or hop limit lowered by one, 0 stays 0, and the IPv4
    checksum changed by as much as the header has changed (RFC 1624), so that damage stays."""
    found = ip_header(link, data)
    if not found:
        return data
    version, offset = found
    out = bytearray(data)
    at = offset + (8 if version == 4 else 7)
    if out[at] == 0:
        return data
    out[at] -= 1
    if version == 4:
        checksum = int.from_bytes(data[offset + 10 : offset + 12], "big")
        total = (0xFFFF ^ checksum) + 0xFFFF - 0x100
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        out[offset + 10 : offset + 12] = (0xFFFF ^ total).to_bytes(2, "big")
    return bytes(out)


def flow(link, data):
    """What stays in order: packets that agree in all this go the same way."""
    found = ip_header(link, data)
    if not found:
        return "not IP", link_header(link, data)[1] if link != ETHERNET else data[:12]
    version, offset = found
    if version == 6:
        next_header = data[offset + 6]
        ports = data[offset + 40 : offset + 44] if next_header in (6, 17) else b""
        if next_header == 44 and len(data) > offset + 40:
            next_header = data[offset + 40]  # what is in the fragments
        return 6, data[offset + 8 : offset + 40], next_header, ports
    fragment = int.from_bytes(data[offset + 6 : offset + 8], "big") & 0x3FFF
    l4 = offset + (data[offset] & 15) * 4
    ports = data[l4 : l4 + 4] if data[offset + 9] in (6, 17) and not fragment else b""
    return 4, data[offset + 12 : offset + 20], data[offset + 9], ports

"""Captures that try everything the pipeline must cope with, made from nothing."""

import random
import struct

import captures
from captures import Packet


def checksum(data):
    return 0xFFFF ^ captures.ones_sum(data)


def ipv4(payload=b"", ttl=64, protocol=17, source=1, damage=0, fragment=0, options=b""):
    length = 20 + len(options)
    head = struct.pack(
        ">BBHHHBBHII", 0x40 | length // 4, 0, min(length + len(payload), 65535), 7, fragment,
        ttl, protocol, 0, 0x0A000000 | source, 0x0A000002,
    ) + options
    total = (checksum(head) + damage) & 0xFFFF
    return head[:10] + struct.pack(">H", total) + head[12:] + payload


def ipv6(payload=b"", hops=64, next_header=17, source=1):
    addresses = bytes(15) + bytes([source]) + bytes(15) + b"\x02"
    return struct.pack(">IHBB", 0x60000000, min(len(payload), 65535), next_header, hops) + addresses + payload


def udp(size=8, port=1000):
    return struct.pack(">HHHH", port, 53, min(size, 65535), 0) + bytes(max(0, size - 8))


def ethernet(kind, payload, tags=()):
    types = b"".join(struct.pack(">HH", tag_type, tag) for tag_type, tag in tags)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + types + struct.pack(">H", kind) + payload


def stamped(payloads, wire=0):
    return [
        Packet(1_700_000_000_000_000_000 + i * 1_000_001_000, max(wire, len(data)), data)
        for i, data in enumerate(payloads)
    ]


def every_kind():
    """One Ethernet frame of every kind that a parser might stumble over."""
    bare = [b"", b"\0", bytes(13), bytes(14), ethernet(0x0806, bytes(28)), ethernet(0x88CC, bytes(40))]
    v4 = [ipv4(udp(), ttl=ttl) for ttl in (0, 1, 2, 128, 255)]
    v4 += [ipv4(udp(), damage=1), ipv4(udp(), ttl=0, damage=5), ipv4(udp(), options=bytes(8))]
    v4 += [ipv4(udp(), fragment=0x2000), ipv4(bytes(99), fragment=7), ipv4(protocol=1), ipv4(protocol=89)]
    v4 += [ipv4(udp(size)) for size in (9, 1480, 8980, 60000)]
    v4 += [ipv4(udp())[:19], ipv4(udp())[:20], ipv4(udp())[:23], b"\x41" + ipv4(udp())[1:], ipv6(udp())]
    v6 = [ipv6(udp(), hops=hops) for hops in (0, 1, 255)]
    v6 += [ipv6(b"\x11\0" + bytes(6) + udp(), next_header=0), ipv6(udp(9000)), ipv6()[:39], ipv6(udp())[:43]]
    frames = bare + [ethernet(0x0800, packet) for packet in v4] + [ethernet(0x86DD, packet) for packet in v6]
    for tags in [[(0x8100, 7)], [(0x88A8, 9), (0x8100, 7)], [(0x8100, i) for i in range(5)]]:
        frames += [ethernet(0x0800, ipv4(udp()), tags), ethernet(0x86DD, ipv6(udp()), tags)]
    return frames + [ethernet(0x8100, b"\0")]


def many_flows(random_source, count=4000):
    frames = []
    for _ in range(count):
        make = random_source.choice([ipv4, ipv6])
        body = udp(random_source.randrange(8, 1400), random_source.randrange(1000, 1040))
        body += random_source.randbytes(4)
        frames.append(
            ethernet(
                0x0800 if make is ipv4 else 0x86DD,
                make(body, random_source.randrange(256), source=random_source.randrange(1, 9)),
            )
        )
    return frames


def sound(seed):
    """(name, bytes) of captures that must pass through."""
    frames = stamped(every_kind())
    flows = stamped(many_flows(random.Random(seed)))
    ip_only = stamped([ipv4(udp()), ipv6(udp()), ipv4(udp(), ttl=0), b"", b"\x45", b"\x99"])
    cooked = [bytes(14) + b"\x08\0" + ipv4(udp()), bytes(14) + b"\x86\xdd" + ipv6(udp()), bytes(15)]
    cooked2 = [b"\x08\0" + bytes(18) + ipv4(udp()), b"\x86\xdd" + bytes(18) + ipv6(udp()), bytes(19)]
    family = [bytes(4) + ipv4(udp()), bytes(4) + ipv6(udp()), bytes(3), bytes(4)]
    yield "every-kind-ns.pcap", captures.pcap(frames)
    yield "every-kind-us.pcap", captures.pcap(frames, nanoseconds=False)
    yield "every-kind-be.pcap", captures.pcap(frames, order=">")
    yield "every-kind.pcapng", captures.pcapng(frames)
    yield "two-interfaces-us-be.pcapng", captures.pcapng(frames, (1, 1), nanoseconds=False, order=">")
    yield "many-flows.pcap", captures.pcap(flows)
    yield "cut-to-60-bytes.pcap", captures.pcap(
        [Packet(each.time, each.wire, each.data[:60]) for each in flows], snap=60
    )
    yield "ends-in-a-record.pcap", captures.pcap(flows)[:-5]
    yield "no-packets.pcap", captures.pcap([])
    for name, link in [("raw", captures.RAW), ("ipv4", captures.IPV4), ("ipv6", captures.IPV6)]:
        yield f"{name}.pcap", captures.pcap(ip_only, link)
    yield "cooked.pcap", captures.pcap(stamped(cooked), captures.SLL)
    yield "cooked2.pcap", captures.pcap(stamped(cooked2), captures.SLL2)
    yield "null.pcap", captures.pcap(stamped(family), captures.NULL)
    yield "loop.pcap", captures.pcap(stamped(family), captures.LOOP)
    yield "unknown-link.pcap", captures.pcap(frames, 147)


def unsound():
    """(name, bytes) of files that must be refused."""
    frames = stamped(every_kind())
    yield "empty.pcap", b""
    yield "text.pcap", b"This is no capture, however hard one looks at it.\n"
    yield "header-cut-off.pcap", captures.pcap(frames)[:20]
    yield "mixed-links.pcapng", captures.pcapng(frames, (captures.ETHERNET, captures.RAW))
    second = captures.pcapng(frames, (captures.RAW,))
    yield "mixed-links-late.pcapng", captures.pcapng(frames) + second[28:]

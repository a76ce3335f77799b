#!/usr/bin/env python3
"""Compares what went into the pipeline with what came out of it.

Usage: compare_captures.py INPUT OUTPUT [--loops N] [--ordered]

Every packet of INPUT must be in OUTPUT exactly N times, with its time stamp and length on the wire, its
TTL lowered by one (0 stays 0), and a valid IPv4 header checksum if it was valid. --ordered: the packets of
each flow are in the order of the input. Prints one line; exits 0 if all that holds, else 1.
"""

import argparse
import collections
import pathlib
import sys

import captures


def expected_packets(link, packets):
    return [
        captures.Packet(packet.time, packet.wire, captures.forwarded(link, packet.data))
        for packet in packets
    ]


def check_counts(expected, output, loops):
    wanted = collections.Counter(packet.key() for packet in expected)
    found = collections.Counter(packet.key() for packet in output)
    for key, count in wanted.items():
        if found[key] != count * loops:
            return f"the packet of time {key[0]} is there {found[key]} times and not {count * loops}"
    strange = sum((found - collections.Counter({k: n * loops for k, n in wanted.items()})).values())
    return f"{strange} packets are there that nobody sent" if strange else None


def check_checksums(link, packets, output):
    damaged = {packet.time for packet in packets if not is_sound(link, packet.data)}
    for packet in output:
        if packet.time not in damaged and not is_sound(link, packet.data):
            return f"the header checksum of the packet of time {packet.time} became wrong"
    return None


def is_sound(link, data):
    found = captures.ip_header(link, data)
    return not found or found[0] == 6 or captures.header_is_valid(data, found[1])


def check_order(link, expected, output, loops):
    by_flow = [collections.defaultdict(list), collections.defaultdict(list)]
    for packets, flows in zip([expected, output], by_flow):
        for packet in packets:
            flows[captures.flow(link, packet.data)].append(packet.time)
    for flow, times in by_flow[0].items():
        if by_flow[1][flow] != times * loops:
            return f"the flow {flow} is out of order"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--ordered", action="store_true")
    options = parser.parse_args()

    link, packets = captures.read(options.input)
    out_link, output = captures.read(options.output)
    expected = expected_packets(link, packets)
    fault = None if link == out_link else f"link type {link} became {out_link}"
    fault = fault or check_counts(expected, output, options.loops)
    fault = fault or check_checksums(link, packets, output)
    if options.ordered:
        fault = fault or check_order(link, expected, output, options.loops)
    print(f"{options.input.name}: {fault or f'{len(output)} packets, each exactly once'}")
    sys.exit(1 if fault else 0)


if __name__ == "__main__":
    main()

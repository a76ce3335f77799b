#!/usr/bin/env python3
"""Numbered frames: numbered.py send INTERFACE FROM TO | check CAPTURE COUNT.

`check` ends with 0 when each number is in the capture once, with its frame whole and its time stamps rising, and
with 1 when some are missing still. A frame that is there twice or damaged, which waiting does not mend, is a 2.
"""

import socket
import struct
import sys
import time

ETHER_TYPE = 0x88B5  # for experiments
GLOBAL_HEADER = 24
RECORD_HEADER = 16


def frame(number):
    return b"\xff" * 6 + b"\2\0\0\0\0\1" + struct.pack(">HI", ETHER_TYPE, number) + bytes(46 + number % 900)


def send(interface, first, last):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        for number in range(first, last):
            out.send(frame(number))
            if number % 50 == 49:
                time.sleep(0.005)


def records(capture):
    with open(capture, "rb") as file:
        data = file.read()
    nanoseconds = struct.unpack_from("<I", data)[0] == 0xA1B23C4D
    at = GLOBAL_HEADER
    while at + RECORD_HEADER <= len(data):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", data, at)
        if at + RECORD_HEADER + length > len(data):
            return  # being written
        at += RECORD_HEADER + length
        yield seconds * 10**9 + fraction * (1 if nanoseconds else 1000), data[at - length : at]


def complain(sentence):
    print(sentence, file=sys.stderr)
    return 2


def check(capture, count):
    seen = {}
    for stamp, data in records(capture):
        if data[12:14] != struct.pack(">H", ETHER_TYPE):
            continue  # the kernel's own, such as router solicitations
        number = struct.unpack_from(">I", data, 14)[0]
        if number in seen:
            return complain(f"frame {number} is in the capture twice")
        if data != frame(number):
            return complain(f"frame {number} is damaged")
        seen[number] = stamp
    if len(seen) < count:
        return 1
    stamps = [seen[number] for number in range(count)]
    if stamps != sorted(stamps):
        return complain("a frame has an earlier time stamp than one sent before it")
    print(f"{count} frames in the capture, each once, with rising time stamps")
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(check(sys.argv[2], int(sys.argv[3])))

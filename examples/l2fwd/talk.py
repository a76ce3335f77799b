#!/usr/bin/env python3
"""One TCP connection: talk.py send|receive ADDRESS MIB. The receiver says "listening", "quarter" at each quarter,
and at the end "received" with the size and whether every byte is as it was sent."""

import hashlib
import socket
import sys

PORT = 7700
PIECE = hashlib.sha256(b"l2fwd").digest() * 2048  # 64 KiB
PIECES_A_MIB = 16


def send(address, mib):
    with socket.create_connection((address, PORT), timeout=60) as peer:
        for _ in range(mib * PIECES_A_MIB):
            peer.sendall(PIECE)


def receive(address, mib):
    whole = mib * PIECES_A_MIB * len(PIECE)
    with socket.create_server((address, PORT)) as server:
        server.settimeout(60)
        print("listening", flush=True)
        peer, _ = server.accept()
    peer.settimeout(60)
    seen = hashlib.sha256()
    count = quarters = 0
    while piece := peer.recv(1 << 16):
        seen.update(piece)
        count += len(piece)
        while count * 4 >= whole * (quarters + 1):
            quarters += 1
            print("quarter", flush=True)
    sent = hashlib.sha256()
    for _ in range(mib * PIECES_A_MIB):
        sent.update(PIECE)
    sound = count == whole and seen.digest() == sent.digest()
    print(f"received {count} bytes over TCP, {'all as sent' if sound else 'NOT as sent'}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit({"send": send, "receive": receive}[sys.argv[1]](sys.argv[2], int(sys.argv[3])))

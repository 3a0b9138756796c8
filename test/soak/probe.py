"""Another client, while there are slow ones: how long is it kept waiting?

Usage: probe.py PORT IDLE; asks again and again, on new connections and on one that it keeps, until
its stdin ends. Then it prints a line of JSON: how many requests, and the longest wait for one of
them in seconds; and the longest at a server that nobody else asks, on the port IDLE, for which
there is only the machine to blame.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from itertools import pairwise

REQUEST = b"GET /get/1?size=1000 HTTP/1.1\r\nHost: soak\r\n\r\n"
#: Between two requests, in seconds.
PAUSE_S = 0.02
LIMIT_S = 30.0


def connect(port: int) -> socket.socket:
    """A new connection."""
    return socket.create_connection(("127.0.0.1", port), LIMIT_S)


def ask(sock: socket.socket) -> None:
    """Ask, and read the whole answer. Raises: OSError if there is none"""
    sock.sendall(REQUEST)
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 1000:
        piece = sock.recv(1 << 16)
        if not piece:
            raise ConnectionError("closed")
        data += piece
    if not data.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {data[:30]!r}")


def main() -> None:
    """Ask until told to stop."""
    port, idle = map(int, sys.argv[1:])
    kept, apart = connect(port), connect(idle)
    longest, usual, count = 0.0, 0.0, 0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        times = [time.monotonic()]
        with connect(port) as fresh:
            ask(fresh)
        for sock in (kept, apart):
            times.append(time.monotonic())
            ask(sock)
        times.append(time.monotonic())
        first, second, third = (after - before for before, after in pairwise(times))
        longest, usual = max(longest, first, second), max(usual, third)
        count += 2
    sys.stdout.write(json.dumps([count, longest, usual]) + "\n")


if __name__ == "__main__":
    main()

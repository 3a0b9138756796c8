"""A proxy that can be smuggled through: it goes by Content-Length alone, and passes on what came.

Usage: naive_proxy.py PORT; prints the port that it took.

All requests share one connection to PORT, and each gets the mark `X-Front`.
"""

from __future__ import annotations

import re
import socket
import socketserver
import sys
import threading
from typing import Any

BEHIND = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
REPLIES = BEHIND.makefile("rb")
TURN = threading.Lock()


def read_head(file: Any) -> bytes:
    """Lines up to an empty one."""
    lines = [file.readline()]
    while lines[-1].strip():
        lines.append(file.readline())
    return b"".join(lines)


def read_body(file: Any, head: bytes) -> bytes:
    """As many bytes as there are said to be."""
    found = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    return b"" if found is None else file.read(int(found[1]))


class Naive(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Pass on whatever comes."""
        while (head := read_head(self.rfile)).strip():
            head = head.replace(b"\r\n", b"\r\nX-Front: front\r\n", 1)
            with TURN:
                BEHIND.sendall(head + read_body(self.rfile, head))
                reply = read_head(REPLIES)
                self.wfile.write(reply + read_body(REPLIES, reply))


class Server(socketserver.ThreadingTCPServer):
    """Listens."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nobody wants to know."""


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Naive) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()

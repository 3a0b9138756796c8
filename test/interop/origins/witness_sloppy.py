"""An origin that takes everything for a request, and keeps a ledger of what it saw.

Usage: witness_sloppy.py LEDGER (length | coding); prints the port that it took.

It is what a smuggler hopes for: any line end will do, blanks and underscores in names are looked
over, folds are joined, numbers are read as C reads them, `chunked` may stand anywhere, and of two
framings one is preferred. It never closes: what follows a request is the next one.

A request may say what is to be answered: X-Say has the bytes, in hex, and X-Close that the
connection ends after them.
"""

from __future__ import annotations

import io
import json
import os
import re
import socketserver
import sys
import threading
from typing import Any

PREFERRED = sys.argv[2]
LEDGER = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)


def number(text: bytes, base: int = 0) -> int:
    """What strtol() makes of it: sign, 0x, octal, and what follows the digits is not looked at."""
    found = re.search(rb"([+-]?)\s*(0[xX])?([0-9a-fA-F]*)", text.strip(b"\t\n\v\f\r \0"))
    assert found
    if base == 0:
        base = 16 if found[2] else 8 if found[3][:1] == b"0" else 10
    digits = b"".join(re.findall({8: rb"^[0-7]+", 10: rb"^[0-9]+", 16: rb"^.+"}[base], found[3]))
    return int(digits or b"0", base) & 0xFFFFFFFFFFFFFFFF  # one that wraps


class Sloppy(socketserver.StreamRequestHandler):
    """One connection."""

    rfile: io.BufferedReader

    def handle(self) -> None:
        """Answer whatever comes."""
        try:
            while self.answer_one():
                pass
        except (ConnectionError, ValueError, OverflowError, MemoryError):
            pass

    def answer_one(self) -> bool:
        """Returns: whether there may be more"""
        line = b"\n"
        while line and not line.strip():
            line = self.rfile.readline(1 << 20)
        if not line:
            return False
        words = [*line.split(), b"", b""]
        fields = self.read_fields()
        said = [words[0], words[1], fields.get(b"via", b""), fields.get(b"x-front", b"")]
        os.write(LEDGER, json.dumps([word.decode("latin-1") for word in said]).encode() + b"\n")
        if b"100-continue" in fields.get(b"expect", b""):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.read_body(fields)
        if b"x-say" in fields:
            self.wfile.write(bytes.fromhex(fields[b"x-say"].decode("ascii")))
        else:
            body = b"" if words[0] == b"HEAD" else b"seen\n"
            head = b"HTTP/1.1 200 OK\r\nX-Seen: %b\r\nContent-Length: 5\r\n\r\n" % words[1]
            self.wfile.write(head + body)
        return b"x-close" not in fields

    def read_fields(self) -> dict[bytes, bytes]:
        """Read lines up to an empty one."""
        fields: dict[bytes, bytes] = {}
        name = b""
        while (line := self.rfile.readline(1 << 20)).strip(b"\r\n"):
            if line[:1] in b" \t" and name:
                fields[name] += b" " + line.strip()
                continue
            name, _, value = line.partition(b":")
            name = name.strip(b"\t\n\v\f\r \0").lower().replace(b"_", b"-")
            if name not in fields or PREFERRED == "length":  # the first one counts, or the last
                fields[name] = value.strip(b"\t\n\v\f\r \0")
        return fields

    def read_body(self, fields: dict[bytes, bytes]) -> None:
        """Read what the preferred framing says."""
        coded = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
        if coded and (PREFERRED == "coding" or b"content-length" not in fields):
            while size := number(self.rfile.readline(1 << 20), 16):
                self.rfile.read(size)
                if self.rfile.peek(1)[:1] == b"\r":
                    self.rfile.read(1)
                if self.rfile.peek(1)[:1] == b"\n":
                    self.rfile.read(1)
            self.read_fields()
        elif b"content-length" in fields:
            self.rfile.read(number(fields[b"content-length"]))


class Server(socketserver.ThreadingTCPServer):
    """Listens."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: Any) -> None:
        """Nobody wants to know."""


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    with Server(("127.0.0.1", 0), Sloppy) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()

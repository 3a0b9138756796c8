"""The bytes that go through in the interop tests, and plain sockets that carry them.

Owns: bodies that both ends can make, so that each byte is compared; a client's and an origin's
side of HTTP over a blocking socket, as far as a script needs them; a process's figures in /proc.
Must not know any program.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple, Self

#: More than all the buffers between two ends hold.
LARGE_BYTES = 256 << 20

#: A socket that is silent for longer hangs.
LIMIT_S = 20.0

#: The pattern repeats after a prime number of bytes: no loss or repetition of a round size fits.
PERIOD = 1_000_003


def make_pattern() -> bytes:
    """One period of the endless pattern."""
    digests = (hashlib.sha512(b"%d" % number).digest() for number in range(PERIOD // 64 + 1))
    return b"".join(digests)[:PERIOD]


PATTERN = make_pattern()


def pattern_pieces(size: int) -> Iterator[bytes]:
    """`size` bytes of the pattern, a period at a time."""
    for _ in range(size // PERIOD):
        yield PATTERN
    yield PATTERN[: size % PERIOD]


def pattern_size(pipe: int, piece_bytes: int = 1 << 18) -> int:
    """Read a descriptor to its end. Returns: how many bytes there were

    Raises: AssertionError at the first one that is not the pattern's
    """
    total = 0
    while data := os.read(pipe, piece_bytes):
        start = total % PERIOD
        expected = PATTERN[start : start + len(data)]
        while len(expected) < len(data):
            expected += PATTERN[: len(data) - len(expected)]
        assert data == expected, f"wrong bytes between {total} and {total + len(data)}"
        total += len(data)
    return total


def item(name: object, size: int) -> bytes:
    """The body that the Node origins make of a name."""
    unit = f"<{name}>".encode()
    return (unit * (size // len(unit) + 1))[:size]


def sha256(data: bytes) -> str:
    """The digest of `data`, as text."""
    return hashlib.sha256(data).hexdigest()


# -- sockets ------------------------------------------------------------------------------------


class Message(NamedTuple):
    """A message as it was read; start: its first line; fields: names in lower case."""

    start: bytes
    fields: dict[bytes, bytes]
    body: bytes = b""


class Wire:
    """A blocking socket with a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(LIMIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.file = sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def to(cls, port: int) -> Self:
        """Connect."""
        return cls(socket.create_connection(("127.0.0.1", port), LIMIT_S))

    def close(self) -> None:
        """Close it."""
        self.file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end of the stream."""
        return self.file.read(size)

    def head(self) -> Message:
        """Read one head. Raises: EOFError if the peer has closed instead"""
        start = self.file.readline().rstrip(b"\r\n")
        if not start:
            raise EOFError
        fields = {}
        while (line := self.file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        return Message(start, fields)

    def message(self) -> Message:
        """Read one head and its body, by Content-Length or chunked."""
        head = self.head()
        if head.fields.get(b"transfer-encoding") == b"chunked":
            return head._replace(body=self._chunked())
        size = int(head.fields.get(b"content-length", b"0"))
        return head._replace(body=self.read(size))

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.file.readline().partition(b";")[0], 16):
            body += self.read(size)
            assert self.read(2) == b"\r\n"
        while self.file.readline() not in (b"\r\n", b""):
            pass
        return body

    def at_end(self) -> bool:
        """Whether the peer has closed cleanly, with nothing left; waits for either."""
        return self.file.read(1) == b""


# -- processes ----------------------------------------------------------------------------------


def peak_memory(pid: int) -> int:
    """The most memory that a process had at a time, in bytes (VmHWM of proc(5))."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


class Effort(NamedTuple):
    """What a process has done so far: CPU time in clock ticks, and how often it was woken."""

    ticks: int
    wakeups: int


def effort(pid: int) -> Effort:
    """Of all the threads of a process (utime and stime; voluntary_ctxt_switches).

    What it does at the moment is done first, until it sleeps.
    """
    fields = ["R"]
    while fields[0] != "S":
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
    wakeups = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as status:
            found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status.read(), re.MULTILINE)
        assert found
        wakeups += int(found[1])
    return Effort(int(fields[11]) + int(fields[12]), wakeups)

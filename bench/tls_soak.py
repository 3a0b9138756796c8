"""Thousands of handshakes, good and bad: what is left behind.

    python -m bench.tls_soak [--handshakes N] [--every N]

Server and clients share one loop. In turn they make a full handshake, resume one, fail for the
certificate, speak no TLS at all, go away in the middle, and are cut off. Prints, from time to time,
the open descriptors, the objects of the interpreter and the memory; ends with status 1 if any of
them has grown.
"""

from __future__ import annotations

import argparse
import gc
import os
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import thor.loop
from bench import harness
from bench.harness import BenchError
from thor.tcp import TcpClient, TcpConnection
from thor.tls import (
    DevelopmentCA,
    TlsClient,
    TlsConnection,
    TlsServer,
    client_context,
    server_context,
)

#: Handshakes before anything is counted: what is made on first use is made by then.
WARM_UP = 600
#: Growth that is none: the allocator's slack, in bytes, and objects of the measurement itself.
SLACK_BYTES = 2 * 1024 * 1024
SLACK_OBJECTS = 200
#: How long one of them may take, in seconds.
PATIENCE_S = 20.0


class Soak:
    """A server, and one client at a time."""

    def __init__(self) -> None:
        ca = DevelopmentCA()
        self.loop = thor.loop.make()
        self.loop.on_exception = "raise"
        self.known = client_context(ca_file=ca.certificate)
        self.fresh = client_context(ca_file=ca.certificate)
        self.strange = client_context(ca_file=DevelopmentCA().certificate)
        self.server = TlsServer(
            "127.0.0.1", 0, self.loop, context=server_context(*ca.issue("localhost"))
        )
        self.server.on("connect", self.serve)
        self.server.on("tls_error", lambda *_: None)
        self.kinds: Sequence[Callable[[], None]] = (
            self.full,
            self.resumed,
            self.refused,
            self.plain,
            self.gone,
            self.cut_off,
        )
        self.over = False
        self.kept = False  # whether there is a session to resume

    def serve(self, conn: TlsConnection) -> None:
        conn.on("data", conn.write)
        conn.pause(False)

    def run(self, kind: Callable[[], None]) -> None:
        """Do one of them, to its end on both sides. Raises: BenchError"""
        self.over = False
        kind()
        until = time.monotonic() + PATIENCE_S
        while not self.over or self.server.active_connections or self.loop.fd_count() > 1:
            self.loop.run_once(1.0)
            if time.monotonic() > until:
                raise BenchError(f"{kind.__name__} did not end")

    def finish(self, *_: Any) -> None:
        self.over = True

    def talk(self, context: ssl.SSLContext, reused: bool | None, then: str = "read") -> None:
        """then: "read" has an echo, and a session to resume; the others have neither"""
        client = TlsClient(self.loop)
        client.context = context

        def connect(conn: TlsConnection) -> None:
            if reused is not None and conn.session_reused is not reused:
                raise BenchError(f"a session was {'not ' * reused}resumed")
            conn.on("data", lambda data: conn.close())
            conn.on("disconnect", self.finish)
            conn.write(b"hello")
            if then == "read":
                conn.pause(False)
            elif then == "write":
                conn.close()
            else:
                conn.abort()

        client.on("connect", connect)
        client.on("connect_error", self.finish)
        client.connect("localhost", self.server.address[1], PATIENCE_S)

    # -- the kinds -------------------------------------------------------------------------------

    def full(self) -> None:
        self.talk(self.fresh, False, "write")

    def resumed(self) -> None:
        self.talk(self.known, self.kept)
        self.kept = True

    def refused(self) -> None:
        self.talk(self.strange, None)

    def cut_off(self) -> None:
        self.talk(self.fresh, False, "abort")

    def plain(self) -> None:
        self.send(b"GET / HTTP/1.1\r\n\r\n")

    def gone(self) -> None:
        self.send(b"\x16\x03\x01\x02\x00\x01", close=True)

    def send(self, data: bytes, close: bool = False) -> None:
        client = TcpClient(self.loop)

        def connect(conn: TcpConnection) -> None:
            conn.on("disconnect", self.finish)
            conn.write(data)
            conn.pause(False)
            if close:
                conn.close()

        client.on("connect", connect)
        client.connect("127.0.0.1", self.server.address[1], PATIENCE_S)


def footprint() -> tuple[int, int, int]:
    """Open descriptors, objects, and resident bytes of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    fds = len(os.listdir("/proc/self/fd"))
    return fds, len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE")


def grown(before: tuple[int, int, int], after: tuple[int, int, int]) -> list[str]:
    """Return what has grown, for people."""
    limits = (0, SLACK_OBJECTS, SLACK_BYTES)
    names = ("descriptors", "objects", "bytes")
    rows = zip(names, before, after, limits, strict=True)
    return [f"{then - now:+,} {name}" for name, now, then, limit in rows if then - now > limit]


def soak(handshakes: int, every: int) -> list[str]:
    """Make them all, and print what is left behind. Returns: what has grown"""
    world = Soak()
    kinds = world.kinds

    def make(count: int) -> None:
        for number in range(count):
            world.run(kinds[number % len(kinds)])

    make(WARM_UP)
    before = footprint()
    for done in range(0, handshakes, every):
        make(min(every, handshakes - done))
        fds, objects, size = footprint()
        print(f"{done + every:>11,}  {fds:>3}  {objects:>7,}  {size // 1024:,} KiB", flush=True)
    after = footprint()
    world.server.shutdown()
    world.loop.run_once()
    world.loop.stop()
    return grown(before, after)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="bench.tls_soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--handshakes", type=int, default=10_000, help="(default: 10,000)")
    parser.add_argument("--every", type=int, default=1_000, help="a line each so many")
    args = parser.parse_args()
    print("\n".join(harness.machine()), end="\n\n")
    print("handshakes  fds  objects  memory")
    found = soak(args.handshakes, args.every)
    print("\nleft behind:", ", ".join(found) or "nothing")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

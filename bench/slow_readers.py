"""Slow readers of a large file: what each one costs, and how long another client waits.

    python -m bench.slow_readers [--readers N ...] [--seconds N] [--plain | --tls]

Measures `thor serve` beside nginx. Readers with a small receive buffer ask for a large file, all at
once, and read little of it: a few KiB now and then, and from time to time all of them together as
much as there is. Another client asks for a small file again and again. Prints the growth of the
server's memory for each reader, and the longest and the median wait of the other client: while the
readers begin, and while they read.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from bench import clients, harness
from bench.configurations import NGINX_SERVER, Command, Place, nginx, thor_serve
from bench.harness import BenchError, Server

FILE_BYTES = 64 << 20
SMALL = b"a small file"
#: The receive buffer of a reader; the kernel doubles it.
RECEIVE_BUFFER_BYTES = 4096
SIP_BYTES = 4096
GULP_BYTES = 1 << 20
#: How many parts the readers are split into, one of which reads at a time, and how often.
PARTS = 20
PAUSE_S = 0.02
#: How often the readers read together.
TOGETHER_S = 1.0
#: How long the server has to fill the buffers before its memory is read.
SETTLE_S = 3.0
#: The pause of the other client between two requests.
BETWEEN_S = 0.005
WAIT_LIMIT_S = 30.0

SERVERS: dict[str, Command] = {"thor": thor_serve, "nginx": nginx(NGINX_SERVER)}


class Result(NamedTuple):
    """What was measured of one server with one number of readers."""

    kib_per_reader: float
    start_waits_s: list[float]
    read_waits_s: list[float]


def begin_reader(server: Server, stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Connect a reader. Returns: what it asks with, and what it reads with, as it comes"""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.settimeout(clients.PATIENCE_S)
    sock.connect(("127.0.0.1", server.port))
    if not server.tls:
        return sock, sock
    secure = stack.enter_context(clients.tls_context().wrap_socket(sock))
    # What is read needs not be decrypted: that it comes, and when, is the same.
    raw = stack.enter_context(socket.socket(fileno=os.dup(secure.fileno())))
    return secure, raw


def read_some(readers: Sequence[socket.socket], most: int) -> None:
    """Have each of them read up to `most` bytes of what is there. Raises: BenchError"""
    for reader in readers:
        try:
            if not reader.recv(most, socket.MSG_DONTWAIT):
                raise BenchError("a reader was cut off")
        except BlockingIOError:
            pass
        except OSError as exc:
            raise BenchError(f"a reader was cut off: {exc}") from None


def read_slowly(readers: Sequence[socket.socket], seconds: float) -> None:
    """Have the readers read for some seconds. Raises: BenchError"""
    now = time.monotonic()
    until, together = now + seconds, now + TOGETHER_S
    while now < until:
        if now >= together:
            read_some(readers, GULP_BYTES)
            together += TOGETHER_S
        else:
            read_some(random.sample(readers, len(readers) // PARTS), SIP_BYTES)
        time.sleep(PAUSE_S)
        now = time.monotonic()


def ask_repeatedly(server: Server, told: Connection) -> None:
    """Ask for the small file until told to stop, then send the waits back: the other client."""
    request = clients.HEAD.format("GET /bulk.txt", "").encode()
    waits = []
    with clients.connect(server) as sock:
        sock.settimeout(WAIT_LIMIT_S)
        while not told.poll(BETWEEN_S):
            before = time.monotonic()
            sock.sendall(request)
            received = b""
            while not received.endswith(SMALL):
                chunk = sock.recv(65536)
                if not chunk:
                    raise BenchError("the other client was cut off")
                received += chunk
            waits.append(time.monotonic() - before)
    told.send(waits)


class OtherClient:
    """The other client, in a process of its own: the readers do not delay it."""

    def __init__(self, server: Server) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        target = Server([], server.port, server.core, tls=server.tls)
        self._process = multiprocessing.Process(target=ask_repeatedly, args=(target, theirs))
        self._process.start()
        theirs.close()

    def stop(self) -> list[float]:
        """Its waits, in seconds. Raises: BenchError if it failed, or waits for too long"""
        try:
            self._pipe.send(None)
            if not self._pipe.poll(WAIT_LIMIT_S):
                raise BenchError(f"the other client waits for more than {WAIT_LIMIT_S:g} s")
            waits: list[float] = self._pipe.recv()
        except (EOFError, OSError):
            raise BenchError("the other client failed") from None
        finally:
            self._process.kill()
            self._process.join()
        return waits


def measure(server: Server, count: int, seconds: float) -> Result:
    """Measure a server that runs. Raises: BenchError"""
    with ExitStack() as stack:
        request = clients.HEAD.format("GET /bulk", "").encode()
        ready = [begin_reader(server, stack) for _ in range(count)]
        readers = [raw for _, raw in ready]
        before = server.pss_bytes()
        other = OtherClient(server)
        time.sleep(0.2)
        for asker, _ in ready:
            asker.sendall(request)
        time.sleep(SETTLE_S)
        start_waits = other.stop()
        grown = server.pss_bytes() - before
        other = OtherClient(server)
        try:
            read_slowly(readers, seconds)
        finally:
            read_waits = other.stop()
    return Result(grown / count / 1024, start_waits, read_waits)


def run(command: Command, count: int, seconds: float, tls: bool) -> Result:
    """Start a server, and measure it. Raises: BenchError"""
    core, other_core = harness.cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bulk").write_bytes(bytes(FILE_BYTES))  # and so it is in the page cache
        (folder / "bulk.txt").write_bytes(SMALL)
        certificate = clients.make_certificate(folder) if tls else ("", "")
        port = harness.free_port()
        server = Server(command(Place(port, 0, folder, *certificate)), port, core, tls=tls)
        os.sched_setaffinity(0, {other_core})
        try:
            server.start()
            return measure(server, count, seconds)
        finally:
            server.stop()


def milliseconds(waits_s: Sequence[float]) -> list[str]:
    """Return the longest and the median of them, for people."""
    return [f"{max(waits_s) * 1e3:,.1f}", f"{statistics.median(waits_s) * 1e3:,.1f}"]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="bench.slow_readers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--readers", type=int, nargs="+", default=[500, 1000], help="(default: 500 and 1000)"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of reading (default: 5)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--plain", action="store_true", help="plain TCP alone")
    only.add_argument("--tls", action="store_true", help="TLS alone")
    args = parser.parse_args()
    harness.raise_fd_limit()
    print("\n".join(harness.machine()), end="\n\n", flush=True)
    rows = []
    failed = False
    for tls in [args.tls] if args.plain or args.tls else [False, True]:
        for count in args.readers:
            for name, command in SERVERS.items():
                title = f"{name}, {'TLS' if tls else 'plain TCP'}, {count:,} readers"
                try:
                    result = run(command, count, args.seconds, tls)
                except BenchError as exc:
                    print(f"{title}: {exc}", file=sys.stderr, flush=True)
                    failed = True
                    continue
                waits = milliseconds(result.start_waits_s) + milliseconds(result.read_waits_s)
                rows.append([title, f"{result.kib_per_reader:,.1f}", *waits])
    header = ["server", "KiB/reader", "start, ms", "median", "reading, ms", "median"]
    print(harness.table(header, rows))
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""What is measured: each scenario takes one sample of one running server.

Owns: the scenarios and how their figures are written. Must not know the peers, nor the order in
which they are measured.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.harness import ANSWER, BROWSER_FIELDS, BenchError, Sample, Server, measure_load

BULK_BYTES = 100_000_000
#: CPU time is counted in ticks of 10 ms: several transfers are one sample.
BULK_TRANSFERS = 5


@dataclass(frozen=True)
class Options:
    """What the command line may set."""

    seconds: int
    connections: int
    idle: int
    crowd: int
    load_core: int


@dataclass(frozen=True)
class Scenario:
    """One table. `cost` is what is compared: the smaller, the better."""

    name: str
    title: str
    role: str
    unit: str
    sample: Callable[[Server, Options], Sample | float]

    def text(self, samples: Sequence[Sample | float]) -> str:
        """One sample of a series in full: the one in the middle of them."""
        middle = sorted(samples, key=cost)[len(samples) // 2]
        if isinstance(middle, Sample):
            return f"{middle.us:.1f} ({middle.user_us:.1f} + {middle.system_us:.1f})"
        return f"{middle:,.0f}" if middle >= 100 else f"{middle:.3f}"


def cost(sample: Sample | float) -> float:
    """The figure that is compared."""
    return sample.us if isinstance(sample, Sample) else sample


# -- asking without wrk -------------------------------------------------------------------------


def ask(sock: socket.socket) -> bytes:
    """One request for `/` on a connection that stays; the answer, up to its body's end.

    Raises: BenchError if the peer ends the connection first
    """
    sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    received = b""
    while ANSWER not in received:
        chunk = sock.recv(65536)
        if not chunk:
            raise BenchError(f"answered {received[:60]!r}")
        received += chunk
    return received


def connect(server: Server) -> socket.socket:
    """A connection to a server under test."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=20.0)


def check(server: Server) -> None:
    """See that a server answers as it should, twice on one connection, before it is measured."""
    try:
        with connect(server) as sock:
            for _ in range(2):
                answer = ask(sock)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise BenchError(f"answered {answer[:60]!r}")
    except OSError as why:
        raise BenchError(f"no answer: {why}") from None


def fetch_bulk(server: Server) -> None:
    """Read the large file through a proxy. Raises: BenchError if it is cut short."""
    buffer = bytearray(1 << 18)
    total = 0
    try:
        with connect(server) as sock:
            sock.sendall(b"GET /bulk HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            while count := sock.recv_into(buffer):
                total += count
    except OSError as why:
        raise BenchError(f"after {total} bytes: {why}") from None
    if total < BULK_BYTES:
        raise BenchError(f"only {total} bytes came")


def open_idle(server: Server, count: int, stack: ExitStack) -> None:
    """Open connections that have had one answer and are kept; `stack` closes them."""
    try:
        for _ in range(count):
            ask(stack.enter_context(connect(server)))
    except OSError as why:
        raise BenchError(f"while opening {count} connections: {why}") from None


# -- the scenarios ------------------------------------------------------------------------------


def _load(fields: Sequence[str]) -> Callable[[Server, Options], Sample]:
    def sample(server: Server, options: Options) -> Sample:
        return measure_load(server, options.seconds, options.connections, fields, options.load_core)

    return sample


def _crowd(server: Server, options: Options) -> Sample:
    with ExitStack() as stack:
        open_idle(server, options.crowd - options.connections, stack)
        return _load(())(server, options)


def _idle(server: Server, options: Options) -> float:
    server.stop()  # a process that was under load has memory to spare, and would not grow
    server.start()
    with ExitStack() as stack:
        open_idle(server, 64, stack)  # what is made once is not counted
        before = server.pss_bytes()
        open_idle(server, options.idle, stack)
        return (server.pss_bytes() - before) / options.idle


def _bulk(server: Server, options: Options) -> float:
    before = sum(server.cpu_s())
    for _ in range(BULK_TRANSFERS):
        fetch_bulk(server)
    return (sum(server.cpu_s()) - before) / BULK_TRANSFERS


LOAD_UNIT = "CPU us/request (user + system)"
SCENARIOS = (
    Scenario("server", "Server, 1 field", "server", LOAD_UNIT, _load(())),
    Scenario("server-12", "Server, 12 fields", "server", LOAD_UNIT, _load(BROWSER_FIELDS)),
    Scenario("crowd", "Server, 1 field, among idle connections", "server", LOAD_UNIT, _crowd),
    # Last of its role: it leaves the servers cold.
    Scenario("idle", "Idle keep-alive connections", "server", "PSS bytes/connection", _idle),
    Scenario("proxy", "Reverse proxy, 1 field", "proxy", LOAD_UNIT, _load(())),
    Scenario("proxy-12", "Reverse proxy, 12 fields", "proxy", LOAD_UNIT, _load(BROWSER_FIELDS)),
    Scenario("bulk", "100 MB through the proxy", "proxy", "CPU s", _bulk),
)

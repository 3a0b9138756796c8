"""What is measured: each scenario takes one sample of one running subject.

Owns: the scenarios, what the peers of a role are asked to be, and how figures are written. Must not
know the peers, nor the order in which they are measured.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench import clients, harness, tracing, udp
from bench.clients import BULK_BYTES, LARGE_BYTES
from bench.harness import BROWSER_FIELDS, LARGE_FIELDS, Ask, BenchError, Sample, Server
from bench.tracing import Calls

#: CPU time is counted in ticks of 10 ms: several transfers are one sample.
BULK_TRANSFERS = 5
#: How often a body of 1 MiB is sent for one sample: as many bytes.
LARGE_TRANSFERS = BULK_TRANSFERS * 100
DATAGRAMS = 300_000
WINDOW = 64
#: Connections that workers share.
SHARED = 400
PROGRAM_LIMIT_S = 300.0
#: A sample is the best of three runs, of some seconds in all.
IN_PROCESS = ("--requests", "40000", "--repeat", "3")

Figure: TypeAlias = Sample | Calls | float


@dataclass(frozen=True)
class Options:
    """What the command line may set."""

    seconds: int
    connections: int
    idle: int
    crowd: int
    load_core: int


# -- what a peer has to be ----------------------------------------------------------------------


class Program(Server):
    """Not a server: it runs to its end for each sample, and prints a figure."""

    def start(self, tries: int = 400) -> None:
        pass

    def figure(self, *args: str) -> float:
        """Run it. Raises: BenchError"""
        try:
            done = subprocess.run(
                [*self.argv, *args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PROGRAM_LIMIT_S,
                cwd=harness.ROOT,
                env=self.environment(),
                preexec_fn=self.pin,
            )
            return float(done.stdout)
        except subprocess.TimeoutExpired:
            raise BenchError("did not end in time") from None
        except ValueError:
            raise BenchError((done.stderr or done.stdout).strip().split("\n")[-1]) from None


def _prepare(server: Server, options: Options) -> None:
    """See that it answers; caches fill and compilers warm up unmeasured."""
    clients.check(server)
    harness.run_wrk(server, 1, options.connections, Ask(), options.load_core)


@dataclass(frozen=True)
class Role:
    """What the peers of a role have in common.

    origin: they stand before one; tls: clients speak it to them
    subject: what is started; prepare: what is done once it is there
    """

    origin: bool = False
    tls: bool = False
    subject: type[Server] = Server
    prepare: Callable[[Server, Options], None] = _prepare


def _nothing(server: Server, options: Options) -> None:
    pass


ROLES = {
    "server": Role(),
    "tls": Role(tls=True),
    "workers": Role(),
    "proxy": Role(origin=True),
    "tls-proxy": Role(origin=True, tls=True),
    "udp": Role(subject=udp.EchoServer, prepare=_nothing),
    "emit": Role(subject=Program, prepare=_nothing),
    "timers": Role(subject=Program, prepare=_nothing),
    "in-process": Role(subject=Program, prepare=_nothing),
}


# -- figures ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """One table. `cost` is what is compared: the smaller, the better."""

    name: str
    title: str
    role: str
    unit: str
    sample: Callable[[Any, Options], Figure]

    def text(self, samples: Sequence[Figure]) -> str:
        """One sample of a series in full: the one in the middle of them."""
        middle = sorted(samples, key=cost)[len(samples) // 2]
        if isinstance(middle, Sample):
            return f"{middle.us:.1f} ({middle.user_us:.1f} + {middle.system_us:.1f})"
        if isinstance(middle, Calls):
            return f"{middle.each:.2f}: {middle}"
        return f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"


def cost(sample: Figure) -> float:
    """Return the figure that is compared."""
    if isinstance(sample, Sample):
        return sample.us
    return sample.each if isinstance(sample, Calls) else sample


# -- the scenarios ------------------------------------------------------------------------------


def _load(ask: Ask) -> Callable[[Server, Options], Sample]:
    def sample(server: Server, options: Options) -> Sample:
        return harness.measure_load(
            server, options.seconds, options.connections, ask, options.load_core
        )

    return sample


def _crowd(server: Server, options: Options) -> Sample:
    with ExitStack() as stack:
        clients.open_idle(server, options.crowd - options.connections, stack)
        return _load(Ask())(server, options)


def _idle(server: Server, options: Options) -> float:
    server.stop()  # a process that was under load has memory to spare, and would not grow
    server.start()
    with ExitStack() as stack:
        clients.open_idle(server, 64, stack)  # what is made once is not counted
        before = server.pss_bytes()
        clients.open_idle(server, options.idle, stack)
        return (server.pss_bytes() - before) / options.idle


def _shared(server: Server, options: Options) -> Sample:
    # Enough connections for both to be busy: with few, each waits more often, as one would that
    # had as few.
    return harness.measure_load(server, options.seconds, SHARED, Ask(), options.load_core)


def _largest_share(server: Server, options: Options) -> float:
    """In per cent, of the process that has the most."""
    with ExitStack() as stack:
        before = server.sockets()
        clients.open_idle(server, SHARED, stack)
        shares = [count - before.get(pid, 0) for pid, count in server.sockets().items()]
    return 100 * max(shares) / sum(shares)


def _calls(server: Server, options: Options) -> Calls:
    return tracing.measure_calls(server, options.connections)


def _transfer(
    move: Callable[[Server, str, int, int], None], path: str, size: int, times: int
) -> Callable[[Server, Options], float]:
    """CPU milliseconds for 100 MB."""

    def sample(server: Server, options: Options) -> float:
        before = sum(server.cpu_s())
        move(server, path, size, times)
        return (sum(server.cpu_s()) - before) / (size * times) * 1e11

    return sample


def _shakes(resume: bool) -> Callable[[Server, Options], float]:
    def sample(server: Server, options: Options) -> float:
        return clients.measure_shakes(server, options.seconds, resume)

    return sample


def _datagrams(server: udp.EchoServer, options: Options) -> float:
    return udp.measure(server, DATAGRAMS, WINDOW, b"x" * 64).us


def _figure(*args: str) -> Callable[[Program, Options], float]:
    def sample(program: Program, options: Options) -> float:
        return program.figure(*args)

    return sample


LOAD = "CPU us/request (user + system)"
TRANSFER = "CPU ms/100 MB"
SHAKE = "CPU us/handshake"
CALLS = "system calls/request"
SHARE = "largest share, per cent"
IDLE = "PSS bytes/connection"

_twelve = _load(Ask(fields=BROWSER_FIELDS))
_large_head = _load(Ask(fields=LARGE_FIELDS))
_reconnect = _load(Ask(fields=("Connection: close",)))
_post = _load(Ask(script="post.lua"))
_pipeline = _load(Ask(script="pipeline.lua"))

SCENARIOS = (
    Scenario("server", "Server, 1 field", "server", LOAD, _load(Ask())),
    Scenario("server-12", "Server, 12 fields", "server", LOAD, _twelve),
    Scenario("large-head", "Server, 42 fields of 12 KB", "server", LOAD, _large_head),
    Scenario("crowd", "Server, 1 field, among idle connections", "server", LOAD, _crowd),
    Scenario("reconnect", "Server, a connection for each request", "server", LOAD, _reconnect),
    Scenario("pipeline", "Server, 16 requests at a time", "server", LOAD, _pipeline),
    Scenario("post", "Server, a body of 1 KiB in", "server", LOAD, _post),
    Scenario(
        "download",
        "Server, bodies of 1 MiB out",
        "server",
        TRANSFER,
        _transfer(clients.download, "/large", LARGE_BYTES, LARGE_TRANSFERS),
    ),
    Scenario(
        "upload",
        "Server, bodies of 1 MiB in",
        "server",
        TRANSFER,
        _transfer(clients.upload, "/", LARGE_BYTES, LARGE_TRANSFERS),
    ),
    Scenario("syscalls", "Server, 1 field, system calls", "server", CALLS, _calls),
    # Last of its role: it leaves the servers cold.
    Scenario("idle", "Server, idle keep-alive connections", "server", IDLE, _idle),
    Scenario("tls", "TLS server, keep-alive requests", "tls", LOAD, _load(Ask())),
    Scenario("handshake", "TLS server, full handshakes", "tls", SHAKE, _shakes(False)),
    Scenario("resumed", "TLS server, resumed handshakes", "tls", SHAKE, _shakes(True)),
    Scenario("workers", f"Two workers on one core, {SHARED} connections", "workers", LOAD, _shared),
    Scenario("shares", f"Two workers, {SHARED} connections", "workers", SHARE, _largest_share),
    Scenario("proxy", "Reverse proxy, 1 field", "proxy", LOAD, _load(Ask())),
    Scenario("proxy-12", "Reverse proxy, 12 fields", "proxy", LOAD, _twelve),
    Scenario("proxy-post", "Reverse proxy, a body of 1 KiB in", "proxy", LOAD, _post),
    Scenario(
        "bulk",
        "Reverse proxy, 100 MB out",
        "proxy",
        TRANSFER,
        _transfer(clients.download, "/bulk", BULK_BYTES, BULK_TRANSFERS),
    ),
    Scenario(
        "bulk-in",
        "Reverse proxy, bodies of 1 MiB in",
        "proxy",
        TRANSFER,
        _transfer(clients.upload, "/sink", LARGE_BYTES, LARGE_TRANSFERS),
    ),
    Scenario("proxy-syscalls", "Reverse proxy, 1 field, system calls", "proxy", CALLS, _calls),
    Scenario("proxy-idle", "Reverse proxy, idle keep-alive connections", "proxy", IDLE, _idle),
    Scenario("proxy-tls", "Reverse proxy, TLS before it", "tls-proxy", LOAD, _load(Ask())),
    Scenario("udp", "UDP echo, datagrams of 64 bytes", "udp", "CPU us/datagram", _datagrams),
    Scenario("emit-0", "An event without arguments", "emit", "ns/event", _figure("0")),
    Scenario("emit-1", "An event with one argument", "emit", "ns/event", _figure("1")),
    Scenario("emit-3", "An event with three arguments", "emit", "ns/event", _figure("3")),
    Scenario(
        "timers",
        "A million pending timers: one more, one less",
        "timers",
        "CPU us/insert and delete",
        _figure(),
    ),
    *(
        Scenario(
            f"in-process-{what}{'-12' if fields == '12' else ''}",
            f"In Python alone, {title}, {fields} field{'s' if fields != '1' else ''}",
            "in-process",
            "CPU us/request",
            _figure("--figure", what, "--fields", fields, *IN_PROCESS),
        )
        for what, title in (("server", "the server"), ("proxy", "the reverse proxy"))
        for fields in ("1", "12")
    ),
)

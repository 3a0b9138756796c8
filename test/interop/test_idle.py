"""Hundreds of idle connections and ten thousand timers: nothing happens, and nothing is done.

What is counted is work, not time: CPU ticks and wake-ups of the process, then its system calls.
"""

from __future__ import annotations

import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from cli_support import running
from interop_data import Wire, effort
from interop_support import LIMIT_S, Served, interop, thor_server

from thor_support import need_program

pytestmark = interop

CONNECTIONS = 500
TIMERS = 10_000

#: How long is watched: by the kernel's counters, then by strace.
COUNTED_S = 0.5
TRACED_S = 0.5

#: Attaching interrupts the one call that the process waits in, which is then made again.
CALLS = 2


@pytest.fixture(autouse=True)
def _enough_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 200
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def crowd(port: int) -> Iterator[list[Wire]]:
    """Connections of which every other one has made a request, the last one included, so that
    all have been accepted."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Wire.to(port)) for _ in range(CONNECTIONS)]
        for client in clients[1::2]:
            client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.message().start == b"HTTP/1.1 200 OK"
        yield clients


def watch(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let `seconds` go by, in which `process` must not end."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)


def does_nothing(process: subprocess.Popen[bytes]) -> None:
    """Asserts that the process neither runs nor wakes up."""
    before = effort(process.pid)
    watch(process, COUNTED_S)
    assert effort(process.pid) == before
    calls = traced_calls(process)
    if calls is not None:
        assert sum(calls.values()) <= CALLS, calls


def traced_calls(process: subprocess.Popen[bytes]) -> dict[str, int] | None:
    """Watch the system calls of all threads; None where tracing is not permitted."""
    argv = [need_program("strace"), "-c", "-f", "-p", str(process.pid)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        try:
            said = tracer.stderr.readline().decode()
            if "not permitted" in said or "denied" in said:
                return None
            assert "attached" in said
            watch(process, TRACED_S)
            tracer.send_signal(signal.SIGINT)
            table = tracer.stderr.read().decode()
            tracer.wait(LIMIT_S)
        finally:
            tracer.kill()
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", table, re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


def test_server_with_idle_connections_and_timers() -> None:
    with thor_server(TIMERS) as server, crowd(server.port) as clients:
        does_nothing(server.process)
        for client in clients:  # and all of them are alive
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.message().start == b"HTTP/1.1 200 OK"


def test_proxy_with_idle_connections_on_both_sides(node: Served) -> None:
    with (
        running("proxy", "--to", node.url, "--listen", "127.0.0.1:0") as proxy,
        crowd(proxy.port) as clients,
    ):
        for client in clients:
            client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients:
            assert client.message().body == b"Hello, world!"
        does_nothing(proxy.process)
        for client in clients:
            client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.message().body == b"Hello, world!"

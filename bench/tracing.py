"""How many system calls a request takes, by strace.

Owns: attaching to a server under load, and reading strace's summary.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from typing import NamedTuple

from bench import clients, harness
from bench.harness import BenchError, Server

#: How often all connections ask: strace slows a server down to a hundredth.
ROUNDS = 20


class Calls(NamedTuple):
    """System calls of a server per request: of each name, in all."""

    names: dict[str, float]

    @property
    def each(self) -> float:
        return sum(self.names.values())

    def __str__(self) -> str:
        frequent = sorted(self.names.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {count:.2f}" for name, count in frequent if count >= 0.005)


def parse_summary(text: str) -> dict[str, int]:
    """Read what `strace -c` writes: calls by name, without the total."""
    line = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", re.MULTILINE)
    return {name: int(count) for count, name in line.findall(text) if name != "total"}


def measure_calls(server: Server, connections: int) -> Calls:
    """Count a server's calls for requests on connections that are there already, all of which ask
    at once. Raises: BenchError"""
    assert server.process is not None
    with ExitStack() as stack, tempfile.NamedTemporaryFile("r") as summary:
        socks = clients.open_idle(server, connections, stack)
        clients.ask_all(socks)  # a proxy has all of its connections then
        argv = ["strace", "-f", "-c", "-o", summary.name]
        for pid in harness.session_stats(server.process.pid):
            argv += ["-p", str(pid)]
        try:
            strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except OSError as exc:
            raise BenchError(f"missing: strace ({exc.strerror})") from None
        with strace:
            try:
                assert strace.stderr is not None
                said = strace.stderr.readline()  # that it has attached, or why not
                if b"attached" not in said:
                    raise BenchError(f"strace: {said.decode().strip()}")
                for _ in range(ROUNDS):
                    clients.ask_all(socks)
            finally:
                strace.send_signal(signal.SIGINT)
                strace.communicate()
        counted = parse_summary(summary.read())
    return Calls({name: count / ROUNDS / connections for name, count in counted.items()})

"""UDP echo: what a datagram costs, Thor beside asyncio in the same run, and what is left behind.

    python -m bench.udp [--datagrams N] [--bytes N] [--window N] [--rounds N]

A client on another core keeps a window of datagrams on their way and looks at each that comes back.
Prints, for each server, CPU microseconds per datagram, datagrams per second, and by how much its
open descriptors and its memory grew; of the rounds, the median.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench import harness
from bench.harness import BenchError, Server

APPS = Path(__file__).parent / "apps"
#: How long the client waits for a datagram: on the loopback interface none is lost on its way.
PATIENCE_S = 2.0
#: Datagrams before anything is counted: what is made on first use is made by then.
WARM_UP = 20_000


class EchoServer(Server):
    """A UDP echo server in a process of its own."""

    def answers(self) -> bool:
        with open_client(self.port, 0.1) as client:
            try:
                client.send(b"hello")
                return client.recv(16) == b"hello"
            except OSError:
                return False

    def open_fds(self) -> int:
        """How many descriptors the session has open."""
        assert self.process is not None
        sessions = harness.session_stats(self.process.pid)
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in sessions)


class Result(NamedTuple):
    """One round of one server."""

    us: float
    per_s: float
    fds: int
    memory_bytes: int


def open_client(port: int, patience_s: float) -> socket.socket:
    """Connect a client of the server at `port`; its calls block for `patience_s` at most."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    seconds, rest = divmod(patience_s, 1)
    # Not `settimeout`, which would cost it a system call more for each datagram.
    limit = struct.pack("@ll", int(seconds), int(rest * 1e6))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    client.connect(("127.0.0.1", port))
    return client


def exchange(client: socket.socket, datagrams: int, window: int, payload: bytes) -> None:
    """Send so many datagrams, `window` at a time, and receive them again.

    Raises: BenchError if one is lost or changed
    """
    send, recv = client.send, client.recv
    size = len(payload) + 1
    try:
        for _ in range(window):
            send(payload)
        for _ in range(datagrams - window):
            if recv(size) != payload:
                raise BenchError("what came back is not what was sent")
            send(payload)
        for _ in range(window):
            recv(size)
    except BlockingIOError:
        raise BenchError(f"a datagram did not come back within {PATIENCE_S:g} s") from None


def measure(server: EchoServer, datagrams: int, window: int, payload: bytes) -> Result:
    """One round. Raises: BenchError"""
    with open_client(server.port, PATIENCE_S) as client:
        exchange(client, max(WARM_UP, window), window, payload)
        fds, memory, cpu = server.open_fds(), server.pss_bytes(), sum(server.cpu_s())
        began = time.perf_counter()
        exchange(client, datagrams, window, payload)
        took = time.perf_counter() - began
        used = sum(server.cpu_s()) - cpu
        return Result(
            used / datagrams * 1e6,
            datagrams / took,
            server.open_fds() - fds,
            server.pss_bytes() - memory,
        )


def measure_all(args: argparse.Namespace) -> dict[str, list[Result]]:
    """All rounds, the servers in turn."""
    core, load_core = harness.cores()
    os.sched_setaffinity(0, {load_core})
    results: dict[str, list[Result]] = {"thor": [], "asyncio": []}
    for _ in range(args.rounds):
        for name, found in results.items():
            port = harness.free_port()
            argv = [sys.executable, str(APPS / f"udp_{name}.py"), str(port)]
            server = EchoServer(argv, port, core)
            try:
                server.start()
                found.append(measure(server, args.datagrams, args.window, b"x" * args.bytes))
            finally:
                server.stop()
    return results


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="bench.udp", description=__doc__.partition("\n")[0])
    parser.add_argument("--datagrams", type=int, default=1_000_000, help="(default: 1,000,000)")
    parser.add_argument("--bytes", type=int, default=64, help="size of each (default: 64)")
    parser.add_argument("--window", type=int, default=64, help="how many at a time (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    args = parser.parse_args()
    print("\n".join(harness.machine()), end="\n\n")
    results = measure_all(args)
    rows = []
    for name, found in results.items():
        middle = [statistics.median(column) for column in zip(*found, strict=True)]
        memory = f"{middle[3] / 1024:+.0f} KiB"
        rows.append([name, f"{middle[0]:.2f}", f"{middle[1]:,.0f}", f"{middle[2]:+.0f}", memory])
    print(harness.table(["", "us/datagram", "datagrams/s", "fds", "memory"], rows))
    ours, theirs = results["thor"], results["asyncio"]
    costs = harness.ratio([one.us for one in ours], [one.us for one in theirs])
    rates = harness.ratio([one.per_s for one in ours], [one.per_s for one in theirs])
    if costs and rates:
        print(f"\nthor: {costs:.2f} x asyncio's CPU time, {rates:.2f} x its rate")


if __name__ == "__main__":
    main()

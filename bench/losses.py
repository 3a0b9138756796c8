"""How many POSTs a proxy loses when its origin closes pooled connections unannounced.

    python -m bench.losses [--seconds N] [--share P] [--delay MS] [--clients 4,8]

An origin responds and then closes, without `Connection: close`. In front of it run, one after the
other, Thor's proxy, nginx with keep-alive to the origin, and HAProxy; wrk sends them POSTs with a
body of 1 KiB. A POST that is sent on a connection which has just been closed must not be repeated,
so that it is lost: the client gets a 502, or its connection is closed. Prints the share of lost
POSTs for each proxy, and what Thor's check of a pooled connection costs. It takes `--seconds` for
each proxy and number of clients.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import timeit
from collections.abc import Sequence
from pathlib import Path

import thor.loop
from bench import configurations, harness
from bench.harness import Ask, BenchError, Server
from bench.peers import PEERS, Peer, Place
from bench.run import ended_by_signals
from thor.tcp import TcpConnection
from thor.tcp.idle import has_ended

#: The peers that are compared, by name.
NAMES = ("thor", "nginx", "haproxy")
POST = Ask(script="post.lua")
CHECKS = 100_000


def measure_share(server: Server, seconds: int, clients: int, core: int) -> str:
    """Return the share of POSTs that a proxy loses, as text. Raises: BenchError"""
    load = harness.run_wrk(server, seconds, clients, POST, core)
    if not load.requests:
        raise BenchError("no request was answered")
    return f"{100 * load.errors / load.requests:.2f} % of {load.requests:,}"


def measure_proxy(peer: Peer, place: Place, clients: Sequence[int], seconds: int) -> list[str]:
    """Return the row of one proxy: its name, and a share for each number of clients."""
    if missing := peer.missing():
        return [peer.title, *(missing for _ in clients)]
    core, load_core = harness.cores()
    server = Server(peer.command(place), place.port, core)
    try:
        server.start()
        return [peer.title, *(measure_share(server, seconds, n, load_core) for n in clients)]
    finally:
        server.stop()


def measure_all(share: str, delay: str, clients: Sequence[int], seconds: int) -> list[list[str]]:
    """Return the rows of all proxies, measured in front of one origin."""
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = harness.free_port()
        command = configurations.thor("closing_origin.py", share, delay)
        origin = Server(command(Place(port, 0, Path(folder))), port, harness.cores()[1])
        try:
            origin.start()
            peers = [peer for peer in PEERS if peer.role == "proxy" and peer.name in NAMES]
            return [
                measure_proxy(
                    peer,
                    Place(harness.free_port(), port, Path(folder) / peer.name),
                    clients,
                    seconds,
                )
                for peer in peers
            ]
        finally:
            origin.stop()


def measure_check_us() -> float:
    """Return what `has_ended` takes for an open TCP connection, in microseconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, address = listener.accept()
    ours.setblocking(False)
    loop = thor.loop.make()
    conn = TcpConnection(ours, address, loop)
    with theirs:
        best_s = min(timeit.repeat(lambda: has_ended(conn), number=CHECKS, repeat=3))
    loop.stop()
    return best_s / CHECKS * 1e6


def main() -> None:
    """Print the table and the cost of the check."""
    parser = argparse.ArgumentParser(prog="bench.losses", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--seconds", type=int, default=5, help="of load for each figure (default 5)")
    add("--share", default="1", help="of responses that the origin closes after (default 1: all)")
    add("--delay", default="0", help="milliseconds that it waits before, at most (default 0)")
    add("--clients", default="4,8", help="numbers of clients, separated by commas (default 4,8)")
    args = parser.parse_args()
    clients = [int(number) for number in args.clients.split(",")]
    rows = measure_all(args.share, args.delay, clients, args.seconds)
    print("\n".join(harness.machine()), end="\n\n")
    print(harness.table(["POSTs lost", *(f"{n} clients" for n in clients)], rows))
    print(f"\nThor's check of a pooled connection: {measure_check_us():.1f} us")


if __name__ == "__main__":
    main()

"""More clients than descriptors: how many of them get no answer, or a 503.

    python -m bench.descriptors [--limit N] [--clients N] [--seconds N]

Measures `thor proxy` and `thor serve` beside nginx, each with a limit of 64 descriptors. 100
clients at a time connect, make a few requests on their connection, close it, and begin again.
Prints how many requests were answered, which share of them with an error, which share was lost (the
connection ended, or could not be made), and the longest wait of a client for an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import clients, harness
from bench.configurations import (
    NGINX_PROXY,
    NGINX_SERVER,
    Command,
    Place,
    nginx,
    thor_proxy,
    thor_serve,
)
from bench.harness import BenchError, Server

#: Of what is asked for: large enough that a file is not sent in one go.
FILE_BYTES = 1 << 20
REQUESTS_EACH = 5
WAIT_LIMIT_S = 20.0

#: {name: (what is measured, whether it is a proxy)}
SERVERS: dict[str, tuple[Command, bool]] = {
    "thor proxy": (thor_proxy, True),
    "nginx, proxy": (nginx(NGINX_PROXY), True),
    "thor serve": (thor_serve, False),
    "nginx, files": (nginx(NGINX_SERVER), False),
}


@dataclass
class Limited(Server):
    """A server with a limit of descriptors."""

    limit: int = 64

    def pin(self) -> None:
        Server.pin(self)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit, self.limit))


@dataclass
class Count:
    """What became of the requests. longest_s: the longest wait for a whole answer"""

    answered: int = 0
    errors: int = 0
    lost: int = 0
    longest_s: float = 0.0

    def share(self, number: int) -> str:
        """How many of all requests that is, for people."""
        return f"{100 * number / max(self.answered + self.lost, 1):.2f} %"


async def ask(port: int, count: Count) -> None:
    """Make a few requests on one connection, and count what becomes of them."""
    request = clients.HEAD.format("GET /large", "").encode()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        count.lost += 1
        return
    try:
        for _ in range(REQUESTS_EACH):
            before = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            count.longest_s = max(count.longest_s, time.monotonic() - before)
            count.answered += 1
            count.errors += head[9:12] != b"200"
            if b"\r\nconnection: close" in head.lower():
                break
    except (OSError, asyncio.IncompleteReadError, ValueError):
        count.lost += 1
    finally:
        writer.close()


async def keep_asking(port: int, clients_at_once: int, seconds: float) -> Count:
    """Have so many clients ask for some seconds. Raises: TimeoutError if one waits for ever"""
    count = Count()
    until = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < until:
            await asyncio.wait_for(ask(port, count), WAIT_LIMIT_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients_at_once):
            group.create_task(client())
    return count


def run(command: Command, proxy: bool, limit: int, clients_at_once: int, seconds: float) -> Count:
    """Start a server, and what is behind it, and measure it. Raises: BenchError"""
    core, other_core = harness.cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "large").write_bytes(bytes(FILE_BYTES))
        port, origin_port = harness.free_port(), harness.free_port()
        # nginx is to keep the limit: its configuration is otherwise that of all benchmarks.
        argv = command(Place(port, origin_port, folder))
        conf = folder / "nginx.conf"
        if conf.exists():
            conf.write_text(conf.read_text().replace("nofile 65536", f"nofile {limit}"))
        server = Limited(argv, port, core, limit=limit)
        behind = folder / "origin"
        behind.mkdir()
        (behind / "large").write_bytes(bytes(FILE_BYTES))
        origin = Server(nginx(NGINX_SERVER)(Place(origin_port, 0, behind)), origin_port, other_core)
        os.sched_setaffinity(0, {other_core})
        try:
            if proxy:
                origin.start()
            server.start()
            return asyncio.run(keep_asking(port, clients_at_once, seconds))
        except* TimeoutError:
            raise BenchError(f"a client waited for more than {WAIT_LIMIT_S:g} s") from None
        finally:
            server.stop()
            origin.stop()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="bench.descriptors", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--limit", type=int, default=64, help="descriptors (default: 64)")
    parser.add_argument("--clients", type=int, default=100, help="at a time (default: 100)")
    parser.add_argument("--seconds", type=float, default=5.0, help="(default: 5)")
    args = parser.parse_args()
    harness.raise_fd_limit()
    print("\n".join(harness.machine()), end="\n\n", flush=True)
    rows = []
    failed = False
    for name, (command, proxy) in SERVERS.items():
        try:
            count = run(command, proxy, args.limit, args.clients, args.seconds)
        except BenchError as exc:
            print(f"{name}: {exc}", file=sys.stderr, flush=True)
            failed = True
            continue
        shares = [count.share(count.errors), count.share(count.lost)]
        rows.append([name, f"{count.answered:,}", *shares, f"{count.longest_s:.2f} s"])
    print(harness.table(["server", "answered", "errors", "lost", "longest wait"], rows))
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""What is soaked: a proxy, with TLS and without, a server, and static files, on one loop.

Owns: starting them, and telling what they hold. Must not know who asks.

Usage: subject.py LEDGER FILES ORIGIN...; prints a line of JSON with the ports that it took.

What it holds is answered to any request on the port "figures", as JSON; to `/trim`, after it has
collected its garbage.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from program import Program

import thor
import thor.loop.threads
import thor.tls
from thor.files import StaticFiles
from thor.http import HttpServer, HttpServerExchange
from thor.http.client.pool import pool_of
from thor.proxy import Flow, ReverseProxy, Upstream
from thor.types import Address

HOST = "127.0.0.1"
#: Threads that are idle end sooner than usual, so that it need not be waited for.
thor.loop.threads.IDLE_S = 1.0


def port_of(address: Address) -> int:
    """The port of an address."""
    assert isinstance(address, tuple)
    return int(address[1])


class Subject:
    """All that runs."""

    def __init__(self, ledger: Path, files: str, origins: list[str]) -> None:
        self.loop = thor.loop.make()
        self.flows: list[int] = [0, 0]
        self.exceptions = 0
        self.loop.on("error", self.failed)
        certified = thor.tls.self_signed([HOST])
        upstream = Upstream([f"http://{HOST}:{port}" for port in origins])
        # One that is watched, so that each flow is counted, and one that is not.
        self.proxy = ReverseProxy(HOST, 0, upstream, self.loop)
        self.tls_proxy = ReverseProxy(
            HOST, 0, upstream, self.loop, tls=thor.tls.server_context(*certified)
        )
        self.tls_proxy.on("request", lambda flow: self.count(0, flow))
        self.tls_proxy.on("done", lambda flow: self.count(1, flow))
        self.server = HttpServer(HOST, 0, self.loop)
        self.server.on("exchange", Program(ledger, self.loop))
        self.files = HttpServer(HOST, 0, self.loop)
        self.files.on("exchange", StaticFiles(files))
        self.figures = HttpServer(HOST, 0, self.loop)
        self.figures.on("exchange", self.tell)
        for proxy in (self.proxy, self.tls_proxy):
            proxy.client.idle_timeout = 2
        for server in self.servers:
            server.on("refused", lambda *_: None)
            server.on("tls_error", lambda *_: None)

    @property
    def servers(self) -> list[HttpServer]:
        """Those that are asked by clients."""
        return [self.proxy.server, self.tls_proxy.server, self.server, self.files]

    @property
    def ports(self) -> dict[str, int]:
        """Where they listen."""
        return {
            "proxy": port_of(self.proxy.address),
            "tls": port_of(self.tls_proxy.address),
            "server": port_of(self.server.address),
            "files": port_of(self.files.address),
            "figures": port_of(self.figures.address),
        }

    def failed(self, exc: BaseException) -> None:
        """A listener raised."""
        self.exceptions += 1

    def count(self, index: int, flow: Flow) -> None:
        """Count flows that began (0), or are done (1)."""
        self.flows[index] += 1

    def tell(self, exchange: HttpServerExchange) -> None:
        """Answer with what is held."""
        if exchange.uri == b"/trim":
            gc.collect()
        body = json.dumps(self.held()).encode()
        exchange.response_start(200, "OK", [("Content-Length", str(len(body)))])
        exchange.response_body(body)
        exchange.response_done([], close=True)

    def held(self) -> dict[str, int]:
        """What is held, in numbers."""
        open_fds = [fd for fd in map(_leads_to, os.listdir("/proc/self/fd")) if fd]
        # A few are kept for later: the bodies that are moved without being read go through them.
        pipes = sum(fd.startswith("pipe:") for fd in open_fds)
        timers = [event for _, event in self.loop.scheduled_events()]
        pool = pool_of(self.loop).origin_pools.values()
        return {
            "fds": len(open_fds) - pipes,
            "pipes": pipes,
            "sources": len(self.loop.registered_fd_handlers()),
            "timers": len([timer for timer in timers if timer is not self.loop.deadlines._timer]),
            "threads": threading.active_count(),
            "connections": sum(len(server.connections) for server in self.servers),
            "tunnels": len(self.proxy.tunnels) + len(self.tls_proxy.tunnels),
            "pooled": sum(len(group.open) for group in pool),
            "flows": self.flows[0] - self.flows[1],
            "exceptions": self.exceptions,
            "objects": len(gc.get_objects()),
            "kilobytes": resident_kilobytes(),
        }


def _leads_to(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one that listed them
        return ""


def resident_kilobytes() -> int:
    """The memory that this process has (VmRSS of proc(5))."""
    with open("/proc/self/status", encoding="ascii") as status:
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status.read(), re.MULTILINE)
    assert found
    return int(found[1])


def main() -> None:
    """Run until the process is ended."""
    _, ledger, files, *origins = sys.argv
    subject: Any = Subject(Path(ledger), files, origins)
    sys.stdout.write(json.dumps(subject.ports) + "\n")
    sys.stdout.flush()
    subject.loop.run()


if __name__ == "__main__":
    main()

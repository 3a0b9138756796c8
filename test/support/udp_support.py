"""What the tests of endpoints share: raw sockets whose side the test plays, names of its own.

Owns: helpers that are plain. Must not know any test.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from thor import UdpEndpoint
from thor.loop import LoopBase
from thor.testing import Recorder
from thor_support import run_loop

#: Blocking calls of a peer that a test plays end by then; nothing waits for it otherwise.
PEER_LIMIT_S = 10.0
#: All that an endpoint can emit, in the order of the docstring.
EVENTS = ("start", "datagram", "socket_error", "stop")
V4, V6 = "127.0.0.1", "::1"

needs_icmp = pytest.mark.skipif(
    sys.platform != "linux", reason="tells ICMP's errors to connected sockets only"
)


class Bench:
    """A loop, endpoints on it with what they emit, and peers that the test plays."""

    def __init__(self, loop: LoopBase, stack: ExitStack) -> None:
        self.loop = loop
        self.stack = stack

    def endpoint(self, host: str | None = V4, **options: Any) -> tuple[UdpEndpoint, Recorder]:
        """An endpoint that receives, bound to a port of `host` (None: not bound)."""
        endpoint = UdpEndpoint(self.loop, **options)
        self.stack.callback(endpoint.shutdown)
        heard = Recorder(endpoint, *EVENTS)
        if host is not None:
            endpoint.bind(host, 0)
            self.turns()
            assert heard.take() == [("start",)]
        endpoint.pause(False)
        return endpoint, heard

    def peer(self, host: str = V4) -> socket.socket:
        """A raw socket, bound."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.settimeout(PEER_LIMIT_S)
        sock.bind((host, 0))
        return sock

    def dead_port(self, host: str = V4) -> int:
        """A port that nobody has: it was ours a moment ago."""
        with socket.socket(self.peer(host).family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
            return port_of(sock)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.loop.run_once()

    def run(self, until: Callable[[], object]) -> None:
        run_loop(self.loop, until)

    def hear(self, heard: Recorder, count: int = 1) -> list[tuple[Any, ...]]:
        """The next `count` events."""
        self.run(lambda: len(heard.events) >= count)
        return heard.take()


def port_of(sock: socket.socket | UdpEndpoint) -> int:
    """The port that a socket, or an endpoint, is bound to."""
    address: Any = sock.address if isinstance(sock, UdpEndpoint) else sock.getsockname()
    return int(address[1])


def data_of(events: list[tuple[Any, ...]]) -> list[bytes]:
    """The data of `datagram` events, which are all that there may be."""
    assert {event[0] for event in events} <= {"datagram"}
    return [event[1] for event in events]


class Names:
    """A `getaddrinfo` that knows what the test tells it: name to addresses, best first."""

    def __init__(self) -> None:
        self.real = socket.getaddrinfo
        self.known: dict[bytes, list[str]] = {}
        self.asked: list[bytes] = []

    def __call__(
        self, host: Any, port: Any, family: int, kind: int, proto: int, flags: int
    ) -> list[Any]:
        if flags & socket.AI_NUMERICHOST or b":" in host or host[:1].isdigit():
            return self.real(host, port, family, kind, proto, flags)
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, kind, 17, "", (ip, 0, 0, 0))
            if ":" in ip
            else (socket.AF_INET, kind, 17, "", (ip, 0))
            for ip in self.known[host]
        ]

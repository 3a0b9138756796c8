"""The proxy's cases: over sockets, and in memory a byte at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import proxy_connection_cases
import proxy_ending_cases
import proxy_request_cases
import proxy_response_cases
import pytest
from conformance_messages import rechunked
from conformance_world import Peer, World, memory, sockets
from shapes import CLOSED, OPEN, RESET, Mark, ProxyCase, Step, Turn, Wait, over_sockets

from thor.http.client.pool import pool_of
from thor.http.server import HttpServer
from thor.loop import LoopBase
from thor.proxy import ReverseProxy, Upstream

TABLES = (
    proxy_connection_cases,
    proxy_ending_cases,
    proxy_request_cases,
    proxy_response_cases,
)
CASES: list[ProxyCase] = [case for table in TABLES for case in table.CASES]

#: What shows that a connection is good for another request: one that ends at the proxy.
PROBE = b"OPTIONS /probe HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
PROBED = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Run:
    """A case in a world."""

    def __init__(self, world: World, case: ProxyCase) -> None:
        self.world = world
        self.case = case
        settings = {"send_date": False, "tcp_server_class": world.tcp_server}
        server_class = type("ServerUnderTest", (HttpServer,), settings)
        proxy_class = type("ProxyUnderTest", (ReverseProxy,), {"server_class": server_class})
        for name in case.origins:
            world.listen(name, refuse=name in case.down)
        upstream = Upstream([f"http://{name}" for name in case.origins])
        self.proxy: ReverseProxy = proxy_class(
            "proxy", 80, upstream, world.loop, **{"pseudonym": "fred", **case.settings}
        )
        self.proxy.client.tcp_client_class = world.tcp_client
        for name, value in case.client.items():
            assert hasattr(self.proxy.client, name)
            setattr(self.proxy.client, name, value)
        self.client: Peer = world.connect(self.proxy)
        #: How much of what each peer has received was looked at.
        self.taken: dict[str, int] = {}

    def peer(self, who: str) -> Any:
        """A peer by its name in the table; fails if it does not come."""
        if who == "client":
            return self.client
        name = who.rstrip("0123456789")
        index = int(who[len(name) :] or 1) - 1
        assert self.world.until(lambda: len(self.world.accepted[name]) > index), who
        return self.world.accepted[name][index]

    def play(self, bytewise: bool = False) -> None:
        """Go through the conversation."""
        for turn in self.case.turns:
            getattr(self, f"_{turn.does}")(turn, bytewise)
            self.world.settle()
        names = {turn.who for turn in self.case.turns}
        there = {
            name if index == 0 else f"{name}{index + 1}"
            for name, peers in self.world.accepted.items()
            for index in range(len(peers))
        }
        assert there == names - {"client"}
        for who in names:
            assert len(self.peer(who).received) == self.taken.get(who, 0), who

    def _sends(self, turn: Turn, bytewise: bool) -> None:
        for step in turn.what:
            self._send(self.peer(turn.who), step, bytewise)
            self.world.settle()

    def _send(self, peer: Peer, step: Step, bytewise: bool) -> None:
        if isinstance(step, bytes):
            size = 1 + len(step) // 2000 if bytewise else len(step)
            for at in range(0, len(step), size):
                if not peer.lost:
                    peer.send(step[at : at + size])
                    if bytewise:
                        self.world.settle()
        elif isinstance(step, Wait):
            self.world.advance(step.seconds)
        elif step is Mark.FIN:
            peer.finish()
        else:
            peer.reset()

    def _gets(self, turn: Turn, bytewise: bool) -> None:
        peer = self.peer(turn.who)
        start = self.taken.get(turn.who, 0)
        expected = rechunked(turn.what)
        self.world.until(lambda: rechunked(peer.received[start:]) == expected)
        assert rechunked(peer.received[start:]) == expected
        self.taken[turn.who] = len(peer.received)

    def _ends(self, turn: Turn, bytewise: bool) -> None:
        peer = self.peer(turn.who)
        if turn.what == OPEN:
            start = len(peer.received)
            peer.send(PROBE)
            assert self.world.until(lambda: peer.received[start:] == PROBED)
            self.taken[turn.who] = len(peer.received)
        elif turn.what == RESET or turn.who != "client":
            assert self.world.until(lambda: peer.lost or (turn.what != RESET and peer.ended))
        else:
            assert turn.what == CLOSED
            assert self.world.until(lambda: peer.ended)
            assert not peer.lost

    def end(self) -> None:
        """Whatever the case, nothing is left."""
        self.client.close()
        for peers in self.world.accepted.values():
            for peer in peers:
                peer.close()
        self.world.advance(2)  # a relay that waited for a 100 has a timer of a second
        groups = pool_of(self.world.loop).origin_pools.values()
        assert self.world.until(lambda: not self.proxy.server.connections)
        assert self.world.until(lambda: not any(group.open for group in groups))
        assert self.proxy.tunnels == []
        self.proxy.shutdown()
        self.world.settle()


def params(cases: list[ProxyCase]) -> list[Any]:
    return [pytest.param(case, id=f"{case.rule}-{case.id}") for case in cases]


def run(world: World, case: ProxyCase, bytewise: bool = False) -> None:
    """Run a case, which compares as it goes."""
    running = Run(world, case)
    running.play(bytewise)
    running.end()


@pytest.mark.parametrize("case", params(over_sockets(CASES)))
def test_case_over_a_socket(
    case: ProxyCase, make_loop: Callable[..., LoopBase], poller: str
) -> None:
    with sockets(make_loop, poller) as world:
        run(world, case)


@pytest.mark.parametrize("case", params([case for case in CASES if case.cut]))
def test_case_in_memory(case: ProxyCase) -> None:
    for bytewise in (False, True):
        with memory() as world:
            run(world, case, bytewise)

"""The client's cases: over sockets, in memory a byte at a time, and on the reader alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import client_body_cases
import client_connection_cases
import client_head_cases
import client_request_cases
import pytest
from conformance_messages import cut_everywhere
from conformance_world import Peer, World, memory, sockets
from shapes import CLOSED, GONE, OPEN, TUNNEL, ClientCase, Mark, Step, Wait, over_sockets
from wire_support import read_responses

from thor.http.client import HttpClient
from thor.http.client.pool import pool_of
from thor.http.wire.limits import Limits
from thor.loop import LoopBase
from thor.testing import Recorder

TABLES = (
    client_body_cases,
    client_connection_cases,
    client_head_cases,
    client_request_cases,
)
CASES: list[ClientCase] = [case for table in TABLES for case in table.CASES]

EVENTS = (
    "response_nonfinal",
    "response_start",
    "response_body",
    "response_done",
    "upgrade",
    "error",
)
TERMINAL = ("response_done", "upgrade", "error")
#: Settings of a client that are its reader's.
LIMITS = ("max_head_bytes", "max_head_fields", "fold")
#: One more informational response than there may be, if those before another count.
NEXT = b"HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


def params(cases: list[ClientCase]) -> list[Any]:
    return [pytest.param(case, id=f"{case.rule}-{case.id}") for case in cases]


class Run:
    """A case in a world."""

    def __init__(self, world: World, case: ClientCase) -> None:
        self.world = world
        self.case = case
        world.listen("origin", refuse=case.down)
        self.client = HttpClient(world.loop)
        self.client.tcp_client_class = world.tcp_client
        for name, value in case.settings.items():
            assert hasattr(self.client, name)
            setattr(self.client, name, value)
        self.exchange = self.client.exchange()
        self.heard = Recorder(self.exchange, *EVENTS)
        self.tunnel: Any = None
        self.tunnelled = b""
        self.exchange.on("upgrade", self._upgraded)
        if case.pauses:
            self.exchange.on("response_start", lambda *_: self.exchange.pause(True))

    def _upgraded(self, conn: Any) -> None:
        self.tunnel = conn
        conn.on("data", self._tunnel_data)
        conn.pause(False)

    def _tunnel_data(self, data: bytes) -> None:
        self.tunnelled += data

    @property
    def peers(self) -> list[Any]:
        """The origin's ends of all connections."""
        return self.world.accepted["origin"]

    @property
    def peer(self) -> Peer:
        """The origin's end of the first connection."""
        peer: Peer = self.peers[0]
        return peer

    # -- what is done --------------------------------------------------------------------------

    def play(self, bytewise: bool = False) -> None:
        """Ask, and answer."""
        case, exchange = self.case, self.exchange
        exchange.request_start(
            case.ask.method, case.ask.uri, list(case.ask.fields), **dict(case.ask.options)
        )
        if case.early:
            assert self.world.until(lambda: self.peers)
            self.peer.send(case.early)
            self.world.settle()
        for piece in case.ask.body:
            exchange.request_body(piece)
        if case.ask.done:
            exchange.request_done(list(case.ask.trailers))
        self.world.settle()
        if case.sends:
            assert self.world.until(lambda: b"\r\n\r\n" in self.peer.received)
            self._send(self.peer, case.sends, bytewise)
        if case.again:
            assert self.world.until(lambda: len(self.peers) == 2)
            assert self.world.until(lambda: b"\r\n\r\n" in self.peers[1].received)
            self._send(self.peers[1], case.again, bytewise)
        self.world.until(self._is_over)
        self.world.settle()

    def _send(self, peer: Peer, steps: tuple[Step, ...], bytewise: bool) -> None:
        for step in steps:
            if isinstance(step, bytes):
                size = 1 + len(step) // 2000 if bytewise else len(step)
                for at in range(0, len(step), size):
                    if not (peer.ended or peer.lost):
                        peer.send(step[at : at + size])
                        if bytewise:
                            self.world.settle()
            elif isinstance(step, Wait):
                self.world.advance(step.seconds)
            elif step is Mark.FIN:
                peer.finish()
            elif step is Mark.GO:
                self.exchange.pause(False)
            else:
                peer.reset()
            self.world.settle()

    def _is_over(self) -> bool:
        """Whether what is required has happened; what is found then may still be wrong."""
        names = [event[0] for event in self.heard.events]
        over = bool(set(names).intersection(TERMINAL))
        if self.case.then == CLOSED:
            return over and all(self._has_ended(peer) for peer in self.peers)
        if self.case.then == TUNNEL:
            return self.tunnelled == self.case.tunnel
        return over or self.case.then not in (OPEN, GONE)

    def _has_ended(self, peer: Peer) -> bool:
        return peer.ended or peer.lost

    # -- what is required ----------------------------------------------------------------------

    def check(self) -> None:
        """Compare what has happened with the case."""
        case, events = self.case, self.heard.events
        nonfinal = tuple(int(event[1]) for event in events if event[0] == "response_nonfinal")
        starts = [event for event in events if event[0] == "response_start"]
        if case.status == 101:
            assert nonfinal[-1:] == (101,)
            nonfinal = nonfinal[:-1]
        else:
            assert [int(event[1]) for event in starts] == [case.status] * (case.status is not None)
        assert nonfinal == case.nonfinal
        if starts:
            assert case.phrase in (None, starts[0][2])
            assert case.fields in (None, tuple(starts[0][3]))
        body = b"".join(event[1] for event in events if event[0] == "response_body")
        assert body == case.body
        self._check_end()
        assert len(self.peers) == case.attempts
        if case.sent is not None:
            assert (self.peer.received if self.peers else b"") == case.sent
        self._check_connection()

    def _check_end(self) -> None:
        """There is at most one terminal event, the last, and it is the one that is due."""
        case, events = self.case, self.heard.events
        ends = [event for event in events if event[0] in TERMINAL]
        assert events[-1:] == ends or not ends
        if case.error:
            assert [type(event[-1]).__name__ for event in ends] == [case.error]
        elif case.then == TUNNEL:
            assert [event[0] for event in ends] == ["upgrade"]
            assert self.tunnelled == case.tunnel
        elif case.then in (OPEN, CLOSED, GONE):
            assert ends == [("response_done", list(case.trailers))]
        else:
            assert ends == []

    def _check_connection(self) -> None:
        case = self.case
        if case.then == OPEN:
            self._ask_again()
        elif case.then == CLOSED:
            assert all(self._has_ended(peer) for peer in self.peers)
        elif case.then == TUNNEL:
            self.tunnel.write(b"\0\r\n")
            assert self.world.until(lambda: self.peer.received.endswith(b"\0\r\n"))

    def _ask_again(self) -> None:
        """The connection is good for another request, and nothing is mixed up."""
        peer = self.peers[-1]
        before = len(peer.received)
        exchange = self.client.exchange()
        heard = Recorder(exchange, *EVENTS)
        authority = urlsplit(self.case.ask.uri).netloc or "origin"
        exchange.request_start("GET", f"http://{authority}/next", [])
        exchange.request_done([])
        assert self.world.until(lambda: len(peer.received) > before)
        peer.send(NEXT)
        assert self.world.until(lambda: heard.events[-1:] == [("response_done", [])])
        assert [event[1] for event in heard.events[:2]] == [b"103", b"200"]
        assert heard.events[2] == ("response_body", b"next")
        assert len(self.peers) == self.case.attempts

    def end(self) -> None:
        """Whatever the case, nothing is left."""
        self.exchange.cancel()
        if self.tunnel is not None:
            self.tunnel.abort()
        for peer in self.peers:
            peer.close()
        self.world.settle()
        groups = pool_of(self.world.loop).origin_pools.values()
        assert self.world.until(lambda: not any(group.open for group in groups))
        assert not any(group.connecting or group.waiting for group in groups)


def run(world: World, case: ClientCase, bytewise: bool = False) -> None:
    """Run a case and compare."""
    running = Run(world, case)
    running.play(bytewise)
    running.check()
    running.end()


@pytest.mark.parametrize("case", params(over_sockets(CASES)))
def test_case_over_a_socket(
    case: ClientCase, make_loop: Callable[..., LoopBase], poller: str
) -> None:
    with sockets(make_loop, poller) as world:
        run(world, case)


@pytest.mark.parametrize("case", params(CASES))
def test_case_in_memory(case: ClientCase) -> None:
    with memory() as world:
        run(world, case)
    if case.is_parsing:
        check_reader(case)
    else:
        with memory() as world:
            run(world, case, bytewise=True)


def check_reader(case: ClientCase) -> None:
    """Read the case's bytes whole, byte by byte, and cut in two at every point."""
    limits: dict[str, Any] = {"fold": "unfold"} | {
        k: v for k, v in case.settings.items() if k in LIMITS
    }
    methods = [case.ask.method.encode("ascii")]
    upgrade = "upgrade" in dict(case.ask.options)
    data = b"".join(step for step in case.sends if isinstance(step, bytes))
    eof = case.sends[-1] is Mark.FIN
    for pieces in cut_everywhere(data):
        outcome = read_responses(pieces, methods, Limits(**limits), eof=eof, upgrade=upgrade)
        assert (outcome.error.__name__ if outcome.error else "") == case.error, pieces
        check_outcome(case, outcome.messages)


def check_outcome(case: ClientCase, messages: list[Any]) -> None:
    """Compare what the reader has found with the case."""
    nonfinal = tuple(m.head.status_code for m in messages if m.head.status_code < 200)
    final = [m for m in messages if m.head.status_code >= 200 or m.head.status_code == 101]
    assert [m.head.status_code for m in final] == [case.status] * (case.status is not None)
    assert nonfinal == case.nonfinal + (101,) * (case.status == 101)
    for message in final:
        assert message.body == case.body
        assert tuple(message.trailers) == case.trailers
        assert message.complete is not bool(case.error)
        assert case.phrase in (None, message.head.phrase)
        assert case.fields in (None, tuple(message.head.headers))

"""The server's cases in memory, in one piece and in many; some over sockets as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import server_answer_cases
import server_chunk_cases
import server_connection_cases
import server_framing_cases
import server_head_cases
import server_switch_cases
import server_target_cases
from conformance_messages import Response, cut_everywhere, responses
from conformance_world import Peer, World, memory, sockets
from shapes import (
    CLOSED,
    GONE,
    OPEN,
    RESET,
    TUNNEL,
    Answer,
    Mark,
    Seen,
    ServerCase,
    Wait,
    over_sockets,
)
from tls_support import serving
from wire_support import Message, read_requests

from thor.http.error import OutputError
from thor.http.server import HttpServer, HttpServerExchange
from thor.http.server.server import WIRE_LIMITS
from thor.http.wire.limits import Limits
from thor.loop import LoopBase
from thor.testing import Recorder

TABLES = (
    server_answer_cases,
    server_chunk_cases,
    server_connection_cases,
    server_framing_cases,
    server_head_cases,
    server_switch_cases,
    server_target_cases,
)
CASES: list[ServerCase] = [case for table in TABLES for case in table.CASES]

#: What shows that a connection is good for another request.
PROBE = b"GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LARGE = b"x" * (16 << 20)


def params(cases: list[ServerCase]) -> list[Any]:
    return [pytest.param(case, id=f"{case.rule}-{case.id}") for case in cases]


# -- the program ----------------------------------------------------------------------------------


class Program:
    """What the program of a case does with each exchange.

    seen: what it got; raised: the errors that were raised in it
    """

    def __init__(self, case: ServerCase) -> None:
        self.case = case
        self.exchanges: list[HttpServerExchange] = []
        self.heard: list[Recorder] = []
        self.raised: list[str] = []
        self.put_off: list[Callable[[], None]] = []
        self.tunnel: Any = None

    def exchange(self, exchange: HttpServerExchange) -> None:
        """A request has come."""
        events = ("request_start", "request_body", "request_done", "error", "close", "done")
        self.exchanges.append(exchange)
        self.heard.append(Recorder(exchange, *events))
        program = self.case.program
        if exchange.uri == b"/probe":
            exchange.on("request_done", lambda _: self.answer(exchange))
        elif isinstance(program, Answer):
            exchange.on("request_done", lambda _: self.send(exchange, program))
        else:
            getattr(self, "_" + program.replace(" ", "_"))(exchange)

    def answer(self, exchange: HttpServerExchange, **more: Any) -> None:
        """An answer of two bytes."""
        exchange.response_start(200, "OK", [("Content-Length", "2")])
        exchange.response_body(b"ok")
        exchange.response_done([], **more)

    def send(self, exchange: HttpServerExchange, answer: Answer) -> None:
        """Send what a table says; where that raises, end it somehow else."""
        try:
            for status in answer.nonfinal:
                exchange.response_nonfinal(status, "", [])
            exchange.response_start(answer.status, answer.phrase, answer.fields)
        except OutputError as exc:
            self.raised.append(type(exc).__name__)
            exchange.response_start(500, "", [("Content-Length", "0")])
            exchange.response_done([])
            return
        try:
            for piece in answer.body:
                exchange.response_body(piece)
            exchange.response_done(answer.trailers)
        except OutputError as exc:
            self.raised.append(type(exc).__name__)
            if type(exc).__name__ != "OutputStateError":
                exchange.response_done([])

    def go(self) -> None:
        """What the program had put off, the oldest of it."""
        self.put_off.pop(0)()

    def _answer(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_done", lambda _: self.answer(exchange))

    def _early(self, exchange: HttpServerExchange) -> None:
        exchange.remove_listeners("request_body")  # it does not read
        exchange.on("request_start", lambda *_: self.answer(exchange))

    def _mute(self, exchange: HttpServerExchange) -> None:
        self._answer(exchange)
        exchange.on("expect_continue", lambda: None)

    def _half(self, exchange: HttpServerExchange) -> None:
        def rest() -> None:
            exchange.response_body(b"ok")
            exchange.response_done([])

        exchange.response_start(200, "OK", [("Content-Length", "2")])
        self.put_off.append(rest)

    def _hold(self, exchange: HttpServerExchange) -> None:
        self.put_off.append(lambda: self.answer(exchange))

    def _pause(self, exchange: HttpServerExchange) -> None:
        self._answer(exchange)
        exchange.pause(True)
        self.put_off.append(lambda: exchange.pause(False))

    def _close(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_done", lambda _: self.answer(exchange, close=True))

    def _no_length(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_done", lambda _: self.send(exchange, Answer(body=(b"ok",))))

    def _large(self, exchange: HttpServerExchange) -> None:
        length = ("Content-Length", str(len(LARGE)))
        exchange.on(
            "request_done",
            lambda _: self.send(exchange, Answer(fields=(length,), body=(LARGE,))),
        )

    def _not_implemented(self, exchange: HttpServerExchange) -> None:
        answer = Answer(501, "", (("Content-Length", "0"),))
        exchange.on("request_done", lambda _: self.send(exchange, answer))

    def _upgrade(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_done", lambda _: self.switch(exchange))

    def _upgrade_at_once(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_start", lambda *_: self.switch(exchange))
        exchange.on("request_done", lambda _: self.answer(exchange))

    def switch(self, exchange: HttpServerExchange) -> None:
        """Switch to a protocol that echoes, if it was offered; answer as usual if not."""
        try:
            conn = self.tunnel = exchange.upgrade("echo")
        except OutputError as exc:
            self.raised.append(type(exc).__name__)
            if self.case.program == "upgrade":
                self.answer(exchange)
            return
        conn.on("data", conn.write)
        conn.pause(False)

    # -- what came of it -----------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """The requests that it got, but for the one that shows that the connection is good."""
        found = []
        for exchange, heard in zip(self.exchanges, self.heard, strict=True):
            if exchange.uri == b"/probe":
                continue
            events = heard.events
            body = b"".join(event[1] for event in events if event[0] == "request_body")
            done = [event[1] for event in events if event[0] == "request_done"]
            trailers = tuple(done[0]) if done else ()
            fields = tuple(exchange.req_hdrs)
            found.append(Seen(exchange.method, exchange.uri, body, fields, trailers, bool(done)))
        return found

    def errors(self) -> list[str]:
        """The errors that ended exchanges."""
        ends = [event[1] for heard in self.heard for event in heard.events if event[0] == "done"]
        return [type(error).__name__ for error in ends if error is not None]

    def ends_are_told_once(self) -> None:
        """Each exchange has one terminal event, its last; an error comes with `close`."""
        for heard in self.heard:
            names = [event[0] for event in heard.events]
            assert names[0] == "request_start"
            assert names.count("done") == 1
            assert names[-1] == "done"
            assert names.count("error") == names.count("close") <= 1
            for event in heard.events:
                if event[0] == "error":
                    assert event[1] is heard.events[-1][1]


def same(expected: tuple[Seen, ...], found: list[Seen]) -> None:
    """Compare requests; fields only where a case says which."""
    shown = [
        one._replace(fields=None) if other.fields is None else one
        for one, other in zip(found, expected, strict=False)
    ]
    assert [*shown, *found[len(shown) :]] == list(expected)


# -- over a connection ----------------------------------------------------------------------------


class Run:
    """A case in a world."""

    def __init__(self, world: World, case: ServerCase) -> None:
        self.world = world
        self.case = case
        self.program = Program(case)
        settings = {
            "send_date": False,
            "tcp_server_class": world.tcp_server,
            "tls_server_class": world.tls_server,
            **case.settings,
        }
        options = {"tls": serving()} if settings.pop("tls", False) else {}
        self.server: HttpServer = type("ServerUnderTest", (HttpServer,), settings)(
            "origin", 80, world.loop, **options
        )
        self.refused: list[Exception] = []
        self.server.on("exchange", self.program.exchange)
        self.server.on("refused", lambda _, error: self.refused.append(error))
        self.server.on("tls_error", lambda _, error: self.refused.append(error))
        self.peer: Peer = world.connect(self.server)

    def play(self, bytewise: bool = False) -> None:
        """Do the steps of the case."""
        for step in self.case.sends:
            if isinstance(step, bytes):
                self._send(step, bytewise)
            elif isinstance(step, Wait):
                self.world.advance(step.seconds)
            else:
                self._mark(step)
            self.world.settle()
        self.world.until(self._is_over)
        self.world.settle()

    def _send(self, data: bytes, bytewise: bool) -> None:
        if not bytewise:
            self.peer.send(data)
            return
        size = 1 + len(data) // 2000
        for at in range(0, len(data), size):
            if self.peer.ended or self.peer.lost:
                break
            self.peer.send(data[at : at + size])
            self.world.settle()

    def _mark(self, mark: Mark) -> None:
        if mark is Mark.GO:
            self.program.go()
        elif mark is Mark.DRAIN:
            self.server.graceful_shutdown()
        elif mark is Mark.FIN:
            self.peer.finish()
        elif mark is Mark.RST:
            self.peer.reset()
        else:
            self.peer.stop_reading()

    def _is_over(self) -> bool:
        """Whether what is required has happened; what is found then may still be wrong."""
        case = self.case
        if case.then == CLOSED:
            return self.peer.ended or self.peer.lost
        if case.then == RESET:
            return self.peer.lost
        if case.then == GONE:
            return not self.server.connections
        if isinstance(case.gets, bytes):
            return len(self.peer.received) >= len(case.gets + case.rest)
        return sum(one.complete for one in self.got()[0]) >= len(case.gets)

    def got(self) -> tuple[list[Response], bytes]:
        """The responses that have come, and what is behind them."""
        return responses(self.peer.received, [one.method for one in self.program.seen()])

    # -- what is required ----------------------------------------------------------------------

    def check(self) -> None:
        """Compare what has happened with the case."""
        case = self.case
        same(case.seen, self.program.seen())
        if isinstance(case.gets, bytes):
            assert self.peer.received == case.gets + case.rest
        else:
            found, rest = self.got()
            assert [one.status for one in found] == list(case.gets)
            assert rest == case.rest
            self._check_refusal(found)
        errors = [type(error).__name__ for error in self.refused] + self.program.errors()
        assert errors == [case.error] * bool(case.error)
        assert self.program.raised == [case.raises] * bool(case.raises)
        self._check_end()

    def _check_refusal(self, found: list[Response]) -> None:
        """An answer of the server's own is short and constant, and says that it closes."""
        if self.case.error and found and self.case.then in (CLOSED, GONE):
            last = found[-1]
            assert last.values(b"connection") == [b"close"]
            assert last.values(b"content-type") == [b"text/plain"]
            phrase = self.peer.received.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n")[0]
            assert last.body in (phrase[4:] + b"\n", b"")
            assert last.complete
            assert len(last.fields) == 3

    def _check_end(self) -> None:
        case, peer = self.case, self.peer
        if case.then != GONE:
            assert peer.ended is (case.then == CLOSED)
            assert peer.lost is (case.then == RESET)
        if case.then == OPEN:
            before = len(peer.received)
            peer.send(PROBE)
            assert self.world.until(lambda: peer.ended)
            (probe,), rest = responses(peer.received[before:], [b"GET"])
            assert (probe.status, probe.body, rest) == (200, b"ok", b"")
        elif case.then == TUNNEL:
            before = len(peer.received)
            peer.send(b"\0\r\n\r\n")
            assert self.world.until(lambda: len(peer.received) >= before + 5)
            assert peer.received[before:] == b"\0\r\n\r\n"

    def end(self) -> None:
        """Whatever the case, nothing is left: no connection, no exchange that was not ended."""
        peer = self.peer
        if self.case.then != GONE:
            peer.close()
        if self.program.tunnel is not None:
            self.program.tunnel.abort()
        assert self.world.until(lambda: not self.server.connections)
        self.server.shutdown()
        self.world.settle()
        self.program.ends_are_told_once()


def run(world: World, case: ServerCase, bytewise: bool = False) -> None:
    """Run a case and compare."""
    running = Run(world, case)
    running.play(bytewise)
    running.check()
    running.end()


@pytest.mark.parametrize("case", params(over_sockets(CASES)))
def test_case_over_a_socket(
    case: ServerCase, make_loop: Callable[..., LoopBase], poller: str
) -> None:
    with sockets(make_loop, poller) as world:
        run(world, case)


@pytest.mark.parametrize("case", params([case for case in CASES if case.cut]))
def test_case_in_memory(case: ServerCase) -> None:
    with memory() as world:
        run(world, case)
    if case.is_parsing:
        check_reader(case)
    else:
        with memory() as world:
            run(world, case, bytewise=True)


# -- the reader alone -----------------------------------------------------------------------------


def check_reader(case: ServerCase) -> None:
    """Read the case's bytes whole, byte by byte, and cut in two at every point."""
    settings = {name: value for name, value in case.settings.items() if name in WIRE_LIMITS}
    eof = case.sends[-1] is Mark.FIN
    data = b"".join(step for step in case.sends if isinstance(step, bytes))
    for cut in cut_everywhere(data):
        outcome = read_requests(cut, Limits(**settings), eof=eof)
        same(case.seen, [read(message) for message in outcome.messages])
        assert (outcome.error.__name__ if outcome.error else "") == case.error, cut


def read(message: Message) -> Seen:
    """A message of the reader's, as the program would see it."""
    head: Any = message.head
    fields, trailers = tuple(head.headers), tuple(message.trailers)
    return Seen(head.method, head.target, message.body, fields, trailers, message.complete)

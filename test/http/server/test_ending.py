"""How exchanges and connections end: the client goes, a listener raises, the server is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from server_support import (
    CHUNKED,
    HELLO,
    ServerHarness,
    answer,
    answering,
    chunks,
    request,
)

from thor.http.server import HttpServerExchange
from thor.tcp import TcpConnection
from thor.testing import Peer

POST = request(method="POST", body=b"hello")
LOST = [("error", "ConnectError"), ("close",), ("done", "ConnectError")]


def start(exchange: HttpServerExchange) -> None:
    exchange.response_start(200, "OK", [])
    exchange.response_body("some")


#: How far an exchange is when something happens to it: (what was sent, what the program did).
MOMENTS: dict[str, tuple[bytes, Callable[[HttpServerExchange], Any] | None]] = {
    "in the body": (CHUNKED + chunks(b"ab"), None),
    "in the body, answering": (CHUNKED + chunks(b"ab"), start),
    "waiting for the answer": (request(), None),
    "in the answer": (request(), start),
    "paused": (CHUNKED + chunks(b"ab"), lambda exchange: exchange.pause(True)),
    "expecting": (request("/", "Expect: 100-continue", "Content-Length: 5"), None),
}


@pytest.fixture(params=MOMENTS.keys())
def moment(request: pytest.FixtureRequest) -> tuple[ServerHarness, Peer]:
    data, handler = MOMENTS[request.param]
    stage = ServerHarness(handler)
    return stage, stage.client().send(data)


def assert_lost(stage: ServerHarness, error: str = "ConnectError") -> None:
    """The exchange was lost, once, and may be answered by a program that does not know it yet."""
    assert stage.events()[-3:] == [("error", error), ("close",), ("done", error)]
    assert [stage.names().count(name) for name in ("error", "close", "done")] == [1, 1, 1]
    exchange = stage.exchange
    for _ in range(2):
        exchange.response_nonfinal(103, "Early Hints", [])
        exchange.response_start(200, "OK", [])
        assert exchange.response_body(b"late") is True
        exchange.response_done([("X", "y")])
        exchange.pause(True)
        exchange.pause(False)
    stage.settle()
    assert stage.names().count("done") == 1
    assert exchange.events() == []


# -- the client goes ----------------------------------------------------------------------------


def test_a_reset_is_told_in_the_same_turn_and_later_answers_are_dropped(
    moment: tuple[ServerHarness, Peer],
) -> None:
    stage, client = moment
    client.abort()
    stage.loop.run_once()
    assert_lost(stage)
    assert stage.exchange.http_conn.tcp_conn is None
    assert stage.server.connections == []


def test_the_error_says_what_the_network_said() -> None:
    stage = ServerHarness()
    stage.client().send(request()).abort()
    [error] = [event[1] for event in stage.heard[0].events if event[0] == "error"]
    assert "reset by peer" in str(error)


def test_a_reset_before_a_request_is_told_to_nobody() -> None:
    stage = ServerHarness()
    stage.client().abort()
    stage.client().send(b"GET / HT").abort()
    assert (stage.exchanges, stage.refused, stage.server.connections) == ([], [], [])


def test_a_reset_while_reading_is_paused_is_told_too() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    client = stage.client().send(CHUNKED + chunks(b"x" * 300_000))
    assert stage.server_side(client).read_paused
    client.abort()
    assert_lost(stage)


def test_a_client_gone_before_a_pipelined_answer_gets_no_more() -> None:
    stage = ServerHarness()
    client = stage.client().send(request("/1") + request("/2"))
    client.abort()
    assert_lost(stage)
    assert len(stage.exchanges) == 1


def test_a_client_gone_before_the_last_byte_left_is_told_by_done_alone() -> None:
    stage = ServerHarness()
    client = stage.client().pause().send(request())
    answer(stage.exchange, b"x" * 1000)
    stage.settle()
    assert stage.names()[-1] == "request_done"
    client.abort()
    assert stage.events()[-2:] == [("request_done", []), ("done", "ConnectError")]


def test_done_tells_which_of_several_answers_have_left() -> None:
    stage = ServerHarness(answering)
    client = stage.client().pause().send(request() * 3).read(len(HELLO) + 10)
    assert stage.events(0)[-1] == ("done", None)
    assert "done" not in stage.names(1) + stage.names(2)
    client.abort()
    assert [stage.events(i)[-1] for i in (1, 2)] == [("done", "ConnectError")] * 2


def test_an_answer_in_the_moment_of_a_reset_has_not_left() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.loop.schedule(1, answer, stage.exchange)
    kernel: Any = stage.server_side(client).socket
    kernel.reset()
    stage.loop.clock.advance(1)  # type: ignore[attr-defined]
    stage.settle()
    assert stage.names() == ["request_start", "request_done", "done"]
    assert stage.events()[-1] == ("done", "ConnectError")


def test_an_answer_on_a_connection_that_cannot_send_any_more_has_not_left() -> None:
    stage = ServerHarness(answering)
    client = stage.client()
    kernel: Any = stage.server_side(client).socket
    kernel.buffer_bytes = 1_000_000
    kernel.fail("send", BrokenPipeError(32, "Broken pipe"))
    client.send(request(method="PUT", body=b"x" * 65_536) + request("/2"))
    assert [exchange.uri for exchange in stage.exchanges] == [b"/", b"/2"]
    assert [stage.events(i)[-1] for i in (0, 1)] == [("done", "ConnectError")] * 2


def test_done_comes_when_the_last_byte_left_and_not_before() -> None:
    stage = ServerHarness(answering)
    client = stage.client().pause().send(request())
    assert stage.names() == ["request_start"]
    client.pause(False)
    assert stage.events()[-1] == ("done", None)


def test_done_can_be_listened_for_after_the_response() -> None:
    done: list[Any] = []

    def handler(exchange: HttpServerExchange) -> None:
        answer(exchange)
        exchange.on("done", done.append)

    ServerHarness(handler).client().send(request())
    assert done == [None]


def test_done_reaches_a_sink() -> None:
    class Log:
        entries: list[Any] = []

        def done(self, error: Any) -> None:
            self.entries.append(error)

    def handler(exchange: HttpServerExchange) -> None:
        exchange.sink(Log())
        answer(exchange)

    stage = ServerHarness()
    stage.server.remove_listeners("exchange")
    stage.server.on("exchange", handler)
    stage.client().send(request())
    assert Log.entries == [None]


def test_done_of_a_response_that_closes_is_done_without_error() -> None:
    stage = ServerHarness(answering)
    stage.client().send(request("/", "Connection: close"))
    assert stage.events()[-1] == ("done", None)
    assert stage.names().count("done") == 1


def test_an_error_that_nobody_hears_is_logged_for_information(expected_logs: Any) -> None:
    stage = ServerHarness()
    stage.server.remove_listeners("exchange")
    stage.server.on("exchange", lambda exchange: None)
    stage.client().send(request("/x")).abort()
    [record] = expected_logs.records
    assert record.levelname == "INFO"
    assert "GET '/x'" in record.getMessage()
    assert "Connection failed" in record.getMessage()


# -- a listener raises --------------------------------------------------------------------------

SERVER_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n"
    b"Connection: close\r\n\r\nInternal Server Error\n"
)


class Boom(Exception):
    pass


def boom(*_: Any) -> None:
    raise Boom


def raising_stage(handler: Callable[[HttpServerExchange], Any] | None = None) -> ServerHarness:
    stage = ServerHarness(handler)
    stage.loop.on_exception = "log"
    return stage


@pytest.mark.parametrize("event", ["exchange", "request_start", "request_body", "request_done"])
@pytest.mark.usefixtures("expected_logs")
def test_a_listener_that_raises_before_the_answer_is_a_500(event: str) -> None:
    stage = raising_stage(boom if event == "exchange" else lambda exch: exch.on(event, boom))
    client = stage.client().send(POST + request())
    assert client.take() == SERVER_ERROR
    assert client.is_ended
    assert not client.is_reset
    assert len(stage.exchanges) == 1
    assert_lost(stage, "OutputStateError")


@pytest.mark.parametrize("event", ["request_start", "request_body", "request_done", "pause"])
@pytest.mark.usefixtures("expected_logs")
def test_a_listener_that_raises_in_the_answer_resets(event: str) -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [])
        exchange.on(event, boom)
        if event == "pause":
            exchange.on("request_done", lambda _: exchange.response_body(b"x" * 1_000_000))

    stage = raising_stage(handler)
    client = stage.client().send(POST)
    assert client.is_reset
    assert_lost(stage, "OutputStateError")


@pytest.mark.parametrize("event", ["exchange", "request_start", "request_body", "request_done"])
@pytest.mark.usefixtures("expected_logs")
def test_a_listener_that_raises_after_the_answer_harms_nobody(event: str) -> None:
    def answer_and_raise(exchange: HttpServerExchange) -> None:
        answer(exchange)
        raise Boom

    def handler(exchange: HttpServerExchange) -> None:
        if event == "exchange":
            answer_and_raise(exchange)
        exchange.on(event, lambda *_: answer_and_raise(exchange))

    stage = raising_stage(handler)
    client = stage.client().send(POST)
    assert client.take() == HELLO
    assert stage.events()[-1] == ("done", None)
    assert stage.names().count("done") == 1
    client.send(POST)
    assert client.take() == HELLO


@pytest.mark.parametrize("event", ["error", "close", "done"])
@pytest.mark.usefixtures("expected_logs")
def test_a_listener_that_raises_at_the_end_keeps_nobody_else_from_hearing_of_it(event: str) -> None:
    stage = raising_stage(lambda exchange: exchange.on(event, boom))
    stage.client().send(request()).abort()
    assert_lost(stage)
    assert stage.server.connections == []


@pytest.mark.usefixtures("expected_logs")
def test_a_raising_done_does_not_reach_the_next_exchange() -> None:
    stage = raising_stage()
    client = stage.client().send(request("/1") + request("/2"))
    stage.exchanges[0].on("done", boom)
    answer(stage.exchange)
    assert client.take() == HELLO
    answer(stage.exchange)
    assert client.take() == HELLO


@pytest.mark.usefixtures("expected_logs")
def test_a_raising_refused_does_not_take_back_the_answer() -> None:
    stage = raising_stage()
    stage.server.on("refused", boom)
    client = stage.client().send(b"X\n")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.is_ended
    assert stage.server.connections != []  # it lingers, so that the answer is not lost


@pytest.mark.usefixtures("expected_logs")
def test_a_listener_of_the_tcp_connection_that_raises_closes_it_after_the_answer() -> None:
    stage = raising_stage(answering)
    client = stage.client()
    stage.server_side(client).on("data", boom)
    client.send(request())
    assert client.take() == HELLO
    assert client.is_ended


def test_what_a_program_raises_of_the_http_errors_is_its_own_fault(expected_logs: Any) -> None:
    stage = raising_stage(lambda exchange: exchange.response_start(200, "OK", [("a b", "c")]))
    client = stage.client().send(request())
    assert client.take() == SERVER_ERROR
    assert stage.refused == []
    assert any("OutputSyntaxError" in text for text in expected_logs.at_least(40))


@pytest.mark.usefixtures("expected_logs")
def test_the_500_to_head_has_no_body() -> None:
    client = raising_stage(boom).client().send(request(method="HEAD"))
    assert client.take() == SERVER_ERROR.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


# -- the program ends the connection ------------------------------------------------------------


def _tcp_conn(exchange: HttpServerExchange) -> TcpConnection:
    tcp_conn = exchange.http_conn.tcp_conn
    assert tcp_conn is not None
    return tcp_conn


def pause_and_resume(stage: ServerHarness, exchange: HttpServerExchange) -> None:
    exchange.pause(True)
    exchange.pause(False)


ENDINGS: dict[str, Callable[[ServerHarness, HttpServerExchange], Any]] = {
    "tcp abort": lambda _, exchange: _tcp_conn(exchange).abort(),
    "tcp close": lambda _, exchange: _tcp_conn(exchange).close(),
    "connection shutdown": lambda _, exchange: exchange.http_conn.shutdown(),
    "server shutdown": lambda stage, _: stage.server.shutdown(),
    "graceful shutdown": lambda stage, _: stage.server.graceful_shutdown(),
    "loop stop": lambda stage, _: stage.loop.stop(),
    "pause": pause_and_resume,
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
@pytest.mark.parametrize("then", ["answer", "leave"])
@pytest.mark.parametrize(
    "event", ["exchange", "request_start", "request_body", "request_done", "error", "close", "done"]
)
def test_anything_may_be_ended_inside_any_listener(
    event: str, then: str, ending: Callable[[ServerHarness, HttpServerExchange], Any]
) -> None:
    ended: list[str] = []

    def end(exchange: HttpServerExchange) -> None:
        ended.append(event)
        if exchange.http_conn.tcp_conn is not None or ending not in TCP_ENDINGS:
            ending(stage, exchange)
        if then == "answer" and event.startswith(("ex", "req")):
            answer(exchange)

    def handler(exchange: HttpServerExchange) -> None:
        if event == "exchange":
            end(exchange)
        else:
            exchange.on(event, lambda *_: end(exchange))

    stage = ServerHarness(handler)
    client = stage.client().send(POST + request("/2"))
    client.abort()
    stopped = ending is ENDINGS["loop stop"] and ended
    if stage.exchange.uri == b"/" and not stopped:
        assert stage.names().count("done") == 1
    assert all(heard.count("done") <= 1 for heard in map(stage.names, range(len(stage.heard))))
    assert event in ("error", "close", "done") or ended


def test_an_exchange_that_is_lost_before_it_started_does_not_start() -> None:
    stage = ServerHarness(lambda exchange: exchange.http_conn.shutdown())
    stage.client().send(POST)
    assert stage.events() == LOST


TCP_ENDINGS = (ENDINGS["tcp abort"], ENDINGS["tcp close"])


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("ending", TCP_ENDINGS, ids=["abort", "close"])
def test_an_exchange_whose_connection_the_program_ends_is_lost(
    ending: Callable[[ServerHarness, HttpServerExchange], Any], size: int, begun: bool
) -> None:
    stage = ServerHarness(start if begun else None)
    client = stage.client().send(request())
    before = client.take()
    ending(stage, stage.exchange)
    if not begun:
        stage.exchange.response_start(200, "OK", [])
    assert stage.exchange.response_body(b"x" * size) is True
    stage.exchange.response_done([])
    assert client.take() == b""
    assert bool(before) is begun
    assert client.is_closed
    assert_lost(stage)


def test_an_answer_followed_by_a_close_of_the_connection_is_sent() -> None:
    stage = ServerHarness(answer)
    stage.server.on("exchange", lambda exchange: ENDINGS["tcp close"](stage, exchange))
    client = stage.client().send(request())
    assert client.take() == HELLO
    assert client.is_ended
    assert stage.events() == [("done", None)]


def test_an_answer_followed_by_an_abort_of_the_connection_is_not() -> None:
    stage = ServerHarness(answer)
    stage.server.on("exchange", lambda exchange: ENDINGS["tcp abort"](stage, exchange))
    client = stage.client().send(request())
    assert client.is_reset
    assert client.take() == b""
    assert stage.events() == [("done", "ConnectError")]

"""What keeps a connection open and what ends it: versions, Connection, Expect, early answers."""

from __future__ import annotations

from typing import Any

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

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# -- persistence --------------------------------------------------------------------------------


def test_a_1_0_response_of_unknown_length_ends_with_the_connection() -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [])
        exchange.response_body("hello")
        exchange.response_done([("X", "y")])

    client = (
        ServerHarness(handler).client().send(request("/", "Connection: keep-alive", version="1.0"))
    )
    assert client.take() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert client.is_ended
    assert not client.is_reset


# -- Expect -------------------------------------------------------------------------------------

EXPECTING = request("/", "Expect: 100-continue", "Content-Length: 5", method="POST")


def test_who_listens_for_expect_continue_decides() -> None:
    stage = ServerHarness(lambda exchange: exchange.on("expect_continue", asked.append))
    asked: list[Any] = []
    stage.handler = lambda exchange: exchange.on("expect_continue", lambda: asked.append(1))
    client = stage.client().send(EXPECTING)
    assert asked == [1]
    exchange = stage.exchange
    exchange.pause(True)
    exchange.pause(False)
    assert client.take() == b""
    exchange.response_nonfinal(100, "Continue", [])
    assert client.take() == CONTINUE
    client.send(b"hello")
    answer(exchange)
    assert client.take() == HELLO
    assert not client.is_closed


def test_a_sink_that_knows_expect_continue_decides() -> None:
    class Sink:
        asked = 0

        def expect_continue(self) -> None:
            self.asked += 1

    sink = Sink()
    client = ServerHarness(lambda exchange: exchange.sink(sink)).client().send(EXPECTING)
    assert sink.asked == 1
    assert client.take() == b""


def test_continue_is_sent_once_and_not_by_whom_has_answered() -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.on("request_start", lambda *_: exchange.response_nonfinal(100, "Go", []))

    client = ServerHarness(handler).client().send(EXPECTING)
    assert client.take() == b"HTTP/1.1 100 Go\r\n\r\n"
    started = ServerHarness(lambda exchange: exchange.response_start(200, "OK", []))
    assert b"100" not in started.client().send(EXPECTING).take()


def test_who_has_begun_to_answer_is_not_asked_whether_to_continue() -> None:
    asked: list[Any] = []

    def handler(exchange: HttpServerExchange) -> None:
        exchange.on("expect_continue", lambda: asked.append(1))
        exchange.response_start(200, "OK", [])

    ServerHarness(handler).client().send(EXPECTING)
    assert asked == []


# -- early answers ------------------------------------------------------------------------------


def test_a_rest_that_is_too_long_ends_the_connection_and_not_the_answer() -> None:
    stage = ServerHarness(answering, drain_bytes=10_000, linger_bytes=10_000)
    client = stage.client().send(request("/", "Content-Length: 1000000", method="POST"))
    client.send(b"x" * 10_001)
    assert client.take() == HELLO
    assert client.is_ended
    assert not client.is_reset
    client.send(b"x" * 9_000)
    assert stage.server.connections != []  # it still reads, so that no reset destroys the answer
    client.send(b"x" * 1_001)
    assert not client.is_reset
    stage.advance(2)
    assert stage.server.connections == []


def test_an_early_answer_in_pieces_lets_the_body_come_meanwhile() -> None:
    stage = ServerHarness()
    client = stage.client().send(CHUNKED)
    exchange = stage.exchange
    exchange.response_start(200, "OK", [])
    client.send(chunks(b"ab"))
    exchange.response_body("cd")
    client.send(chunks(b"ef"))
    assert stage.events()[1:] == [("request_body", b"abef")]
    exchange.response_done([])
    client.send(chunks(b"gh") + b"0\r\n\r\n" + request("/2"))
    assert stage.names(0) == ["request_start", "request_body", "done"]
    assert stage.exchange.uri == b"/2"

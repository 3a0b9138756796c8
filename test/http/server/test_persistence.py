"""What keeps a connection open and what ends it: versions, Connection, Expect, early answers."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import (
    CHUNKED,
    HELLO,
    HELLO_CLOSE,
    ServerHarness,
    answer,
    answering,
    answering_done,
    chunks,
    request,
)

from thor.http.server import HttpServerExchange

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# -- persistence --------------------------------------------------------------------------------

CLOSE, KEEP = b"\r\nConnection: close", b"\r\nConnection: keep-alive"


@pytest.mark.parametrize(
    ("version", "connection", "persists", "says"),
    [
        ("1.1", None, True, b""),
        ("1.1", "close", False, CLOSE),
        ("1.1", "Close, x", False, CLOSE),
        ("1.1", "keep-alive", True, b""),
        ("1.1", "keep-alive, close", False, CLOSE),
        ("1.0", None, False, CLOSE),
        ("1.0", "keep-alive", True, KEEP),
        ("1.0", "Keep-Alive", True, KEEP),
        ("1.0", "keep-alive, close", False, CLOSE),
    ],
)
def test_who_asks_for_it_keeps_the_connection(
    version: str, connection: str | None, persists: bool, says: bytes
) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    client = ServerHarness(answering).client().send(request("/", *fields, version=version))
    assert client.take() == HELLO.replace(b": 5", b": 5" + says)
    assert client.is_ended is not persists


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


def test_a_request_after_connection_close_is_ignored() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(request("/", "Connection: close") + request("/2"))
    assert client.take() == HELLO_CLOSE
    assert len(stage.exchanges) == 1
    client.send(request("/3"))
    assert len(stage.exchanges) == 1
    assert client.is_ended
    assert not client.is_reset


def test_the_program_can_close_after_a_response() -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [("Content-Length", "0")])
        exchange.response_done([], close=True)

    stage = ServerHarness(handler)
    client = stage.client().send(request() + request())
    assert client.take() == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert client.is_ended
    assert len(stage.exchanges) == 1


# -- Expect -------------------------------------------------------------------------------------

EXPECTING = request("/", "Expect: 100-continue", "Content-Length: 5", method="POST")


def test_a_program_that_reads_makes_the_server_say_continue() -> None:
    stage = ServerHarness(answering_done)
    client = stage.client().send(EXPECTING)
    assert client.take() == CONTINUE
    assert client.send(b"hello").take() == HELLO
    assert client.send(request()).take() == HELLO


def test_a_paused_program_says_continue_when_it_reads_on() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    client = stage.client().send(EXPECTING)
    assert client.take() == b""
    stage.exchange.pause(False)
    assert client.take() == CONTINUE
    client.send(b"hello")
    assert stage.names() == ["request_start", "request_body", "request_done"]


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


def test_a_final_answer_instead_of_continue_closes_unless_the_body_was_sent() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(EXPECTING)
    assert client.take() == HELLO_CLOSE
    assert client.is_ended
    client.send(b"GET /smuggled HTTP/1.1\r\nHost: origin\r\n\r\n")
    assert len(stage.exchanges) == 1
    other = stage.client().send(EXPECTING + b"hello")
    assert other.take() == HELLO
    assert not other.is_closed
    assert other.send(request()).take() == HELLO


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


def test_a_client_that_does_not_wait_for_continue_keeps_its_connection() -> None:
    stage = ServerHarness(lambda exchange: exchange.on("expect_continue", lambda: None))
    client = stage.client().send(EXPECTING, b"he")
    answer(stage.exchange)
    assert client.take() == HELLO
    client.send(b"llo" + request("/2"))
    assert stage.exchange.uri == b"/2"


def test_a_1_0_client_gets_no_continue() -> None:
    client = ServerHarness(answering_done).client()
    client.send(request("/", "Expect: 100-continue", "Content-Length: 5", version="1.0"))
    assert client.take() == b""
    assert client.send(b"hello").take() == HELLO_CLOSE


def test_an_empty_body_needs_no_continue() -> None:
    client = ServerHarness(answering_done).client()
    client.send(request("/", "Expect: 100-continue", "Content-Length: 0", method="POST"))
    assert client.take() == HELLO


# -- early answers ------------------------------------------------------------------------------


def test_the_rest_of_an_answered_request_is_dropped_and_the_connection_goes_on() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(request("/", "Content-Length: 100000", method="POST"))
    assert client.take() == HELLO
    client.send(b"x" * 50_000, b"x" * 50_000, request("/next"))
    assert client.take() == HELLO
    assert [exchange.uri for exchange in stage.exchanges] == [b"/", b"/next"]
    assert stage.names(0) == ["request_start", "done"]


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


def answering_unread(exchange: HttpServerExchange) -> None:
    exchange.remove_listeners("request_body")
    answering(exchange)


@pytest.mark.parametrize(
    ("framing", "says"),
    [
        ("Content-Length: 10000", HELLO),
        ("Content-Length: 10001", HELLO_CLOSE),
        ("Transfer-Encoding: chunked", HELLO_CLOSE),
    ],
)
def test_an_answer_says_whether_a_rest_that_nobody_reads_is_too_long(
    framing: str, says: bytes
) -> None:
    """A client that has sent all of it needs to know, before it sends its next request."""
    stage = ServerHarness(answering_unread, drain_bytes=10_000)
    client = stage.client().send(request("/", framing, method="POST"))
    assert client.take() == says
    assert client.is_ended is (says is HELLO_CLOSE)


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

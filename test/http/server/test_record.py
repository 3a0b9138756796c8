"""What an exchange notes for an access log."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import CHUNKED, ServerHarness, answer, answering, request

from thor.http.server import HttpServerExchange, RecordedExchange


def recorded(handler: Any = answering) -> tuple[ServerHarness, list[tuple[Any, ...]]]:
    """A server, and of each exchange that is done: status, bytes, error."""
    done: list[tuple[Any, ...]] = []

    def handle(exchange: HttpServerExchange) -> None:
        assert isinstance(exchange, RecordedExchange)

        def note(error: Any) -> None:
            assert error is exchange.error
            kind = type(error).__name__ if error else None
            done.append((exchange.status, exchange.response_bytes, kind))

        exchange.on("done", note)
        handler(exchange)

    return ServerHarness(handle, exchange_class=RecordedExchange), done


def test_record_has_the_request_and_the_time_it_took() -> None:
    stage, _ = recorded(lambda exchange: None)
    before = stage.loop.time()
    stage.client().send(request("/a?b", "X: y"))
    exchange: Any = stage.exchange
    assert (exchange.method, exchange.path, exchange.version) == (b"GET", b"/a?b", b"1.1")
    assert (b"X", b"y") in exchange.request_headers
    assert (exchange.duration_s, exchange.started) == (None, before)
    stage.advance(1.5)
    answer(exchange)
    stage.settle()
    assert exchange.started == before
    assert exchange.duration_s == 1.5
    assert exchange.client.address[0] == "127.0.0.1"


@pytest.mark.parametrize("status", [200, "200", b"200"])
def test_record_has_the_status_however_it_is_given(status: Any) -> None:
    stage, done = recorded(lambda exchange: answer(exchange, status=status))
    stage.client().send(request())
    assert done == [(b"200", 5, None)]


def test_record_counts_the_bytes_of_each_pipelined_response_alone() -> None:
    stage, done = recorded()
    stage.client().send(request() + request("/", method="HEAD") + request())
    assert done == [(b"200", 5, None), (b"200", 0, None), (b"200", 5, None)]


def test_record_counts_the_bytes_that_a_lost_client_was_sent() -> None:
    stage, done = recorded(lambda exchange: answer(exchange, b"x" * 1000))
    client = stage.client().pause()
    client.send(request())
    head = len(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    client.read(head + 100)
    client.abort()
    [(status, sent, error)] = done
    assert (status, error) == (b"200", "ConnectError")
    assert 100 <= sent < 1000


def test_record_of_a_client_that_leaves_before_the_response_has_no_status() -> None:
    stage, done = recorded(lambda exchange: exchange.on("error", lambda _: None))
    stage.client().send(request()).abort()
    assert done == [(None, 0, "ConnectError")]


def test_record_has_the_answer_that_the_server_makes_itself() -> None:
    stage, done = recorded(lambda exchange: exchange.on("error", lambda _: None))
    client = stage.client().send(CHUNKED + b"x\r\n")
    received = client.take()
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    body = received.partition(b"\r\n\r\n")[2]
    assert done == [(b"400", len(body), "ChunkError")]

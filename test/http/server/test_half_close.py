"""Clients that finish sending (FIN): what they asked for is answered, what they cut short not."""

from __future__ import annotations

from server_support import (
    CHUNKED,
    HELLO,
    HELLO_CLOSE,
    ServerHarness,
    answer,
    answering,
    chunks,
    request,
)

from thor.http.server import HttpServerExchange


def start(exchange: HttpServerExchange) -> None:
    exchange.response_start(200, "OK", [])
    exchange.response_body("some")


def assert_lost(stage: ServerHarness, error: str = "ConnectError") -> None:
    assert stage.events()[-3:] == [("error", error), ("close",), ("done", error)]


def test_what_was_asked_before_a_fin_is_answered_in_full() -> None:
    stage = ServerHarness()
    client = stage.client().send(request("/1") + request("/2")).end()
    assert not client.is_closed
    answer(stage.exchange)
    assert client.take() == HELLO
    answer(stage.exchange)
    assert client.take() == HELLO_CLOSE
    assert client.is_ended
    assert stage.server.connections == []
    assert [exchange.uri for exchange in stage.exchanges] == [b"/1", b"/2"]
    assert all(stage.events(i)[-1] == ("done", None) for i in range(2))


def test_a_body_cut_short_in_the_answer_resets() -> None:
    stage = ServerHarness(start)
    client = stage.client().send(CHUNKED + chunks(b"abc")).end()
    assert client.is_reset
    assert_lost(stage, "IncompleteMessageError")


def test_a_body_cut_short_while_paused_is_found_on_resuming() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    stage.client().send(CHUNKED + chunks(b"abc")).end()
    assert stage.names() == ["request_start"]
    stage.exchange.pause(False)
    stage.settle()
    assert stage.names()[1:] == ["request_body", "error", "close", "done"]


def test_a_fin_in_the_rest_of_an_answered_request_closes() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED + chunks(b"abc")).end()
    assert client.take() == HELLO
    assert client.is_ended
    assert stage.server.connections == []
    assert stage.events()[-1] == ("done", None)


def test_a_fin_can_be_taken_for_going_away() -> None:
    stage = ServerHarness(start, abort_on_half_close=True)
    client = stage.client().send(request()).end()
    assert client.is_reset
    assert_lost(stage)

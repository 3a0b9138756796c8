"""The close after an answer: late enough that the answer arrives, and not later than that."""

from __future__ import annotations

import pytest
from server_support import HELLO, Client, Stage, request

from thor.http.server import HttpServerExchange


def refused(stage: Stage) -> Client:
    client = stage.client().send(b"X\n")
    assert client.ended
    return client


def test_a_client_that_does_not_close_is_closed_after_a_while() -> None:
    stage = Stage(linger_timeout=2)
    client = refused(stage)
    stage.advance(1.9)
    assert len(stage.server.connections) == 1
    client.send(b"more")
    stage.advance(0.2)
    assert stage.server.connections == []


def test_a_client_that_closes_is_waited_for_no_longer() -> None:
    stage = Stage()
    refused(stage).close()
    assert stage.server.connections == []


def test_a_client_that_goes_on_sending_is_read_up_to_a_bound_and_then_closed_in_time() -> None:
    """It may be about to read its answer, which a reset would destroy."""
    stage = Stage(linger_bytes=1000, linger_timeout=2)
    client = refused(stage).send(b"x" * 1000, b"x")
    read = client.server_side.bytes_read
    client.send(b"x" * 1000)
    assert client.server_side.bytes_read == read
    assert not client.lost
    stage.advance(2)
    assert stage.server.connections == []


def test_a_client_that_reads_its_answer_late_and_closes_is_waited_for_no_longer() -> None:
    stage = Stage(linger_bytes=1000)
    client = refused(stage).send(b"x" * 1001, b"x" * 1000)
    assert client.take().startswith(b"HTTP/1.1 400 ")
    client.close()
    assert stage.server.connections == []


def test_lingering_can_be_done_without() -> None:
    stage = Stage(linger_timeout=None)
    assert refused(stage).received.startswith(b"HTTP/1.1 400 ")
    assert stage.server.connections == []


def test_lingering_begins_when_the_answer_has_left() -> None:
    stage = Stage(linger_timeout=2, send_timeout=100)
    client = stage.client().stop_reading().send(b"X\n")
    stage.advance(50)
    assert len(stage.server.connections) == 1
    client.read_on()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.ended
    assert not client.lost


def closing(exchange: HttpServerExchange) -> None:
    exchange.response_start(200, "OK", [("Content-Length", "5")])
    exchange.response_body(b"hello")
    exchange.response_done([], close=True)


def test_a_request_sent_before_the_close_was_seen_does_not_destroy_the_answer() -> None:
    stage = Stage(closing)
    client = stage.client().send(request())
    assert client.ended
    client.send(request("/next"))
    assert not client.lost
    assert client.take() == HELLO
    assert len(stage.exchanges) == 1
    client.close()
    assert stage.server.connections == []


def test_a_client_that_asked_for_the_close_is_not_waited_for() -> None:
    stage = Stage(closing)
    client = stage.client().send(request("/", "Connection: close"))
    assert client.ended
    assert stage.server.connections == []


@pytest.mark.usefixtures("expected_logs")
def test_what_was_too_much_to_read_ahead_is_read_while_lingering() -> None:
    stage = Stage(lambda exchange: exchange.pause(True), linger_bytes=1_000_000)
    stage.loop.on_exception = "log"
    client = stage.client().send(request("/", "Content-Length: 300000", method="PUT"))
    client.send(b"x" * 300_000)
    assert client.server_side.read_paused
    stage.exchange.on("request_body", lambda _: 1 / 0)
    stage.exchange.pause(False)
    assert client.take().startswith(b"HTTP/1.1 500 ")
    stage.advance(3)
    assert stage.server.connections == []
    assert not client.lost  # as it would be, had the server closed over unread bytes

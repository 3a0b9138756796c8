"""The close after an answer: late enough that the answer arrives, and not later than that."""

from __future__ import annotations

import pytest
from server_support import HELLO, ServerHarness, request

from thor.http.server import HttpServerExchange
from thor.testing import Peer


def refused(stage: ServerHarness) -> Peer:
    client = stage.client().send(b"X\n")
    assert client.is_ended
    return client


def test_a_client_that_goes_on_sending_is_read_up_to_a_bound_and_then_closed_in_time() -> None:
    """It may be about to read its answer, which a reset would destroy."""
    stage = ServerHarness(linger_bytes=1000, linger_timeout=2)
    client = refused(stage).send(b"x" * 1000, b"x")
    read = stage.server_side(client).bytes_read
    client.send(b"x" * 1000)
    assert stage.server_side(client).bytes_read == read
    assert not client.is_reset
    stage.advance(2)
    assert stage.server.connections == []


def test_a_client_that_reads_its_answer_late_and_closes_is_waited_for_no_longer() -> None:
    stage = ServerHarness(linger_bytes=1000)
    client = refused(stage).send(b"x" * 1001, b"x" * 1000)
    assert client.take().startswith(b"HTTP/1.1 400 ")
    client.close()
    assert stage.server.connections == []


def test_lingering_begins_when_the_answer_has_left() -> None:
    stage = ServerHarness(linger_timeout=2, send_timeout=100)
    client = stage.client().pause().send(b"X\n")
    stage.advance(50)
    assert len(stage.server.connections) == 1
    client.pause(False)
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.is_ended
    assert not client.is_reset


def closing(exchange: HttpServerExchange) -> None:
    exchange.response_start(200, "OK", [("Content-Length", "5")])
    exchange.response_body(b"hello")
    exchange.response_done([], close=True)


def test_a_request_sent_before_the_close_was_seen_does_not_destroy_the_answer() -> None:
    stage = ServerHarness(closing)
    client = stage.client().send(request())
    assert client.is_ended
    client.send(request("/next"))
    assert not client.is_reset
    assert client.take() == HELLO
    assert len(stage.exchanges) == 1
    client.close()
    assert stage.server.connections == []


def test_a_client_that_asked_for_the_close_is_not_waited_for() -> None:
    stage = ServerHarness(closing)
    client = stage.client().send(request("/", "Connection: close"))
    assert client.is_ended
    assert stage.server.connections == []


@pytest.mark.usefixtures("expected_logs")
def test_what_was_too_much_to_read_ahead_is_read_while_lingering() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True), linger_bytes=1_000_000)
    stage.loop.on_exception = "log"
    client = stage.client().send(request("/", "Content-Length: 300000", method="PUT"))
    client.send(b"x" * 300_000)
    assert stage.server_side(client).read_paused
    stage.exchange.on("request_body", lambda _: 1 / 0)
    stage.exchange.pause(False)
    assert client.take().startswith(b"HTTP/1.1 500 ")
    stage.advance(3)
    assert stage.server.connections == []
    assert not client.is_reset  # as it would be, had the server closed over unread bytes

"""How long the server waits for whom, and what it does then."""

from __future__ import annotations

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
from thor.testing import Peer

PART = b"GET / HTTP/1.1\r\nHost: ori"
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\n"


def polls(stage: ServerHarness) -> int:
    """How many times the loop has woken."""
    return int(stage.loop.fds.poller.polls)  # type: ignore[union-attr]


# -- idle ---------------------------------------------------------------------------------------


def test_an_answer_from_outside_of_the_loop_begins_the_idle_time_then() -> None:
    stage = ServerHarness(idle_timeout=5)
    client = stage.client().send(request())
    stage.loop.clock.advance(4)  # type: ignore[attr-defined]
    answer(stage.exchange)
    assert client.take() == HELLO
    stage.advance(4.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_ended


@pytest.mark.parametrize("none", [None, 0])
def test_no_idle_time_is_no_limit_between_requests(none: Any) -> None:
    stage = ServerHarness(answering, idle_timeout=none)
    client = stage.client().send(request())
    stage.advance(1_000_000)
    assert client.send(request()).take() == HELLO * 2
    client.send(PART)
    stage.advance(31)
    assert client.take().startswith(REQUEST_TIMEOUT)  # the deadline of a head stays


def test_an_empty_line_behind_a_slow_request_is_no_way_round_the_idle_time() -> None:
    stage = ServerHarness(idle_timeout=5)
    client = stage.client().send(request() + b"\r\n")
    stage.advance(100)
    answer(stage.exchange)
    stage.advance(4.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.take() == HELLO
    assert client.is_ended


def test_the_idle_time_begins_when_the_rest_of_a_request_is_through() -> None:
    stage = ServerHarness(answering, idle_timeout=5, body_timeout=None)
    client = stage.client().send(CHUNKED)
    stage.advance(100)
    client.send(b"0\r\n\r\n")
    stage.advance(4.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.take() == HELLO
    assert client.is_ended


def test_idle_connections_wake_nobody() -> None:
    stage = ServerHarness(answering, idle_timeout=1000)
    for client in [stage.client() for _ in range(50)]:
        client.send(request())
    stage.advance(900)
    before = polls(stage)
    stage.advance(90)
    assert polls(stage) - before <= 4  # what `advance` itself takes


def test_an_answer_that_is_still_leaving_is_no_idle_time() -> None:
    stage = ServerHarness(idle_timeout=5, send_timeout=100)
    client = stage.client().pause().send(request())
    answer(stage.exchange, b"x" * 1000)
    stage.advance(20)
    assert not client.is_closed
    client.pause(False)
    assert client.take().endswith(b"x" * 1000)
    assert not client.is_closed
    stage.advance(5.1)
    assert client.is_ended


# -- heads --------------------------------------------------------------------------------------


def test_a_head_behind_a_slow_answer_has_its_own_time() -> None:
    stage = ServerHarness(head_timeout=10)
    client = stage.client().send(request() + PART)
    stage.advance(100)
    answer(stage.exchange)
    stage.advance(9)
    assert client.take() == HELLO
    client.send(b"gin\r\n\r\n")
    assert len(stage.exchanges) == 2


def test_no_head_timeout_is_no_limit() -> None:
    stage = ServerHarness(answering, head_timeout=None, idle_timeout=None)
    client = stage.client().send(PART)
    stage.advance(1_000_000)
    assert client.send(b"gin\r\n\r\n").take() == HELLO


# -- bodies -------------------------------------------------------------------------------------


def test_a_rest_that_comes_slowly_but_fast_enough_is_dropped_in_peace() -> None:
    stage = ServerHarness(answering, body_timeout=15, min_body_rate=10)
    client = stage.client().send(CHUNKED)
    for _ in range(10):
        stage.advance(9)
        client.send(chunks(b"x" * 200))
    assert client.send(b"0\r\n\r\n" + request()).take() == HELLO * 2
    client.send(CHUNKED + chunks(b"x" * 90))
    stage.advance(10.1)
    assert client.is_ended


def test_by_default_a_body_that_dribbles_is_a_408_within_two_windows() -> None:
    stage = ServerHarness()
    client = stage.client().send(request("/", "Content-Length: 8192", method="POST"))
    for _ in range(3):  # some bytes every nine seconds, and time that is far from up
        stage.advance(9)
        if not client.is_closed:
            client.send(b"x" * 32)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert stage.names()[-3:] == ["error", "close", "done"]


def test_paused_time_does_not_make_a_half_closed_client_late() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True), half_close_timeout=10)
    client = stage.client().send(CHUNKED + chunks(b"abc") + b"0\r\n\r\n").end()
    stage.advance(100)
    stage.exchange.pause(False)
    stage.settle()
    answer(stage.exchange)
    assert client.take().endswith(b"hello")


def test_who_sends_some_of_a_body_without_waiting_for_the_100_has_to_send_the_rest() -> None:
    stage = ServerHarness(
        lambda exchange: exchange.on("expect_continue", lambda: None),
        body_timeout=10,
        min_body_rate=1,
    )
    client = stage.client().send(request("/", "Expect: 100-continue", "Content-Length: 5"))
    stage.advance(100)
    client.send(b"he")
    stage.advance(9)
    assert not client.is_closed
    stage.advance(2)
    assert client.take().startswith(REQUEST_TIMEOUT)


# -- the program --------------------------------------------------------------------------------


def test_a_program_that_does_not_answer_in_time_is_a_504(expected_logs: Any) -> None:
    stage = ServerHarness(response_timeout=10)
    stage.server.remove_listeners("exchange")
    stage.server.on("exchange", stage.exchanges.append)
    client = stage.client()
    stage.advance(3)
    client.send(request("/slow"))
    stage.advance(9.9)
    assert client.take() == b""
    stage.advance(0.2)
    assert client.take().startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert client.is_ended
    [record] = expected_logs.records
    assert record.levelname == "WARNING"  # it is not the client's fault
    stage.exchange.response_start(200, "OK", [])  # accepted and dropped


# -- clients that do not read, or half-closed ---------------------------------------------------


def stalled(stage: ServerHarness, size: int = 1_000_000) -> tuple[Peer, HttpServerExchange]:
    client = stage.client().pause().send(request())
    exchange = stage.exchange
    exchange.response_start(200, "OK", [])
    exchange.response_body(b"x" * size)
    stage.settle()
    return client, exchange


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_client_that_reads_nothing_is_reset(size: int) -> None:
    stage = ServerHarness(send_timeout=10)
    client, _ = stalled(stage, size)
    stage.advance(9.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_reset
    assert stage.events()[-3:] == [
        ("error", "SendTimeoutError"),
        ("close",),
        ("done", "SendTimeoutError"),
    ]


def test_a_client_that_reads_slowly_is_served() -> None:
    stage = ServerHarness(send_timeout=10)
    client, exchange = stalled(stage, 200_000)
    exchange.response_done([])
    for step in range(1, 25):
        stage.advance(9)
        client.read(8_000)
        assert not client.is_closed, step
    client.pause(False)
    assert client.take().endswith(b"\r\n0\r\n\r\n")
    assert stage.events()[-1] == ("done", None)


def test_a_stall_after_some_progress_is_noticed_within_twice_the_time() -> None:
    stage = ServerHarness(send_timeout=10, idle_timeout=10_000)
    client, exchange = stalled(stage)
    exchange.response_done([])
    stage.advance(9)
    client.read(50_000)
    stage.advance(20.1)
    assert client.is_reset
    assert stage.events()[-1] == ("done", "SendTimeoutError")


def test_a_stall_that_is_over_leaves_no_dead_line() -> None:
    stage = ServerHarness(send_timeout=10, idle_timeout=None, head_timeout=None)
    client, exchange = stalled(stage)
    client.pause(False)
    stage.advance(100)
    client.pause()
    exchange.response_done([])
    stage.advance(9)
    assert not client.is_closed
    client.pause(False)
    stage.advance(1_000_000)
    assert client.take().endswith(b"0\r\n\r\n")
    assert not client.is_closed


def test_an_answer_on_a_closing_connection_is_given_up_too() -> None:
    stage = ServerHarness(answering, send_timeout=10)
    client = stage.client().pause().send(request("/", "Connection: close"))
    stage.advance(10.1)
    assert client.is_reset
    assert stage.events()[-1] == ("done", "SendTimeoutError")
    assert stage.server.connections == []


def test_a_half_closed_client_that_gets_something_is_served() -> None:
    stage = ServerHarness(half_close_timeout=10)
    client = stage.client().send(request()).end()
    exchange = stage.exchange
    exchange.response_start(200, "OK", [])
    for _ in range(10):
        stage.advance(9)
        exchange.response_body("x")
    exchange.response_done([])
    assert client.take().endswith(b"0\r\n\r\n")
    assert client.is_ended


# -- what is left behind ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort", "upgrade"])
def test_a_connection_that_is_gone_has_no_dead_line(how: str) -> None:
    stage = ServerHarness()
    client = stage.client().send(request("/", "Connection: upgrade", "Upgrade: x"))
    connection: Any = stage.exchange.http_conn
    timeouts = connection.timeouts
    if how == "upgrade":
        stage.exchange.upgrade("x")
        stage.settle()
    else:
        getattr(client, how)()
        if how == "close":
            answer(stage.exchange)
            stage.settle()
    assert connection.tcp_conn is None
    assert timeouts.deadline_at == float("inf")
    stage.advance(10_000)
    assert stage.loop.scheduled_events() == []

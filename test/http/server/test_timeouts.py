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
    answering_done,
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


def test_an_idle_connection_is_closed_without_a_word() -> None:
    stage = ServerHarness(answering, idle_timeout=5)
    client = stage.client().send(request())
    stage.advance(4.9)
    assert client.take() == HELLO
    assert not client.is_closed
    stage.advance(0.2)
    assert client.take() == b""
    assert client.is_ended
    assert stage.server.connections == []


def test_each_request_begins_the_idle_time_anew() -> None:
    stage = ServerHarness(answering, idle_timeout=5)
    client = stage.client()
    for _ in range(10):
        stage.advance(4)
        client.send(request())
    assert client.take() == HELLO * 10
    stage.advance(5.1)
    assert client.is_ended


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


def test_a_new_connection_has_the_time_of_a_head_for_its_first_byte() -> None:
    stage = ServerHarness(answering, idle_timeout=60, head_timeout=10)
    client = stage.client()
    stage.advance(10.1)
    assert client.is_ended
    assert client.take() == b""
    other = stage.client().send(request())
    stage.advance(30)
    assert other.take() == HELLO
    assert not other.is_closed


@pytest.mark.parametrize("none", [None, 0])
def test_no_idle_time_is_no_limit_between_requests(none: Any) -> None:
    stage = ServerHarness(answering, idle_timeout=none)
    client = stage.client().send(request())
    stage.advance(1_000_000)
    assert client.send(request()).take() == HELLO * 2
    client.send(PART)
    stage.advance(31)
    assert client.take().startswith(REQUEST_TIMEOUT)  # the deadline of a head stays


def test_empty_lines_are_no_request() -> None:
    stage = ServerHarness(answering, idle_timeout=5)
    client = stage.client().send(request(), b"\r\n")
    stage.advance(3)
    client.send(b"\r\n")
    stage.advance(3)
    assert client.take() == HELLO
    assert client.is_ended


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


def test_a_head_that_does_not_come_in_time_is_a_408() -> None:
    stage = ServerHarness(head_timeout=10)
    client = stage.client().send(PART)
    stage.advance(9.9)
    assert client.take() == b""
    stage.advance(0.2)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert client.is_ended
    assert stage.refused == ["RequestTimeoutError"]
    assert stage.exchanges == []


def test_a_byte_every_few_seconds_does_not_extend_the_time_of_a_head() -> None:
    stage = ServerHarness(answering, head_timeout=10)
    client = stage.client().send(request(), PART)
    assert client.take() == HELLO
    for _ in range(9):
        stage.advance(1)
        client.send(b"x")
    assert client.take() == b""
    stage.advance(1.1)
    assert client.take().startswith(REQUEST_TIMEOUT)


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


@pytest.mark.parametrize("data", [CHUNKED, request("/", "Content-Length: 9", method="PUT")])
def test_a_body_that_stops_is_a_408_and_an_error(data: bytes) -> None:
    stage = ServerHarness(body_timeout=10, min_body_rate=0)
    client = stage.client().send(data)
    stage.advance(9)
    client.send(chunks(b"abc"))
    stage.advance(9.9)
    assert client.take() == b""
    stage.advance(0.2)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert client.is_ended
    assert stage.events()[-3:] == [
        ("error", "RequestTimeoutError"),
        ("close",),
        ("done", "RequestTimeoutError"),
    ]


def test_a_body_that_stops_in_the_answer_resets() -> None:
    stage = ServerHarness(lambda exchange: exchange.response_start(200, "OK", []), body_timeout=10)
    client = stage.client().send(CHUNKED)
    stage.advance(10.1)
    assert client.is_reset
    assert stage.events()[-1] == ("done", "RequestTimeoutError")


def test_a_rest_that_stops_after_the_answer_closes_without_a_word() -> None:
    stage = ServerHarness(answering, body_timeout=10)
    client = stage.client().send(CHUNKED)
    stage.advance(10.1)
    assert client.take() == HELLO
    assert client.is_ended
    assert stage.names() == ["request_start", "done"]


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


def test_a_body_slower_than_the_least_rate_is_a_408() -> None:
    stage = ServerHarness(min_body_rate=100, body_timeout=None)
    client = stage.client().send(CHUNKED)
    for _ in range(15):
        client.send(chunks(b"x" * 200))
        stage.advance(1)
    assert client.take() == b""
    for _ in range(16):
        client.send(chunks(b"x" * 10))
        stage.advance(1)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert stage.names()[-3:] == ["error", "close", "done"]


def test_by_default_a_body_that_dribbles_is_a_408_within_two_windows() -> None:
    stage = ServerHarness()
    client = stage.client().send(request("/", "Content-Length: 8192", method="POST"))
    for _ in range(3):  # some bytes every nine seconds, and time that is far from up
        stage.advance(9)
        if not client.is_closed:
            client.send(b"x" * 32)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert stage.names()[-3:] == ["error", "close", "done"]


def test_silence_is_not_slowness() -> None:
    stage = ServerHarness(answering_done)
    client = stage.client().send(CHUNKED + chunks(b"x" * 3000))
    stage.advance(55)
    assert client.send(chunks(b"x" * 3000), b"0\r\n\r\n").take() == HELLO
    assert stage.names()[-2:] == ["request_done", "done"]


@pytest.mark.parametrize("none", [None, 0])
def test_without_a_least_rate_a_body_may_dribble(none: Any) -> None:
    stage = ServerHarness(answering_done, min_body_rate=none)
    client = stage.client().send(CHUNKED)
    for _ in range(100):
        stage.advance(50)
        client.send(chunks(b"x"))
    assert client.send(b"0\r\n\r\n").take() == HELLO


def test_time_in_which_the_program_pauses_counts_against_nobody() -> None:
    stage = ServerHarness(body_timeout=10, min_body_rate=100, half_close_timeout=10)
    client = stage.client().send(CHUNKED + chunks(b"x" * 2000))
    stage.exchange.pause(True)
    stage.advance(1000)
    assert not client.is_closed
    stage.exchange.pause(False)
    stage.advance(9)
    assert not client.is_closed
    stage.advance(2)
    assert client.take().startswith(REQUEST_TIMEOUT)


def test_paused_time_does_not_make_a_half_closed_client_late() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True), half_close_timeout=10)
    client = stage.client().send(CHUNKED + chunks(b"abc") + b"0\r\n\r\n").end()
    stage.advance(100)
    stage.exchange.pause(False)
    stage.settle()
    answer(stage.exchange)
    assert client.take().endswith(b"hello")


def test_who_waits_for_a_100_is_not_late() -> None:
    stage = ServerHarness(
        lambda exchange: exchange.on("expect_continue", lambda: None),
        body_timeout=10,
        min_body_rate=1,
    )
    client = stage.client().send(request("/", "Expect: 100-continue", "Content-Length: 5"))
    stage.advance(100)
    assert not client.is_closed
    stage.exchange.response_nonfinal(100, "Continue", [])
    stage.advance(9)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    stage.advance(2)
    assert client.take().startswith(REQUEST_TIMEOUT)


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


def test_no_body_timeout_is_no_limit() -> None:
    stage = ServerHarness(answering_done, body_timeout=None, idle_timeout=5)
    client = stage.client().send(CHUNKED)
    stage.advance(1_000_000)
    assert client.send(b"0\r\n\r\n").take() == HELLO


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


def test_the_program_has_its_time_from_the_end_of_the_request() -> None:
    stage = ServerHarness(response_timeout=10)
    client = stage.client().send(CHUNKED)
    stage.advance(20)
    client.send(b"0\r\n\r\n")
    stage.advance(9)
    stage.exchange.response_start(200, "OK", [])
    stage.advance(100)
    assert not client.is_closed
    assert stage.names() == ["request_start", "request_done"]


def test_by_default_a_program_may_take_its_time() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.advance(100_000)
    answer(stage.exchange)
    assert client.take() == HELLO


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


def test_a_half_closed_client_that_gets_nothing_is_given_up() -> None:
    stage = ServerHarness(half_close_timeout=10)
    client = stage.client().send(request())
    stage.advance(5)
    client.end()
    stage.advance(9.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_reset
    assert stage.events()[-3:] == [("error", "ConnectError"), ("close",), ("done", "ConnectError")]


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


def test_without_a_limit_a_half_closed_client_waits_for_ever() -> None:
    stage = ServerHarness(half_close_timeout=None)
    client = stage.client().send(request()).end()
    stage.advance(1_000_000)
    answer(stage.exchange)
    assert client.take().endswith(b"hello")


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

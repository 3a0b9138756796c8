"""The client's timeouts: each when it is due, and none for time that the program takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness

from thor.http.error import ConnectTimeoutError, ExchangeTimeoutError, ReadTimeoutError

MakeHarness = Callable[..., ClientHarness]


def test_a_connection_that_is_not_made_in_time(make_harness: MakeHarness) -> None:
    stage = make_harness(connect_timeout=3)
    stage.network.errors["hangs", 80] = None
    watched = stage.request(uri="http://hangs/")
    stage.advance(2.9)
    assert watched.events == []
    stage.advance(0.2)
    assert isinstance(watched.error, ConnectTimeoutError)


def test_a_head_that_dribbles_in(make_harness: MakeHarness) -> None:
    stage = make_harness(response_timeout=10, read_timeout=5)
    watched = stage.request()
    for index in range(3):
        stage.advance(3)
        stage.peer.send(HELLO[index : index + 1])
    stage.advance(0.9)
    watched.is_silent()
    stage.advance(0.2)
    assert isinstance(watched.error, ReadTimeoutError)


def test_the_time_for_the_head_is_not_the_bodys(make_harness: MakeHarness) -> None:
    stage = make_harness(response_timeout=10)
    watched = stage.request()
    stage.advance(9)
    stage.peer.send(HELLO[:-1])
    stage.advance(100)
    stage.peer.send(HELLO[-1:])
    assert watched.body() == b"hello"


def test_time_while_the_program_sends_counts_against_nobody(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5, response_timeout=5)
    watched = stage.start("POST")
    stage.advance(100)
    watched.exchange.request_body("x")
    stage.advance(100)
    watched.exchange.request_done([])
    stage.advance(4.9)
    watched.is_silent()
    stage.advance(0.2)
    assert isinstance(watched.error, ReadTimeoutError)


def test_a_server_that_does_not_read_the_request(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5)
    watched = stage.start("POST")
    stage.peer.pause()
    watched.exchange.request_body(b"x" * 500_000)
    watched.exchange.request_done([])
    stage.advance(4.9)
    watched.is_silent()
    stage.advance(0.2)
    assert isinstance(watched.error, ReadTimeoutError)
    assert watched.error.detail == "while sending"


def test_a_server_that_reads_slowly(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5)
    watched = stage.start("POST")
    peer = stage.peer
    peer.pause()
    watched.exchange.request_body(b"x" * 1_000_000)
    watched.exchange.request_done([])
    total = 0
    while b"0\r\n\r\n" not in peer.received:
        stage.advance(4)
        peer.read(100_000)
        total += 4
    assert total > 30
    watched.is_silent()
    peer.pause(False)
    stage.advance(0.5)
    assert stage.answer(watched, HELLO).body() == b"hello"


def test_a_server_that_goes_silent_after_it_said_close(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5)
    watched = stage.start("POST")
    watched.exchange.request_body("x")
    stage.peer.send(b"HTTP/1.1 400 No\r\nConnection: close\r\n\r\n")
    stage.advance(4.9)
    watched.is_silent()
    stage.advance(0.2)
    assert isinstance(watched.error, ReadTimeoutError)


@pytest.mark.parametrize("setting", ["read_timeout", "response_timeout", "exchange_timeout"])
def test_zero_is_no_limit(make_harness: MakeHarness, setting: str) -> None:
    stage = make_harness(connect_timeout=0, **{setting: 0})
    watched = stage.request()
    stage.advance(1000)
    assert stage.answer(watched).events == HELLO_EVENTS


@pytest.mark.parametrize("state", ["connecting", "queued", "retrying", "sending", "paused"])
def test_the_limit_in_all_holds_in_every_state(make_harness: MakeHarness, state: str) -> None:
    stage = make_harness(exchange_timeout=10, retry_delay=100, max_server_conn=1)
    other = None
    if state == "connecting":
        stage.network.errors["hangs", 80] = None
        watched = stage.request(uri="http://hangs/")
    elif state == "queued":
        other = stage.request(client=stage.make_client())
        watched = stage.request()
    elif state == "retrying":
        watched = stage.request(uri="http://nowhere/")
    elif state == "sending":
        watched = stage.start("POST")
        watched.exchange.request_body("x")
    else:
        watched = stage.request()
        watched.exchange.pause(True)
        stage.peer.send(HELLO)
    stage.advance(9.9)
    watched.is_silent()
    stage.advance(0.2)
    assert isinstance(watched.error, ExchangeTimeoutError)
    if other is not None:
        assert stage.answer(other).events == HELLO_EVENTS


def test_an_exchange_that_ends_in_time_leaves_no_timer(make_harness: MakeHarness) -> None:
    stage = make_harness(exchange_timeout=10, read_timeout=5, response_timeout=5, pool_timeout=1)
    stage.client.max_server_conn = 1
    first, second = stage.request(), stage.request()
    assert stage.answer(first).events == stage.answer(second).events == HELLO_EVENTS
    assert stage.leftovers() == []
    stage.advance(20)
    assert stage.idle == 1


def test_each_request_of_a_connection_has_its_own_time(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5, exchange_timeout=8)
    for _ in range(10):
        watched = stage.request()
        stage.advance(4)
        assert stage.answer(watched).events == HELLO_EVENTS
        stage.advance(3)
    assert len(stage.peers) == 1


def test_time_outs_do_not_need_a_timer_for_each_request(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5)
    for _ in range(100):
        stage.answer(stage.request())
    assert len(stage.loop.deadlines._heap) <= 3


def test_a_continue_that_comes_late_is_no_harm(make_harness: MakeHarness) -> None:
    stage = make_harness(read_timeout=5)
    headers: Any = [("Expect", "100-continue")]
    watched = stage.request("POST", headers=headers, body=b"x")
    stage.advance(1.5)
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stage.answer(watched).body() == b"hello"
    assert stage.peer.take().count(b"1\r\nx\r\n") == 1

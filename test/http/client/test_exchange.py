"""The life of an exchange: pausing, what it tells, what becomes of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from client_moments import ENDS
from client_support import EVENTS, HELLO, HELLO_EVENTS, ClientHarness, Watched

from thor.http.error import ConnectError, IncompleteMessageError, OutputStateError
from thor_support import left_to_the_collector

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


# -- pausing --------------------------------------------------------------------------------------


def test_a_paused_response_is_held_back_and_the_origin_slowed_down(stage: ClientHarness) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    peer = stage.peer
    peer.send(BIG + b"x" * 1_000_000)
    assert watched.names == ["response_start"]
    reader = watched.exchange.stream._reader  # type: ignore[union-attr]
    assert reader.buffered < 300_000
    assert peer.unsent > 500_000
    watched.exchange.pause(False)
    assert watched.body() == b"x" * 1_000_000
    assert watched.names[-1] == "response_done"
    assert stage.idle == 1


def test_pausing_holds_from_inside_a_listener(stage: ClientHarness) -> None:
    watched = stage.request()
    watched.exchange.on("response_start", lambda *_: watched.exchange.pause(True))
    stage.peer.send(HELLO)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.heard.events == HELLO_EVENTS[:1]  # a method never emits
    assert watched.events == HELLO_EVENTS


def test_pausing_again_before_it_has_resumed(stage: ClientHarness) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO)
    watched.exchange.pause(False)
    watched.exchange.pause(True)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.events == HELLO_EVENTS


@pytest.mark.parametrize("how", ["end", "abort"])
def test_what_arrived_before_the_end_is_there_after_a_pause(stage: ClientHarness, how: str) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO)
    getattr(stage.peer, how)()
    stage.advance(100)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.events == HELLO_EVENTS
    assert stage.open == 0


@pytest.mark.parametrize("how", ["end", "abort"])
def test_a_truncation_is_told_after_a_pause(stage: ClientHarness, how: str) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO[:-2])
    getattr(stage.peer, how)()
    watched.exchange.pause(False)
    assert watched.body() == b"hel"
    assert isinstance(watched.error, (ConnectError, IncompleteMessageError))


# -- attributes -----------------------------------------------------------------------------------


def test_attributes_for_existing_users(stage: ClientHarness) -> None:
    watched = stage.start(uri="http://origin/a")
    exchange = watched.exchange
    assert exchange.origin == ("http", "origin", 80)
    assert (exchange.method, exchange.uri) == (b"GET", b"http://origin/a")
    assert exchange.client is stage.client
    assert (exchange.loop, exchange.conn) == (stage.loop, None)
    stage.settle()
    conn = exchange.conn
    assert conn is not None
    assert conn.tcp_conn is stage.client_side(stage.peer)
    exchange.request_done([])
    seen: list[Any] = []
    head = b"HTTP/1.0 200 OK\r\nTransfer: x\r\n\r\n"
    exchange.on("response_body", lambda _: seen.append(exchange.input_transfer_length))
    exchange.on("response_done", lambda _: seen.append(exchange.conn))
    stage.peer.send(head, b"abc", b"de").end()
    assert seen == [3, 5, None]
    assert [exchange.conn, conn.tcp_conn] == [None, None]
    assert exchange.res_version == b"1.0"
    assert exchange.input_header_length == len(head)
    assert exchange.input_transfer_length == 5


def test_lengths_count_what_was_transferred(stage: ClientHarness) -> None:
    watched = stage.request()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n"
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + head + body)
    assert watched.exchange.input_header_length == len(head)
    assert watched.exchange.input_transfer_length == len(body)
    again = stage.request()  # on the same connection it begins anew
    stage.peer.send(HELLO)
    assert again.exchange.input_transfer_length == 5


def test_lengths_of_a_response_that_was_cut_off(stage: ClientHarness) -> None:
    watched = stage.request()
    stage.peer.send(HELLO[:-2]).end()
    assert isinstance(watched.error, IncompleteMessageError)
    assert watched.exchange.input_transfer_length == 3


def test_repr_says_where_it_stands(stage: ClientHarness) -> None:
    watched = stage.start(uri="http://origin/a")
    expected = "<HttpClientExchange GET 'http://origin/a' request BODY, response HEAD>"
    assert repr(watched.exchange) == expected
    watched.exchange.cancel()


# -- listeners ------------------------------------------------------------------------------------


def test_a_sink_gets_the_events(stage: ClientHarness) -> None:
    heard: list[Any] = []

    class Sink:
        def response_start(self, *args: Any) -> None:
            heard.append(args[0])

        def response_done(self, *args: Any) -> None:
            heard.append(args)

    exchange = stage.client.exchange()
    exchange.sink(Sink())
    exchange.request_start("GET", "http://origin/", [])
    exchange.request_done([])
    stage.peer.send(HELLO)
    assert heard == [b"200", ([],)]


def test_the_next_request_in_response_done_gets_the_same_connection(stage: ClientHarness) -> None:
    watched = stage.request()
    following: list[Watched] = []
    watched.exchange.on("response_done", lambda _: following.append(stage.start()))
    stage.peer.send(HELLO)
    following[0].exchange.request_done([])
    assert stage.answer(following[0]).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_a_thousand_requests_in_response_done_do_not_nest(stage: ClientHarness) -> None:
    left = 1000

    def following(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            exchange = stage.client.exchange()
            exchange.on("response_done", following)
            exchange.request_start("GET", "http://origin/", [])
            exchange.request_done([])

    following()
    stage.settle()
    stage.peer.on("data", lambda _: stage.peers[0].send(HELLO))
    stage.peer.send(HELLO)
    stage.settle()
    assert left == 0
    assert len(stage.peers) == 1


def test_an_error_that_nobody_hears_is_logged(stage: ClientHarness, expected_logs: Any) -> None:
    exchange = stage.client.exchange()
    exchange.request_start("GET", "nonsense", [])
    stage.settle()
    record = expected_logs.records[-1]
    assert (record.levelname, record.name) == ("WARNING", "thor.http")
    assert "not an http or https URI" in record.getMessage()


@pytest.mark.parametrize("event", ["response_start", "response_body"])
def test_a_listener_that_raises_loses_its_exchange(
    stage: ClientHarness, event: str, expected_logs: Any
) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    watched.exchange.on(event, lambda *_: 1 / 0)
    stage.peer.send(HELLO)
    assert isinstance(watched.error, OutputStateError)
    assert stage.open == 0
    assert stage.answer(stage.request()).events == HELLO_EVENTS


def test_raising_in_response_done_harms_nobody(stage: ClientHarness, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    following: list[Watched] = []

    def raising(_: Any) -> None:
        nxt = stage.start()
        nxt.exchange.request_done([])
        following.append(nxt)
        raise ZeroDivisionError

    watched.exchange.on("response_done", raising)
    stage.peer.send(HELLO)
    assert watched.events == HELLO_EVENTS
    assert stage.answer(following[0]).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_raising_in_response_done_after_a_pause_leaves_the_connection_reading(
    stage: ClientHarness, expected_logs: Any
) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    watched.exchange.on("response_done", lambda _: 1 / 0)
    watched.exchange.pause(True)
    stage.peer.send(BIG + b"x" * 1_000_000)
    watched.exchange.pause(False)
    assert watched.names[-1] == "response_done"
    assert stage.answer(stage.request()).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_raising_in_error_harms_nobody(stage: ClientHarness, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    for uri in ("nonsense", "http://origin/"):
        watched = stage.request(uri=uri) if uri != "nonsense" else stage.start(uri=uri)
        watched.exchange.on("error", lambda _: 1 / 0)
        if uri != "nonsense":
            stage.peer.send(b"nonsense\r\n\r\n")
        watched.error
    assert stage.answer(stage.request()).events == HELLO_EVENTS


def test_raising_in_pause_ends_the_exchange(stage: ClientHarness, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    watched = stage.start("POST")
    stage.peer.pause()
    watched.exchange.on("pause", lambda paused: paused or 1 / 0)
    watched.exchange.request_body(b"x" * 1_000_000)
    stage.settle()
    stage.peer.pause(False)
    assert isinstance(watched.error, OutputStateError)
    assert stage.open == 0


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", ENDS, ids=[e.__name__ for e in ENDS])
def test_an_exchange_that_is_over_is_freed_without_the_collector(
    stage: ClientHarness, reach: Callable[[ClientHarness, Watched], None]
) -> None:
    stage.answer(stage.request())  # what is made once is there
    stage.settle()
    gc.collect()
    gc.disable()
    try:
        watched = stage.exchange()
        exchange = watched.exchange
        for event in EVENTS:  # the usual closure: it holds the exchange
            exchange.on(event, lambda *_, held=exchange: None)
        reach(stage, watched)
        stage.advance(1)
        gone = weakref.ref(exchange)
        watched.heard.events.clear()
        del exchange, watched
        assert gone() is None
        assert left_to_the_collector() == []
    finally:
        gc.enable()


def test_a_hundred_requests_leave_nothing_behind(stage: ClientHarness) -> None:
    stage.answer(stage.request())
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        stage.answer(stage.request())
        stage.peer.take()
    gc.collect()
    assert len(gc.get_objects()) - before < 20


# -- the server ---------------------------------------------------------------------------------


def test_exchange_tells_of_its_server(stage: ClientHarness) -> None:
    exchange = stage.client.exchange()
    assert (exchange.peer, exchange.secure, exchange.is_open) == (None, False, False)
    watched = stage.request()
    exchange = watched.exchange
    assert exchange.peer is not None
    assert (exchange.secure, exchange.is_open) == (False, True)
    stage.peer.send(HELLO)
    assert (exchange.conn, exchange.is_open) == (None, False)


def test_abort_ends_an_exchange_silently(stage: ClientHarness) -> None:
    watched = stage.request()
    watched.exchange.abort()
    stage.settle()
    assert watched.names == []
    assert stage.open == 0
    assert not watched.exchange.is_open

"""Which requests are tried again, when, and on which connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness

from thor.http.error import ConnectError, ConnectionLostError

MakeHarness = Callable[..., ClientHarness]


def test_it_gives_up_after_the_limit(stage: ClientHarness) -> None:
    watched = stage.request()
    for count in (1, 2, 3):
        assert len(stage.peers) == count
        stage.peer.abort()
        stage.advance(0.5)
    assert len(stage.peers) == 3
    assert isinstance(watched.error, ConnectError)


def test_retry_settings(make_harness: MakeHarness) -> None:
    stage = make_harness(retry_limit=1, retry_delay=7)
    watched = stage.request()
    stage.peer.end()
    stage.advance(6.9)
    assert len(stage.peers) == 1
    stage.advance(0.2)
    assert len(stage.peers) == 2
    stage.peer.end()
    assert isinstance(watched.error, ConnectError)


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "PURGE"])
def test_another_request_is_not_tried_again_once_it_was_sent(
    stage: ClientHarness, method: str
) -> None:
    watched = stage.request(method, "origin:80" if method == "CONNECT" else "http://origin/")
    assert stage.peer.take()
    stage.peer.end()
    assert isinstance(watched.error, ConnectionLostError)
    assert len(stage.peers) == 1


def reset_first_connection(stage: ClientHarness) -> None:
    """Have the next connection be made, and reset before anything can be sent on it."""
    connect = stage.network.connect

    def connect_in_vain(host: str, port: int) -> Any:
        stage.network.connect = connect  # type: ignore[method-assign]
        conn: Any = connect(host, port)
        conn.socket.reset()
        return conn

    stage.network.connect = connect_in_vain  # type: ignore[method-assign]


def test_any_request_is_tried_again_of_which_no_byte_was_sent(stage: ClientHarness) -> None:
    reset_first_connection(stage)
    watched = stage.request("POST", headers=[("Content-Length", "1")], body=b"x")
    assert stage.peer.take() == b""
    stage.advance(0.6)
    assert stage.peer.take().endswith(b"\r\n\r\nx")
    assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 2


def test_error_of_a_request_of_which_no_byte_was_sent_says_so(make_harness: MakeHarness) -> None:
    stage = make_harness(retry_limit=0)
    reset_first_connection(stage)
    watched = stage.request("POST", headers=[("Content-Length", "1")], body=b"x")
    assert watched.error.__class__ is ConnectError


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_pooled_connection_that_was_closed_is_replaced_at_once(
    make_harness: MakeHarness, method: str
) -> None:
    stage = make_harness(retry_limit=0)
    stage.answer(stage.request())
    peer = stage.peer
    # The FIN is on its way when the request is made: it is read in the turn that would send it.
    peer.sock.shutdown(socket.SHUT_WR)
    watched = stage.start(method)
    watched.exchange.request_done([])
    assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
@pytest.mark.parametrize("head", ["at-once", "late", "expecting"])
def test_request_not_to_be_repeated_is_not_sent_on_ended_connection(
    make_harness: MakeHarness, method: str, head: str
) -> None:
    stage = make_harness(retry_limit=0)
    first = stage.request()
    headers = {"at-once": [("Content-Length", "1")], "expecting": [("Expect", "100-continue")]}
    watched = stage.exchange()

    def start(_: object) -> None:
        """The response is read, and behind it, in the same turn, there is the server's FIN."""
        if head != "late":
            end()
        watched.exchange.request_start(method, "http://origin/", headers.get(head, []))
        if head == "late":
            end()
        watched.exchange.request_body(b"x")
        watched.exchange.request_done([])

    def end() -> None:
        closing.sock.shutdown(socket.SHUT_WR)

    first.exchange.on("response_done", start)
    closing = stage.peer
    closing.take()
    closing.send(HELLO)
    assert closing.take() == b""  # nothing that could have been carried out
    assert len(stage.peers) == 2
    assert stage.peer.take().startswith(method.encode())
    if head == "expecting":
        stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stage.answer(watched).body() == b"hello"
    assert stage.open == 1


def test_waiting_request_takes_the_place_of_an_ended_connection(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, max_waiting=2, retry_limit=0)
    first, post, last = stage.request(), stage.request("POST"), stage.request()
    closing = stage.peer
    closing.take()
    closing.sock.send(HELLO)
    closing.sock.shutdown(socket.SHUT_WR)
    assert first.events == HELLO_EVENTS
    assert closing.take() == b""
    assert stage.answer(post).events == HELLO_EVENTS
    assert stage.answer(last).events == HELLO_EVENTS
    assert len(stage.peers) == 2


def test_request_not_to_be_repeated_reuses_a_connection_that_is_open(stage: ClientHarness) -> None:
    for _ in range(3):
        stage.answer(stage.request("POST", body=b"x"))
    assert len(stage.peers) == 1


def test_a_pooled_connection_is_replaced_only_once_without_a_delay(stage: ClientHarness) -> None:
    stage.answer(stage.request())
    watched = stage.request()
    for count in (2, 3):
        stage.peer.end()  # having read the request
        assert len(stage.peers) == 2
        stage.advance(0.6 * (count - 2))
        assert len(stage.peers) == count
    assert stage.answer(watched).events == HELLO_EVENTS


def test_it_is_replaced_by_a_new_one_though_others_are_idle(stage: ClientHarness) -> None:
    first, second = stage.request(), stage.request()
    for peer in list(stage.peers):
        peer.send(HELLO)
    assert (len(first.events), len(second.events), stage.idle) == (3, 3, 2)
    watched = stage.request()
    used = next(peer for peer in stage.peers if peer.take().count(b"GET") == 2)
    used.end()
    assert len(stage.peers) == 3
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_body_over_the_limit_is_not_held(make_harness: MakeHarness) -> None:
    for size, tried in ((1000, 2), (1001, 1)):
        stage = make_harness(retry_body_limit=1000)
        headers = [("Content-Length", str(size + 1))]
        watched = stage.start("PUT", headers=headers)
        watched.exchange.request_body(b"x" * size)
        assert len(stage.peer.take()) > size
        stage.peer.end()
        stage.advance(0.6)
        assert len(stage.peers) == tried
        if tried == 2:
            watched.exchange.request_body("y")
            watched.exchange.request_done([])
            assert stage.peer.take().endswith(b"x" * size + b"y")
            assert stage.answer(watched).body() == b"hello"
        else:
            assert isinstance(watched.error, ConnectError)


def test_a_body_goes_on_where_the_retry_finds_it(stage: ClientHarness) -> None:
    watched = stage.start("PUT")
    watched.exchange.request_body("a")
    stage.peer.end()
    watched.exchange.request_body("b")  # nobody has a connection now
    stage.advance(0.5)
    watched.exchange.request_body("c")
    watched.exchange.request_done([])
    assert stage.peer.take().endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
    assert stage.answer(watched).events == HELLO_EVENTS


def test_an_expectation_holds_for_the_retry_too(stage: ClientHarness) -> None:
    watched = stage.request("PUT", headers=[("Expect", "100-continue")], body=b"ok")
    stage.peer.end()
    stage.advance(0.5)
    assert stage.peer.take().endswith(b"chunked\r\n\r\n")
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stage.peer.take().startswith(b"2\r\nok\r\n")
    assert stage.answer(watched).body() == b"hello"

"""Ending an exchange at every moment of its life: by the program, or by the origin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from client_moments import HALF, MOMENTS, hanging
from client_support import HELLO_EVENTS, ClientHarness, Watched

from thor.http.client import HttpClientExchange

moments = pytest.mark.parametrize("reach", MOMENTS, ids=[m.__name__ for m in MOMENTS])


def use_all(exchange: HttpClientExchange) -> None:
    """Call everything on an exchange that is over: nothing may come of it."""
    exchange.pause(True)
    exchange.pause(False)
    exchange.request_start("GET", "http://origin/", [])
    assert exchange.request_body("x") is True
    exchange.request_done([])
    exchange.cancel()


@moments
def test_cancelling_is_silent_at_every_moment(
    stage: ClientHarness, reach: Callable[[ClientHarness, Watched], None]
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    before = list(watched.heard.events)
    watched.exchange.cancel()
    use_all(watched.exchange)
    stage.advance(100)
    assert watched.heard.events == before
    watched.is_silent()
    assert watched.exchange.conn is None
    assert stage.leftovers() == []
    assert stage.idle == 0
    assert stage.answer(stage.request()).events == HELLO_EVENTS  # and nothing else is disturbed


@pytest.mark.parametrize("how", ["cancel", "close", "abort"])
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_cancelling_between_the_response_and_the_upgrade(
    stage: ClientHarness, method: str, how: str
) -> None:
    watched = stage.request(
        method, "origin:80" if method == "CONNECT" else "http://origin/", upgrade="x"
    )
    conn = watched.exchange.conn
    assert conn is not None
    tcp_conn = conn.tcp_conn
    assert tcp_conn is not None
    end = {"cancel": watched.exchange.cancel, "close": conn.close, "abort": tcp_conn.abort}
    for event in ("response_nonfinal", "response_start"):
        watched.exchange.on(event, lambda *_: end[how]())
    status = b"101" if method == "GET" else b"200"
    stage.peer.send(b"HTTP/1.1 %b Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" % status)
    assert len(watched.names) == 1
    watched.is_silent()
    assert stage.peer.is_reset
    assert stage.open == 0


@pytest.mark.parametrize("event", ["response_nonfinal", "response_start", "response_body"])
@pytest.mark.parametrize("how", ["cancel", "close", "abort"])
def test_cancelling_inside_a_listener(stage: ClientHarness, event: str, how: str) -> None:
    watched = stage.request()
    conn = watched.exchange.conn
    assert conn is not None
    tcp_conn = conn.tcp_conn
    assert tcp_conn is not None
    end = {"cancel": watched.exchange.cancel, "close": conn.close, "abort": tcp_conn.abort}
    watched.exchange.on(event, lambda *_: end[how]())
    stage.peer.send(b"HTTP/1.1 103 Early\r\n\r\n" + HALF)
    assert watched.names[-1] == event
    assert conn.tcp_conn is None
    assert watched.exchange.conn is None
    assert stage.peer.is_reset
    assert stage.open == 0


@moments
@pytest.mark.parametrize("how", ["close", "abort"])
def test_ending_the_connection_is_silent_at_every_moment(
    stage: ClientHarness, reach: Callable[[ClientHarness, Watched], None], how: str
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    conn = watched.exchange.conn
    if conn is None or (how == "abort" and conn.tcp_conn is None):
        watched.exchange.cancel()  # there is none to end
        return
    before = list(watched.heard.events)
    if how == "close":
        conn.close()
    else:
        assert conn.tcp_conn is not None
        conn.tcp_conn.abort()
        stage.settle()
    use_all(watched.exchange)
    stage.advance(100)
    assert watched.heard.events == before
    assert watched.exchange.conn is None


@moments
@pytest.mark.parametrize("how", ["end", "abort"])
def test_the_origins_end_is_terminal_once_at_every_moment(
    stage: ClientHarness, reach: Callable[[ClientHarness, Watched], None], how: str
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    if not watched.exchange.method or reach is hanging:
        watched.exchange.cancel()
        return
    watched.exchange.pause(False)
    for _ in range(8):
        stage.settle()
        for peer in list(stage.peers):
            if not peer.is_closed:
                getattr(peer, how)()
        stage.advance(1)
    watched.ends_once()
    assert watched.exchange.conn is None
    assert stage.open == 0

"""Responses after which the connection speaks another protocol: 101, and 2xx to CONNECT."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from client_support import ClientHarness, ok

SWITCH = ok("Upgrade: WebSocket", "Connection: upgrade", start="HTTP/1.1 101 Switching")


def test_a_switch_hands_the_connection_over(stage: ClientHarness) -> None:
    watched = stage.request(upgrade="websocket")
    stage.peer.send(SWITCH)
    assert watched.names == ["response_nonfinal", "upgrade"]
    watched.ends_once()
    conn = watched.events[-1][1]
    assert conn is stage.client_side(stage.peer)
    assert watched.exchange.conn is None
    assert stage.open == 0
    stage.peer.take()
    heard: list[bytes] = []
    conn.on("data", heard.append)
    conn.write(b"to the server")
    assert stage.peer.take() == b"to the server"
    stage.peer.send(b"to the client")
    assert heard == []  # it is paused
    conn.pause(False)
    stage.settle()
    assert heard == [b"to the client"]
    conn.close()


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_what_came_behind_the_switch_is_the_first_data(stage: ClientHarness, method: str) -> None:
    if method == "GET":
        watched = stage.request(upgrade="websocket")
        stage.peer.send(SWITCH + b"first")
    else:
        watched = stage.request("CONNECT", "origin:80")
        stage.peer.send(ok("Content-Length: 5", start="HTTP/1.1 200 Tunnel") + b"first")
        assert watched.names == ["response_start", "upgrade"]  # the length means nothing here
    stage.peer.send(b" second")
    heard: list[bytes] = []
    conn = watched.events[-1][1]
    conn.on("data", heard.append)
    conn.pause(False)
    stage.settle()
    assert b"".join(heard) == b"first second"
    conn.close()


def test_a_connection_that_nobody_takes_is_closed(stage: ClientHarness) -> None:
    exchange = stage.client.exchange()
    exchange.request_start("GET", "http://origin/", [], upgrade="websocket")
    exchange.request_done([])
    stage.peer.send(SWITCH)
    assert stage.peer.is_reset


@pytest.mark.parametrize("exc", [KeyboardInterrupt, RuntimeError])
def test_a_connection_whose_listener_raises_is_reset(
    stage: ClientHarness, exc: type[BaseException], caplog: Any
) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request(upgrade="websocket")
    conns: list[Any] = []

    def fail(conn: Any) -> None:
        conns.append(conn)
        raise exc

    watched.exchange.on("upgrade", fail)
    with suppress(KeyboardInterrupt):
        stage.peer.send(SWITCH)
    stage.settle()
    assert not conns[0].tcp_connected
    assert stage.peer.is_reset

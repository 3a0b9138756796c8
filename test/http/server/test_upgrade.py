"""Connections that become something else: Upgrade and CONNECT."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import HELLO, ServerHarness, answer, request

from thor.http.error import OutputStateError, OutputSyntaxError
from thor.http.server import HttpServerExchange
from thor.tcp import TcpConnection
from thor.testing import Recorder

WEBSOCKET = request("/chat", "Connection: Upgrade", "Upgrade: websocket, x")
CONNECT = b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Taker:
    """A program that takes the connection, and keeps what comes on it."""

    def __init__(self, protocol: str | bytes = "websocket", pause: bool = False) -> None:
        self.protocol = protocol
        self.pause = pause
        self.conn: TcpConnection | None = None
        self.heard: Recorder | None = None

    def __call__(self, exchange: HttpServerExchange) -> None:
        exchange.on("request_start", lambda *_: self.take(exchange))

    def take(self, exchange: HttpServerExchange) -> None:
        self.conn = conn = exchange.upgrade(self.protocol, [("X", "y")])
        self.heard = Recorder(conn, "data", "end", "close", "disconnect")
        conn.pause(self.pause)

    @property
    def events(self) -> list[tuple[Any, ...]]:
        assert self.heard is not None
        return self.heard.events


def with_field(head: bytes, field: bytes) -> bytes:
    line, _, rest = head.partition(b"\r\n")
    return b"\r\n".join([line, field, rest])


CASES = {
    "upgrade": (WEBSOCKET, with_field(SWITCHED, b"X: y")),
    "connect": (CONNECT, with_field(TUNNEL, b"X: y")),
}


@pytest.mark.parametrize(("data", "response"), CASES.values(), ids=CASES.keys())
def test_bytes_that_came_with_the_request_come_first(data: bytes, response: bytes) -> None:
    taker = Taker(pause=True)
    stage = ServerHarness(taker)
    client = stage.client().send(data + b"early ")
    assert client.take() == response
    client.send(b"late")
    assert taker.events == []
    assert taker.conn is not None
    taker.conn.pause(False)
    stage.settle()
    assert taker.events == [("data", b"early late")]


def test_the_request_is_no_data_of_the_upgraded_connection() -> None:
    taker = Taker()
    stage = ServerHarness(taker)
    client = stage.client()
    stage.server_side(client).on(
        "pause", lambda _: None
    )  # a listener of the program's makes no difference
    client.send(WEBSOCKET)
    assert taker.events == []


@pytest.mark.parametrize("early", [b"", b"early"])
def test_a_fin_that_came_with_the_request_is_told_again(early: bytes) -> None:
    taker = Taker()
    stage = ServerHarness()
    client = stage.client().send(WEBSOCKET + early).end()
    taker.take(stage.exchange)
    stage.settle()
    assert taker.events == [
        *([("data", early)] if early else []),
        ("end",),
        ("close",),
        ("disconnect",),
    ]
    assert client.is_ended


def test_half_open_is_the_programs_choice_after_an_upgrade() -> None:
    taker = Taker()
    client = ServerHarness(taker).client().send(WEBSOCKET).end()
    assert taker.events == [("end",), ("close",), ("disconnect",)]
    assert client.is_ended


def test_an_upgrade_can_wait_and_a_pipelined_request_is_data() -> None:
    stage = ServerHarness()
    client = stage.client().send(WEBSOCKET + request("/2"))
    taker = Taker()
    taker.take(stage.exchange)
    stage.settle()
    assert client.take() == CASES["upgrade"][1]
    assert taker.events == [("data", request("/2"))]


def test_an_upgrade_after_an_answer_that_has_not_left_keeps_its_done() -> None:
    stage = ServerHarness()
    client = stage.client().pause().send(request() + WEBSOCKET)
    answer(stage.exchange)
    stage.settle()
    stage.exchange.upgrade(b"websocket")
    client.pause(False)
    assert client.take() == HELLO + SWITCHED
    assert [stage.names(i).count("done") for i in (0, 1)] == [1, 1]


def test_an_upgrade_with_a_bad_field_raises_and_nothing_is_sent() -> None:
    stage = ServerHarness()
    client = stage.client().send(WEBSOCKET)
    with pytest.raises(OutputSyntaxError):
        stage.exchange.upgrade("websocket", [("a b", "c")])
    assert client.take() == b""
    answer(stage.exchange)
    assert client.take() == HELLO


@pytest.mark.parametrize("how", ["reset", "answered", "upgraded"])
def test_an_upgrade_of_an_exchange_that_is_over_raises(how: str) -> None:
    stage = ServerHarness()
    client = stage.client().send(WEBSOCKET)
    if how == "reset":
        client.abort()
    elif how == "answered":
        answer(stage.exchange)
    else:
        stage.exchange.upgrade("websocket")
    with pytest.raises(OutputStateError):
        stage.exchange.upgrade("websocket")


def test_after_an_upgrade_nothing_is_emitted_but_done() -> None:
    stage = ServerHarness(Taker())
    stage.client().send(WEBSOCKET).abort()
    assert stage.names() == ["request_start", "done"]
    with pytest.raises(OutputStateError):
        stage.exchange.response_start(200, "OK", [])


def test_a_listener_that_raises_on_an_upgraded_connection_resets_it(expected_logs: Any) -> None:
    def take(exchange: HttpServerExchange) -> None:
        conn = exchange.upgrade("websocket")
        conn.on("data", lambda data: 1 / 0)
        conn.pause(False)

    stage = ServerHarness(take)
    stage.loop.on_exception = "log"
    client = stage.client().send(WEBSOCKET, b"x")
    assert client.is_reset


# -- CONNECT without a taker --------------------------------------------------------------------


def test_a_tunnel_has_no_body_framing_and_a_date() -> None:
    stage = ServerHarness(
        lambda exchange: exchange.upgrade("", [("Content-Length", "5")]), send_date=True
    )
    client = stage.client().send(CONNECT)
    head = client.take()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Length" not in head
    assert b"Transfer" not in head
    assert b"\r\nDate: " in head

"""Connections that become something else: Upgrade and CONNECT."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import HELLO, ServerHarness, answer, request

from thor.http.error import OutputStateError, OutputSyntaxError
from thor.http.server import HttpServerExchange
from thor.tcp import TcpConnection
from thor.testing import Peer, Recorder

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
def test_the_connection_is_the_programs_after_the_answer(data: bytes, response: bytes) -> None:
    taker = Taker()
    stage = ServerHarness(taker)
    client = stage.client().send(data)
    assert client.take() == response
    assert taker.events == []
    client.send(b"GET / HTTP/1.1\r\n\r\n")  # means nothing any more
    assert taker.events == [("data", b"GET / HTTP/1.1\r\n\r\n")]
    assert taker.conn is not None
    taker.conn.write(b"pong")
    assert client.take() == b"pong"
    assert stage.events()[-1] == ("done", None)
    assert len(stage.exchanges) == 1
    assert stage.exchange.http_conn.tcp_conn is None
    assert stage.server.connections == []


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


def test_an_upgrade_behind_other_requests_waits_for_its_turn() -> None:
    stage = ServerHarness()
    client = stage.client().send(request() + WEBSOCKET)
    answer(stage.exchange)
    assert client.take() == HELLO
    stage.exchange.upgrade(b"WebSocket")
    assert client.take() == SWITCHED.replace(b"websocket", b"WebSocket")
    assert [stage.events(i)[-1] for i in (0, 1)] == [("done", None)] * 2


def test_an_upgrade_after_an_answer_that_has_not_left_keeps_its_done() -> None:
    stage = ServerHarness()
    client = stage.client().pause().send(request() + WEBSOCKET)
    answer(stage.exchange)
    stage.settle()
    stage.exchange.upgrade(b"websocket")
    client.pause(False)
    assert client.take() == HELLO + SWITCHED
    assert [stage.names(i).count("done") for i in (0, 1)] == [1, 1]


NOT_OFFERED = {
    "other protocol": WEBSOCKET.replace(b"websocket, x", b"h2c"),
    "no upgrade": request("/chat"),
    "not nominated": request("/chat", "Upgrade: websocket"),
    "1.0": WEBSOCKET.replace(b"1.1", b"1.0"),
}


@pytest.mark.parametrize("data", NOT_OFFERED.values(), ids=NOT_OFFERED.keys())
def test_what_the_client_did_not_offer_raises_and_the_request_goes_on(data: bytes) -> None:
    stage = ServerHarness()
    client = stage.client().send(data)
    with pytest.raises(OutputStateError):
        stage.exchange.upgrade("websocket")
    assert client.take() == b""
    answer(stage.exchange)
    assert client.take().endswith(b"hello")
    assert stage.events()[-1] == ("done", None)


def test_an_upgrade_before_the_body_was_read_raises() -> None:
    stage = ServerHarness()
    client = stage.client().send(WEBSOCKET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"))
    with pytest.raises(OutputStateError):
        stage.exchange.upgrade("websocket")
    client.send(b"ab")
    stage.exchange.upgrade("websocket")
    assert client.take() == SWITCHED


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

REFUSED = (
    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize("behind", [b"", b"tunnel data", request("/smuggled")])
def test_a_naive_200_to_connect_opens_no_tunnel(behind: bytes) -> None:
    stage = ServerHarness(answer)
    client = stage.client().send(CONNECT + behind)
    assert client.take() == REFUSED
    assert client.is_ended
    assert len(stage.exchanges) == 1
    assert stage.events()[-1] == ("done", None)


def test_another_answer_to_connect_is_sent_and_the_connection_closed() -> None:
    stage = ServerHarness(lambda exchange: answer(exchange, status=407))
    client: Peer = stage.client().send(CONNECT + b"data")
    assert client.take() == HELLO.replace(b"200", b"407").replace(
        b"5\r\n\r\n", b"5\r\nConnection: close\r\n\r\n"
    )
    assert client.is_ended


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

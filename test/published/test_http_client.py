"""What the published documentation says of the HTTP client."""

from __future__ import annotations

from typing import Any

import pytest
from published_support import documents, example

import thor
from thor.http import HttpClient
from thor.testing import MemoryNetwork, Recorder, advance, memory_loop, settle


class Origin:
    """An origin in memory that the test plays, and a client for it."""

    def __init__(self, *responses: bytes) -> None:
        """responses: sent one by one, in answer to what ends with an empty line"""
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        self.responses = list(responses)
        self.received = b""
        self.connections: list[Any] = []
        self.listening = self.network.tcp_server_class("origin.example", 80)
        self.listening.on("connect", self._accept)
        self.client = HttpClient(self.loop)
        self.client.tcp_client_class = self.network.tcp_client_class

    def _accept(self, conn: Any) -> None:
        self.connections.append(conn)
        conn.on("data", lambda data: self._data(conn, data))
        conn.pause(False)

    def _data(self, conn: Any, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\r\n\r\n") and self.responses:
            conn.write(self.responses.pop(0))

    def ask(self, *headers: tuple[str, str], method: str = "GET", done: bool = True) -> Any:
        exchange: Any = self.client.exchange()
        exchange.heard = Recorder(
            exchange, "response_start", "response_body", "response_done", "error"
        )
        exchange.request_start(method, "http://origin.example/path", list(headers))
        if done:
            exchange.request_done([])
            settle(self.loop)
        return exchange


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_client_takes_the_default_loop_or_the_one_that_is_passed() -> None:
    loop = memory_loop()
    assert HttpClient().loop is thor.loop._loop
    assert HttpClient(loop).loop is loop
    assert HttpClient(loop, 5).idle_timeout == 5
    assert HttpClient(loop, idle_timeout=None).idle_timeout is None


def test_clients_share_idle_connections() -> None:
    origin = Origin(OK, OK)
    origin.ask()
    other = HttpClient(origin.loop)
    other.tcp_client_class = origin.client.tcp_client_class
    origin.client = other
    assert origin.ask().heard.take()[-1] == ("response_done", [])
    assert len(origin.connections) == 1


def test_an_idle_connection_is_closed_after_the_idle_timeout() -> None:
    origin = Origin(OK)
    origin.ask()
    ended = Recorder(origin.connections[0], "close")
    advance(origin.loop, 59)
    assert ended.take() == []
    advance(origin.loop, 2)
    assert ended.take() == [("close",)]


def test_an_idle_timeout_of_none_keeps_no_connection() -> None:
    origin = Origin(OK, OK)
    origin.client.idle_timeout = None
    origin.ask()
    origin.ask()
    assert len(origin.connections) == 2


def test_a_connect_timeout_ends_in_an_error() -> None:
    origin = Origin()
    origin.network.errors["origin.example", 80] = None  # never answers
    origin.client.connect_timeout = 5
    exchange = origin.ask()
    advance(origin.loop, 4.9)
    assert exchange.heard.take() == []
    advance(origin.loop, 0.2)
    [(event, error)] = exchange.heard.take()
    assert (event, type(error)) == ("error", thor.http.error.ConnectTimeoutError)


def test_a_read_timeout_ends_in_an_error_when_nothing_arrives() -> None:
    origin = Origin()
    origin.client.read_timeout = 5
    exchange = origin.ask()
    advance(origin.loop, 4.9)
    origin.connections[0].write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    advance(origin.loop, 4.9)
    assert [event for event, *_ in exchange.heard.take()] == ["response_start"]
    advance(origin.loop, 0.2)
    [(event, error)] = exchange.heard.take()
    assert (event, type(error)) == ("error", thor.http.error.ReadTimeoutError)


def test_a_request_that_fails_is_tried_again_so_often_and_so_late() -> None:
    origin = Origin()
    origin.listening.remove_listeners("connect")
    attempts: list[float] = []
    origin.listening.on("connect", lambda _: attempts.append(origin.loop.clock.monotonic()))
    origin.listening.on("connect", lambda conn: conn.abort())
    exchange = origin.ask()
    advance(origin.loop, 10)
    began = attempts[0]
    assert [when - began for when in attempts] == pytest.approx([0, 0.5, 1.0])
    assert [event for event, *_ in exchange.heard.take()] == ["error"]


@documents("thor.http.HttpClient.exchange ()", "Event 'response_done' ( trailers )")
def test_an_exchange_is_a_request_and_its_response() -> None:
    origin = Origin(OK)
    assert origin.ask().heard.take() == [
        ("response_start", b"200", b"OK", [(b"Content-Length", b"2")]),
        ("response_body", b"ok"),
        ("response_done", []),
    ]


@documents("thor.http.HttpClient.exchange.request_start ( method, uri, headers )")
def test_request_start_sends_the_request_without_hop_by_hop_headers() -> None:
    origin = Origin(OK)
    origin.ask(
        ("Connection", "close, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "9"), ("X-Yours", "2"),
        ("Transfer-Encoding", "gzip"), ("TE", "gzip"), ("Upgrade", "x"),
    )  # fmt: skip
    assert origin.received == b"GET /path HTTP/1.1\r\nHost: origin.example\r\nX-Yours: 2\r\n\r\n"


@documents(
    "thor.http.HttpClient.exchange.request_body ( chunk )",
    "thor.http.HttpClient.exchange.request_done ( trailers )",
)
def test_a_request_body_is_sent_in_chunks_with_its_trailers() -> None:
    origin = Origin(OK)
    exchange = origin.ask(method="POST", done=False)
    exchange.request_body("four")
    exchange.request_body(b"more")
    exchange.request_done([("X-Sum", "8")])
    settle(origin.loop)
    head, _, body = origin.received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"4\r\nfour\r\n4\r\nmore\r\n0\r\nX-Sum: 8\r\n\r\n"
    assert exchange.heard.take()[-1] == ("response_done", [])


def test_a_request_with_a_content_length_keeps_it() -> None:
    origin = Origin()
    exchange = origin.ask(("Content-Length", "4"), method="POST", done=False)
    exchange.request_body("four")
    exchange.request_done([])
    settle(origin.loop)
    assert origin.received.endswith(b"Content-Length: 4\r\n\r\nfour")
    exchange.cancel()
    settle(origin.loop)


@documents("Event 'response_start' ( status, phrase, headers )", "Event 'response_body' ( chunk )")
def test_a_response_in_chunks_comes_with_its_trailers() -> None:
    origin = Origin(
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nA: b\r\nA: c\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    )
    assert origin.ask().heard.take() == [
        (
            "response_start", b"404", b"Not Found",
            [(b"Transfer-Encoding", b"chunked"), (b"A", b"b"), (b"A", b"c")],
        ),
        ("response_body", b"abcde"),
        ("response_done", [(b"X", b"y")]),
    ]  # fmt: skip


@documents("Event 'error' ( err )")
@pytest.mark.parametrize(
    ("response", "events"),
    [
        pytest.param(b"garbage\r\n\r\n", ["error"], id="garbage"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            ["response_start", "response_body", "error"],
            id="broken-off",
        ),
    ],
)
def test_error_is_the_last_event_and_an_http_error(response: bytes, events: list[str]) -> None:
    origin = Origin(response)
    exchange = origin.ask()
    origin.connections[0].close()
    advance(origin.loop, 10)
    heard = exchange.heard.take()
    assert [event for event, *_ in heard] == events
    assert isinstance(heard[-1][1], thor.http.error.HttpError)
    assert heard[-1][1].desc


def test_headers_across_lines_are_one_for_a_client() -> None:
    origin = Origin(b"HTTP/1.1 204 No Content\r\nA: b\r\n  c\r\n\r\n")
    assert origin.ask().heard.take()[0][3] == [(b"A", b"b c")]


@documents("Working with HTTP Headers")
def test_headers_are_sent_in_order_each_on_its_line() -> None:
    origin = Origin(OK)
    origin.ask(*eval(example('("Content-Type", " text/plain")')))
    lines = origin.received.split(b"\r\n")[2:-2]
    assert lines == [
        b"Content-Type: text/plain",
        b"Foo: bar, baz",
        b"Cache-Control: max-age=30, must-revalidate",
        b"Foo: boom",
        b"user-agent: Foo/1.0",
    ]

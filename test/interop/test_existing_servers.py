"""Servers written for thor 0.17 run: REDbot 2.7.1's daemon, in miniature, and all that it uses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import pytest

import thor
import thor.events
import thor.http.server
import thor.loop
from thor.loop import LoopBase, _loop
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Playbook, advance, settle
from thor_support import run_loop

RawHeaders = list[tuple[bytes, bytes]]

TEXT = [(b"Content-Type", b"text/plain")]
LIMIT = 10


class Handler:
    """Handles one exchange; made for each, by a `partial`, and kept by its listeners alone."""

    def __init__(self, exchange: thor.http.server.HttpServerExchange, site: dict[str, Any]) -> None:
        self.exchange = exchange
        self.site = site
        self.method = self.uri = self.body = b""
        self.answered = False
        if not exchange.http_conn.tcp_conn:
            return
        self.client_ip = exchange.http_conn.tcp_conn.socket.getpeername()[0]
        exchange.on("request_start", self.request_start)
        exchange.on("request_body", self.request_body)
        exchange.on("request_done", self.request_done)

    def request_start(self, method: bytes, uri: bytes, headers: RawHeaders) -> None:
        self.method, self.uri = method, uri
        self.site["requests"] = [*self.site.get("requests", ()), (method, uri, self.client_ip)]

    def request_body(self, chunk: bytes) -> None:
        self.body += chunk
        if len(self.body) > LIMIT and not self.answered:
            self.answered = True
            self.exchange.response_start(b"413", b"Content Too Large", TEXT)
            self.exchange.response_body(b"Too large.")
            self.exchange.response_done([], close=True)

    def request_done(self, trailers: RawHeaders) -> None:
        if self.answered:
            return
        if self.method == b"POST":
            self.exchange.response_start(b"204", b"No Content", [])
            self.exchange.response_done([])
        elif self.uri == b"/slow":
            self.begin()
        else:
            self.exchange.response_start(b"404", b"Not Found", TEXT)
            self.exchange.response_body(b"'%s' not found." % self.uri)
            self.exchange.response_done([])

    def begin(self) -> None:
        @thor.events.on(cast(thor.events.EventEmitter, self.exchange))
        def close() -> None:
            self.site["closed"] = True

        self.exchange.response_start(b"200", b"OK", TEXT)
        self.exchange.response_body(b"begun")
        self.site["exchange"] = self.exchange


class Daemon:
    """A server in memory, and a browser that the test plays."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.site: dict[str, Any] = {}
        self.server = type(
            "Server", (thor.http.HttpServer,), {"tcp_server_class": self.network.tcp_server_class}
        )(b"", 8000, self.network.loop)
        self.server.on("exchange", partial(Handler, site=self.site))
        self.play = Playbook(self.network.loop)
        self.browser = self.network.connect("", 8000)
        self.play.peer("browser", self.browser)

    def send(self, data: bytes) -> bytes:
        self.play.send("browser", data)
        return b"".join(args[0] for _, event, *args in self.play.take() if event == "data")


def request(method: bytes, target: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"%b %b HTTP/1.1" % (method, target), b"Host: a", *lines)) + b"\r\n\r\n"


def test_handler_that_is_a_partial_answers_with_bytes() -> None:
    daemon = Daemon()
    head, _, body = daemon.send(request(b"GET", b"/x")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body == b"f\r\n'/x' not found.\r\n0\r\n\r\n"
    assert daemon.site["requests"] == [(b"GET", b"/x", "127.0.0.1")]


def test_answer_inside_the_body_that_closes_ends_the_upload() -> None:
    daemon = Daemon()
    answer = daemon.send(request(b"POST", b"/", b"Content-Length: 9000") + b"x" * 5000)
    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert answer.endswith(b"Too large.\r\n0\r\n\r\n")
    assert daemon.send(request(b"GET", b"/")) == b""
    assert len(daemon.site["requests"]) == 1
    advance(daemon.network.loop, 5)
    assert not daemon.server.connections


def test_client_that_goes_away_is_a_close_on_its_exchange_and_answering_does_no_harm() -> None:
    daemon = Daemon()
    assert daemon.send(request(b"GET", b"/slow")).endswith(b"begun\r\n")
    daemon.browser.abort()
    settle(daemon.network.loop)
    assert daemon.site["closed"] is True
    daemon.site["exchange"].response_body(b"more")
    daemon.site["exchange"].response_done([])


def test_loop_tells_its_connections_and_timers() -> None:
    """What a handler of crashes prints."""
    daemon = Daemon()
    daemon.send(request(b"GET", b"/slow"))
    loop: LoopBase = daemon.server.loop
    timer = loop.schedule(20, daemon.send)
    connections = [h for h in loop.registered_fd_handlers() if isinstance(h, TcpConnection)]
    assert len(connections) == 2  # both ends
    timers = {f"{when:.2f} - {event!r}" for when, event in loop.scheduled_events()}
    assert [line for line in timers if line.startswith("20.00 - ") and "send" in line]
    timer.delete()
    assert timer not in [event for _, event in loop.scheduled_events()]


# -- the default loop -----------------------------------------------------------------------------


@pytest.fixture
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_signals")
def test_signal_handler_shuts_down_gracefully_and_stops_the_loop() -> None:
    server = thor.http.HttpServer(b"127.0.0.1", 0)
    stopped: list[str] = []

    def shutdown(number: int, frame: object) -> None:
        server.on("stop", thor.stop)
        server.on("stop", partial(stopped.append, "stop"))
        server.graceful_shutdown()

    signal.signal(signal.SIGTERM, shutdown)
    thor.schedule(0, os.kill, os.getpid(), signal.SIGTERM)
    run_loop(thor.loop)
    assert stopped == ["stop"]
    assert not thor.loop.running


def test_default_loops_precision_and_reports_may_be_set_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[tuple[Any, ...]] = []
    monkeypatch.setattr(_loop, "precision", 0.2)
    monkeypatch.setattr(_loop, "debug_out", lambda *report: reports.append(report))
    monkeypatch.setattr(_loop, "debug", True)
    monkeypatch.setattr(_loop, "slow_callback_s", 0.0)
    thor.schedule(0, thor.stop)
    run_loop(thor.loop)
    assert thor.loop.precision == 0.2
    assert {len(report) for report in reports} == {2}
    assert all(isinstance(message, str) for message, _ in reports)

"""Two exchanges that are joined: a program's own proxy, in memory."""

from __future__ import annotations

from typing import Any

import pytest

import thor
from thor.http import HttpClient, HttpServer
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Peer, Playbook, advance

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RelayingProgram(Playbook):
    """A server that passes each request on: `browser` talks to it, and it talks to `origin`."""

    def __init__(self, **start: Any) -> None:
        """start: keyword arguments for `request_start` of the request that is passed on"""
        network = MemoryNetwork()
        super().__init__(network.loop)
        self.loop = network.loop
        self.start = start
        sides = {"tcp_server_class": network.tcp_server_class, "send_date": False}
        server_class = type("_Server", (HttpServer,), sides)
        server_class("program", 80, self.loop).on("exchange", self._pass_on)
        self.client = HttpClient(self.loop)
        self.client.tcp_client_class = network.tcp_client_class
        self.client.retry_limit = 0
        origin = network.tcp_server_class("origin", 80)
        origin.on("connect", self._accept)
        self.browser = Peer(self.loop, network.connect("program", 80))
        self.peer("browser", self.browser)

    def _accept(self, conn: TcpConnection) -> None:
        self.origin = Peer(self.loop, conn)
        self.peer("origin", self.origin)

    def _pass_on(self, exchange: Any) -> None:
        upstream = self.client.exchange()

        @thor.on(exchange)
        def request_start(method: bytes, uri: bytes, headers: Any) -> None:
            to = uri if method == b"CONNECT" else b"http://origin" + uri
            upstream.request_start(method, to, headers, **self.start)
            thor.relay(exchange, upstream)


def test_request_and_response_are_passed_on() -> None:
    play = RelayingProgram()
    play.send("browser", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nA: b\r\n\r\nab")
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nA: b\r\n\r\n"
    play.expect(("origin", "data", head + b"ab"))
    play.send("browser", b"c").expect(("origin", "data", b"c"))
    play.send("origin", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    play.expect(("browser", "data", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"))
    play.send("origin", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nC: d\r\n\r\no")
    play.expect(("browser", "data", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nC: d\r\n\r\no"))
    play.send("origin", b"k").expect(("browser", "data", b"k"))


def test_trailers_are_passed_on_both_ways() -> None:
    play = RelayingProgram()
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    play.send(
        "browser", b"POST / HTTP/1.1\r\nHost: x\r\n" + chunked + b"1\r\na\r\n0\r\nT: u\r\n\r\n"
    )
    body = b"1\r\na\r\n0\r\nT: u\r\n\r\n"
    play.expect(("origin", "data", b"POST / HTTP/1.1\r\nHost: x\r\n" + chunked + body))
    play.send("origin", b"HTTP/1.1 200 OK\r\n" + chunked + body)
    play.expect(("browser", "data", b"HTTP/1.1 200 OK\r\n" + chunked + body))


def test_neither_side_is_read_faster_than_the_other_reads() -> None:
    play = RelayingProgram()
    size = 8 * 1024 * 1024
    length = b"Content-Length: %d\r\n\r\n" % size
    play.send("browser", b"POST / HTTP/1.1\r\nHost: x\r\n" + length)
    origin = play.origin
    origin.pause()
    play.browser.send(b"x" * size)
    assert play.browser.unsent > size // 2
    origin.pause(False)
    assert play.browser.unsent == 0
    assert len(origin.take()) > size
    play.browser.pause()
    origin.send(b"HTTP/1.1 200 OK\r\n" + length, b"y" * size)
    assert origin.unsent > size // 2
    play.browser.pause(False)
    assert origin.unsent == 0
    assert len(play.browser.take()) > size


def test_client_that_goes_cancels_the_request() -> None:
    play = RelayingProgram()
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").abort("browser")
    assert play.origin.is_reset


@pytest.mark.parametrize(
    ("says", "status"),
    [
        pytest.param(b"", b"502 Bad Gateway", id="nothing"),
        pytest.param(b"NONSENSE\r\n\r\n", b"502 Bad Gateway", id="nonsense"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"502 Bad Gateway",
            id="a-coding-that-is-not-decoded",
        ),
    ],
)
def test_request_that_fails_is_a_bad_gateway(says: bytes, status: bytes) -> None:
    play = RelayingProgram()
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    play.send("origin", says).finish("origin")
    assert play.browser.take() == b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status


def test_request_that_takes_too_long_is_a_gateway_timeout() -> None:
    play = RelayingProgram()
    play.client.exchange_timeout = 3
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    advance(play.loop, 3.1)
    assert play.browser.take() == b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"


def test_response_that_breaks_off_resets_the_client() -> None:
    play = RelayingProgram()
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    play.send("origin", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").abort("origin")
    assert play.browser.take().endswith(b"half")
    assert play.browser.is_reset


def test_switch_of_protocols_joins_the_connections() -> None:
    play = RelayingProgram(upgrade="echo")
    offer = b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n" + offer)
    switch = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n"
    play.send("origin", switch + offer + b"first")
    assert play.browser.take() == switch + offer + b"first"
    play.origin.take()
    play.send("browser", b"ping")
    assert play.origin.take() == b"ping"
    play.abort("browser")
    assert play.origin.is_reset


def test_switch_that_the_client_did_not_offer_is_a_bad_gateway() -> None:
    play = RelayingProgram(upgrade="echo")
    play.send("browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    play.send("origin", switch)
    assert play.browser.take() == b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    assert play.origin.is_reset


def test_connect_is_answered_by_the_tunnel() -> None:
    play = RelayingProgram()
    play.send("browser", b"CONNECT origin:80 HTTP/1.1\r\nHost: origin:80\r\n\r\n")
    play.send("origin", OK[: OK.index(b"ok")])
    assert play.browser.take() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    play.origin.take()
    play.send("browser", b"ping")
    assert play.origin.take() == b"ping"
    play.abort("browser")

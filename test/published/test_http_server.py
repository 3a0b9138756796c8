"""What the published documentation says of the HTTP server."""

from __future__ import annotations

import signal
import textwrap
from typing import Any

import pytest
from published_support import documents, example, start_python
from thor_documentation import fetch

import thor
from thor.http import HttpServer
from thor.testing import MemoryNetwork, Playbook, Recorder, settle
from thor_support import run_loop


class Served:
    """A server in memory, a browser that the test plays, and the exchanges that came."""

    def __init__(self, **settings: Any) -> None:
        self.network = MemoryNetwork()
        body = {"tcp_server_class": self.network.tcp_server_class, "send_date": False, **settings}
        self.server = type("Server", (HttpServer,), body)("localhost", 80, self.network.loop)
        self.heard = Recorder(self.server, "start", "stop")
        self.exchanges: list[Any] = []
        self.requests: list[Recorder] = []
        self.server.on("exchange", self._exchange)
        self.play = Playbook(self.network.loop)
        self.play.peer("browser", self.network.connect("localhost", 80))

    def _exchange(self, exchange: Any) -> None:
        self.exchanges.append(exchange)
        self.requests.append(Recorder(exchange, "request_start", "request_body", "request_done"))

    def send(self, data: bytes) -> list[tuple[Any, ...]]:
        self.play.send("browser", data)
        return self.requests[-1].take() if self.requests else []

    def answer(self, body: str = "ok", *headers: tuple[str, str]) -> None:
        exchange = self.exchanges[-1]
        exchange.response_start(200, "OK", list(headers))
        exchange.response_body(body)
        exchange.response_done([])
        settle(self.network.loop)

    def received(self) -> bytes:
        return b"".join(args[0] for _, event, *args in self.play.take() if event == "data")


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_the_hello_server_of_the_readme_runs() -> None:
    # The documented setting says what listens: here, on any port, which it tells.
    prelude = """
        import thor
        class AnyPort(thor.TcpServer):
            def __init__(self, host, port, *args):
                assert (host, port) == ("127.0.0.1", 8000)
                super().__init__(host, 0, *args)
                print(self.address[1], flush=True)
        thor.HttpServer.tcp_server_class = AnyPort
    """
    process = start_python(textwrap.dedent(prelude) + example("def test_handler"))
    try:
        assert process.stdout is not None
        answer = fetch(f"http://127.0.0.1:{int(process.stdout.readline())}/")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert (answer.status, answer.body) == (200, b"Hello, world!")
    assert answer.fields["content-type"] == "text/plain"


def test_a_server_takes_the_loop_that_is_passed() -> None:
    loop = thor.loop.make()
    server = HttpServer("127.0.0.1", 0, loop)
    heard = Recorder(server, "start", "stop")
    run_loop(loop, lambda: heard.events)
    server.shutdown()
    run_loop(loop, lambda: len(heard.events) == 2)
    assert heard.take() == [("start",), ("stop",)]
    loop.stop()


def test_a_server_emits_start_and_stop() -> None:
    served = Served()
    settle(served.network.loop)
    assert served.heard.take() == [("start",)]
    served.server.shutdown()
    settle(served.network.loop)
    assert served.heard.take() == [("stop",)]


@documents("Event 'exchange' ( exchange )", "event 'request_start' ( method, uri, headers )")
def test_an_exchange_emits_the_request() -> None:
    assert Served().send(b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n") == [
        ("request_start", b"GET", b"/a?b", [(b"Host", b"localhost"), (b"X", b"y")]),
        ("request_done", []),
    ]


@documents("event 'request_body' ( chunk )", "event 'request_done' ( trailers )")
def test_a_chunked_request_comes_with_its_trailers() -> None:
    heard = Served().send(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    )
    assert heard[1:] == [("request_body", b"abcde"), ("request_done", [(b"X", b"y")])]


@documents("exchange.response_start ( status, phrase, headers )")
def test_response_start_sends_the_head_without_hop_by_hop_headers() -> None:
    served = Served()
    served.send(GET)
    served.answer(
        "ok", ("Content-Length", "2"), ("Keep-Alive", "x"), ("Connection", "X"), ("X", "y")
    )
    assert served.received() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@documents("exchange.response_body ( chunk )", "exchange.response_done ( trailers )")
def test_a_response_without_a_length_is_sent_in_chunks_with_its_trailers() -> None:
    served = Served()
    served.send(GET)
    exchange = served.exchanges[0]
    exchange.response_start("200", b"OK", [])
    exchange.response_body("four")
    exchange.response_done([("X", "y")])
    settle(served.network.loop)
    head, _, body = served.received().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"4\r\nfour\r\n0\r\nX: y\r\n\r\n"


def test_connections_persist_in_http_1_1() -> None:
    served = Served()
    for _ in range(2):
        served.send(GET)
        served.answer("ok", ("Content-Length", "2"))
    assert served.received().count(b"HTTP/1.1 200 OK") == 2


def test_connections_persist_in_http_1_0_where_the_client_asks_for_it() -> None:
    served = Served()
    for _ in range(2):
        served.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        served.answer("ok", ("Content-Length", "2"))
    assert served.received().lower().count(b"connection: keep-alive") == 2


def test_headers_across_lines_are_one_where_a_server_is_set_to_it() -> None:
    folded = b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n  c\r\n\r\n"
    served = Served(fold="unfold")
    assert (b"A", b"b c") in served.send(folded)[0][3]


@pytest.mark.parametrize("method_of", ["class", "instance"])
def test_a_servers_idle_timeout_closes_idle_connections(method_of: str) -> None:
    served = Served() if method_of == "instance" else Served(idle_timeout=5)
    served.server.idle_timeout = 5
    served.send(GET)
    served.answer("ok", ("Content-Length", "2"))
    served.play.take()
    served.play.advance(4.9).expect()
    served.play.advance(0.2).expect(("browser", "end"))


def test_a_servers_idle_timeout_of_none_closes_none() -> None:
    served = Served(idle_timeout=None)
    served.send(GET)
    served.answer("ok", ("Content-Length", "2"))
    served.play.take()
    served.play.advance(100_000).expect()

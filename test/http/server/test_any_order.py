"""Clients, a program and time in any order: whatever happens, the promises of an exchange hold.

Each case is a made-up life of a server: clients send requests in pieces, finish, vanish, stop
reading; the program answers at once or later, in part, too much, or raises; it pauses; time goes
by; the server is shut down. Afterwards each client has got well-formed responses, as many as it
may, and each exchange has told its end exactly once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from server_support import CHUNKED, ServerHarness, chunks, request

from thor.http.error import OutputStateError
from thor.http.server import HttpServerExchange
from thor.http.wire.framing import LENGTH
from thor.http.wire.limits import Limits
from thor.http.wire.reader import ResponseReader
from thor.testing import Peer

#: Values that a setting takes in turn.
SETTINGS: dict[str, list[Any]] = {
    "idle_timeout": [5, 60, None],
    "head_timeout": [7, None],
    "body_timeout": [8, None],
    "min_body_rate": [0, 0, 5],
    "send_timeout": [9, None],
    "response_timeout": [11, None, None],
    "half_close_timeout": [6, None],
    "linger_timeout": [2.0, None],
    "linger_bytes": [5, 10_000],
    "drain_bytes": [10, 100_000],
    "abort_on_half_close": [False, False, True],
}

REQUESTS: list[Callable[[random.Random], bytes]] = [
    lambda _: request(),
    lambda _: request(method="HEAD"),
    lambda _: request(version="1.0"),
    lambda _: request("/", "Connection: close"),
    lambda _: request("/", "Connection: upgrade", "Upgrade: x"),
    lambda _: request("/", "Expect: 100-continue", "Content-Length: 3") + b"abc",
    lambda _: b"CONNECT other:1 HTTP/1.1\r\nHost: other:1\r\n\r\n",
    lambda _: b"JUNK\n",
    lambda r: request(method="POST", body=b"b" * r.choice([1, 5, 1000])),
    lambda r: CHUNKED + chunks(*[b"c" * r.choice([1, 9, 30_000])] * r.randrange(3)) + b"0\r\n\r\n",
]


class Boom(Exception):
    pass


class Life:
    """One made-up life."""

    def __init__(self, seed: int) -> None:
        self.random = pick = random.Random(seed)
        settings = {name: pick.choice(values) for name, values in SETTINGS.items()}
        self.stage = ServerHarness(self.meet, **settings)
        self.stage.loop.on_exception = "log"
        self.stage.loop.on("error", self.raised)
        self.wrong: list[BaseException] = []
        self.eager = pick.random()
        self.clumsy = pick.random() < 0.2
        self.clients: list[Peer] = []
        self.unsent: dict[Peer, bytes] = {}

    def raised(self, exc: BaseException) -> None:
        if not isinstance(exc, Boom):
            self.wrong.append(exc)

    # -- the program

    def meet(self, exchange: HttpServerExchange) -> None:
        def react(*_: Any) -> None:
            if self.clumsy and self.random.random() < 0.1:
                raise Boom
            if self.random.random() < self.eager:
                self.act(exchange)
            if self.random.random() < 0.1:
                exchange.pause(self.random.random() < 0.5)

        for event in ("request_start", "request_body", "request_done", "pause"):
            if self.random.random() < 0.7:
                exchange.on(event, react)
        react()

    def act(self, exchange: HttpServerExchange) -> None:
        try:
            if exchange.response_state.name == "IDLE":
                self.begin(exchange)
            elif exchange.response_state.name == "BODY":
                self.go_on(exchange)
        except OutputStateError:
            assert exchange.response_state.name in ("IDLE", "FAILED")

    def begin(self, exchange: HttpServerExchange) -> None:
        way = self.random.random()
        if way < 0.1:
            exchange.response_nonfinal(self.random.choice([100, 103]), "", [])
        elif way < 0.2:
            exchange.upgrade("x")
        else:
            length = self.random.choice([None, 0, 5, 50_000])
            fields = [("Content-Length", str(length))] if length is not None else []
            exchange.response_start(self.random.choice([200, 404, 204]), "", fields)

    def go_on(self, exchange: HttpServerExchange) -> None:
        careful = self.random.random() < 0.95
        stream: Any = exchange._stream  # private: how much is missing is nowhere else to be read
        left = stream._length_left if stream.framing == LENGTH and careful else None
        if self.random.random() < 0.6:
            size = self.random.choice([1, 5, 17_000])
            exchange.response_body(b"x" * (size if left is None else min(size, left)))
        else:
            exchange.response_body(b"x" * (left or 0))
            exchange.response_done([], close=self.random.random() < 0.05)

    # -- the clients, and time

    def step(self) -> None:
        way = self.random.random()
        if way < 0.1 or not self.clients:
            self.clients.append(self.stage.client())
        elif way < 0.5:
            self.send(self.random.choice(self.clients))
        elif way < 0.55:
            client = self.random.choice(self.clients)
            self.random.choice([client.end, client.abort, client.close])()
        elif way < 0.6:
            self.random.choice(self.clients).pause()
        elif way < 0.7:
            self.random.choice(self.clients).pause(False)
        elif way < 0.8:
            self.stage.advance(self.random.choice([0.1, 1, 5, 12]))
        elif self.stage.exchanges:
            exchange = self.random.choice(self.stage.exchanges[-4:])
            for _ in range(self.random.randrange(1, 5)):
                self.act(exchange)
            exchange.pause(self.random.random() < 0.1)
            if self.random.random() < 0.7:
                self.stage.settle()

    def send(self, client: Peer) -> None:
        data = self.unsent.get(client, b"")
        if not data:
            data = b"".join(self.random.choice(REQUESTS)(self.random) for _ in range(3))
        size = self.random.choice([1, 10, 100, 100_000])
        self.unsent[client] = data[size:]
        if not client.is_closed:
            client.send(data[:size])

    def live(self) -> None:
        for _ in range(self.random.randrange(5, 60)):
            self.step()
        server = self.stage.server
        if self.random.random() < 0.3:
            server.graceful_shutdown()
            self.stage.advance(1)
        for client in self.clients:
            client.pause(False)

    def end(self) -> None:
        for client in self.clients:
            client.abort()
        self.stage.server.shutdown()
        self.stage.advance(200)


def answers(client: Peer, stage: ServerHarness) -> int:
    """How many final responses a client got. Raises: HttpError if they are not well-formed."""
    address = stage.server_side(client).address
    methods = [e.method for e in stage.exchanges if e.http_conn.address == address]
    reader = ResponseReader(Limits())
    data = client.received
    for count, method in enumerate([*methods, b"GET"]):  # the last may be for what was refused
        reader.expect(method)
        reader.feed(data)
        while (parts := reader.read_head()) is not None:
            code = parts.status_code
            if code >= 200:
                break
            if code == 101:
                return count + 1
        while reader.read_body():
            pass
        if parts is None or not reader.complete:
            return count
        if method == b"CONNECT" and code == 200:
            return count + 1
        data = reader.take_rest()
        if not data:
            return count + 1
    raise AssertionError(f"more responses than requests: {data[:100]!r}")


@pytest.mark.parametrize("batch", range(10))
@pytest.mark.usefixtures("caplog")  # what is raised on purpose is logged
def test_whatever_happens_each_exchange_ends_once_and_no_response_is_torn(batch: int) -> None:
    for seed in range(batch * 60, batch * 60 + 60):
        life = Life(seed)
        life.live()
        stage = life.stage
        for client in life.clients:
            answers(client, stage)
        life.end()
        assert life.wrong == [], seed
        assert stage.server.connections == [], seed
        assert stage.server_events.events == [("start",), ("stop",)], seed
        for index, exchange in enumerate(stage.exchanges):
            names = stage.names(index)
            assert names[-1] == "done", seed
            once = ("request_start", "request_done", "error", "close", "done")
            assert all(names.count(name) <= 1 for name in once), seed
            assert ("error" in names) == ("close" in names) == (names[-3:-1] == ["error", "close"])
            assert exchange.events() == [], seed

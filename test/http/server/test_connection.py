"""Requests and responses on one connection: their order, what keeps it open, what bounds it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from server_support import (
    CHUNKED,
    HELLO,
    ServerHarness,
    answer,
    answering,
    answering_done,
    chunks,
    request,
)

from thor.http.http1.server_requests import MAX_KEPT
from thor.http.server import HttpServerExchange
from thor.testing import Peer
from thor_support import left_to_the_collector

# -- requests -----------------------------------------------------------------------------------


def test_a_request_is_emitted_in_its_parts() -> None:
    stage = ServerHarness()
    stage.client().send(CHUNKED, chunks(b"ab"), chunks(b"cd"), b"0\r\nX: y\r\n\r\n")
    assert stage.events() == [
        ("request_start", b"POST", b"/", stage.exchange.req_hdrs),
        ("request_body", b"abcd"),
        ("request_done", [(b"X", b"y")]),
    ]
    assert stage.exchange.req_hdrs == [(b"Host", b"origin"), (b"Transfer-Encoding", b"chunked")]


def test_clients_that_send_in_turns_are_not_mixed_up() -> None:
    """A reader passes from one connection to the next, empty."""
    stage = ServerHarness(answering_done)
    clients = [stage.client() for _ in range(3)]
    data = [
        request(f"/{n}", f"X-Client: {n}") + request(f"/{n}/body", method="PUT", body=b"%d" % n * 9)
        for n in range(3)
    ]
    for at in range(max(map(len, data))):
        for client, mine in zip(clients, data, strict=True):
            client.send(mine[at : at + 1])
    for client in clients:
        assert client.take() == HELLO * 2
    seen = {(exchange.http_conn, exchange.uri) for exchange in stage.exchanges}
    conns = {exchange.http_conn: exchange.uri for exchange in stage.exchanges[:3]}
    assert seen == {(conn, uri + rest) for conn, uri in conns.items() for rest in (b"", b"/body")}
    bodies = [dict(e[:2] for e in h.events).get("request_body") for h in stage.heard]
    assert bodies == [None] * 3 + [b"0" * 9, b"1" * 9, b"2" * 9]


def test_an_exchange_knows_its_request_before_it_starts() -> None:
    seen: list[Any] = []

    def look(exchange: HttpServerExchange) -> None:
        seen.extend([exchange.method, exchange.uri, exchange.req_hdrs, exchange.req_version])
        seen.append(exchange.http_conn.tcp_conn)

    stage = ServerHarness(look)
    client = stage.client().send(request("/a?b", "X: y"))
    assert seen[:2] == [b"GET", b"/a?b"]
    assert seen[2:4] == [[(b"Host", b"origin"), (b"X", b"y")], b"1.1"]
    assert seen[4] is stage.server_side(client)


def test_empty_bodies_have_no_request_body() -> None:
    stage = ServerHarness()
    stage.client().send(request("/", "Content-Length: 0", method="POST"))
    assert stage.names() == ["request_start", "request_done"]


# -- answers, at any moment ---------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"some body"], ids=["bodyless", "body"])
def test_answering_in_exchange(body: bytes) -> None:
    stage = ServerHarness(answer)
    client = stage.client().send(request(method="POST", body=body))
    assert client.take() == HELLO
    assert stage.names() == ["done"]  # no request_start after response_done
    client.send(request())
    assert client.take() == HELLO


def test_answering_later_from_a_timer() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.loop.schedule(5, lambda: answer(stage.exchange))
    stage.advance(4)
    assert client.take() == b""
    stage.advance(1)
    assert client.take() == HELLO
    assert stage.events()[-1] == ("done", None)


def test_answering_in_parts_over_time() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    exchange = stage.exchange
    exchange.response_start(200, "OK", [])
    assert client.take().endswith(b"Transfer-Encoding: chunked\r\n\r\n")
    exchange.response_body("ab")
    assert client.take() == b"2\r\nab\r\n"
    exchange.response_done([("X", "y")])
    assert client.take() == b"0\r\nX: y\r\n\r\n"


def test_a_whole_response_leaves_in_one_segment() -> None:
    stage = ServerHarness(answering)
    client = stage.client()
    sock: Any = stage.server_side(client).socket
    before = sock.calls["send"]
    client.send(request())
    assert client.take() == HELLO
    assert sock.calls["send"] == before + 1


# -- pipelining ---------------------------------------------------------------------------------


def test_the_next_request_waits_until_the_client_takes_the_answers() -> None:
    """A client that pipelines and never reads must not fill the memory with answers."""
    big = b"x" * 300_000

    def handler(exchange: HttpServerExchange) -> None:
        exchange.on("request_start", lambda *_: answer(exchange, big))

    stage = ServerHarness(handler)
    client = stage.client().pause().send(request() * 50)
    assert len(stage.exchanges) == 1
    client.pause(False)
    assert len(stage.exchanges) == 50
    assert client.take().count(b"HTTP/1.1 200") == 50


def test_many_pipelined_requests_do_not_recurse() -> None:
    stage = ServerHarness(answer)
    assert stage.client().send(request() * 1500).take() == HELLO * 1500


# -- pausing the request ------------------------------------------------------------------------


def test_a_paused_request_stops_at_once_and_goes_on_where_it_was() -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.on("request_body", lambda _: exchange.pause(True))

    stage = ServerHarness(handler)
    stage.client().send(CHUNKED, chunks(b"ab"), chunks(b"cd"), chunks(b"ef") + b"0\r\n\r\n")
    assert stage.events()[1:] == [("request_body", b"ab")]
    stage.exchange.pause(False)
    stage.settle()
    assert stage.events()[1:] == [("request_body", b"abcdef")]
    stage.exchange.pause(False)
    stage.settle()
    assert stage.names() == ["request_start", "request_body", "request_done"]


def test_pausing_bounds_the_memory_and_stops_the_client() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    size = 3_000_000
    client = stage.client().send(request("/", f"Content-Length: {size}", method="PUT"))
    client.send(b"x" * size)
    assert stage.server_side(client).read_paused
    connection: Any = stage.exchange.http_conn
    assert connection.requests.reader.buffered <= 3 * 64 * 1024
    assert stage.names() == ["request_start"]
    stage.exchange.pause(False)
    stage.settle()
    assert stage.events()[1:] == [("request_body", b"x" * size), ("request_done", [])]


def test_request_done_waits_while_paused() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    client = stage.client().send(request() + request("/2"))
    assert stage.names() == ["request_start"]
    stage.exchange.pause(False)
    assert stage.names() == ["request_start"]  # a method never emits
    stage.settle()
    assert stage.names() == ["request_start", "request_done"]
    answer(stage.exchange)
    assert client.take() == HELLO
    assert stage.exchange.uri == b"/2"


def test_a_paused_request_can_be_answered() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    client = stage.client().send(request(method="POST", body=b"hello") + request("/2"))
    answer(stage.exchange)
    assert client.take() == HELLO
    assert stage.exchange.uri == b"/2"
    assert stage.names(0) == ["request_start", "done"]


# -- more connections than keep what they read with ----------------------------------------------


def test_each_of_many_connections_is_served_again_and_again() -> None:
    stage = ServerHarness(answering)
    clients = [stage.client() for _ in range(2 * MAX_KEPT + 1)]
    for number in range(3):
        for client in clients:
            assert client.send(request(f"/{number}")).take() == HELLO
    assert len(stage.server.kept_requests) == MAX_KEPT


def test_connection_that_has_sent_half_a_request_is_not_disturbed_by_others() -> None:
    stage = ServerHarness(answering)
    slow = stage.client().send(request("/1"), request("/2")[:20])
    others = [stage.client() for _ in range(2 * MAX_KEPT)]
    for client in others:
        assert client.send(request()).take() == HELLO
    assert slow.send(request("/2")[20:]).take() == HELLO + HELLO
    for client in [slow, *others]:
        client.close()
    assert not stage.server.kept_requests


def test_limit_that_is_set_holds_for_connections_that_wait() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(request())
    assert client.take() == HELLO
    stage.server.max_target_bytes = 10
    stage.client()
    assert client.send(request("/" + "a" * 20)).take().startswith(b"HTTP/1.1 414 ")


# -- cost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["answered", "with done", "refused", "bad body", "bad rest", "client gone"]
)
def test_exchanges_leave_no_reference_cycles(how: str) -> None:
    def handler(exchange: HttpServerExchange) -> None:
        @exchange_on(exchange, "request_start")
        def request_start(*_: Any) -> None:
            if how not in ("client gone", "bad body"):
                answer(exchange)
            assert exchange.http_conn

        if how != "answered":
            exchange.on("done", lambda _: exchange.method)
            exchange.on("error", lambda _: exchange.method)

    stage = ServerHarness()
    stage.server.remove_listeners("exchange")
    stage.server.on("exchange", handler)
    data = request(method="POST", body=b"hello")
    if how == "refused":
        data = b"X\n"
    elif how.startswith("bad"):
        data = CHUNKED + b"X\r\n"

    def once(clients: list[Peer]) -> None:
        for client in clients:
            client.send(data)
            client.abort() if how == "client gone" else client.close()

    once([stage.client()])
    clients = [stage.client() for _ in range(20)]
    stage.network.pairs.clear()
    gc.collect()
    gc.disable()
    try:
        once(clients)
        assert left_to_the_collector() == []
    finally:
        gc.enable()


def exchange_on(
    exchange: HttpServerExchange, event: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(listener: Any) -> Any:
        exchange.on(event, listener)
        return None  # the name in the handler's frame would be a cycle of the test's own

    return register

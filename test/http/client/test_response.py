"""What the client makes of the bytes of responses, right and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness, ok

from thor.http import error as errors
from thor.http.client import HttpClient
from thor.http.client.pool import pool_of
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Recorder, settle

MakeHarness = Callable[..., ClientHarness]


# -- until the connection ends --------------------------------------------------------------------


@pytest.mark.parametrize("careful", [True, False])
def test_careless_takes_an_end_without_close_notify_for_one(
    make_harness: MakeHarness, careful: bool
) -> None:
    stage = make_harness(careful=careful)
    watched = stage.request()
    stage.peer.send(ok(body=b"hello"))
    truncated = type("SSLEOFError", (OSError,), {})()  # what TLS says
    stage.client_side(stage.peer).connection_lost(truncated)
    assert watched.names[-1] == ("error" if careful else "response_done")
    watched.ends_once()


@pytest.mark.parametrize("careful", [True, False])
def test_careless_is_no_excuse_for_a_truncated_body(
    make_harness: MakeHarness, careful: bool
) -> None:
    stage = make_harness(careful=careful)
    watched = stage.request()
    stage.peer.send(ok("Content-Length: 9", body=b"hello"))
    stage.client_side(stage.peer).connection_lost(type("SSLEOFError", (OSError,), {})())
    assert isinstance(watched.error, (errors.ConnectError, errors.IncompleteMessageError))


# -- bad ones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "response", "kind"),
    [
        ("max_head_bytes", 100, ok("A: " + "b" * 100), errors.FieldSectionTooLargeError),
        ("max_head_fields", 1, ok("A: b", "C: d"), errors.TooManyFieldsError),
        ("fold", "refuse", ok("A: b", " c"), errors.ObsoleteFoldError),
    ],
)
def test_limits_are_settings(
    make_harness: MakeHarness, setting: str, value: Any, response: bytes, kind: type[Exception]
) -> None:
    stage = make_harness()
    lenient = stage.request()
    stage.peer.send(response).end()
    assert lenient.names[-1] == "response_done"
    setattr(stage.client, setting, value)
    strict = stage.request()
    stage.peer.send(response)
    assert isinstance(strict.error, kind)


# -- more than was asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "response"),
    [
        pytest.param("GET", HELLO + b"!", id="after-length"),
        pytest.param("GET", HELLO + HELLO, id="a-second-response"),
        pytest.param(
            "GET", ok("Transfer-Encoding: chunked", body=b"0\r\n\r\n") + b"x", id="after-chunked"
        ),
        pytest.param("HEAD", ok("Content-Length: 5", body=b"hello"), id="body-to-head"),
        pytest.param("GET", ok(start="HTTP/1.1 204 No", body=b"x"), id="body-of-204"),
        pytest.param("GET", ok(start="HTTP/1.1 304 No", body=b"x"), id="body-of-304"),
    ],
)
def test_extra_bytes_end_the_connection_and_not_the_response(
    stage: ClientHarness, method: str, response: bytes
) -> None:
    watched = stage.request(method)
    stage.peer.send(response)
    assert watched.events[-1] == ("response_done", [])
    watched.ends_once()
    assert stage.open == 0
    assert stage.peer.is_closed
    following = stage.request()
    assert len(stage.peers) == 2
    assert stage.answer(following).events == HELLO_EVENTS


def test_bytes_of_a_head_before_the_request_do_not_become_its_response(
    stage: ClientHarness,
) -> None:
    watched = stage.start()
    stage.peer.send(HELLO[:10])
    watched.exchange.request_done([])
    stage.advance(1)
    assert stage.peers[0].is_reset
    assert stage.answer(watched).events == HELLO_EVENTS


# -- before the request is complete ---------------------------------------------------------------


def test_a_response_that_says_close_abandons_the_request(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    watched.exchange.request_body("a")
    stage.peer.take()
    stage.peer.send(ok("Content-Length: 5", "Connection: close", body=b"he"))
    assert watched.names == ["response_start", "response_body"]
    assert watched.exchange.request_body("b") is True
    watched.exchange.request_done([])
    assert stage.peer.take() == b""
    stage.peer.send(b"llo")
    assert watched.body() == b"hello"
    watched.ends_once()
    assert stage.open == 0


def test_a_request_goes_on_during_its_response(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    watched.exchange.request_body("a")
    stage.peer.take()
    stage.peer.send(HELLO[:-1])
    watched.exchange.request_body("b")
    watched.exchange.request_done([])
    assert stage.peer.take() == b"1\r\nb\r\n0\r\n\r\n"
    stage.peer.send(HELLO[-1:])
    assert watched.body() == b"hello"
    assert stage.idle == 1


def test_a_complete_response_ends_a_request_that_is_not(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    watched.exchange.request_body("a")
    stage.answer(watched)
    assert watched.events == HELLO_EVENTS
    assert watched.exchange.request_body("b") is True
    watched.exchange.request_done([])
    watched.ends_once()
    assert stage.peer.is_reset
    assert stage.open == 0


@pytest.mark.parametrize("said", [b"", HELLO[:30], HELLO], ids=["nothing", "half", "all"])
def test_when_sending_fails_what_has_arrived_is_read_first(
    stage: ClientHarness, said: bytes
) -> None:
    watched = stage.start("POST")
    watched.exchange.request_body("a")
    peer = stage.peer
    peer.take()
    client_side = stage.client_side(peer)
    client_side.socket.fail("send", BrokenPipeError(32, "Broken pipe"))  # type: ignore[attr-defined]
    client_side.socket.received += said  # type: ignore[attr-defined]
    client_side.socket._fin_received = True  # type: ignore[attr-defined]
    watched.exchange.request_body("b")
    if said == HELLO:
        assert watched.events == HELLO_EVENTS
    else:
        assert isinstance(watched.error, errors.NetworkError)
    assert stage.open == 0


def test_a_connection_with_some_of_its_request_still_queued_is_not_used_again() -> None:
    network = MemoryNetwork()
    peers: list[TcpConnection] = []
    network.tcp_server_class("origin", 80).on("connect", peers.append)  # which read nothing
    client = HttpClient(network.loop)
    client.tcp_client_class = network.tcp_client_class
    exchange = client.exchange()
    heard = Recorder(exchange, "response_done", "error")
    exchange.request_start("POST", "http://origin/", [])
    exchange.request_body(b"x" * 200_000)
    exchange.request_done([])
    settle(network.loop)
    peers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    settle(network.loop)
    assert heard.take() == [("response_done", [])]
    assert pool_of(network.loop).origin_pools.popitem()[1].is_empty()

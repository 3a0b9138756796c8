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


# -- good ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "body", "reusable"),
    [
        pytest.param(HELLO, b"hello", True, id="length"),
        pytest.param(
            ok("Transfer-Encoding: chunked", body=b"2\r\nab\r\n1;x=y\r\nc\r\n000\r\n\r\n"),
            b"abc",
            True,
            id="chunked",
        ),
        pytest.param(
            ok("Content-Length: 2", "Connection: close", body=b"ab"), b"ab", False, id="close"
        ),
        pytest.param(
            ok("Content-Length: 2", body=b"ab", start="HTTP/1.0 200 OK"), b"ab", False, id="1.0"
        ),
        pytest.param(
            ok(
                "Content-Length: 2",
                "Connection: keep-alive",
                body=b"ab",
                start="HTTP/1.0 200 OK",
            ),
            b"ab",
            True,
            id="1.0-keep-alive",
        ),
        pytest.param(ok(start="HTTP/1.1 204 No"), b"", True, id="204"),
        pytest.param(ok("Content-Length: 9", start="HTTP/1.1 304 No"), b"", True, id="304"),
    ],
)
def test_responses(stage: ClientHarness, response: bytes, body: bytes, reusable: bool) -> None:
    watched = stage.request()
    stage.peer.send(response)
    assert watched.body() == body
    assert watched.events[-1] == ("response_done", [])
    watched.ends_once()
    assert stage.idle == int(reusable)
    assert stage.peer.is_closed is not reusable


def test_fields_come_as_they_were_sent(stage: ClientHarness) -> None:
    watched = stage.request()
    stage.peer.send(ok("a: 1 ", "A:\t\xe9", "B:", "Content-Length: 0"))
    assert watched.events[0][3] == [
        (b"a", b"1"),
        (b"A", b"\xe9"),
        (b"B", b""),
        (b"Content-Length", b"0"),
    ]


def test_trailers(stage: ClientHarness) -> None:
    watched = stage.request()
    body = b"1\r\nx\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n"
    stage.peer.send(ok("Transfer-Encoding: chunked", body=body))
    assert watched.events[-1] == ("response_done", [(b"A", b"b")])


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(ok("Content-Length: 9"), id="length"),
        pytest.param(ok("Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(ok(), id="neither"),
    ],
)
def test_the_response_to_head_has_no_body(stage: ClientHarness, response: bytes) -> None:
    watched = stage.request("HEAD")
    stage.peer.send(response)
    assert watched.names == ["response_start", "response_done"]
    watched = stage.request()  # and what follows is the next response
    assert stage.answer(watched).body() == b"hello"


def test_informational_responses_come_in_order(stage: ClientHarness) -> None:
    watched = stage.request()
    early = ok("Link: </a>", start="HTTP/1.1 103 Early Hints")
    stage.peer.send(ok(start="HTTP/1.1 100 Continue") + early + early + HELLO)
    hint = ("response_nonfinal", b"103", b"Early Hints", [(b"Link", b"</a>")])
    nothing: tuple[Any, ...] = ("response_nonfinal", b"100", b"Continue", [])
    assert watched.events == [nothing, hint, hint, *HELLO_EVENTS]
    assert stage.idle == 1


# -- until the connection ends --------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(ok(), id="neither-length-nor-coding"),
        pytest.param(ok(start="HTTP/1.0 200 OK"), id="1.0"),
        pytest.param(ok("Transfer-Encoding: gzip"), id="coding-that-is-not-chunked"),
    ],
)
def test_a_body_until_the_end_is_complete_after_a_clean_one(
    stage: ClientHarness, head: bytes
) -> None:
    watched = stage.request()
    stage.peer.send(head + b"hello")
    watched.is_silent()
    stage.peer.end()
    assert watched.body() == b"hello"
    assert watched.events[-1] == ("response_done", [])
    assert stage.open == 0


def test_a_body_until_the_end_is_not_complete_after_a_reset(stage: ClientHarness) -> None:
    watched = stage.request()
    stage.peer.send(ok(body=b"hello")).abort()
    assert watched.body() == b"hello"
    assert isinstance(watched.error, errors.ConnectError)


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


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"H", id="first-byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n", id="head"),
        pytest.param(ok("Content-Length: 9", body=b"hello"), id="length"),
        pytest.param(ok("Content-Length: 9"), id="length-nothing"),
        pytest.param(ok("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"), id="no-last-chunk"),
        pytest.param(ok("Transfer-Encoding: chunked", body=b"5\r\nhel"), id="inside-chunk"),
        pytest.param(ok("Transfer-Encoding: chunked", body=b"0\r\nA: b\r\n"), id="trailers"),
        pytest.param(ok(start="HTTP/1.1 100 Continue"), id="only-informational"),
    ],
)
@pytest.mark.parametrize("how", ["end", "abort"])
def test_a_truncated_response_is_an_error(stage: ClientHarness, part: bytes, how: str) -> None:
    watched = stage.request()
    stage.peer.send(part)
    getattr(stage.peer, how)()
    kind = errors.IncompleteMessageError if how == "end" else errors.ConnectError
    assert isinstance(watched.error, kind)
    assert stage.open == 0
    assert len(stage.peers) == 1  # nothing is tried again once a byte has come


# -- bad ones -------------------------------------------------------------------------------------


BAD = [
    ("html", b"<html>\r\n\r\n", errors.StartLineError),
    ("nul", ok("A: b\0c"), errors.HeaderValueError),
    (
        "coding-and-length",
        ok("Transfer-Encoding: chunked", "Content-Length: 5"),
        errors.TransferEncodingCLError,
    ),
    ("chunk-size", ok("Transfer-Encoding: chunked", body=b"x\r\n"), errors.ChunkError),
    ("101-unasked", ok("Upgrade: x", start="HTTP/1.1 101 Go"), errors.UpgradeError),
    ("flood", ok(start="HTTP/1.1 102 P") * 17, errors.TooManyMsgsError),
    (
        "endless-line",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 40_000,
        errors.FieldSectionTooLargeError,
    ),
    (
        "endless-trailers",
        ok("Transfer-Encoding: chunked", body=b"0\r\n" + b"A: b\r\n" * 129),
        errors.TooManyFieldsError,
    ),
]


@pytest.mark.parametrize(
    ("response", "kind"), [pytest.param(data, kind, id=name) for name, data, kind in BAD]
)
def test_bad_responses(stage: ClientHarness, response: bytes, kind: type[errors.HttpError]) -> None:
    watched = stage.request()
    stage.peer.send(response)
    assert isinstance(watched.error, kind)
    assert stage.peer.is_reset
    assert stage.open == 0
    assert len(stage.peers) == 1


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


def test_bytes_before_the_request_are_not_its_response(stage: ClientHarness) -> None:
    watched = stage.start()
    stage.peer.send(HELLO)
    watched.is_silent()
    assert stage.peers[0].is_reset
    watched.exchange.request_done([])
    stage.advance(1)
    assert len(stage.peers) == 2
    assert stage.answer(watched).events == HELLO_EVENTS


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

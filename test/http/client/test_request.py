"""What a request looks like on the wire, and what of it is refused before a byte leaves."""

from __future__ import annotations

from typing import Any

import pytest
from client_support import HELLO_EVENTS, ClientHarness

from thor.http.error import OutputStateError, OutputSyntaxError, UrlError

# -- framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers", "chunks", "sent"),
    [
        pytest.param("GET", [], [], b"", id="get"),
        pytest.param("HEAD", [], [], b"", id="head"),
        pytest.param("DELETE", [], [], b"", id="delete"),
        pytest.param("POST", [], [], b"Content-Length: 0\r\n", id="post-without-content"),
        pytest.param("PUT", [], [], b"Content-Length: 0\r\n", id="put-without-content"),
        pytest.param("PATCH", [], [], b"Content-Length: 0\r\n", id="patch-without-content"),
        pytest.param("PURGE", [], [], b"", id="unknown-method-without-content"),
        pytest.param(
            "GET", [("Content-Length", "0")], [], b"Content-Length: 0\r\n", id="length-of-zero"
        ),
        pytest.param(
            "POST",
            [("Content-Length", "3")],
            ["abc"],
            b"Content-Length: 3\r\n\r\nabc",
            id="declared-length",
        ),
        pytest.param(
            "GET",
            [("Content-Length", "3")],
            ["a", b"b", bytearray(b"c")],
            b"Content-Length: 3\r\n\r\nabc",
            id="get-with-declared-content",
        ),
        pytest.param(
            "POST",
            [("content-length", "3"), ("Content-Length", "3")],
            ["abc"],
            b"content-length: 3\r\n\r\nabc",
            id="length-said-twice",
        ),
        pytest.param(
            "POST",
            [],
            ["ab", "", memoryview(b"c")],
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            id="chunked",
        ),
        pytest.param(
            "GET",
            [],
            ["x"],
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            id="get-with-content",
        ),
        pytest.param(
            "PURGE",
            [],
            ["x"],
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            id="unknown-method-with-content",
        ),
    ],
)
def test_framing_of_requests(
    stage: ClientHarness, method: str, headers: Any, chunks: list[Any], sent: bytes
) -> None:
    watched = stage.start(method, "http://origin/x", headers)
    for chunk in chunks:
        assert watched.exchange.request_body(chunk) is True
    watched.exchange.request_done([])
    end = b"" if chunks else b"\r\n"
    head = b"%b /x HTTP/1.1\r\nHost: origin\r\n" % method.encode()
    assert stage.peer.take() == head + sent + end
    stage.peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert watched.names == ["response_start", "response_done"]


def test_a_request_with_content_leaves_before_its_first_chunk_is_there(
    stage: ClientHarness,
) -> None:
    watched = stage.start("POST", headers=[("Content-Length", "2")])
    assert stage.peer.take() == b"POST / HTTP/1.1\r\nHost: origin\r\nContent-Length: 2\r\n\r\n"
    watched.exchange.request_body("o")
    assert stage.peer.take() == b"o"
    watched.exchange.request_body("k")
    watched.exchange.request_done([])
    assert stage.peer.take() == b"k"
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_post_of_unknown_length_leaves_chunked_when_its_callback_is_over(
    stage: ClientHarness,
) -> None:
    watched = stage.start("POST")
    assert stage.peer.take().endswith(b"Transfer-Encoding: chunked\r\n\r\n")
    watched.exchange.request_done([])
    assert stage.peer.take() == b"0\r\n\r\n"
    stage.answer(watched)


def test_a_get_waits_for_request_done(stage: ClientHarness) -> None:
    watched = stage.start("GET")
    assert stage.peer.take() == b""
    watched.exchange.request_done([])
    assert stage.peer.take() == b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n"
    stage.answer(watched)


def test_head_body_and_end_leave_in_one_segment(stage: ClientHarness) -> None:
    stage.answer(stage.request())
    sends = stage.client_side(stage.peer).socket.calls["send"]  # type: ignore[attr-defined]
    watched = stage.request("POST", body=b"abc")
    assert stage.client_side(stage.peer).socket.calls["send"] == sends + 1  # type: ignore[attr-defined]
    stage.answer(watched)


def test_a_large_chunk_is_framed_without_being_joined(stage: ClientHarness) -> None:
    body = b"x" * 40_000
    watched = stage.request("POST", body=body)
    assert stage.peer.take().endswith(b"\r\n\r\n9c40\r\n" + body + b"\r\n0\r\n\r\n")
    stage.answer(watched)


def test_trailers_follow_a_chunked_body(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    watched.exchange.request_body("x")
    watched.exchange.request_done([("Checksum", "1"), ("Content-Length", "9")])
    assert stage.peer.take().endswith(b"\r\n1\r\nx\r\n0\r\nChecksum: 1\r\n\r\n")
    stage.answer(watched)


def test_str_is_latin_1_in_the_head_and_utf_8_in_the_body(stage: ClientHarness) -> None:
    watched = stage.start("POST", headers=[("X", "\xe9"), (b"Y", b"\xe9")])
    watched.exchange.request_body("\xe9")
    watched.exchange.request_done([])
    sent = stage.peer.take()
    assert b"X: \xe9\r\nY: \xe9\r\n" in sent
    assert b"\r\n2\r\n\xc3\xa9\r\n" in sent
    stage.answer(watched)


# -- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        pytest.param([("A", " b\t")], b"A: b", id="values-are-stripped"),
        pytest.param([("A", "")], b"A: ", id="empty-value"),
        pytest.param({"XY": "1", "Z": "2"}, b"XY: 1\r\nZ: 2", id="mapping"),
        pytest.param(iter([("A", "b")]), b"A: b", id="iterator"),
        pytest.param([("a", "1"), ("A", "2")], b"a: 1\r\nA: 2", id="order-case-repetition"),
        pytest.param(
            [("Connection", "x, close"), ("X", "1"), ("Keep-Alive", "5"), ("A", "b")],
            b"A: b",
            id="hop-by-hop-and-nominated",
        ),
        pytest.param([("Transfer-Encoding", "gzip"), ("A", "b")], b"A: b", id="transfer-encoding"),
        pytest.param([("TE", "trailers"), ("A", "b")], b"A: b", id="te"),
        pytest.param([("Upgrade", "h2c"), ("A", "b")], b"A: b", id="upgrade-field"),
        pytest.param([("Connection", "host"), ("A", "b")], b"A: b", id="host-not-nominated"),
    ],
)
def test_fields_of_a_request(stage: ClientHarness, headers: Any, sent: bytes) -> None:
    watched = stage.request(headers=headers)
    assert stage.peer.take() == b"GET / HTTP/1.1\r\nHost: origin\r\n" + sent + b"\r\n\r\n"
    stage.answer(watched)


def test_a_host_that_is_passed_is_sent_first_in_place_of_the_uris(stage: ClientHarness) -> None:
    watched = stage.request(headers=[("A", "b"), ("host", "Other.example:8080")])
    assert stage.peer.take().startswith(
        b"GET / HTTP/1.1\r\nHost: Other.example:8080\r\nA: b\r\n\r\n"
    )
    assert watched.exchange.origin == ("http", "origin", 80)
    stage.answer(watched)


# -- where it goes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "uri", "start"),
    [
        pytest.param("GET", "http://origin", b"GET / HTTP/1.1\r\nHost: origin\r\n", id="no-path"),
        pytest.param(
            "GET", "HTTP://ORIGIN:80/a", b"GET /a HTTP/1.1\r\nHost: ORIGIN:80\r\n", id="case"
        ),
        pytest.param("GET", "http://origin?q", b"GET /?q HTTP/1.1\r\nHost: origin\r\n", id="query"),
        pytest.param("GET", "http://origin/?a=/b", b"GET /?a=/b HTTP/1.1\r\n", id="slash-in-query"),
        pytest.param("GET", "http://origin/a#b", b"GET /a HTTP/1.1\r\n", id="fragment-is-dropped"),
        pytest.param("GET", "http://origin/%2f/../{}", b"GET /%2f/../{} HTTP/1.1\r\n", id="as-is"),
        pytest.param("OPTIONS", "http://origin", b"OPTIONS * HTTP/1.1\r\n", id="options-server"),
        pytest.param("OPTIONS", "http://origin#a", b"OPTIONS * HTTP/1.1\r\n", id="options-no-path"),
        pytest.param("OPTIONS", "http://origin/", b"OPTIONS / HTTP/1.1\r\n", id="options-root"),
        pytest.param("OPTIONS", "http://origin?a", b"OPTIONS /?a HTTP/1.1\r\n", id="options-query"),
        pytest.param(
            "CONNECT",
            "origin:80",
            b"CONNECT origin:80 HTTP/1.1\r\nHost: origin:80\r\n",
            id="connect",
        ),
    ],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_request_targets(
    stage: ClientHarness, method: str, uri: str, start: bytes, kind: type
) -> None:
    watched = stage.exchange()
    as_kind = (lambda text: text.encode()) if kind is bytes else str
    for _ in range(2):  # the second time from what the pool remembers
        watched = stage.exchange()
        watched.exchange.request_start(as_kind(method), as_kind(uri), [])
        watched.exchange.request_done([])
        assert stage.peer.take().startswith(start)
        stage.answer(watched, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    assert len(stage.peers) == 1


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        pytest.param("GET", "", id="empty"),
        pytest.param("GET", "/path", id="relative"),
        pytest.param("GET", "ftp://origin/", id="scheme"),
        pytest.param("GET", "http:///path", id="no-host"),
        pytest.param("GET", "http://user@origin/", id="user-information"),
        pytest.param("GET", "http://origin:0/", id="port-0"),
        pytest.param("GET", "http://origin:99999/", id="port-too-high"),
        pytest.param("GET", "http://origin/a b", id="space"),
        pytest.param("GET", "http://origin/a\r\nX: y", id="line"),
        pytest.param("GET", "http://origin/\xe9", id="non-ascii"),
        pytest.param("GET", "http://origin,b/", id="list-of-hosts"),
        pytest.param("GET", "http://[::1%25eth0]/", id="zone"),
        pytest.param("CONNECT", "origin", id="connect-without-port"),
        pytest.param("CONNECT", "http://origin:80/", id="connect-to-a-uri"),
        pytest.param("CONNECT", "origin:80/x", id="connect-with-path"),
    ],
)
def test_a_bad_uri_is_an_error_event(stage: ClientHarness, method: str, uri: str) -> None:
    stage.answer(stage.request())  # the origin is known, and its connection idle
    watched = stage.start(method, uri)
    assert watched.heard.events == []  # a method never emits
    watched.exchange.request_done([])
    assert isinstance(watched.error, UrlError)
    assert (len(stage.peers), stage.idle) == (1, 1)


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        pytest.param("GET", "http://u:secret@origin/", id="user"),
        pytest.param("GET", "http://u:secret\xe9@origin/", id="non-ascii"),
        pytest.param("CONNECT", "u:secret@origin:80", id="connect"),
    ],
)
def test_no_password_is_shown(stage: ClientHarness, method: str, uri: str) -> None:
    watched = stage.start(method, uri)
    watched.exchange.request_done([])
    assert isinstance(watched.error, UrlError)
    assert "...@origin" in str(watched.error)
    assert "secret" not in f"{watched.error} {watched.exchange}"


# -- what is wrong with it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers", "options"),
    [
        pytest.param("", [], {}, id="empty-method"),
        pytest.param("GE T", [], {}, id="method-with-space"),
        pytest.param("G\r\nX: y", [], {}, id="method-with-line"),
        pytest.param("G\xe9T", [], {}, id="method-not-ascii"),
        pytest.param("GET", [("", "x")], {}, id="empty-name"),
        pytest.param("GET", [("A b", "x")], {}, id="name-with-space"),
        pytest.param("GET", [("A:", "x")], {}, id="name-with-colon"),
        pytest.param("GET", [("A", "x\r\nB: y")], {}, id="value-with-line"),
        pytest.param("GET", [("A", "x\ny")], {}, id="value-with-lf"),
        pytest.param("GET", [("A", b"x\0y")], {}, id="value-with-nul"),
        pytest.param("GET", [("A", "\u20ac")], {}, id="value-not-latin-1"),
        pytest.param("GET", [("Host", "a"), ("Host", "a")], {}, id="two-hosts"),
        pytest.param("GET", [("Host", "a b")], {}, id="bad-host"),
        pytest.param("GET", [("Host", "")], {}, id="empty-host"),
        pytest.param("POST", [("Content-Length", "x")], {}, id="length-not-a-number"),
        pytest.param("POST", [("Content-Length", "-1")], {}, id="negative-length"),
        pytest.param("POST", [("Content-Length", "1"), ("Content-Length", "2")], {}, id="lengths"),
        pytest.param("GET", [], {"upgrade": "a b"}, id="protocol-with-space"),
        pytest.param("GET", [], {"upgrade": "\u20ac"}, id="protocol-not-ascii"),
    ],
)
def test_a_bad_head_is_an_error_event(
    stage: ClientHarness, method: str, headers: Any, options: dict[str, Any]
) -> None:
    stage.answer(stage.request())
    taken = stage.peer.take()
    watched = stage.start(method, headers=headers, **options)
    assert watched.heard.events == []
    watched.exchange.request_body("x")  # ignored
    watched.exchange.request_done([])
    assert isinstance(watched.error, OutputSyntaxError)
    assert stage.peer.take() == b"" != taken
    assert stage.idle == 1  # what was not used can be used


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_bad_trailer_is_an_error_event(stage: ClientHarness, method: str) -> None:
    watched = stage.start(method)
    watched.exchange.request_done([("A", "b\r\n\r\nGET / HTTP/1.1")])
    assert isinstance(watched.error, OutputSyntaxError)
    assert stage.open == 0 or stage.peer.take() == b""


@pytest.mark.parametrize(
    ("method", "length", "chunks"),
    [
        pytest.param("POST", "2", ["abc"], id="more-at-once"),
        pytest.param("POST", "2", [], id="nothing"),
        pytest.param("POST", "2", ["a"], id="less"),
        pytest.param("GET", "2", [], id="get-nothing"),
        pytest.param("GET", "0", ["a"], id="more-than-none"),
    ],
)
def test_a_body_of_another_length_is_an_error_before_it_leaves(
    stage: ClientHarness, method: str, length: str, chunks: list[str]
) -> None:
    watched = stage.start(method, headers=[("Content-Length", length)])
    for chunk in chunks:
        watched.exchange.request_body(chunk)
    watched.exchange.request_done([])
    assert isinstance(watched.error, OutputStateError)
    assert all(peer.take() == b"" for peer in stage.peers)


def test_a_body_that_turns_out_too_long_ends_the_connection(stage: ClientHarness) -> None:
    watched = stage.start("POST", headers=[("Content-Length", "2")])
    watched.exchange.request_body("a")
    assert stage.peer.take().endswith(b"\r\n\r\na")
    watched.exchange.request_body("bc")
    assert isinstance(watched.error, OutputStateError)
    assert stage.peer.take() == b""
    assert stage.peer.is_reset
    assert stage.open == 0


@pytest.mark.parametrize("headers", [[], [("Expect", "100-continue")]])
def test_connect_with_content_is_an_error(stage: ClientHarness, headers: Any) -> None:
    watched = stage.start("CONNECT", "origin:80", headers)
    watched.exchange.request_body("x")
    assert isinstance(watched.error, OutputSyntaxError)


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(["request_body"], id="body-first"),
        pytest.param(["request_done"], id="done-first"),
        pytest.param(["request_start", "request_start"], id="start-twice"),
        pytest.param(["request_start", "request_done", "request_body"], id="body-after-done"),
        pytest.param(["request_start", "request_done", "request_done"], id="done-twice"),
    ],
)
def test_calls_out_of_order_are_an_error_event(stage: ClientHarness, calls: list[str]) -> None:
    watched = stage.exchange()
    arguments: dict[str, tuple[Any, ...]] = {
        "request_start": ("GET", "http://origin/", []),
        "request_body": ("x",),
        "request_done": ([],),
    }
    for call in calls:
        getattr(watched.exchange, call)(*arguments[call])
    for call in arguments:  # later ones are ignored
        getattr(watched.exchange, call)(*arguments[call])
    assert isinstance(watched.error, OutputStateError)
    assert stage.open == 0 or stage.idle == 1


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        pytest.param("request_start", (1, "http://origin/", []), id="method"),
        pytest.param("request_start", ("GET", None, []), id="uri"),
        pytest.param("request_start", ("GET", "http://origin/", 3), id="headers"),
        pytest.param("request_start", ("GET", "http://origin/", ["XY"]), id="pair"),
        pytest.param("request_start", ("GET", "http://origin/", [(1, "x")]), id="name"),
        pytest.param("request_start", ("GET", "http://origin/", [("x", 1)]), id="value"),
        pytest.param("request_body", (1,), id="body"),
    ],
)
def test_wrong_types_raise(stage: ClientHarness, call: str, arguments: tuple[Any, ...]) -> None:
    watched = stage.exchange()
    if call != "request_start":
        watched.exchange.request_start("POST", "http://origin/", [])
    with pytest.raises(TypeError):
        getattr(watched.exchange, call)(*arguments)
    if call == "request_start":  # nothing has happened: it can be done right
        watched.exchange.request_start("POST", "http://origin/", [])
    watched.exchange.request_body("x")
    watched.exchange.request_done([])
    assert stage.answer(watched).events == HELLO_EVENTS

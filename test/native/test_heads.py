"""Which heads the native codec reads, and which it leaves to its twins."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from native_support import (
    OCTETS,
    REQUESTS,
    RESPONSES,
    OwnBytes,
    check_same,
    ids_of,
    native_request,
    native_response,
    request,
    response,
    twin_request,
    twin_response,
)

from thor import native
from thor.http.wire.head import RequestHead
from thor.http.wire.limits import Limits

if not native.loaded:
    pytest.skip("the native codec is not loaded", allow_module_level=True)


# -- requests

PLAIN_REQUESTS = {
    "smallest": request(),
    "no fields but Host, in another case": request(host=b"hOST:a"),
    "no value": request(b"A:", b"B: ", b"C:   "),
    "white space around a value": request(b"A:  b c  "),
    "obs-text in a value": request(b"A: \x80\xff"),
    "every octet of a token": request(b"!#$%&'*+-.^_`|~09azAZ: a"),
    "every octet of a target": request(
        line=b"GET /" + bytes(range(0x21, 0x7F)).replace(b"#", b"") + b" HTTP/1.1"
    ),
    "every octet of a host": request(host=b"Host: -._~!$&'()*+;=09azAZ"),
    "host with a port": request(host=b"Host: a:1"),
    "host with the largest port": request(host=b"Host: 127.0.0.1:65535"),
    "port with zeros": request(host=b"Host: a:00080"),
    "host last": request(b"A: b", b"Host: a", host=b""),
    "no length": request(b"Content-Length: 0", line=b"POST / HTTP/1.1"),
    "length with zeros": request(b"Content-Length: 007"),
    "largest plain length": request(b"Content-Length: 999999999999999999"),
    "chunked": request(b"tRANSFER-eNCODING: ChUnKeD"),
    "close": request(b"Connection: ClOsE"),
    "keep-alive": request(b"Connection: Keep-Alive"),
    "offer of an upgrade that Connection does not name": request(b"Upgrade: h2c"),
    "values of 7 to 17 bytes": request(*[b"A: " + b"x" * size for size in range(7, 18)]),
    **{f"method {m.decode()}": request(line=m + b" / HTTP/1.1") for m in (b"HEAD", b"DELETE")},
    **{f"message {n}": data for n, data in enumerate(REQUESTS)},
}

OTHER_REQUESTS = {
    "nothing": b"",
    "empty line before": b"\r\n" + request(),
    "another method": request(line=b"PROPFIND / HTTP/1.1"),
    "method in lower case": request(line=b"get / HTTP/1.1"),
    "CONNECT": request(line=b"CONNECT a:1 HTTP/1.1"),
    "absolute form": request(line=b"GET http://a/ HTTP/1.1"),
    "asterisk form": request(line=b"OPTIONS * HTTP/1.1"),
    "empty target": request(line=b"GET  HTTP/1.1"),
    "fragment": request(line=b"GET /#a HTTP/1.1"),
    "obs-text in the target": request(line=b"GET /\x80 HTTP/1.1"),
    "DEL in the target": request(line=b"GET /\x7f HTTP/1.1"),
    "two spaces": request(line=b"GET /  HTTP/1.1"),
    "HTTP/1.0": request(line=b"GET / HTTP/1.0"),
    "HTTP/1.2": request(line=b"GET / HTTP/1.2"),
    "no Host": request(host=b""),
    "two Hosts": request(b"Host: a"),
    "no fields": b"GET / HTTP/1.1\r\n\r\n",
    "empty Host": request(host=b"Host:"),
    "Host with a literal": request(host=b"Host: [::1]"),
    "Host with something encoded": request(host=b"Host: %41"),
    "Host with a comma": request(host=b"Host: a,b"),
    "Host with user information": request(host=b"Host: u@a"),
    "empty port": request(host=b"Host: a:"),
    "port 0": request(host=b"Host: a:0"),
    "port over 65535": request(host=b"Host: a:65536"),
    "port of six digits": request(host=b"Host: a:000080"),
    "port with a sign": request(host=b"Host: a:+1"),
    "port alone": request(host=b"Host: :1"),
    "fold": request(b" folded"),
    "fold with HTAB": request(b"\tfolded"),
    "HTAB in a value": request(b"A: b\tc"),
    "HTAB before a value": request(b"A:\tb"),
    "no colon": request(b"A"),
    "no name": request(b": b"),
    "space before the colon": request(b"A : b"),
    "name that is no token": request(b"A(b): c"),
    "obs-text in a name": request(b"\xe9: c"),
    "bare CR": request(b"A: b\rc"),
    "bare LF": request(b"A: b\nC: d"),
    "CR CR LF": request(b"A: b\r"),
    "NUL": request(b"A: b\x00c"),
    "last control": request(b"A: b\x1f"),
    "DEL": request(b"A: 1234567\x7f8"),
    "two lengths": request(b"Content-Length: 1", b"Content-Length: 1"),
    "length that is none": request(b"Content-Length: +1"),
    "empty length": request(b"Content-Length:"),
    "length of 19 digits": request(b"Content-Length: 1000000000000000000"),
    "length and coding": request(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
    "coding and length": request(b"Transfer-Encoding: chunked", b"Content-Length: 1"),
    "two codings": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "another coding": request(b"Transfer-Encoding: gzip"),
    "empty coding": request(b"Transfer-Encoding:"),
    "coding that begins like chunked": request(b"Transfer-Encoding: chunkedx"),
    "coding that chunked begins with": request(b"Transfer-Encoding: chunke"),
    "two Connections": request(b"Connection: close", b"Connection: close"),
    "list in Connection": request(b"Connection: close, x"),
    "empty Connection": request(b"Connection:"),
    "upgrade": request(b"Connection: upgrade", b"Upgrade: h2c"),
    "expectation": request(b"Expect: 100-continue"),
    "TE": request(b"TE: trailers"),
    "field without its end": request()[:-2],
    "end without its LF": request()[:-1],
}


@pytest.mark.parametrize("data", **ids_of(PLAIN_REQUESTS))
def test_plain_request_is_what_the_twin_makes_of_it(data: bytes) -> None:
    expected = twin_request(data)
    assert expected is not None
    assert repr(native_request(data)) == repr(expected)
    assert repr(native_request(b"xyz" + data + b"more\r\n", 3)) == repr(expected)


@pytest.mark.parametrize("data", **ids_of(OTHER_REQUESTS))
def test_request_that_is_not_plain_is_left_to_the_twin(data: bytes) -> None:
    assert native_request(data) is None


def test_incomplete_request_is_left_to_the_twin() -> None:
    for size in range(len(REQUESTS[1])):
        assert native_request(REQUESTS[1][:size]) is None
        assert native_request(b"\x00" + REQUESTS[1][:size], 1) is None


@pytest.mark.parametrize(
    "data",
    [
        request(line=b"GET /\x00 HTTP/1.1"),
        request(host=b"Host: a\x00"),
        request(b"A\x00: b"),
        request(b"A: 1234567\x009abcdefg"),
        request(b"A: \x00"),
        request(b"Content-Length: 1\x00"),
    ],
    ids=repr,
)
def test_each_octet_is_judged_as_by_the_twin(data: bytes) -> None:
    plain = 0
    for it in OCTETS:
        changed = data.replace(b"\x00", it)
        found = native_request(changed)
        plain += found is not None
        check_same(found, lambda changed=changed: twin_request(changed))  # type: ignore[misc]
    assert plain >= 10


# -- limits


def test_limits_are_allowed_and_no_more() -> None:
    data = request(b"A: b", b"B: c")
    size = len(data) - 4
    for found, allowed in (
        (native_request(data, limits=Limits(max_head_fields=3)), True),
        (native_request(data, limits=Limits(max_head_fields=2)), False),
        (native_request(data, limits=Limits(max_head_bytes=size + 4)), True),
        (native_request(data, limits=Limits(max_head_bytes=size + 3)), False),
        (native_request(request(b"Content-Length: 9"), limits=Limits(max_body_bytes=9)), True),
        (native_request(request(b"Content-Length: 9"), limits=Limits(max_body_bytes=8)), False),
    ):
        assert (found is not None) is allowed


def test_more_than_128_fields_are_left_to_the_twin() -> None:
    limits = Limits(max_head_fields=1000)
    for count, plain in ((127, True), (128, False)):
        data = request(*[b"A: b"] * count)
        assert (native_request(data, limits=limits) is not None) is plain
        assert twin_request(data, limits=limits) is not None


@pytest.mark.parametrize(
    "args",
    [
        (bytearray(request()), 0, (128, 8192, None, 8192, 8192)),
        (OwnBytes(request()), 0, (128, 8192, None, 8192, 8192)),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, (128, 8192, None, 8192, 8192)),
        (request(), -1, (128, 8192, None, 8192, 8192)),
        (request(), 1000, (128, 8192, None, 8192, 8192)),
        (request(), 2**80, (128, 8192, None, 8192, 8192)),
        (request(), 0, (2**80, 8192, None, 8192, 8192)),
        (request(), 0, (-1, 8192, None, 8192, 8192)),
        (request(), 0, (128, 2**80, None, 8192, 8192)),
        (request(), 0, (128, -1, None, 8192, 8192)),
        (request(), 0, (128, -sys.maxsize - 1, None, 8192, 8192)),
        (request(), 0, (128.0, 8192, None, 8192, 8192)),
        (request(), 0, (128, 8192, 2**80, 8192, 8192)),
        (request(), 0, (True, 8192, None, 8192, 8192)),
        (request(), 0, (128, 8192)),
        (request(), 0, [128, 8192, None, 8192, 8192]),
        (request(), 0, (128, 8192, None, 8192)),
        (request(), 0, (128, 8192, None, 8192.0, 8192)),
        (request(), 0, (128, 8192, None, 8192, None)),
        (request(), 0, None),
    ],
    ids=repr,
)
def test_unusual_arguments_are_left_to_the_twin(args: tuple[Any, ...]) -> None:
    assert native.parse_request is not None
    assert native.parse_request(*args) is None


LONG = b"x" * 4000


@pytest.mark.parametrize(
    ("head", "limits", "plain"),
    [
        (request(*[b"A: " + LONG] * 3), Limits(), True),
        (request(*[b"A: " + LONG] * 3), Limits(max_head_bytes=12_000), False),
        (request(b"A: " + LONG), Limits(max_field_bytes=4003), True),
        (request(b"A: " + LONG), Limits(max_field_bytes=4002), False),
        (request(line=b"GET /%b HTTP/1.1" % LONG), Limits(max_target_bytes=4014), True),
        (request(line=b"GET /%b HTTP/1.1" % LONG), Limits(max_target_bytes=4013), False),
    ],
    ids=["large", "head", "at field", "over field", "at start line", "over start line"],
)
def test_what_is_within_every_limit_is_plain(head: bytes, limits: Limits, plain: bool) -> None:
    assert (native_request(head, 0, limits) is not None) is plain
    line, _, rest = head.partition(b"\r\n")
    answer = b"HTTP/1.1 200 ".ljust(len(line), b"x") + b"\r\n" + rest
    assert (native_response(answer, 0, limits) is not None) is plain


@pytest.mark.parametrize("end", [sys.maxsize, 8192])
def test_offset_at_the_very_end_finds_nothing(end: int) -> None:
    assert native.parse_request is not None
    assert native.parse_request(request(), len(request()), (128, end, None, end, end)) is None
    assert native_response(b"", 0) is None


@pytest.mark.parametrize(
    "name",
    ["parse_request", "parse_response", "render_fields", "render_response", "decode_chunks"],
)
def test_wrong_number_of_arguments_raises(name: str) -> None:
    for count in (0, 1, 8):
        with pytest.raises(TypeError, match=name):
            getattr(native, name)(*[b""] * count)


# -- responses

PLAIN_RESPONSES = {
    "no fields": response(),
    "no phrase": response(line=b"HTTP/1.1 204 "),
    "no phrase, no space": response(line=b"HTTP/1.1 304"),
    "obs-text in the phrase": response(line=b"HTTP/1.1 404 caf\xe9"),
    "phrase that begins with a space": response(line=b"HTTP/1.1 200  OK"),
    "phrase in lower case": response(line=b"HTTP/1.1 200 ok"),
    "status without a meaning": response(line=b"HTTP/1.1 999 X"),
    "coding": response(b"Transfer-Encoding: chunked", b"Trailer: a"),
    "several of a field": response(b"Host: a", b"Host: b", b"TE: x", b"Expect: y"),
    **{f"message {n}": data for n, data in enumerate(RESPONSES)},
}

OTHER_RESPONSES = {
    "nothing": b"",
    "informational": response(line=b"HTTP/1.1 100 Continue"),
    "switch of protocols": response(line=b"HTTP/1.1 101 X"),
    "HTTP/1.0": response(line=b"HTTP/1.0 200 OK"),
    "another protocol": response(line=b"HTTP/2.1 200 OK"),
    "status of two digits": response(line=b"HTTP/1.1 20 OK"),
    "status of four digits": response(line=b"HTTP/1.1 2000 OK"),
    "status with a sign": response(line=b"HTTP/1.1 +20 OK"),
    "two spaces": response(line=b"HTTP/1.1  200 OK"),
    "HTAB in the phrase": response(line=b"HTTP/1.1 200 O\tK"),
    "control in the phrase": response(line=b"HTTP/1.1 200 O\x01K"),
    "status at the end": b"HTTP/1.1 200",
    "CR at the end": b"HTTP/1.1 200\r",
    "fold": response(b"A: b", b" c"),
    "two lengths": response(b"Content-Length: 1", b"Content-Length: 1"),
    "bad length": response(b"Content-Length: x"),
    "length and coding": response(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
    "another coding": response(b"Transfer-Encoding: gzip"),
    "options": response(b"Connection: close, upgrade"),
}


@pytest.mark.parametrize("data", **ids_of(PLAIN_RESPONSES))
def test_plain_response_is_what_the_twin_makes_of_it(data: bytes) -> None:
    for method in (b"GET", b"HEAD", b"POST"):
        expected = twin_response(data, method=method)
        assert expected is not None
        assert repr(native_response(data, method=method)) == repr(expected)
        moved = native_response(b"xyz" + data + b"more\r\n", 3, method=method)
        assert repr(moved) == repr(expected)


@pytest.mark.parametrize("data", **ids_of(OTHER_RESPONSES))
def test_response_that_is_not_plain_is_left_to_the_twin(data: bytes) -> None:
    assert native_response(data) is None


@pytest.mark.parametrize("method", [b"CONNECT", "GET", None, OwnBytes(b"GET")], ids=repr)
def test_response_to_an_unusual_request_is_left_to_the_twin(method: Any) -> None:
    assert native_response(response(), method=method) is None


def test_incomplete_response_is_left_to_the_twin() -> None:
    for size in range(len(RESPONSES[0])):
        assert native_response(RESPONSES[0][:size]) is None


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 2%b0 X", b"HTTP/1.1 200%bX", b"HTTP/1.1 200 %b", b"HTTP/1.%b 200"], ids=repr
)
def test_each_octet_of_a_status_line_is_judged_as_by_the_twin(line: bytes) -> None:
    plain = 0
    for it in OCTETS:
        data = response(line=line % it)
        found = native_response(data)
        plain += found is not None
        check_same(found, lambda data=data: twin_response(data))  # type: ignore[misc]
    assert plain


# -- objects


def test_common_names_and_methods_are_the_same_objects_each_time() -> None:
    first, second = (RequestHead(*native_request(REQUESTS[1])) for _ in range(2))
    assert first.method is second.method
    for spelled in (b"Host", b"User-Agent", b"accept-language", b"Accept-Encoding", b"Cookie"):
        one, two = (
            next(name for name, _ in head.headers if name == spelled) for head in (first, second)
        )
        assert one is two


def test_list_of_fields_belongs_to_the_caller() -> None:
    first = RequestHead(*native_request(REQUESTS[0]))
    first.headers.append((b"B", b"c"))
    assert RequestHead(*native_request(REQUESTS[0])).headers == [(b"Host", b"a")]

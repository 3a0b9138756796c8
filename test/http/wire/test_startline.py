"""Request line and status line."""

from __future__ import annotations

import pytest
from wire_support import deliveries, read_requests

from thor.http.error import (
    BareCRError,
    HeaderLineEndingError,
    HttpError,
    HttpVersionError,
    InvalidHostError,
    RequestLineError,
    RequestTargetError,
    TargetTooLongError,
)
from thor.http.wire.limits import Limits
from thor.http.wire.startline import parse_request_line, parse_status_line

LIMITS = Limits(max_method_bytes=16, max_target_bytes=40)


BAD_LINES: dict[str, tuple[bytes, type[HttpError]]] = {
    "two spaces before target": (b"GET  / HTTP/1.1", RequestLineError),
    "two spaces before version": (b"GET /  HTTP/1.1", RequestLineError),
    "leading space": (b" GET / HTTP/1.1", RequestLineError),
    "leading tab": (b"\tGET / HTTP/1.1", RequestLineError),
    "trailing space": (b"GET / HTTP/1.1 ", RequestLineError),
    "trailing tab": (b"GET / HTTP/1.1\t", RequestLineError),
    "tab after method": (b"GET\t/ HTTP/1.1", RequestLineError),
    "tab before version": (b"GET /\tHTTP/1.1", RequestLineError),
    "VT as separator": (b"GET\x0b/ HTTP/1.1", RequestLineError),
    "FF as separator": (b"GET\x0c/ HTTP/1.1", RequestLineError),
    "NBSP as separator": (b"GET\xa0/ HTTP/1.1", RequestLineError),
    "NUL in method": (b"GE\x00T / HTTP/1.1", RequestLineError),
    "NUL in target": (b"GET /\x00 HTTP/1.1", RequestLineError),
    "DEL in target": (b"GET /\x7f HTTP/1.1", RequestLineError),
    "escape in target": (b"GET /\x1b HTTP/1.1", RequestLineError),
    "CR in target": (b"GET /\rX: y HTTP/1.1", BareCRError),
    "CR CR LF": (b"GET / HTTP/1.1\r", BareCRError),
    "LF": (b"GET / HTTP/1.1\nHost: a", HeaderLineEndingError),
    "LF in target": (b"GET /\n HTTP/1.1", HeaderLineEndingError),
    "method empty": (b" / HTTP/1.1", RequestLineError),
    "method not a token": (b"G(T / HTTP/1.1", RequestLineError),
    "method with colon": (b"GET: / HTTP/1.1", RequestLineError),
    "method with quotes": (b'"GET" / HTTP/1.1', RequestLineError),
    "method not ASCII": (b"G\xc3\x8bT / HTTP/1.1", RequestLineError),
    "method too long": (b"M" * 17 + b" / HTTP/1.1", RequestLineError),
    "method much too long": (b"M" * 100, RequestLineError),
    "target missing": (b"GET HTTP/1.1", RequestLineError),
    "target empty": (b"GET  HTTP/1.1", RequestTargetError),
    "four words": (b"GET / x HTTP/1.1", RequestLineError),
    "target not ASCII": (b"GET /\xc3\xa9 HTTP/1.1", RequestTargetError),
    "target with fragment": (b"GET /a#b HTTP/1.1", RequestTargetError),
    "target relative": (b"GET a HTTP/1.1", RequestTargetError),
    "asterisk with GET": (b"GET * HTTP/1.1", RequestTargetError),
    "authority with GET": (b"GET a:80 HTTP/1.1", RequestTargetError),
    "CONNECT without port": (b"CONNECT a HTTP/1.1", RequestTargetError),
    "CONNECT with path": (b"CONNECT /a HTTP/1.1", InvalidHostError),
    "user in absolute target": (b"GET http://u@a/ HTTP/1.1", InvalidHostError),
    "target too long": (b"GET /%b HTTP/1.1" % (b"a" * 40), TargetTooLongError),
    "absolute target too long": (b"GET http://%b/ HTTP/1.1" % (b"a" * 40), TargetTooLongError),
    "target much too long": (b"GET /" + b"a" * 200, TargetTooLongError),
    "bad octet behind a target too long": (b"GET /" + b"a" * 50 + b"\x00", TargetTooLongError),
    "bad octet in a target too long": (b"GET /\x00" + b"a" * 50, RequestLineError),
    "version missing": (b"GET /", RequestLineError),
    "version empty": (b"GET / ", RequestLineError),
    "version in lower case": (b"GET / http/1.1", RequestLineError),
    "version without minor": (b"GET / HTTP/1", RequestLineError),
    "version with dot only": (b"GET / HTTP/1.", RequestLineError),
    "version without dot": (b"GET / HTTP/11", RequestLineError),
    "minor of two digits": (b"GET / HTTP/1.10", RequestLineError),
    "minor with zero": (b"GET / HTTP/1.01", RequestLineError),
    "major with zero": (b"GET / HTTP/01.1", RequestLineError),
    "major of two digits": (b"GET / HTTP/11.1", RequestLineError),
    "0.9": (b"GET / HTTP/0.9", RequestLineError),
    "version with sign": (b"GET / HTTP/+1.1", RequestLineError),
    "version with letter": (b"GET / HTTP/1.x", RequestLineError),
    "version of other digits": ("GET / HTTP/1.\u0661".encode(), RequestLineError),
    "version with comma": (b"GET / HTTP/2,0", RequestLineError),
    "version endless": (b"GET / HTTP/1.1" + b"1" * 100, RequestLineError),
    "other protocol": (b"GET / ICE/1.0", RequestLineError),
    "longer name": (b"GET / HTTPS/1.1", RequestLineError),
    "2.0": (b"GET / HTTP/2.0", HttpVersionError),
    "3.0": (b"GET / HTTP/3.0", HttpVersionError),
    "9.9": (b"GET / HTTP/9.9", HttpVersionError),
    "preface of HTTP/2": (b"PRI * HTTP/2.0", HttpVersionError),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00", RequestLineError),
    "SSH": (b"SSH-2.0-OpenSSH_9.2", RequestLineError),
    "SMTP": (b"EHLO example.com", RequestLineError),
    "a field": (b"Host: a", RequestLineError),
}


@pytest.mark.parametrize(("line", "error"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_request_line_is_refused(line: bytes, error: type[HttpError]) -> None:
    for _, pieces in deliveries(line + b"\r\nHost: a\r\n\r\n"):
        assert read_requests(pieces, LIMITS).error is error, pieces


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        (b"\x16", RequestLineError),
        (b"G\x00", RequestLineError),
        (b"GET / HTTP/1.1\n", HeaderLineEndingError),
        (b"GET /\rX", BareCRError),
        (b"M" * 17, RequestLineError),
        (b"GET /" + b"a" * 40, TargetTooLongError),
        (b"GET / " + b"x" * 48, RequestLineError),
        (b"SSH-2.0-x\r\n", RequestLineError),
        (b"PRI * HTTP/2.0\r\n", HttpVersionError),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_request_line_is_refused_at_the_byte_that_shows_it(
    seen: bytes, error: type[HttpError]
) -> None:
    assert read_requests([seen], LIMITS).error is error
    assert read_requests([seen[:-1]], LIMITS).error is None


def test_pure_function_takes_a_line_apart() -> None:
    assert parse_request_line(b"GET / HTTP/1.1", LIMITS) == (b"GET", b"/", b"HTTP/1.1")


def test_pure_function_takes_a_status_line_apart() -> None:
    assert parse_status_line(b"HTTP/1.1 200 OK") == (b"HTTP/1.1", b"200", b"OK")

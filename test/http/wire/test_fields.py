"""Field lines, in heads that arrive."""

from __future__ import annotations

import pytest
from wire_support import deliveries, read_requests, read_responses

from thor.http.error import (
    BareCRError,
    FieldSectionTooLargeError,
    HeaderLineEndingError,
    HeaderNameError,
    HeaderNoColonError,
    HeaderSpaceError,
    HeaderValueError,
    HttpError,
    ObsoleteFoldError,
    TooManyFieldsError,
    TopLineSpaceError,
)
from thor.http.wire import fields as fields_module
from thor.http.wire.fields import FORBIDDEN_IN_TRAILERS, parse_fields, trailer_fields, unfold
from thor.http.wire.limits import Limits

LIMITS = Limits(max_field_bytes=60, max_head_fields=6, max_head_bytes=300)


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        (b"A: b\n", HeaderLineEndingError),
        (b"A: b\rc", BareCRError),
        (b"A: \x00", HeaderValueError),
        (b"A\x00", HeaderNameError),
        (b"A: b\r\n c\r\n", ObsoleteFoldError),
        (b"no colon\r\n", HeaderNoColonError),
        (b"A : b\r\n", HeaderSpaceError),
        (b"A" * 61, FieldSectionTooLargeError),
        (b"A: b\r\n" * 6, TooManyFieldsError),
    ],
    ids=repr,
)
def test_field_is_refused_at_the_byte_that_shows_it(seen: bytes, error: type[HttpError]) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert read_requests([start, seen], LIMITS).error is error
    assert read_requests([start, seen[:-1]], LIMITS).error is None


UNFOLDED = {
    "one": (b"A: b\r\n c\r\n", [(b"A", b"b c")]),
    "tabs": (b"A: b \t\r\n\t \tc \r\n", [(b"A", b"b c")]),
    "several": (b"A: b\r\n c\r\n d\r\nE: f\r\n", [(b"A", b"b c d"), (b"E", b"f")]),
    "before the value": (b"A:\r\n b\r\n", [(b"A", b"b")]),
    "of nothing": (b"A: b\r\n \r\n", [(b"A", b"b")]),
    "nothing and something": (b"A: b\r\n \t\r\n c\r\n", [(b"A", b"b c")]),
    "what looks like a field": (b"A: b\r\n C: d\r\n", [(b"A", b"b C: d")]),
}

NOT_UNFOLDED: dict[str, tuple[bytes, type[HttpError]]] = {
    "on the first line": (b" A: b\r\n", TopLineSpaceError),
    "Content-Length": (b"content-length: 1\r\n 2\r\n", ObsoleteFoldError),
    "Content-Length before its value": (b"Content-Length:\r\n 2\r\n", ObsoleteFoldError),
    "Transfer-Encoding": (b"Transfer-Encoding:\r\n chunked\r\n", ObsoleteFoldError),
    "Host": (b"Host: a\r\n .b\r\n", ObsoleteFoldError),
    "too long together": (b"A: %b\r\n %b\r\n" % (b"b" * 50, b"c" * 20), FieldSectionTooLargeError),
    "no colon": (b"A\r\n : b\r\n", HeaderNoColonError),
    "NUL": (b"A: b\r\n \x00\r\n", HeaderValueError),
    "LF": (b"A: b\n c\r\n", HeaderLineEndingError),
}

UNFOLD = Limits(fold="unfold", max_field_bytes=60)


@pytest.mark.parametrize(("lines", "expected"), UNFOLDED.values(), ids=UNFOLDED.keys())
def test_fold_becomes_one_space_where_that_is_set(
    lines: bytes, expected: list[tuple[bytes, bytes]]
) -> None:
    for _, pieces in deliveries(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"):
        outcome = read_requests(pieces, UNFOLD)
        assert outcome.error is None
        assert outcome.messages[0].head.headers == [(b"Host", b"a"), *expected]
    for _, pieces in deliveries(b"HTTP/1.1 204 No\r\nX: y\r\n" + lines + b"\r\n"):
        outcome = read_responses(pieces, limits=UNFOLD)
        assert outcome.error is None
        assert outcome.messages[0].head.headers == [(b"X", b"y"), *expected]


@pytest.mark.parametrize(("lines", "error"), NOT_UNFOLDED.values(), ids=NOT_UNFOLDED.keys())
def test_fold_is_refused_even_so(lines: bytes, error: type[HttpError]) -> None:
    first = b"" if lines.startswith(b" ") else b"X: y\r\n"
    for _, pieces in deliveries(b"GET / HTTP/1.0\r\n" + first + lines + b"\r\n"):
        assert read_requests(pieces, UNFOLD).error is error


def test_start_line_is_no_part_of_unfolding() -> None:
    lines = [b"HTTP/1.1 200 a ", b"A: b", b" c"]
    assert unfold(lines, 100) == [b"HTTP/1.1 200 a ", b"A: b c"]


def test_special_fields_are_found_in_any_case() -> None:
    lines = [b"HOST: a", b"accept: b", b"Content-length: 1", b"tRANSFER-eNCODING: c", b"te: d"]
    parsed = parse_fields(lines)
    assert parsed is not None
    assert [value for _, value in parsed[1]] == [b"a", b"1", b"c", b"d"]
    assert parse_fields(lines) == parsed  # from the tables


def test_tables_stay_bounded_whatever_is_sent() -> None:
    names, lines = fields_module._name_cache, fields_module._line_cache
    for i in range(5000):
        assert parse_fields([b"N%d: 1" % i, b"Accept: %d" % i, b"n%b: 1" % (b"x" * 100)])
    assert 0 < len(names) <= 1024
    assert 0 < len(lines) <= 1024


@pytest.mark.parametrize(
    "line",
    [b"Cookie: a=b", b"Authorization: Basic YTpi", b"Referer: http://a/", b"Accept: " + b"a" * 300],
)
def test_what_belongs_to_one_user_is_not_kept(line: bytes) -> None:
    lines = fields_module._line_cache
    lines.clear()
    assert parse_fields([line])
    assert not lines


def test_framing_routing_and_authentication_are_no_trailers() -> None:
    kept = [(b"Expires", b"0"), (b"ETag", b'"a"'), (b"X-Checksum", b"1")]
    dropped = [(name.title(), b"1") for name in FORBIDDEN_IN_TRAILERS]
    assert {b"content-length", b"transfer-encoding", b"host", b"authorization"} <= (
        FORBIDDEN_IN_TRAILERS
    )
    assert trailer_fields([*dropped, *kept]) == kept

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

GOOD: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    "plain": (b"A: b\r\n", [(b"A", b"b")]),
    "no space": (b"A:b\r\n", [(b"A", b"b")]),
    "blanks and tabs around": (b"A: \t b \t\r\n", [(b"A", b"b")]),
    "blanks inside": (b"A: b \t c\r\n", [(b"A", b"b \t c")]),
    "empty value": (b"A:\r\n", [(b"A", b"")]),
    "blank value": (b"A: \t\r\n", [(b"A", b"")]),
    "colon in value": (b"A: b: c:\r\n", [(b"A", b"b: c:")]),
    "obs-text": (b"A: caf\xc3\xa9\x80\xff\r\n", [(b"A", b"caf\xc3\xa9\x80\xff")]),
    "NBSP is not white space": (b"A:\xa0b\xa0\r\n", [(b"A", b"\xa0b\xa0")]),
    "order, case, repetition": (
        b"b: 1\r\nA: 2\r\nB: 3\r\na: 2\r\n",
        [(b"b", b"1"), (b"A", b"2"), (b"B", b"3"), (b"a", b"2")],
    ),
    "odd names": (b"!#$%&'*+-.^_`|~: 1\r\n", [(b"!#$%&'*+-.^_`|~", b"1")]),
    "underscore": (b"Content_Length: 1\r\n", [(b"Content_Length", b"1")]),
    "longest": (b"A: " + b"b" * 57 + b"\r\n", [(b"A", b"b" * 57)]),
    "as many as may be": (b"A: b\r\n" * 5, [(b"A", b"b")] * 5),
    "none": (b"", []),
}

BAD: dict[str, tuple[bytes, type[HttpError]]] = {
    "no colon": (b"Ab\r\n", HeaderNoColonError),
    "no colon, known name": (b"Accept\r\n", HeaderNoColonError),
    "no colon, words": (b"some words\r\n", HeaderNoColonError),
    "empty name": (b": b\r\n", HeaderNameError),
    "only a colon": (b":\r\n", HeaderNameError),
    "space before colon": (b"A : b\r\n", HeaderSpaceError),
    "tab before colon": (b"A\t: b\r\n", HeaderSpaceError),
    "space before colon, known name": (b"Content-Length : 3\r\n", HeaderSpaceError),
    "NBSP before colon": (b"A\xa0: b\r\n", HeaderNameError),
    "space in name": (b"A B: c\r\n", HeaderNameError),
    "quote in name": (b'"A": b\r\n', HeaderNameError),
    "parenthesis in name": (b"A(: b\r\n", HeaderNameError),
    "at sign in name": (b"A@: b\r\n", HeaderNameError),
    "comma in name": (b"A,B: c\r\n", HeaderNameError),
    "slash in name": (b"A/B: c\r\n", HeaderNameError),
    "brackets in name": (b"A[0]: c\r\n", HeaderNameError),
    "non-ASCII name": (b"\xc3\xa4: b\r\n", HeaderNameError),
    "non-ASCII at the end of a name": (b"Content-Length\xc3\x9f: 3\r\n", HeaderNameError),
    "Kelvin sign": ("\u212aeep-Alive: x\r\n".encode(), HeaderNameError),
    "NUL in name": (b"A\x00: b\r\n", HeaderNameError),
    "VT before colon": (b"A\x0b: b\r\n", HeaderNameError),
    "CR in name": (b"A\rB: c\r\n", BareCRError),
    "LF in name": (b"A\nB: c\r\n", HeaderLineEndingError),
    "NUL in value": (b"A: b\x00c\r\n", HeaderValueError),
    "bell in value": (b"A: b\x07\r\n", HeaderValueError),
    "VT in value": (b"A: b\x0b\r\n", HeaderValueError),
    "FF in value": (b"A: \x0cb\r\n", HeaderValueError),
    "escape in value": (b"A: \x1b[0m\r\n", HeaderValueError),
    "DEL in value": (b"A: b\x7f\r\n", HeaderValueError),
    "CR in value": (b"A: b\rc\r\n", BareCRError),
    "CR as line end": (b"A: b\rB: c\r\n", BareCRError),
    "CR CR LF": (b"A: b\r\r\n", BareCRError),
    "CR CR LF at the end of the head": (b"A: b\r\n\r", BareCRError),
    "CR and a letter at the end of the head": (b"A: b\r\n\rX", BareCRError),
    "LF as line end": (b"A: b\nB: c\r\n", HeaderLineEndingError),
    "LF CR": (b"A: b\n\rB: c\r\n", HeaderLineEndingError),
    "LF LF as end of head": (b"A: b\n\n", HeaderLineEndingError),
    "CR LF LF as end of head": (b"A: b\r\n\n", HeaderLineEndingError),
    "fold on the first line": (b" A: b\r\n", TopLineSpaceError),
    "fold of tab on the first line": (b"\tA: b\r\n", TopLineSpaceError),
    "blank first line": (b"  \r\nA: b\r\n", TopLineSpaceError),
    "fold": (b"A: b\r\n c\r\n", ObsoleteFoldError),
    "fold of tab": (b"A: b\r\n\tc\r\n", ObsoleteFoldError),
    "fold of nothing": (b"A: b\r\n \r\n", ObsoleteFoldError),
    "fold before the value": (b"A:\r\n b\r\n", ObsoleteFoldError),
    "fold before the colon": (b"A\r\n : b\r\n", HeaderNoColonError),
    "fold with a field in it": (b"A: b\r\n Content-Length: 38\r\n", ObsoleteFoldError),
    "field too long": (b"A: " + b"b" * 58 + b"\r\n", FieldSectionTooLargeError),
    "name too long": (b"A" * 61, FieldSectionTooLargeError),
    "bad octet behind what is too long": (b"A: " + b"b" * 60 + b"\x00", FieldSectionTooLargeError),
    "bad octet before what is too long": (b"A: \x00" + b"b" * 60, HeaderValueError),
    "one field too many": (b"A: b\r\n" * 6, TooManyFieldsError),
    "one field too many, malformed": (b"A: b\r\n" * 5 + b"c\r\n", TooManyFieldsError),
    "malformed before one too many": (b"c\r\n" + b"A: b\r\n" * 5, HeaderNoColonError),
    "head too long": ((b"A: " + b"b" * 57 + b"\r\n") * 5, FieldSectionTooLargeError),
    "first error wins": (b"A : b\r\nC: \x00\r\n", HeaderSpaceError),
    "first error wins, the other way": (b"C: \x00\r\nA : b\r\n", HeaderValueError),
}


@pytest.mark.parametrize(("lines", "expected"), GOOD.values(), ids=GOOD.keys())
def test_fields_are_read(lines: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    for way, pieces in deliveries(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"):
        outcome = read_requests(pieces, LIMITS)
        assert outcome.error is None, pieces
        assert outcome.messages[0].head.headers == [(b"Host", b"a"), *expected]
        assert len(outcome.messages) == (2 if way == "trailing data" else 1)


def request_with(lines: bytes) -> bytes:
    if lines.startswith((b" ", b"\t")):
        return b"GET / HTTP/1.0\r\n" + lines + b"\r\n"
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"


@pytest.mark.parametrize(("lines", "error"), BAD.values(), ids=BAD.keys())
def test_fields_of_a_request_are_refused(lines: bytes, error: type[HttpError]) -> None:
    for _, pieces in deliveries(request_with(lines)):
        assert read_requests(pieces, LIMITS).error is error, pieces


@pytest.mark.parametrize(("lines", "error"), BAD.values(), ids=BAD.keys())
def test_fields_of_a_response_are_refused(lines: bytes, error: type[HttpError]) -> None:
    first = b"" if lines.startswith((b" ", b"\t")) else b"X: a\r\n"
    for _, pieces in deliveries(b"HTTP/1.1 200 OK\r\n" + first + lines + b"\r\n"):
        assert read_responses(pieces, limits=LIMITS).error is error, pieces


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

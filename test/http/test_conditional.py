"""Dates, preconditions and ranges: tables of cases from RFC 9110 sections 5.6.7, 13 and 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.http.conditional import (
    UNSATISFIABLE,
    ByteRange,
    Validators,
    evaluate_conditions,
    parse_date,
    select_range,
)
from thor.http.dates import format_date

NOW = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = b"Sun, 06 Nov 1994 08:49:36 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"
ETAG = b'"abc"'
THERE = Validators(ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(DATE, MODIFIED, id="imf-fixdate"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED, id="rfc850"),
        pytest.param(b"Sun Nov  6 08:49:37 1994", MODIFIED, id="asctime"),
        pytest.param(b"Wed, 06-Nov-74 08:49:37 GMT", None, id="rfc850-short-day"),
        pytest.param(b"Tuesday, 06-Nov-73 08:49:37 GMT", 3277183777, id="rfc850-50-years-ahead"),
        pytest.param(b"Wednesday, 06-Nov-74 08:49:37 GMT", 152959777, id="rfc850-century-ago"),
        pytest.param(b"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800, id="leap-second"),
        pytest.param(b"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800, id="leap-day"),
        pytest.param(b"Wed, 29 Feb 2023 00:00:00 GMT", None, id="no-leap-day"),
        pytest.param(b"Sun, 06 Nov 1994 24:00:00 GMT", None, id="hour-24"),
        pytest.param(b"Sun, 00 Nov 1994 08:49:37 GMT", None, id="day-0"),
        pytest.param(b"Sun, 06 Nov 0000 08:49:37 GMT", None, id="year-0"),
        pytest.param(b"Sun, 06 Foo 1994 08:49:37 GMT", None, id="no-month"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 CET", None, id="other-zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37", None, id="no-zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT\n", None, id="trailing-newline"),
        pytest.param(DATE + b", " + DATE, None, id="two-dates"),
        pytest.param(b"784111777", None, id="number"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_dates_are_read_in_their_three_forms_only(value: bytes, expected: int | None) -> None:
    assert parse_date(value, NOW) == expected


@given(st.integers(min_value=0, max_value=253402300799))
def test_a_date_that_was_written_is_read_back(seconds: int) -> None:
    assert parse_date(format_date(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([], 200, id="none"),
        pytest.param([(b"If-Match", b"*")], 200, id="if-match-any"),
        pytest.param([(b"If-Match", b'"abc"')], 200, id="if-match"),
        pytest.param([(b"if-match", b'"x", "abc"')], 200, id="if-match-in-a-list"),
        pytest.param([(b"If-Match", b'"x"'), (b"If-Match", b'"abc"')], 200, id="if-match-twice"),
        pytest.param([(b"If-Match", b'W/"abc"')], 412, id="if-match-compares-strongly"),
        pytest.param([(b"If-Match", b'"x"')], 412, id="if-match-other"),
        pytest.param([(b"If-Match", b"abc")], 412, id="if-match-without-quotes"),
        pytest.param([(b"If-Match", b'*, "x"')], 412, id="if-match-star-in-a-list"),
        pytest.param([(b"If-Match", b"")], 412, id="if-match-empty"),
        pytest.param([(b"If-Unmodified-Since", DATE)], 200, id="if-unmodified-since-same"),
        pytest.param([(b"If-Unmodified-Since", LATER)], 200, id="if-unmodified-since-later"),
        pytest.param([(b"If-Unmodified-Since", EARLIER)], 412, id="if-unmodified-since-earlier"),
        pytest.param([(b"If-Unmodified-Since", b"soon")], 200, id="if-unmodified-since-invalid"),
        pytest.param(
            [(b"If-Match", b"*"), (b"If-Unmodified-Since", EARLIER)], 200, id="if-match-goes-first"
        ),
        pytest.param([(b"If-None-Match", b"*")], 304, id="if-none-match-any"),
        pytest.param([(b"If-None-Match", b'"abc"')], 304, id="if-none-match"),
        pytest.param([(b"If-None-Match", b'W/"abc"')], 304, id="if-none-match-compares-weakly"),
        pytest.param([(b"If-None-Match", b'"x","abc"')], 304, id="if-none-match-in-a-list"),
        pytest.param([(b"If-None-Match", b'"a,b", "x"')], 200, id="if-none-match-other"),
        pytest.param([(b"If-None-Match", b'"ABC"')], 200, id="if-none-match-is-case-sensitive"),
        pytest.param([(b"If-Modified-Since", DATE)], 304, id="if-modified-since-same"),
        pytest.param([(b"If-Modified-Since", LATER)], 304, id="if-modified-since-later"),
        pytest.param([(b"If-Modified-Since", EARLIER)], 200, id="if-modified-since-earlier"),
        pytest.param([(b"If-Modified-Since", b"x")], 200, id="if-modified-since-invalid"),
        pytest.param(
            [(b"If-Modified-Since", DATE)] * 2, 200, id="if-modified-since-twice-is-invalid"
        ),
        pytest.param(
            [(b"If-None-Match", b'"x"'), (b"If-Modified-Since", DATE)],
            200,
            id="if-none-match-replaces-if-modified-since",
        ),
        pytest.param(
            [(b"If-Match", b'"x"'), (b"If-None-Match", b'"abc"')], 412, id="412-before-304"
        ),
    ],
)
def test_preconditions_of_a_get(fields: list[tuple[bytes, bytes]], status: int) -> None:
    assert evaluate_conditions(b"GET", fields, THERE, NOW) == status
    assert evaluate_conditions(b"HEAD", fields, THERE, NOW) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([(b"If-None-Match", b'"abc"')], 412, id="if-none-match"),
        pytest.param([(b"If-Modified-Since", DATE)], 200, id="if-modified-since-is-for-reading"),
        pytest.param([(b"If-Match", b'"x"')], 412, id="if-match"),
    ],
)
def test_preconditions_of_a_put(fields: list[tuple[bytes, bytes]], status: int) -> None:
    assert evaluate_conditions(b"PUT", fields, THERE, NOW) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([(b"If-Match", b'"abc"')], 412, id="if-match"),
        pytest.param([(b"If-Match", b"*")], 200, id="if-match-any"),
        pytest.param([(b"If-None-Match", b'"abc"')], 200, id="if-none-match"),
        pytest.param([(b"If-Modified-Since", DATE)], 200, id="if-modified-since"),
        pytest.param([(b"If-Unmodified-Since", EARLIER)], 200, id="if-unmodified-since"),
    ],
)
def test_preconditions_without_validators(fields: list[tuple[bytes, bytes]], status: int) -> None:
    assert evaluate_conditions(b"GET", fields, Validators(None, None), NOW) == status


def test_a_weak_tag_never_fulfils_if_match() -> None:
    weak = Validators(b'W/"abc"', None)
    assert evaluate_conditions(b"GET", [(b"If-Match", b'W/"abc"')], weak, NOW) == 412
    assert evaluate_conditions(b"GET", [(b"If-None-Match", b'"abc"')], weak, NOW) == 304


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"bytes=0-0", ByteRange(0, 0), id="first-byte"),
        pytest.param(b"bytes=0-499", ByteRange(0, 499), id="first-500"),
        pytest.param(b"Bytes=500-999", ByteRange(500, 999), id="unit-in-any-case"),
        pytest.param(b"bytes=9500-", ByteRange(9500, 9999), id="open"),
        pytest.param(b"bytes=-500", ByteRange(9500, 9999), id="suffix"),
        pytest.param(b"bytes=-20000", ByteRange(0, 9999), id="suffix-longer-than-all"),
        pytest.param(b"bytes=9999-20000", ByteRange(9999, 9999), id="last-is-cut"),
        pytest.param(b"bytes=5-" + b"9" * 5000, ByteRange(5, 9999), id="thousands-of-digits"),
        pytest.param(b"bytes=000000000000000000005-6", ByteRange(5, 6), id="leading-zeros"),
        pytest.param(b"bytes= 1-2 ", ByteRange(1, 2), id="white-space"),
        pytest.param(b"bytes=10000-", UNSATISFIABLE, id="begins-at-the-end"),
        pytest.param(b"bytes=10000-10001", UNSATISFIABLE, id="behind-the-end"),
        pytest.param(b"bytes=" + b"9" * 5000 + b"-", UNSATISFIABLE, id="far-behind-the-end"),
        pytest.param(b"bytes=-0", UNSATISFIABLE, id="suffix-of-nothing"),
        pytest.param(b"bytes=2-1", None, id="backwards"),
        pytest.param(b"bytes=-", None, id="no-number"),
        pytest.param(b"bytes=", None, id="nothing"),
        pytest.param(b"bytes=1", None, id="no-dash"),
        pytest.param(b"bytes=+1-2", None, id="sign"),
        pytest.param(b"bytes=1_0-20", None, id="underscore"),
        pytest.param(b"bytes=\xb2-3", None, id="not-ascii"),
        pytest.param(b"bytes 0-1", None, id="content-range-syntax"),
        pytest.param(b"lines=0-1", None, id="other-unit"),
        pytest.param(b"bytes=0-1,3-4", None, id="several"),
        pytest.param(b"bytes=0-1,", None, id="several-with-an-empty-one"),
    ],
)
def test_ranges_of_ten_thousand_bytes(value: bytes, expected: ByteRange | None) -> None:
    assert select_range(b"GET", [(b"Range", value)], 10_000, THERE, NOW) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"bytes=0-", UNSATISFIABLE, id="open"),
        pytest.param(b"bytes=-5", None, id="suffix"),
        pytest.param(b"bytes=-0", UNSATISFIABLE, id="suffix-of-nothing"),
    ],
)
def test_ranges_of_nothing(value: bytes, expected: ByteRange | None) -> None:
    assert select_range(b"GET", [(b"Range", value)], 0, THERE, NOW) == expected


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        pytest.param(ETAG, True, id="same-tag"),
        pytest.param(b'"x"', False, id="other-tag"),
        pytest.param(b'W/"abc"', False, id="weak-tag"),
        pytest.param(DATE, True, id="same-date"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT", True, id="same-date-otherwise-written"),
        pytest.param(LATER, False, id="later-date"),
        pytest.param(EARLIER, False, id="earlier-date"),
        pytest.param(b"junk", False, id="neither"),
    ],
)
def test_if_range(value: bytes, holds: bool) -> None:
    fields = [(b"Range", b"bytes=0-1"), (b"If-Range", value)]
    expected = ByteRange(0, 1) if holds else None
    assert select_range(b"GET", fields, 10, THERE, NOW) == expected


def test_a_date_whose_second_is_not_over_is_too_weak_for_if_range() -> None:
    fields = [(b"Range", b"bytes=0-1"), (b"If-Range", DATE)]
    assert select_range(b"GET", fields, 10, THERE, MODIFIED + 0.9) is None
    assert select_range(b"GET", fields, 10, THERE, MODIFIED + 1) == ByteRange(0, 1)


def test_a_weak_tag_never_fulfils_if_range() -> None:
    fields = [(b"Range", b"bytes=0-1"), (b"If-Range", b'W/"abc"')]
    assert select_range(b"GET", fields, 10, Validators(b'W/"abc"', None), NOW) is None


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"get"])
def test_a_range_is_for_get_alone(method: bytes) -> None:
    assert select_range(method, [(b"Range", b"bytes=0-1")], 10, THERE, NOW) is None


def test_a_repeated_range_is_ignored() -> None:
    assert select_range(b"GET", [(b"Range", b"bytes=0-1")] * 2, 10, THERE, NOW) is None


@given(st.binary(max_size=20), st.integers(min_value=0, max_value=50))
def test_a_range_never_leaves_the_representation(value: bytes, length: int) -> None:
    found = select_range(b"GET", [(b"range", b"bytes=" + value)], length, THERE, NOW)
    if found is not None and found != UNSATISFIABLE:
        assert 0 <= found.first <= found.last < length

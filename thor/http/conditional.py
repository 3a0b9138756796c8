"""Conditional requests and ranges (RFC 9110 sections 13 and 14), as pure functions.

Owns: the forms in which a date is read, entity tags and their two comparisons, the order in which
preconditions are evaluated, the one byte range that is served. Must not know where a
representation comes from: a file, a cache and an application ask the same questions.

Theory of operation: a representation has up to two validators, an entity tag and a date. The
request's fields are given as they came, names in any case. What cannot be parsed is ignored where
the RFC says so (dates, ranges), and matches nothing where it says that (entity tags): neither
lets a client have anything that it could not have asked for plainly.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable
from typing import NamedTuple

from thor.http.dates import MONTHS

_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
#: The three forms of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850's, asctime's.
_DATES = (
    re.compile(
        rb"[A-Z][a-z]{2}, (?P<day>\d\d) (?P<month>[A-Z][a-z]{2}) (?P<year>\d{4}) %b GMT" % _TIME
    ),
    re.compile(
        rb"[A-Z][a-z]{5,8}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{2})-(?P<year>\d\d) %b GMT" % _TIME
    ),
    re.compile(
        rb"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) %b (?P<year>\d{4})" % _TIME
    ),
)
_MONTH_NUMBERS = {name: number for number, name in enumerate(MONTHS, 1)}
_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_BYTE_RANGE = re.compile(rb"[Bb][Yy][Tt][Ee][Ss]=[ \t]*(\d*)-(\d*)[ \t]*")
#: No file is longer than this many digits say; Python's `int()` refuses thousands of them.
_MAX_DIGITS = 18


class Validators(NamedTuple):
    """What tells one state of a representation from another.

    etag: with its quotes, and `W/` where it is weak; None if there is none
    modified: seconds since 1970-01-01 UTC, whole; None if not known
    """

    etag: bytes | None
    modified: int | None


class ByteRange(NamedTuple):
    """The bytes `first` to `last`, both included. An unsatisfiable range has no byte at all."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes that is."""
        return self.last - self.first + 1


#: What `select_range` gives for a range that has nothing of the representation.
UNSATISFIABLE = ByteRange(0, -1)


# -- dates --------------------------------------------------------------------------------------


def parse_date(value: bytes, now: float) -> int | None:
    """Return the Unix time of an HTTP date in any of its three forms; None for anything else.

    now: Unix time; a year of two digits is the one that is at most 50 years ahead of it
    """
    for form in _DATES:
        found = form.fullmatch(value)
        if found is None:
            continue
        month = _MONTH_NUMBERS.get(found["month"])
        year, day = int(found["year"]), int(found["day"])
        hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
        if len(found["year"]) == 2:
            this_year = time.gmtime(now).tm_year
            year += this_year // 100 * 100
            year -= 100 if year > this_year + 50 else 0
        if month is None or not _is_possible(year, month, day, hour, minute, second):
            return None
        return calendar.timegm((year, month, day, hour, minute, second))
    return None


def _is_possible(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bool:
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return False
    return hour < 24 and minute < 60 and second <= 60  # a leap second is a second


# -- preconditions ------------------------------------------------------------------------------


def evaluate_conditions(
    method: bytes, fields: Iterable[tuple[bytes, bytes]], validators: Validators, now: float
) -> int:
    """Evaluate a request's preconditions in their order (RFC 9110 section 13.2.2, steps 1-4).

    To be asked only where the answer would otherwise be a 2xx (section 13.2.1).
    Returns: 412 or 304 where a precondition is false, else 200
    """
    etag, modified = validators
    found = _joined(fields)
    reading = method in (b"GET", b"HEAD")
    if b"if-match" in found:
        if not _matches(found[b"if-match"], etag, strong=True):
            return 412
    elif b"if-unmodified-since" in found:
        since = parse_date(found[b"if-unmodified-since"], now)
        if since is not None and modified is not None and modified > since:
            return 412
    if b"if-none-match" in found:
        if _matches(found[b"if-none-match"], etag, strong=False):
            return 304 if reading else 412
    elif b"if-modified-since" in found and reading:
        since = parse_date(found[b"if-modified-since"], now)
        if since is not None and modified is not None and modified <= since:
            return 304
    return 200


def _matches(value: bytes, etag: bytes | None, *, strong: bool) -> bool:
    """Whether a list of entity tags, or `*`, names the representation that there is."""
    if value == b"*":
        return True
    if etag is None or (strong and etag.startswith(b"W/")):
        return False
    tags = _ENTITY_TAG.findall(value)
    if strong:
        return etag in tags
    return etag.removeprefix(b"W/") in [tag.removeprefix(b"W/") for tag in tags]


# -- ranges -------------------------------------------------------------------------------------


def select_range(
    method: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    length: int,
    validators: Validators,
    now: float,
) -> ByteRange | None:
    """Which part of a representation is asked for (RFC 9110 sections 13.1.5 and 14.2).

    length: of the whole representation, in bytes
    Returns: None for the whole (no Range, one that is not understood, several ranges, an
        If-Range that does not hold, a method other than GET), else the range, cut to what there
        is; UNSATISFIABLE where there is nothing of it (416)
    """
    if method != b"GET":
        return None
    found = _joined(fields)
    if b"range" not in found:
        return None
    if b"if-range" in found and not _range_holds(found[b"if-range"], validators, now):
        return None
    asked = _BYTE_RANGE.fullmatch(found[b"range"])
    return None if asked is None else _cut(asked[1], asked[2], length)


def _cut(first_digits: bytes, last_digits: bytes, length: int) -> ByteRange | None:
    """`first-last`, `first-` or `-suffix` against a length; None where it is not valid."""
    last = _number(last_digits)
    if not first_digits:
        if not last_digits:
            return None
        if last == 0:
            return UNSATISFIABLE
        # Of nothing, the last bytes are nothing: satisfiable, and best told by a whole 200.
        return ByteRange(max(0, length - last), length - 1) if length else None
    first = _number(first_digits)
    if last_digits and last < first:
        return None
    if first >= length:
        return UNSATISFIABLE
    return ByteRange(first, min(last, length - 1) if last_digits else length - 1)


def _number(digits: bytes) -> int:
    """Digits as a number; one too large to be a length is as good as any larger one."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _range_holds(value: bytes, validators: Validators, now: float) -> bool:
    """If-Range (section 13.1.5): the strong comparison, or the very date of Last-Modified.

    A date is a strong validator only when its second was over before it was told: until then the
    representation may have changed again within it (section 8.8.2.2).
    """
    if value.startswith((b'"', b"W/")):
        return value == validators.etag and not value.startswith(b"W/")
    modified = validators.modified
    return modified is not None and modified + 1 <= now and parse_date(value, now) == modified


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the fields this module asks for, by lower-case name; repeated ones are joined with a
    comma, so that a repeated date or range is one that is not valid (RFC 9110 section 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        name = name.lower()
        if name in _ASKED:
            found[name] = found[name] + b", " + value if name in found else value
    return found


_ASKED = frozenset(
    (
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        b"range",
    )
)

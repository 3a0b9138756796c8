"""Dates as HTTP writes them: what the standard library's own function for mail says."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from thor.http.dates import format_date

#: The last second of the year 9999.
LAST = 253402300799


def test_date_is_written_as_the_rfc_shows_it() -> None:
    assert format_date(784111777.999) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(min_value=0, max_value=LAST))
def test_date_of_any_second_is_that_of_the_standard_library(seconds: int) -> None:
    assert format_date(seconds) == formatdate(seconds, usegmt=True).encode()

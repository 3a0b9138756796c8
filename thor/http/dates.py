"""Dates as HTTP writes them (IMF-fixdate, RFC 9110 section 5.6.7).

Owns: the names of days and months, and the form that is sent. Must not know the older forms, which
`conditional.py` reads. The standard library's function for it belongs to `email`, which a server
would import for nothing else.
"""

from __future__ import annotations

import time

DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
MONTHS = (
    b"Jan",
    b"Feb",
    b"Mar",
    b"Apr",
    b"May",
    b"Jun",
    b"Jul",
    b"Aug",
    b"Sep",
    b"Oct",
    b"Nov",
    b"Dec",
)


def format_date(seconds: float) -> bytes:
    """Return a Unix time as an HTTP date; fractions of a second are cut off."""
    at = time.gmtime(seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        DAYS[at.tm_wday],
        at.tm_mday,
        MONTHS[at.tm_mon - 1],
        at.tm_year,
        at.tm_hour,
        at.tm_min,
        at.tm_sec,
    )

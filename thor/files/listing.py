"""The listing of a directory, as an HTML page that needs no scripts.

Owns: what the page looks like. Must not know the disk.
"""

from __future__ import annotations

import html
import time
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_from_bytes

from thor.files.responses import Response, response_with_body

if TYPE_CHECKING:
    from collections.abc import Sequence

#: On a narrow screen, size and date are below the name.
_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.25rem; overflow-wrap: anywhere }
table { width: 100%; border-collapse: collapse }
th, td { padding: .25rem .5rem; text-align: left; vertical-align: top }
tr { border-bottom: 1px solid #8884 }
td:first-child { width: 100%; overflow-wrap: anywhere }
th { white-space: nowrap }
td + td { white-space: nowrap; font-variant-numeric: tabular-nums }
.size { text-align: right }
@media (max-width: 36rem) {
  thead { display: none }
  tr, td:first-child { display: block }
  tr { padding: .25rem 0 }
  td:empty { display: none }
  td + td:not(:empty) { display: inline-block; padding-top: 0; font-size: .875rem }
}
"""
# Names are escaped; if an escape were ever missing, the browser would run no script of a name, and
# apply no style.
_POLICY = "default-src 'none'; style-src 'sha256-{}'".format(
    b64encode(sha256(_STYLE.encode("ascii")).digest()).decode("ascii")
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Index of {path}</title>
<style>{style}</style></head>
<body>
<h1>Index of {path}</h1>
<table>
<thead><tr><th scope="col">Name</th><th scope="col" class="size">Size</th>\
<th scope="col">Modified (UTC)</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
{more}</body></html>
"""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Entry(NamedTuple):
    """A file or directory of a listing.

    name: as it is on disk; size: in bytes, None for a directory; modified: Unix time
    """

    name: bytes
    size: int | None
    modified: float


def directory_listing(
    names: Sequence[bytes], entries: Sequence[Entry], *, complete: bool
) -> Response:
    """Return the page that lists a directory, sorted by name.

    names: the path from the root to the directory; empty for the root, which has no parent
    complete: whether `entries` has all files
    """
    path = html.escape("/" + "".join(f"{name.decode('utf-8', 'replace')}/" for name in names))
    rows = [_row(b"../", "", "")] if names else []
    rows += map(_entry_row, sorted(entries))
    if not rows:
        rows.append('<tr><td colspan="3">This directory is empty.</td></tr>')
    more = "" if complete else "<p>There are more.</p>\n"
    page = _PAGE.format(path=path, style=_STYLE, rows="\n".join(rows), more=more)
    return response_with_body(
        200,
        "text/html; charset=utf-8",
        page.encode("utf-8"),
        [("content-security-policy", _POLICY)],
    )


def _entry_row(entry: Entry) -> str:
    date = _date(entry.modified)
    if entry.size is None:
        return _row(entry.name + b"/", "", date)
    return _row(entry.name, _size(entry.size), date)


def _date(seconds: float) -> str:
    """Return a Unix time as date and time; empty for a time outside of the calendar's range."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OSError, OverflowError, ValueError):
        return ""


def _row(name: bytes, size: str, date: str) -> str:
    # The reference is relative and begins with a dot, so that it names no scheme and no host.
    reference = name if name == b"../" else b"./" + name
    text = html.escape(name.decode("utf-8", "replace"))
    return (
        f'<tr><td><a href="{quote_from_bytes(reference)}">{text}</a></td>'
        f'<td class="size">{size}</td><td>{date}</td></tr>'
    )


def _size(count: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"

"""The access log: one line for each request, including refused ones.

Owns: the format of a line, and which secrets it omits. Must not know where it is written. A line
has at most 4096 octets, so that a write to a pipe is atomic and a client cannot fill the log with
little traffic.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from thor.http.dates import MONTHS
from thor.http.headers import to_octets
from thor.http.http1.teardown import error_status

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.server import RecordedExchange
    from thor.proxy.flow import Flow
    from thor.tcp import TcpConnection

#: Maximum characters of a target, of a Referer and of a User-Agent.
MAX_VALUE_CHARS = 1000
#: User information, and what precedes it, in a URI that may be malformed. The authority ends at a
#: slash, but lenient parsers accept a backslash, or one slash, for two. The group is atomic, since
#: many backslashes would take quadratic time otherwise.
_USER = re.compile(rb"\A((?>[^/\\?#@]*(?:[/\\]{2,}|:[/\\])))?[^/?#]*@")
_QUERY = re.compile(rb"[?#]")


def access_line(entry: Flow | RecordedExchange, *, query: bool = True) -> str:
    """Return a line in the combined log format, followed by the duration in seconds, the endpoint,
    and the error.

    Values from the client are escaped, so that they can neither end the line nor control a
    terminal; a long value is truncated, and ends in `...`.

    entry: a flow, or an exchange of a server, that is done
    query: whether to write the queries of target and Referer, which may contain secrets. User
        information in Referer is never written
    """
    peer = _peer(entry.client)
    status = _text(entry.status or b"000")
    target, referer = to_octets(entry.path), _field(entry, b"referer")
    if referer is not None:
        referer = _USER.sub(rb"\1", referer)
    if not query:
        target = _QUERY.split(target, 1)[0]
        referer = _QUERY.split(referer, 1)[0] if referer is not None else None
    request = f"{_text(entry.method)} {_text(target)} HTTP/{_text(entry.version)}"
    duration = "-" if entry.duration_s is None else f"{entry.duration_s:.6f}"
    endpoint = entry.endpoint.name.decode("ascii") if entry.endpoint is not None else "-"
    error = type(entry.error).__name__ if entry.error is not None else "-"
    return (
        f'{peer} - - [{_log_time(entry.started)}] "{request}" {status} {entry.response_bytes} '
        f'"{_text(referer)}" "{_text(_field(entry, b"user-agent"))}" {duration} {endpoint} {error}'
    )


def refused_line(conn: TcpConnection, error: HttpError, now: float) -> str:
    """Return a line for a head that the server refused, in the same format, with `-` for unknown
    values.

    conn, error: of the server's event `refused`; now: Unix time
    """
    status, body_bytes = error_status(error)
    return (
        f'{_peer(conn)} - - [{_log_time(now)}] "-" {status.decode("ascii")} {body_bytes} '
        f'"-" "-" - - {type(error).__name__}'
    )


def _peer(conn: TcpConnection | None) -> str:
    address = conn.address if conn is not None else ""
    return str(address[0]) if isinstance(address, tuple) else "-"


def _log_time(seconds: float) -> str:
    at = time.gmtime(seconds)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{at.tm_mday:02}/{MONTHS[at.tm_mon - 1].decode()}/{at.tm_year:04}:{clock} +0000"


def _field(entry: Flow | RecordedExchange, name: bytes) -> bytes | None:
    for found, value in entry.request_headers:
        if to_octets(found).lower() == name:
            return to_octets(value)
    return None


def _text(value: object) -> str:
    r"""Return printable ASCII unchanged, and anything else, quotes and backslashes as `\xNN`;
    `-` for None."""
    if value is None:
        return "-"
    octets = to_octets(value)
    if octets.isalnum() and len(octets) <= MAX_VALUE_CHARS:
        return octets.decode("ascii")
    text = "".join(
        chr(octet) if 0x20 <= octet < 0x7F and octet not in b'"\\' else f"\\x{octet:02x}"
        for octet in octets[: MAX_VALUE_CHARS + 1]
    )
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."

"""The access log: one line a request, also for one that was refused.

Owns: what a line looks like. Must not know where it is written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from thor.http.error import IncompleteMessageError, MessageError
from thor.http.wire.writer import error_response

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.proxy.flow import Flow
    from thor.tcp import TcpConnection

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def access_line(flow: Flow) -> str:
    """A finished flow in the combined log format, followed by the time it took in seconds, the
    endpoint, and what went wrong.

    What the client sent is escaped, so that it can neither end the line nor colour a terminal.
    """
    peer = _peer(flow.client)
    status = _text(flow.status or b"000")
    referer, agent = _field(flow, b"referer"), _field(flow, b"user-agent")
    request = f"{_text(flow.method)} {_text(flow.path)} HTTP/{_text(flow.version)}"
    took = "-" if flow.duration_s is None else f"{flow.duration_s:.6f}"
    endpoint = flow.endpoint.name.decode("ascii") if flow.endpoint is not None else "-"
    error = type(flow.error).__name__ if flow.error is not None else "-"
    return (
        f'{peer} - - [{_moment(flow.started)}] "{request}" {status} {flow.response_bytes} '
        f'"{referer}" "{agent}" {took} {endpoint} {error}'
    )


def refused_line(conn: TcpConnection, error: HttpError, now: float) -> str:
    """A head that the server refused, in the same format; `-` is for what nobody knows.

    conn, error: of the server's event `refused`; now: Unix time
    """
    # A head that was cut off is the client's fault, and not a gateway's.
    told = MessageError() if isinstance(error, IncompleteMessageError) else error
    status = (told.server_status or (b"000", b""))[0].decode("ascii")
    body = error_response(told).partition(b"\r\n\r\n")[2]
    return (
        f'{_peer(conn)} - - [{_moment(now)}] "-" {status} {len(body)} "-" "-" - - '
        f"{type(error).__name__}"
    )


def _peer(conn: TcpConnection | None) -> str:
    address = conn.address if conn is not None else ""
    return str(address[0]) if isinstance(address, tuple) else "-"


def _moment(seconds: float) -> str:
    at = time.gmtime(seconds)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year:04}:{clock} +0000"


def _field(flow: Flow, name: bytes) -> str:
    for found, value in flow.request_headers:
        if _octets(found).lower() == name:
            return _text(value)
    return "-"


def _octets(value: object) -> bytes:
    """What a program has put there may be of any type."""
    return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")


def _text(value: object) -> str:
    r"""Printable ASCII as it is, anything else as `\xNN`, quotes and backslashes escaped."""
    octets = _octets(value)
    if octets.isalnum():
        return octets.decode("ascii")
    return "".join(
        chr(octet) if 0x20 <= octet < 0x7F and octet not in b'"\\' else f"\\x{octet:02x}"
        for octet in octets
    )

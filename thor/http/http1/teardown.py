"""What is left to be done on a connection whose requests are over.

Owns: responses that were written and have not left yet, the bytes that are dropped while a
connection closes, and what errors are answered with. Must not know how requests are read.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from thor.http.error import IncompleteMessageError, MessageError
from thor.http.wire.grammar import END_OF_HEAD
from thor.http.wire.writer import error_response
from thor.tcp.state import CLOSED

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.streams import ServerStreamHandler
    from thor.tcp import TcpConnection


class ErrorStatus(NamedTuple):
    """The status that a server answers an error with, and the bytes of that answer's body."""

    status: bytes
    body_bytes: int


def response_to(error: HttpError) -> bytes:
    """Return the response to a request that fails with `error`, which closes the connection."""
    if isinstance(error, IncompleteMessageError):
        error = MessageError()  # of a client it is a bad request, not a bad gateway
    return error_response(error)


def error_status(error: HttpError) -> ErrorStatus:
    """Return what an access log says of the response to `error`; b"000" if there is none."""
    head, _, body = response_to(error).partition(END_OF_HEAD)
    return ErrorStatus(head[9:12] or b"000", len(body))


class UnsentResponses:
    """Responses that were written whole; each exchange ends when its last byte has left."""

    __slots__ = ("_entries", "_tcp_conn")

    def __init__(self, tcp_conn: TcpConnection) -> None:
        self._tcp_conn = tcp_conn
        #: Oldest first: (bytes written when the last byte of it has left, exchange).
        self._entries: list[tuple[float, ServerStreamHandler]] = []

    def add(self, exchange: ServerStreamHandler) -> None:
        """Have `exchange` end when all that was written until now has left."""
        tcp_conn = self._tcp_conn
        mark: float = tcp_conn.bytes_written + tcp_conn.write_buffer.size
        if tcp_conn.write_failed or tcp_conn.write_state is CLOSED:
            mark = inf  # what was written was dropped
        self._entries.append((mark, exchange))
        tcp_conn.when_sent(self._on_sent)

    def _on_sent(self) -> None:
        entries, tcp_conn = self._entries, self._tcp_conn
        while entries and entries[0][0] <= tcp_conn.bytes_written:
            tcp_conn.loop.call_soon(entries.pop(0)[1].end, None)

    def end_all(self, error: HttpError | None) -> None:
        """End all of them: the connection is lost with `error`, or serves another protocol."""
        entries, self._entries = self._entries, []
        tcp_conn = self._tcp_conn
        for mark, exchange in entries:
            left = error is None or mark <= tcp_conn.bytes_written
            tcp_conn.loop.call_soon(exchange.end, None if left else error)


class LingeringClose:
    """Drops what a client still sends after the last response, up to a bound.

    Closing over unread bytes resets the connection, and the reset destroys the response on its way
    (RFC 9112 section 9.6).
    """

    __slots__ = ("_left", "_tcp_conn")

    def __init__(self, tcp_conn: TcpConnection, max_bytes: int) -> None:
        self._tcp_conn = tcp_conn
        self._left = max_bytes
        tcp_conn.end_writing()
        tcp_conn.pause(False)

    def discard(self, count: int) -> None:
        """Count bytes that arrived and were dropped; read no more beyond the bound."""
        self._left -= count
        if self._left < 0:
            # A close would be a reset, and might overtake the response. The client is left to read
            # that; what it goes on sending waits in the kernel's buffers, and then with itself.
            self._tcp_conn.pause(True)

"""What an HTTP connection of either side does with its transport.

Owns: how a message's body is framed on the way out. Must not know which side it is, nor the events
of exchanges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thor.http.error import OutputStateError
from thor.http.wire.framing import CHUNKED, LENGTH, UNTIL_CLOSE
from thor.http.wire.writer import encode_chunk, last_chunk
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.tcp import TcpConnection

#: A chunk from this size on is written in pieces: copying it to join them costs more.
MIN_SPLIT_CHUNK_BYTES = 16 * 1024
#: How much of later requests is read ahead while one is dealt with, in bytes; then reading pauses.
READ_AHEAD_BYTES = 64 * 1024


class BodyWriter:
    """The framing of a body on its way out; mixed into what has a `_write`."""

    _framing: int
    _left: int

    def _write(self, data: bytes) -> bool:
        raise AssertionError

    def _write_pieces(self, *pieces: bytes) -> bool:
        """Write all of them with nothing in between; may be overridden to spare the copy."""
        return self._write(b"".join(pieces))

    def _write_body(self, data: bytes) -> bool:
        """Write `data` in the message's framing.

        Returns: False when the connection's queue is above its high mark
        Raises: OutputStateError if it is more than the declared length; nothing of it is written
        """
        framing = self._framing
        if framing == LENGTH:
            left = self._left - len(data)
            if left < 0:
                raise OutputStateError(f"{-left} bytes more than the declared Content-Length")
            self._left = left
            return self._write(data)
        if framing == CHUNKED:
            if not data:
                return True  # an empty chunk would end the body
            if len(data) < MIN_SPLIT_CHUNK_BYTES:
                return self._write(encode_chunk(data))
            return self._write_pieces(b"%x\r\n" % len(data), data, b"\r\n")
        if framing == UNTIL_CLOSE:
            return self._write(data)
        return True  # NO_BODY: HEAD, 204, 304

    def _end_body(self, trailers: Any) -> None:
        """Write what ends the body.

        Raises: OutputStateError if fewer bytes than the declared length were written,
            OutputSyntaxError for a bad trailer
        """
        framing = self._framing
        if framing == CHUNKED:
            self._write(last_chunk(trailers))
        elif framing == LENGTH and self._left:
            raise OutputStateError(f"{self._left} bytes less than the declared Content-Length")


def write_together(tcp_conn: TcpConnection, *pieces: bytes) -> bool:
    """Write `pieces` with nothing in between: no listener for `pause`, which a write may call,
    can come between a chunk's size and its data.

    Returns: False when the connection's queue is above its high mark
    """
    if tcp_conn.write_state is OPEN and not tcp_conn.write_failed:
        buffer = tcp_conn.own_buffer()
        buffer += pieces[:-1]
        buffer.size += sum(map(len, pieces[:-1]))
    return tcp_conn.write(pieces[-1])

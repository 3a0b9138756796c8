"""What an HTTP connection of either side does with its transport.

Owns: how a message's body is framed on the way out, and what a date header says. Must not know
which side it is, nor the events of exchanges.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from thor.http.error import OutputStateError
from thor.http.wire.framing import CHUNKED, LENGTH, UNTIL_CLOSE
from thor.http.wire.writer import encode_chunk, last_chunk

if TYPE_CHECKING:
    from thor.http.wire.writer import OutHead
    from thor.types import Data

#: A chunk from this size on is written in three pieces: copying it to join them costs more.
SPLIT_CHUNK_FROM = 16 * 1024
#: How much of later requests is read ahead while one is dealt with, in bytes; then reading pauses.
READ_AHEAD_BYTES = 64 * 1024

_date_second = -1
_date = b""


def date_value(now: float) -> bytes:
    """The value of a Date field (RFC 9110 section 5.6.7), rendered once a second.

    now: Unix time in seconds
    """
    global _date, _date_second
    second = int(now)
    if second != _date_second:
        _date = formatdate(second, usegmt=True).encode("ascii")
        _date_second = second
    return _date


class BodyWriter:
    """The framing of a body on its way out; mixed into what has a `_write`."""

    __slots__ = ()

    _framing: int
    _left: int

    def _write(self, data: bytes) -> bool:
        raise AssertionError

    def _begin_body(self, head: OutHead) -> None:
        self._framing = head.framing
        self._left = head.length

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
            if len(data) < SPLIT_CHUNK_FROM:
                return self._write(encode_chunk(data))
            self._write(b"%x\r\n" % len(data))
            self._write(data)
            return self._write(b"\r\n")
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


def body_bytes(chunk: Data) -> bytes:
    """What a program passed as body: `str` becomes UTF-8, what may change is copied.

    Raises: TypeError for anything else
    """
    if isinstance(chunk, str):
        return chunk.encode("utf-8")
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a body chunk must be str or bytes-like, not {type(chunk).__name__}")

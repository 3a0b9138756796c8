"""The bounded queue of what a connection has still to send.

Owns: the chunks and their number of bytes. Must not know sockets' states, events or marks.

Theory of operation: chunks are kept as they were written. Together they leave as one `send` of
their join while that is small, else as one `sendmsg`, which needs no copy; of very many small ones
the first are joined, since a `sendmsg` takes only so many. What a short send leaves of a chunk is
kept as a view of it.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

#: Below this many bytes, joining costs less than handing the kernel a list.
MAX_JOIN_BYTES = 32 * 1024
#: Linux refuses more than 1,024 pieces (IOV_MAX); a send never takes so many at once anyway.
MAX_PIECES = 64


class ByteSink(Protocol):
    """What bytes leave by."""

    def _send(self, data: Any, /) -> int:
        """Take as much of `data` as goes now. Returns: how many bytes. Raises: OSError"""

    def _sendmsg(self, chunks: list[Any], /) -> int:
        """The same, of several pieces."""


class WriteBuffer(list["bytes | memoryview"]):
    """What is to be sent: its chunks in order, `size` bytes in all."""

    __slots__ = ("size",)

    #: Set by who makes one: a step of its own would take as long as all the rest.
    size: int

    def send_to(self, way: ByteSink) -> int:
        """Make one call to send as much as the kernel takes, and drop that.

        Returns: the number of bytes that were taken
        Raises: what the call raises; then nothing is dropped
        """
        if len(self) == 1:
            sent = way._send(self[0])
        elif self.size <= MAX_JOIN_BYTES:
            sent = way._send(b"".join(self))
        elif len(self) <= MAX_PIECES:
            sent = way._sendmsg(self)
        else:
            sent = way._send(_head(self))
        if sent == self.size:
            list.clear(self)  # and not what a subclass makes of it
            self.size = 0
        else:
            self._drop(sent)
        return sent

    def _drop(self, sent: int) -> None:
        self.size -= sent
        whole = 0
        for chunk in self:
            if sent < len(chunk):
                break
            sent -= len(chunk)
            whole += 1
        del self[:whole]
        if sent:
            self[0] = memoryview(self[0])[sent:]

    def clear(self) -> None:
        """Drop everything."""
        list.clear(self)
        self.size = 0


class Nothing(WriteBuffer):
    """Stands for the queue of a connection that has nothing to send: it takes nothing."""

    __slots__ = ()

    def append(self, chunk: bytes | memoryview, /) -> None:
        """Raises: AssertionError, or one connection's bytes would be everybody's"""
        raise AssertionError("written to nobody's queue")

    def __iadd__(self, chunks: Any, /) -> NoReturn:  # type: ignore[misc]
        raise AssertionError("written to nobody's queue")


NOTHING = Nothing()
NOTHING.size = 0


def _head(chunks: list[bytes | memoryview]) -> bytes | memoryview:
    """What to send where only one piece can be: a large chunk as it is, small ones joined."""
    if len(chunks[0]) >= MAX_JOIN_BYTES:
        return chunks[0]
    head: list[bytes | memoryview] = []
    room = MAX_JOIN_BYTES
    for chunk in chunks:
        head.append(chunk if len(chunk) <= room else memoryview(chunk)[:room])
        room -= len(chunk)
        if room <= 0:
            break
    return b"".join(head)

"""The send queue of a connection.

Owns: the chunks and their number of bytes. Must not know sockets' states, events or marks.

Theory of operation: chunks are kept as they were written. While they are small they are joined for
one `send`, else they leave by one `sendmsg`, which needs no copy; of very many small ones the first
are joined, since a `sendmsg` takes only so many. What a short send leaves of a chunk is kept as a
view of it. An idle connection has no queue of its own: all of them share `EMPTY_BUFFER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

#: Marks of a queue, in bytes; Node's streams and nginx's buffers are of this order.
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
#: Below this many bytes, joining costs less than handing the kernel a list.
MAX_JOIN_BYTES = 32 * 1024
#: Linux refuses more than 1,024 (IOV_MAX); a send never takes so many at once anyway.
MAX_CHUNKS = 64


class ByteSink(Protocol):
    """What a queue is sent to: a socket, or TLS."""

    def send(self, data: bytes | memoryview, /) -> int:
        """Take as much of `data` as fits now. Return how many bytes. Raises: OSError"""

    def sendmsg(self, chunks: Sequence[bytes | memoryview], /) -> int:
        """Take as much as fits now of several chunks. Return how many bytes. Raises: OSError"""


class WriteBuffer(list["bytes | memoryview"]):
    """The queued chunks in order, `size` bytes in all."""

    __slots__ = ("size",)

    #: Set by whoever makes a buffer: an `__init__` would take as long as all the rest.
    size: int

    def send_to(self, sink: ByteSink) -> int:
        """Make one call to send as much as the kernel takes, and drop that.

        Returns: the number of bytes that were taken
        Raises: what the call raises; then nothing is dropped
        """
        if len(self) == 1:
            sent = sink.send(self[0])
        elif self.size <= MAX_JOIN_BYTES:
            sent = sink.send(b"".join(self))
        elif len(self) <= MAX_CHUNKS:
            sent = sink.sendmsg(self)
        else:
            sent = sink.send(_join_first(self))
        if sent == self.size:
            list.clear(self)  # not the `clear` of a subclass
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


class EmptyBuffer(WriteBuffer):
    """The queue of all connections that have nothing to send: it cannot be appended to."""

    __slots__ = ()

    def append(self, chunk: bytes | memoryview, /) -> None:
        """Raise AssertionError, or one connection's bytes would be sent on all of them."""
        raise AssertionError("written to the shared empty buffer")

    def __iadd__(self, chunks: Iterable[bytes | memoryview], /) -> NoReturn:  # type: ignore[override,misc]
        raise AssertionError("written to the shared empty buffer")


EMPTY_BUFFER = EmptyBuffer()
EMPTY_BUFFER.size = 0


def _join_first(chunks: list[bytes | memoryview]) -> bytes | memoryview:
    """Return what to send in one call: the first chunk if it is large, else small ones joined."""
    if len(chunks[0]) >= MAX_JOIN_BYTES:
        return chunks[0]
    first: list[bytes | memoryview] = []
    room = MAX_JOIN_BYTES
    for chunk in chunks:
        first.append(chunk if len(chunk) <= room else memoryview(chunk)[:room])
        room -= len(chunk)
        if room <= 0:
            break
    return b"".join(first)

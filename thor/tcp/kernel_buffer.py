"""A queue to send that begins with bytes which are in the kernel.

Owns: the change from such a queue to the one that a connection had before. Must not know where in
the kernel the bytes are: the subclasses do, one for a pipe (`splice.py`), one for a file
(`sendfile.py`).

Theory of operation: with the last of these bytes, the queue gives its place back to the one that
was there before; chunks that were written meanwhile follow them. So marks, `bytes_written`,
timeouts and `close()` mean what they mean with any queue.
"""

from __future__ import annotations

import errno
import socket as socket_module
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from thor.tcp.write_buffer import ByteSink, WriteBuffer

if TYPE_CHECKING:
    from thor.tcp.connection import TcpConnection

#: Not a failure of the connection, but of the call: this system, or this kind of socket or file,
#: has none.
REFUSALS = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP))


def has_kernel_socket(conn: TcpConnection) -> bool:
    """Return whether the kernel's socket sends what is written: not with TLS, nor in memory."""
    return not conn.is_encrypted and conn.socket.__class__ is socket_module.socket


class KernelBuffer(WriteBuffer, ABC):
    """A queue that begins with `_held` bytes which are in the kernel."""

    __slots__ = ("_before", "_conn", "_held")

    def __init__(self, conn: TcpConnection, held: int) -> None:
        """conn: has nothing queued; held: how many bytes are in the kernel"""
        self._conn = conn
        self._before = conn.write_buffer
        self.size = self._held = held

    @abstractmethod
    def _send_held(self) -> int:
        """Send as many of the held bytes as go now. Returns: how many. Raises: OSError"""

    @abstractmethod
    def _read_held(self) -> bytes:
        """Return all of the held bytes, where they cannot be sent. Raises: OSError"""

    @abstractmethod
    def _release(self, empty: bool) -> None:
        """Let go of where the bytes were. empty: all of them were taken out"""

    def send_to(self, way: ByteSink) -> int:
        """As any queue; what is in the kernel leaves first, and alone."""
        try:
            sent = self._send_held()
        except OSError as exc:
            if exc.errno not in REFUSALS:
                raise
            self.insert(0, self._read_held())
            self._give_way()
            rest = self._conn.write_buffer
            sent = rest.send_to(way)
            self.size = rest.size  # the one who called asks this one
            return sent
        self.size -= sent
        self._held -= sent
        if not self._held:
            self._give_way()
        return sent

    def _give_way(self) -> None:
        """Give the place back: nothing is in the kernel any more."""
        self._held = 0
        self._release(True)
        self._conn.write_buffer = self._before
        if self:
            rest = self._conn.own_buffer()
            rest += self
            rest.size = self.size

    def clear(self) -> None:
        """Drop everything."""
        if self._held:
            self._held = 0
            self._release(False)
            self._conn.write_buffer = self._before
        WriteBuffer.clear(self)

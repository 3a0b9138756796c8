"""A send queue that begins with bytes which are in the kernel.

Owns: the change from such a queue to the one that a connection had before. Must not know where in
the kernel the bytes are: a `KernelBytes` does, one for a pipe (`splice.py`), one for a file
(`sendfile.py`).

Theory of operation: when the last of these bytes was sent, the connection gets back the queue that
it had before; chunks that were written meanwhile follow the bytes. So marks, `bytes_written`,
timeouts and `close()` mean what they mean with any queue.
"""

from __future__ import annotations

import errno
import socket as socket_module
from typing import Protocol

from thor.tcp.transport import Transport
from thor.tcp.write_buffer import ByteSink, WriteBuffer

#: Errors that say that this system, or this kind of socket or file, does not have the call: the
#: connection has not failed.
UNSUPPORTED_ERRNOS = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP))


def has_kernel_socket(conn: Transport) -> bool:
    """Return whether the kernel's socket sends what is written: not with TLS, nor in memory."""
    return not conn.is_encrypted and conn.socket.__class__ is socket_module.socket


class KernelBytes(Protocol):
    """Bytes in the kernel that can be sent without being read."""

    def send_to(self, fd: int, count: int, /) -> int:
        """Send up to `count` bytes to a socket. Return how many. Raises: OSError"""

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, where they cannot be sent. Raises: OSError"""

    def release(self, *, empty: bool) -> None:
        """Release what holds the bytes. empty: all of them were taken out"""


class KernelBuffer(WriteBuffer):
    """A queue that begins with bytes which are in the kernel."""

    __slots__ = ("_bytes_left", "_conn", "_kernel_bytes", "_previous")

    def __init__(self, conn: Transport, kernel_bytes: KernelBytes, count: int) -> None:
        """conn: has nothing queued; count: of the bytes in the kernel"""
        self._conn = conn
        self._previous = conn.write_buffer
        self._kernel_bytes = kernel_bytes
        self.size = self._bytes_left = count

    def send_to(self, sink: ByteSink) -> int:
        """Send the bytes in the kernel, alone; `sink` is for what follows them."""
        try:
            sent = self._kernel_bytes.send_to(self._conn.socket.fileno(), self._bytes_left)
        except OSError as exc:
            if exc.errno not in UNSUPPORTED_ERRNOS:
                raise
            self.insert(0, self._kernel_bytes.read(self._bytes_left))
            self._restore_queue()
            queue = self._conn.write_buffer
            sent = queue.send_to(sink)
            self.size = queue.size  # the caller asks this object
            return sent
        self.size -= sent
        self._bytes_left -= sent
        if not self._bytes_left:
            self._restore_queue()
        return sent

    def _restore_queue(self) -> None:
        """Give the connection its previous queue back: nothing is in the kernel any more."""
        self._bytes_left = 0
        self._kernel_bytes.release(empty=True)
        self._conn.write_buffer = self._previous
        if self:
            queue = self._conn.own_buffer()
            queue += self
            queue.size = self.size

    def clear(self) -> None:
        """Drop everything."""
        if self._bytes_left:
            self._bytes_left = 0
            self._kernel_bytes.release(empty=False)
            self._conn.write_buffer = self._previous
        WriteBuffer.clear(self)

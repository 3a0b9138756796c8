"""A piece of a file that is sent without being read into the process.

Owns: the piece as a send queue. Must not know which file it is, nor whether reading it would wait
for a disk: the caller has seen that its pages are in memory.

Theory of operation: sendfile(2) sends pages of the file, and copies nothing. The piece becomes the
beginning of its connection's queue, which sends, waits, ends and counts as with any queue. The
socket may have room for megabytes: so that all connections get their turn, the caller keeps the
pieces small, and queues the next one in a later turn.

A file that has become shorter aborts the connection: what was announced cannot be sent, and no peer
takes a reset for the end of a body.
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn, Protocol

from thor.tcp.kernel_buffer import KernelBuffer, has_kernel_socket
from thor.tcp.state import OPEN
from thor.tcp.transport import Transport

_HAS_SENDFILE = hasattr(os, "sendfile")


class File(Protocol):
    """A file that stays open while somebody holds it."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def hold(self) -> None:
        """Keep it open until `release` is called once more."""

    def release(self) -> None:
        """Hold it no longer."""


def can_send_files(conn: Transport) -> bool:
    """Return whether the kernel can send pieces of files on `conn`."""
    return _HAS_SENDFILE and has_kernel_socket(conn)


def queue_file(conn: Transport, file: File, offset: int, count: int) -> bool:
    """Queue a piece of a file: see `TcpConnection.write_file`.

    The pages should be in memory, or the loop waits for the disk. Where the file has become
    shorter, the connection is aborted.
    """
    if not can_send_files(conn) or conn.write_buffer.size:
        return False
    if conn.write_state is OPEN and not conn.write_failed:
        conn.write_buffer = KernelBuffer(conn, _FilePiece(conn, file, offset), count)
        conn.queue_flush()
    return True


class _FilePiece:
    """A piece of a file, as the beginning of a connection's queue."""

    __slots__ = ("_conn", "_file", "_offset")

    def __init__(self, conn: Transport, file: File, offset: int) -> None:
        """offset: where the piece begins, in bytes"""
        self._conn = conn
        self._file = file
        self._offset = offset
        file.hold()

    def send_to(self, fd: int, count: int) -> int:
        """Send a part of the piece."""
        sent = os.sendfile(fd, self._file.fileno(), self._offset, count)
        if not sent:
            self._abort()
        self._offset += sent
        return sent

    def read(self, count: int) -> bytes:
        """Read the rest of the piece."""
        data = os.pread(self._file.fileno(), count, self._offset)
        if len(data) < count:
            self._abort()
        return data

    def _abort(self) -> NoReturn:
        """Abort: the file has become shorter. Raises: BlockingIOError, since nothing can be sent"""
        self._conn.abort()
        raise BlockingIOError(errno.EAGAIN, "the file has become shorter")

    def release(self, *, empty: bool) -> None:
        """Release the file."""
        self._file.release()

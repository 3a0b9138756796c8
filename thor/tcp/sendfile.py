"""A piece of a file that is sent without being read into the process.

Owns: the piece as a queue to send. Must not know which file it is, nor whether reading it would
have to wait for a disk: who queues it has seen that its pages are in memory.

Theory of operation: sendfile(2) sends pages of the file, and copies nothing. A `FileBuffer` is the
queue of its connection, which sends, waits, ends and counts as with any queue. The socket may have
room for megabytes: so that all connections get their turn, who queues the pieces keeps them small,
and queues the next one in a later turn.

A file that has become shorter aborts the connection: what was promised cannot be sent, and a reset
is what nobody takes for the end of a body.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn, Protocol

from thor.tcp.kernel_buffer import KernelBuffer, has_kernel_socket
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.tcp.connection import TcpConnection

_HAS_SENDFILE = hasattr(os, "sendfile")


class File(Protocol):
    """A file that is open, and stays so while somebody holds it."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def hold(self) -> None:
        """Keep it open until `release` was called once more."""

    def release(self) -> None:
        """Let go of it."""


def can_send_files(conn: TcpConnection) -> bool:
    """Return whether the kernel can send pieces of files on `conn`."""
    return _HAS_SENDFILE and has_kernel_socket(conn)


def queue_file(conn: TcpConnection, file: File, offset: int, count: int) -> bool:
    """Queue a piece of a file: see `TcpConnection.write_file`."""
    if not can_send_files(conn) or conn.write_buffer.size:
        return False
    if conn.write_state is OPEN and not conn.write_failed:
        conn.write_buffer = FileBuffer(conn, file, offset, count)
        conn._queue_flush()
    return True


class FileBuffer(KernelBuffer):
    """A queue that begins with a piece of a file."""

    __slots__ = ("_file", "_offset")

    def __init__(self, conn: TcpConnection, file: File, offset: int, count: int) -> None:
        """conn: has nothing queued; offset, count: the piece, in bytes"""
        KernelBuffer.__init__(self, conn, count)
        self._file = file
        self._offset = offset
        file.hold()

    def _send_held(self) -> int:
        sent = os.sendfile(self._conn._fd, self._file.fileno(), self._offset, self._held)
        if not sent:
            self._abort()
        self._offset += sent
        return sent

    def _read_held(self) -> bytes:
        data = os.pread(self._file.fileno(), self._held, self._offset)
        if len(data) < self._held:
            self._abort()
        return data

    def _abort(self) -> NoReturn:
        """The file has become shorter. Raises: BlockingIOError, since nothing can be sent"""
        self._conn.abort()
        raise BlockingIOError(errno.EAGAIN, "the file has become shorter")

    def _release(self, empty: bool) -> None:
        self._file.release()

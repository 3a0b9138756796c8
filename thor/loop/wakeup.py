"""The self-pipe: how other threads and signals wake a loop that waits.

Owns: a pair of sockets. Must not know what there is to do when the loop is awake.

Sockets rather than a pipe: writing to a socket object that was closed meanwhile is an error,
where a bare fd number could be somebody else's by then.
"""

from __future__ import annotations

import socket


class Wakeup:
    """A pair of sockets; the loop watches the one whose number is `fileno()`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The fd to watch for reading."""
        return self._reader.fileno()

    def signal_fd(self) -> int:
        """The fd to hand to `signal.set_wakeup_fd`."""
        return self._writer.fileno()

    def wake(self) -> None:
        """Make the loop's wait return. Any thread may call it."""
        try:
            self._writer.send(b"\0")
        except OSError:
            # Full of calls to wake up: one more says nothing new. Or closed: the loop was
            # stopped, and has nothing to wake for.
            pass

    def drain(self) -> None:
        """Take out what was written, so that the next wait waits."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()

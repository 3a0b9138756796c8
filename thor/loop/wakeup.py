"""The self-pipe: how other threads and signals wake a loop that waits.

Owns: a pair of sockets. Must not know what the loop does when it is awake.

It uses sockets rather than a pipe: writing to a socket object that was closed meanwhile raises,
whereas a bare fd number could belong to somebody else by then.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Wakeup:
    """A pair of sockets; the loop watches the one whose number is `fileno()`."""

    def __init__(self, on_wakeup: Callable[[], None]) -> None:
        """on_wakeup: called on the loop after `wake()`"""
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._on_wakeup = on_wakeup
        self.receives_signals = False

    def fileno(self) -> int:
        """Return the fd to watch for reading."""
        return self._reader.fileno()

    def signal_fd(self) -> int:
        """Return the fd to pass to `signal.set_wakeup_fd`."""
        return self._writer.fileno()

    def wake(self) -> None:
        """Make the loop's wait return. Any thread may call this."""
        try:
            self._writer.send(b"\0")
        except OSError:
            # Full: the loop is being woken already. Closed: the loop was stopped.
            pass

    @contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Have signals wake the loop, so that it sees at once what their handlers did."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self.signal_fd(), warn_on_full_buffer=False)
        self.receives_signals = True
        try:
            yield
        finally:
            self.receives_signals = False
            signal.set_wakeup_fd(previous)

    def on_ready(self, bits: int) -> None:
        """Handle a wakeup."""
        self.drain()
        self._on_wakeup()

    def on_loop_stopped(self) -> None:
        """Do nothing: the loop closes its wakeup itself."""

    def on_fork(self) -> None:
        """Have signals no longer written to a socket that is shared with the parent process."""
        if self.receives_signals:
            signal.set_wakeup_fd(-1)

    def drain(self) -> None:
        """Read what was written, so that the next wait waits."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()

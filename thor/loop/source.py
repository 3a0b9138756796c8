"""EventSource: one fd, and the events that it is watched for.

Owns: the fd's registration with the loop. Must not know what the fd is.
"""

from __future__ import annotations

from thor.events import EventEmitter
from thor.loop.event_loop import EventLoop
from thor.loop.factory import DEFAULT_LOOP
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE

#: The events' names, as bits.
EVENT_BITS = {"fd_readable": READABLE, "fd_writable": WRITABLE, "fd_error": 0, "fd_close": 0}


class EventSource(EventEmitter):
    """An fd of the program's own, watched by a loop.

    Emits:
        fd_readable(): reading will not block; in each turn, as long as that is so.
        fd_writable(): writing will not block; in each turn, as long as that is so.
        fd_error(): the fd has an error. The loop no longer watches it; nothing follows.
        fd_close(): both directions have ended. The loop no longer watches it; nothing follows.
    """

    emits = frozenset(("fd_readable", "fd_writable", "fd_error", "fd_close"))

    def __init__(self, loop: EventLoop | None = None) -> None:
        self.loop: EventLoop = loop or default_loop()
        self._fd: int = -1
        self._interest: int = 0

    def register_fd(self, fd: int, event: str | None = None) -> None:
        """Have the loop watch `fd`, at first for `event` (None: only errors).

        Raises: ValueError for an event that is not one of this class's, an fd that belongs to
        another source, or a source that has another fd; OSError if the kernel refuses
        """
        if self._fd not in (-1, fd):
            raise ValueError(f"the source has fd {self._fd} already")
        self.watch_fd(fd, self._interest | (_bit(event) if event is not None else 0))

    def unregister_fd(self) -> None:
        """Have the loop forget the fd. The fd stays open; harmless when done twice."""
        if self._fd >= 0:
            self.loop.fds.unregister(self._fd, self)
            self._fd = -1
            self._interest = 0

    def event_add(self, event: str) -> None:
        """Watch the fd for `event` too."""
        self.set_interest(self._interest | _bit(event))

    def event_del(self, event: str) -> None:
        """Watch the fd for `event` no longer."""
        self.set_interest(self._interest & ~_bit(event))

    # -- for Thor's own packages ---------------------------------------------------------------

    def watch_fd(self, fd: int, bits: int) -> None:
        """Have the loop watch `fd` for `bits` (READABLE, WRITABLE, both or neither).

        Raises: ValueError if the fd belongs to another source; OSError if the kernel refuses
        """
        self.loop.fds.register(fd, self, bits)
        self._fd = fd
        self._interest = bits

    def set_interest(self, bits: int) -> None:
        """Watch the fd for these bits from now on. Raises: OSError"""
        if bits != self._interest:
            self._interest = bits
            if self._fd >= 0:
                self.loop.fds.modify(self._fd, bits)

    def stop_polling(self) -> None:
        """Have the poller report nothing more; the loop's `stop()` still reaches this source."""
        self._interest = 0
        self.loop.fds.stop_polling(self._fd)

    def on_ready(self, bits: int) -> None:
        """Handle what the poller reports. Called by the loop."""
        if bits & READABLE & self._interest:
            self.emit("fd_readable")
        if bits & WRITABLE and self._interest & WRITABLE:
            self.emit("fd_writable")
        if bits & (ERROR | HANGUP) and self._fd >= 0 and not bits & READABLE & self._interest:
            # The kernel reports these for ever, asked for or not: emit once, then forget the fd.
            self.unregister_fd()
            self.emit("fd_error" if bits & ERROR else "fd_close")

    def on_loop_stopped(self) -> None:
        """Forget the fd: the loop was stopped and no longer watches it."""
        self._fd = -1
        self._interest = 0

    def on_fork(self) -> None:
        """Forget the fd: in a forked child it belongs to the parent's loop."""
        self._fd = -1
        self._interest = 0

    def failed(self, exc: BaseException) -> None:
        """Handle that a listener of this source raised `exc`; the loop has logged it."""


def default_loop() -> EventLoop:
    """Return the loop that is used where none is given."""
    return DEFAULT_LOOP


def _bit(event: str) -> int:
    try:
        return EVENT_BITS[event]
    except KeyError:
        raise ValueError(f"{event!r} is not one of {', '.join(EVENT_BITS)}") from None

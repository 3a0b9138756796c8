"""EventSource: one fd, and what it is interested in.

Owns: the fd's registration with the loop. Must not know what the fd is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor.events import EventEmitter
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE

if TYPE_CHECKING:
    from thor.loop.base import LoopBase

#: The names that programs use, as bits.
EVENT_BITS = {"fd_readable": READABLE, "fd_writable": WRITABLE, "fd_error": 0, "fd_close": 0}


class EventSource(EventEmitter):
    """An fd of the program's own, watched by a loop.

    Emits:
        fd_readable(): reading will not block; each turn, as long as it holds.
        fd_writable(): writing will not block; each turn, as long as it holds.
        fd_error(): the fd is in error. It is forgotten by the loop; nothing follows.
        fd_close(): both directions are over. It is forgotten by the loop; nothing follows.
    """

    emits = frozenset(("fd_readable", "fd_writable", "fd_error", "fd_close"))

    def __init__(self, loop: LoopBase | None = None) -> None:
        self.loop: LoopBase = loop or default_loop()
        self._fd: int = -1
        self._interest: int = 0

    def register_fd(self, fd: int, event: str | None = None) -> None:
        """Have the loop watch `fd`, at first for `event` (None: only errors).

        Raises: ValueError for an event that is not one of this class's, an fd that another
        source has, or a source that has another fd; OSError if the kernel refuses
        """
        if self._fd not in (-1, fd):
            raise ValueError(f"the source has fd {self._fd} already")
        self._register(fd, self._interest | (_bit(event) if event is not None else 0))

    def unregister_fd(self) -> None:
        """Have the loop forget the fd. The fd stays open; harmless when done twice."""
        if self._fd >= 0:
            self.loop._forget_fd(self._fd, self)
            self._fd = -1
            self._interest = 0

    def event_add(self, event: str) -> None:
        """Be interested in `event`."""
        self._set_interest(self._interest | _bit(event))

    def event_del(self, event: str) -> None:
        """Be no longer interested in `event`."""
        self._set_interest(self._interest & ~_bit(event))

    # -- for the house -------------------------------------------------------------------------

    def _register(self, fd: int, bits: int) -> None:
        self.loop._watch_fd(fd, self, bits)
        self._fd = fd
        self._interest = bits

    def _set_interest(self, bits: int) -> None:
        if bits != self._interest:
            self._interest = bits
            if self._fd >= 0:
                self.loop._modify_fd(self._fd, bits)

    def on_ready(self, bits: int) -> None:
        """The loop's call: these things are so."""
        if bits & READABLE & self._interest:
            self.emit("fd_readable")
        if bits & WRITABLE and self._interest & WRITABLE:
            self.emit("fd_writable")
        if bits & (ERROR | HANGUP) and self._fd >= 0 and not bits & READABLE & self._interest:
            # Reported for ever whether asked for or not: told once, then forgotten.
            self.unregister_fd()
            self.emit("fd_error" if bits & ERROR else "fd_close")

    def on_loop_stopped(self) -> None:
        """The loop was stopped and has forgotten the fd."""
        self._fd = -1
        self._interest = 0

    def failed(self, exc: BaseException) -> None:
        """A listener of this source raised `exc`; the loop has logged it."""


def default_loop() -> LoopBase:
    """The loop of those who name none."""
    from thor import loop

    return loop._loop


def _bit(event: str) -> int:
    try:
        return EVENT_BITS[event]
    except KeyError:
        raise ValueError(f"{event!r} is not one of {', '.join(EVENT_BITS)}") from None

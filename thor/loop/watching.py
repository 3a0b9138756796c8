"""The fds that a loop watches.

Owns: the table of fds and whose they are. Must not know when the poller is asked, nor what is done
about what it says.

Theory of operation: a source stays in the table until it is forgotten, also while nothing is
reported of its fd, so that the end of the loop finds it. An fd's number can be another's in the
same turn: what was registered since the last poll is noted, for an event of this batch with such a
number is not its own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thor.loop.calls import Caller
from thor.loop.poller import Poller
from thor.loop.wakeup import Wakeup

if TYPE_CHECKING:
    from thor.loop.source import EventSource


class Watching(Caller):
    """What of a loop watches fds; the loop is this class with the rest."""

    _poller: Poller | None
    _wakeup: Wakeup | None
    _sources: dict[int, EventSource]
    #: Fds watched since the last poll.
    _registered_this_turn: set[int]
    in_turn: bool

    def _open(self) -> None:
        raise AssertionError

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        raise AssertionError

    def _watch_fd(self, fd: int, source: EventSource, bits: int) -> None:
        self._open()
        assert self._poller is not None
        if self._sources.get(fd, source) is not source:
            raise ValueError(f"fd {fd} is watched for another source")
        if fd in self._sources:
            self._poller.modify(fd, bits)
        else:
            self._poller.register(fd, bits)
            if self.in_turn:
                self._registered_this_turn.add(fd)
        self._sources[fd] = source

    def _modify_fd(self, fd: int, bits: int) -> None:
        if self._poller is not None:
            try:
                self._poller.modify(fd, bits)
            except OSError as exc:
                if exc.errno != errno.ENOMEM:
                    raise
                # kqueue's. What is not watched would wait for ever: its source has failed.
                self.call_soon(self._report, self._sources[fd].on_ready, exc)

    def _forget_fd(self, fd: int, source: EventSource) -> None:
        if self._sources.get(fd) is source:
            del self._sources[fd]
            if self._poller is not None:
                self._poller.unregister(fd)

    def _stop_polling(self, fd: int) -> None:
        """Hear no more of `fd`; its source stays in the table, where `stop()` finds it."""
        if self._poller is not None:
            self._poller.unregister(fd)

    def fd_count(self) -> int:
        """How many fds of sources the loop watches (its own wake-up pipe aside)."""
        return len(self._sources) - (self._wakeup is not None)

    def registered_fd_handlers(self) -> list[EventSource]:
        """The sources whose fds the loop watches (its own wake-up pipe aside)."""
        own = self._wakeup.fileno() if self._wakeup is not None else None
        return [source for fd, source in self._sources.items() if fd != own]

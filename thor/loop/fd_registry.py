"""The fds that a loop watches.

Owns: the poller, the wakeup, and the table of fds and their sources. Must not know when the poller
is asked, nor how its events are handled.

Theory of operation: a source stays in the table until it is unregistered, also while the poller
reports nothing about its fd, so that the end of the loop finds it. The kernel reuses fd numbers at
once: an fd registered since the last poll is recorded, because an event of the present batch with
that number belongs to the previous owner.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from thor.loop.poller import READABLE, Poller, PollerWithFd
from thor.loop.wakeup import Wakeup


class FdSource(Protocol):
    """The owner of a watched fd."""

    def on_ready(self, bits: int) -> None:
        """Handle what the poller reports: `READABLE`, `WRITABLE`, `ERROR`, `HANGUP`."""

    def on_loop_stopped(self) -> None:
        """Release the fd: the loop was stopped and no longer watches it."""

    def on_fork(self) -> None:
        """Forget the fd, without closing it: this process is a forked child."""


class FdRegistry:
    """The fds of one loop, and the source of each.

    poller: None until the loop is first used, and again after it was stopped
    sources: fd to source, the wakeup's included
    registered_this_turn: the fds that were registered since the last poll
    """

    def __init__(
        self,
        make_poller: Callable[[], Poller],
        on_wakeup: Callable[[], None],
        on_unwatchable: Callable[[FdSource, OSError], None],
    ) -> None:
        """Open nothing yet.

        on_wakeup: called on the loop after `wake()`
        on_unwatchable: called with a source whose fd the kernel no longer watches, for want of
            memory
        """
        self.make_poller = make_poller
        self.poller: Poller | None = None
        self.sources: dict[int, FdSource] = {}
        self.registered_this_turn: set[int] = set()
        self.wakeup: Wakeup | None = None
        self._on_wakeup = on_wakeup
        self._on_unwatchable = on_unwatchable

    def open(self) -> Poller:
        """Return the poller. Make it, and the wakeup, if the loop was not used yet.

        Raises: OSError
        """
        if self.poller is None:
            poller = self.make_poller()
            if not getattr(poller, "never_waits", False):  # else nothing ever has to be woken
                wakeup = Wakeup(self._on_wakeup)
                try:
                    poller.register(wakeup.fileno(), READABLE)
                except OSError:
                    wakeup.close()
                    poller.close()
                    raise
                self.sources[wakeup.fileno()] = wakeup
                self.wakeup = wakeup
            self.poller = poller
        return self.poller

    def wake(self) -> None:
        """End the poller's wait. Any thread and any signal handler may call this."""
        wakeup = self.wakeup
        if wakeup is not None:
            wakeup.wake()

    def register(self, fd: int, source: FdSource, bits: int) -> None:
        """Watch `fd` for `bits`, on behalf of `source`.

        bits: READABLE, WRITABLE, both or neither
        Raises: ValueError if the fd belongs to another source; OSError if the kernel refuses
        """
        poller = self.open()
        if self.sources.get(fd, source) is not source:
            raise ValueError(f"fd {fd} is watched for another source")
        if fd in self.sources:
            poller.modify(fd, bits)
        else:
            poller.register(fd, bits)
            self.registered_this_turn.add(fd)
        self.sources[fd] = source

    def modify(self, fd: int, bits: int) -> None:
        """Watch a registered fd for other bits. Raises: OSError"""
        if self.poller is not None:
            try:
                self.poller.modify(fd, bits)
            except OSError as exc:
                if exc.errno != errno.ENOMEM:  # kqueue's
                    raise
                # A source that the poller does not watch would wait for ever.
                self._on_unwatchable(self.sources[fd], exc)

    def unregister(self, fd: int, source: FdSource) -> None:
        """Watch `fd` no longer. Do nothing if it is not registered for `source`."""
        if self.sources.get(fd) is source:
            del self.sources[fd]
            if self.poller is not None:
                self.poller.unregister(fd)

    def stop_polling(self, fd: int) -> None:
        """Take `fd` from the poller; its source stays in the table, where `stop()` finds it."""
        if self.poller is not None:
            self.poller.unregister(fd)

    def handlers(self) -> list[FdSource]:
        """Return the sources, without the loop's own wakeup."""
        return [source for source in self.sources.values() if source is not self.wakeup]

    def count(self) -> int:
        """Return how many fds are watched, without the loop's own wakeup."""
        return len(self.sources) - (self.wakeup is not None)

    def fileno(self) -> int:
        """Return the poller's own fd. Raises: OSError; RuntimeError if it has none"""
        poller = self.open()
        if not isinstance(poller, PollerWithFd):
            raise RuntimeError(f"the backend {poller.name!r} has no fd of its own to wait for")
        return poller.fileno()

    def close(self) -> None:
        """Forget all fds, and close the poller and the wakeup."""
        self.sources.clear()
        # A batch under way in a forked child goes on with the old table, and finds nobody in it.
        self.sources = {}
        if self.poller is not None:
            self.poller.close()
            self.poller = None
        if self.wakeup is not None:
            self.wakeup.close()
            self.wakeup = None

"""kqueue, as BSD and macOS have it, over Linux's poll(2): for machines that have none.

Owns: a stand-in for what `thor.loop.kqueue` uses of the `select` module. It keeps to the rules that
the backend depends on: a knote for each fd and filter, EV_EOF and `fflags`, knotes that go when
their fd is closed, an error for deleting what is not there.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterable
from typing import NamedTuple

KQ_FILTER_READ = -1
KQ_FILTER_WRITE = -2
KQ_EV_ADD = 0x1
KQ_EV_DELETE = 0x2
KQ_EV_EOF = 0x8000
KQ_EV_ERROR = 0x4000

_POLLRDHUP = 0x2000


class kevent(NamedTuple):
    """A change, or an event."""

    ident: int
    filter: int
    flags: int = KQ_EV_ADD
    fflags: int = 0


class kqueue:
    """A kernel queue. `extra`: events to report once, whatever the fds say."""

    def __init__(self) -> None:
        self.knotes: dict[tuple[int, int], None] = {}
        self.extra: list[kevent] = []
        self.timeouts: list[float | None] = []
        self.closed = False

    def control(
        self, changes: Iterable[kevent] | None, max_events: int, timeout: float | None = None
    ) -> list[kevent]:
        for change in changes or ():
            self._change(change)
        if not max_events:
            return []
        self.timeouts.append(timeout)
        events, self.extra = self.extra, []
        events = (events + self.on_ready(timeout))[:max_events]
        for event in events:  # those that were reported come last the next time
            if (event.ident, event.filter) in self.knotes:
                self.knotes[event.ident, event.filter] = self.knotes.pop(event[:2])
        return events

    def _change(self, change: kevent) -> None:
        os.fstat(change.ident)  # EBADF for what is closed
        knote = (change.ident, change.filter)
        if change.flags & KQ_EV_DELETE:
            if knote not in self.knotes:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            del self.knotes[knote]
        else:
            self.knotes[knote] = None

    def on_ready(self, timeout: float | None) -> list[kevent]:
        poll = select.poll()
        asked: dict[int, int] = {}
        for fd, kq_filter in self.knotes:
            wanted = select.POLLIN | _POLLRDHUP if kq_filter == KQ_FILTER_READ else select.POLLOUT
            asked[fd] = asked.get(fd, 0) | wanted
        for fd, wanted in asked.items():
            poll.register(fd, wanted)
        found = poll.poll(None if timeout is None else timeout * 1000)
        events: list[kevent] = []
        for fd, bits in found:
            if bits & select.POLLNVAL:
                self.knotes = {knote: None for knote in self.knotes if knote[0] != fd}
                continue
            events += [event for knote in self.knotes if (event := _event(fd, bits, *knote))]
        return events

    def close(self) -> None:
        self.closed = True


def _event(fd: int, bits: int, ident: int, kq_filter: int) -> kevent | None:
    over = select.POLLHUP | select.POLLERR
    if kq_filter == KQ_FILTER_READ:
        ready, eof = bits & (select.POLLIN | _POLLRDHUP | over), bits & (_POLLRDHUP | over)
    else:
        ready, eof = bits & (select.POLLOUT | over), bits & over
    if fd != ident or not ready:
        return None
    error = errno.ECONNRESET if bits & select.POLLERR else 0
    return kevent(fd, kq_filter, KQ_EV_EOF if eof else 0, error if eof else 0)

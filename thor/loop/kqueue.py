"""The kqueue backend (BSD, macOS).

Some facts about kqueue, and what they mean for us:

- Reading and writing are two filters with a knote each; both may report in one wait. They are
  joined to one event per fd, so that a source is called once.
- An fd cannot be watched for nothing: a paused fd has no knote, and nothing is reported about it,
  not even that its peer is gone; that is found when reading resumes.
- EV_EOF on the read filter says that the peer finished sending; data may still be there, and
  reading finds the end: it is READABLE. EV_EOF on the write filter says that nobody reads any
  more: HANGUP. With an errno in `fflags` it is an ERROR as well.
- A change that fails is returned as an event with EV_ERROR; deleting a knote whose fd was closed
  fails with ENOENT or EBADF, which is harmless.
- Closing an fd deletes its knotes; a kqueue is not inherited by a fork.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Any

from thor.loop.poller import ERROR, HANGUP, MAX_EVENTS, READABLE, WRITABLE

if TYPE_CHECKING and sys.platform == "linux":
    # The stubs have kqueue's names only where the kernel has it.
    KQ: Any = None
else:
    KQ = select


class KqueuePoller:
    """Watches fds with kqueue, level-triggered."""

    name = "kqueue"

    def __init__(self, kq: Any = KQ) -> None:
        """kq: the module that has the kqueue API (`select`)."""
        self._kq = kq
        self._queue = kq.kqueue()
        self._interest: dict[int, int] = {}

    def register(self, fd: int, bits: int) -> None:
        self._interest[fd] = 0
        try:
            self.modify(fd, bits)
        except OSError:
            del self._interest[fd]
            raise

    def modify(self, fd: int, bits: int) -> None:
        kq = self._kq
        changed = self._interest[fd] ^ bits
        changes = []
        for bit, kq_filter in ((READABLE, kq.KQ_FILTER_READ), (WRITABLE, kq.KQ_FILTER_WRITE)):
            if changed & bit:
                flags = kq.KQ_EV_ADD if bits & bit else kq.KQ_EV_DELETE
                changes.append(kq.kevent(fd, kq_filter, flags))
        if changes:
            self._queue.control(changes, 0, 0)
        self._interest[fd] = bits

    def unregister(self, fd: int) -> None:
        try:
            self.modify(fd, 0)
        except (OSError, KeyError, ValueError):
            pass
        self._interest.pop(fd, None)

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        joined: dict[int, int] = {}
        for event in self._queue.control(None, MAX_EVENTS, timeout_s):
            fd = event.ident
            joined[fd] = joined.get(fd, 0) | self._bits(event)
        return list(joined.items())

    def _bits(self, event: Any) -> int:
        kq = self._kq
        if event.flags & kq.KQ_EV_ERROR:
            return ERROR
        reading = event.filter == kq.KQ_FILTER_READ
        bits = READABLE if reading else WRITABLE
        if event.flags & kq.KQ_EV_EOF:
            if not reading:
                bits |= HANGUP
            if event.fflags:
                bits |= ERROR
        return bits

    def fileno(self) -> int:
        fd: int = self._queue.fileno()
        return fd

    def close(self) -> None:
        self._interest.clear()
        try:
            self._queue.close()
        except OSError:
            # In a forked child: the number was the parent's.
            pass

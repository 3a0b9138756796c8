"""The poll backend (every Unix).

Some facts about poll(2), and what they mean for us:

- The whole list of fds is passed to the kernel at each wait: the cost grows with the number of
  connections. It is the fallback, and the tests compare the other backends with it.
- POLLIN, POLLOUT, POLLERR and POLLHUP have the values of our bits on every known Unix.
- An fd that was closed without being unregistered is reported as POLLNVAL for ever: it is
  unregistered here, and reported to its source once, as an error.
- The result has no upper bound: what exceeds a batch is left for the next wait, which reports it
  again. The result is in the order of the list, so each batch starts where the last one ended, or
  the last fds would starve.
- It has no fd of its own: another loop cannot wait for it.
"""

from __future__ import annotations

import os
import select

from thor.loop.poller import ERROR, MAX_EVENTS


class PollPoller:
    """Watches fds with poll(2)."""

    name = "poll"

    def __init__(self) -> None:
        self._object = select.poll()
        self._offset = 0

    def register(self, fd: int, bits: int) -> None:
        os.fstat(fd)  # EBADF now, as from the other backends, and not at the next wait
        self._object.register(fd, bits)

    def modify(self, fd: int, bits: int) -> None:
        self._object.modify(fd, bits)

    def unregister(self, fd: int) -> None:
        try:
            self._object.unregister(fd)
        except (KeyError, ValueError):
            pass

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        events = self._object.poll(None if timeout_s is None else timeout_s * 1000)
        if len(events) > MAX_EVENTS:
            offset = self._offset % len(events)
            self._offset = offset + MAX_EVENTS
            events = (events[offset:] + events[:offset])[:MAX_EVENTS]
        for index, (fd, bits) in enumerate(events):
            if bits & select.POLLNVAL:
                self.unregister(fd)
                events[index] = (fd, ERROR)
        return events

    def close(self) -> None:
        self._object = select.poll()

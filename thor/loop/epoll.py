"""The epoll backend (Linux).

Some facts about epoll, and what they mean for us:

- EPOLLIN, EPOLLOUT, EPOLLERR and EPOLLHUP are kernel ABI, with the values of `poll(2)`, which are
  those of our four bits: the kernel's list is returned unchanged.
- EPOLLERR and EPOLLHUP come whether asked for or not, and level-triggered: an fd in that state
  whose owner does not read must be unregistered, or every wait returns at once.
- EPOLLRDHUP is never asked for. A FIN makes the fd readable anyway; on a paused fd it would wake
  the loop for ever.
- Closing an fd removes it only when no other process has the same open file: after a fork the
  parent would still get events of what the child closed. So a source is always unregistered
  before its fd is closed.
- A fork shares the epoll instance itself. The loop makes a new one in the child.
- An epoll instance can be watched itself: it is readable while it has events.
"""

from __future__ import annotations

import select

from thor.loop.poller import MAX_EVENTS


class EpollPoller:
    """Watches fds with epoll, level-triggered."""

    name = "epoll"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self._poll = self._epoll.poll
        self.close = self._epoll.close
        self.fileno = self._epoll.fileno

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            # Closed by its owner before it was unregistered: the kernel has forgotten it.
            pass

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        return self._poll(timeout_s, MAX_EVENTS)

"""The contract of a backend: what the loop asks of the kernel.

Owns: the four event bits. A backend translates its own flags to them and back, so that nothing
above it knows which backend runs.

`READABLE`, `WRITABLE`: a `recv` or `send` will not block (end of stream is readable).
`HANGUP`: both directions are over (the peer reset, or both sides finished). `ERROR`: the fd has
a pending error. The kernel reports the last two whether asked for or not.

The values are those of `poll(2)` on every Unix, so that the two backends which share them return
the kernel's own list to the loop, unchanged.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

READABLE = 0x01
WRITABLE = 0x04
ERROR = 0x08
HANGUP = 0x10
#: What a backend may be asked to watch for.
INTERESTS = READABLE | WRITABLE

#: Most events that one `poll` returns: a batch after which written data is flushed.
MAX_EVENTS = 256


class Poller(Protocol):
    """Watches fds. Level-triggered: what is not handled is reported again."""

    name: str

    def register(self, fd: int, bits: int) -> None:
        """Watch `fd` for `bits` (READABLE, WRITABLE, both or none). Raises: OSError"""

    def modify(self, fd: int, bits: int) -> None:
        """Watch `fd` for these bits from now on. Raises: OSError, KeyError if unknown"""

    def unregister(self, fd: int) -> None:
        """Forget `fd`. Silent if the fd is unknown or was closed already."""

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Wait for an event, `timeout_s` seconds at most (None: for ever).

        Returns: [(fd, bits)], at most MAX_EVENTS of them
        """

    def close(self) -> None:
        """Free what the backend holds."""


@runtime_checkable
class PollerWithFd(Protocol):
    """A poller that another one can watch."""

    def fileno(self) -> int:
        """Return an fd that is readable while `poll` would return events."""

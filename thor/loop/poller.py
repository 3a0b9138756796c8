"""The contract of a backend: what the loop asks of the kernel, and in which words.

Owns: the four bits. A backend translates its own flags to them and back, so that nothing above
it knows which one runs.

`READABLE`, `WRITABLE`: a `recv` or `send` will not block (end of stream is readable).
`HANGUP`: both directions are over (the peer reset, or both sides finished). `ERROR`: the fd has
an error to tell. The kernel reports the last two whether asked for or not.

The values are those of `poll(2)` on every Unix, so that the two backends which share them hand
the kernel's own list to the loop without looking at it.
"""

from __future__ import annotations

from typing import Protocol

READABLE = 0x01
WRITABLE = 0x04
ERROR = 0x08
HANGUP = 0x10
#: What a backend may be asked to watch for.
INTERESTS = READABLE | WRITABLE

#: Most events that one `poll` returns: a batch after which written data is flushed.
MAX_EVENTS = 256


class Poller(Protocol):
    """Watches fds. Level-triggered: what is not dealt with is reported again."""

    name: str

    def register(self, fd: int, bits: int) -> None:
        """Watch `fd` for `bits` (READABLE, WRITABLE, both or none). Raises: OSError"""

    def modify(self, fd: int, bits: int) -> None:
        """Watch `fd` for these bits from now on. Raises: OSError, KeyError if unknown"""

    def unregister(self, fd: int) -> None:
        """Forget `fd`. Silent if the fd is unknown or was closed already."""

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Wait for something to happen, `timeout_s` seconds at most (None: for ever).

        Returns: [(fd, bits)], at most MAX_EVENTS of them
        """

    def close(self) -> None:
        """Free what the backend holds."""

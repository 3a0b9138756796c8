"""The states of a connection's two directions, and what the layer above it is called with.

Owns: names and tables. Must not know sockets. `connection.py` spells the transitions out where it
is hot; a test holds it to the tables::

    reading: OPEN --FIN--> ENDED           writing: OPEN --close(), end_writing()--> FLUSHING
             any --close(), lost--> CLOSED          FLUSHING --queue empty--> ENDED
                                                    any --lost--> CLOSED
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class State(Enum):
    """Where one direction of a connection is."""

    OPEN = "open"
    FLUSHING = "flushing"
    ENDED = "ended"
    CLOSED = "closed"


OPEN, FLUSHING, ENDED, CLOSED = State.OPEN, State.FLUSHING, State.ENDED, State.CLOSED

#: {(state, event): next state}; what is not here cannot happen, or changes nothing. "lost" is
#: also `abort()` and the loop's stop.
READING = {
    (OPEN, "fin"): ENDED,
    (OPEN, "close"): CLOSED,
    (ENDED, "close"): CLOSED,
    (OPEN, "lost"): CLOSED,
    (ENDED, "lost"): CLOSED,
}
WRITING = {
    (OPEN, "end"): FLUSHING,
    (FLUSHING, "sent"): ENDED,
    (OPEN, "lost"): CLOSED,
    (FLUSHING, "lost"): CLOSED,
    (ENDED, "lost"): CLOSED,
}


class Owner(Protocol):
    """The layer above a connection: what its `_owner` is called with, directly and first."""

    def data(self, data: bytes) -> None:
        """Bytes arrived."""

    def end(self) -> None:
        """The peer finished sending. Once, unless bytes are given back after it."""

    def pause(self, paused: bool) -> None:
        """The queue to send went above its high mark (True) or below its low one (False).

        False follows True also after `close()`, unless the connection is lost before.
        """

    def write_blocked(self) -> None:
        """The peer's window is full: a flush left something that waits for it to read."""

    def hangup(self) -> None:
        """The peer is gone and reading is paused, with data left that can still be read. Once."""

    def close(self, exc: OSError | None) -> None:
        """The peer or the network ended the connection. Once; not after our own close."""

    def disconnect(self) -> None:
        """The socket is closed, whoever began. Once, last."""

    def failed(self, exc: BaseException) -> None:
        """A listener raised; it was logged."""

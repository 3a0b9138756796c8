"""The states of a connection's two directions.

Owns: names and tables. Must not know sockets. `connection.py` has the transitions inline, where
they are hot; a test checks it against the tables::

    reading: OPEN --FIN--> ENDED           writing: OPEN --close(), end_writing()--> FLUSHING
             any --close(), lost--> CLOSED          FLUSHING --queue empty--> ENDED
                                                    any --lost--> CLOSED
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where one direction of a connection is."""

    OPEN = "open"
    FLUSHING = "flushing"
    ENDED = "ended"
    CLOSED = "closed"


OPEN, FLUSHING, ENDED, CLOSED = State.OPEN, State.FLUSHING, State.ENDED, State.CLOSED

#: {(state, event): next state}; an event that is not here cannot happen, or changes nothing. "lost"
#: is also `abort()` and the loop's stop.
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

"""What a turn does after it has dispatched its events: stages 7 and 8 of `event_loop.py`.

Owns: the queue of deferred calls, the list of connections to flush and of sockets to close. Must
not know what put itself there, nor timers and fds.

Theory of operation: a method never emits; the events that it causes are queued as calls. A
connection that was written to puts itself on the flush list and sends once, however often it was
written to. Calls write and flushes call, so the two alternate until nothing is left, a bounded
number of times: a listener that writes in answer to its own write must not starve the fds.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from thor.loop.callbacks import Call, CallbackRunner

#: Most rounds of calls and flushes in one turn.
MAX_ROUNDS = 16


class Flushable(Protocol):
    """What puts itself on the flush list."""

    def flush(self) -> None:
        """Send what was written in this turn."""


class Closable(Protocol):
    """What is closed at the end of the turn."""

    def close(self) -> None:
        """Close it."""


class DeferredWork:
    """The deferred work of one loop.

    calls: what is called after the current callback, in order
    to_flush: the connections that send at the end of this batch; always the same list
    to_close: the sockets that are closed at the end of the turn
    """

    def __init__(self, callbacks: CallbackRunner) -> None:
        self.calls: deque[Call] = deque()
        self.to_flush: list[Flushable] = []
        self.to_close: list[Closable] = []
        self._callbacks = callbacks

    def __bool__(self) -> bool:
        return bool(self.calls or self.to_flush or self.to_close)

    def run(self) -> None:
        """Make the calls and flush the connections, until none is left; then close the sockets."""
        for _ in range(MAX_ROUNDS):
            if self.calls:
                self._callbacks.run_queue(self.calls)
            if self.to_flush:
                self._flush()
            elif not self.calls:
                break
        if self.to_close:
            self.close_sockets()

    def _flush(self) -> None:
        to_flush = self.to_flush
        remaining = iter(to_flush.copy())
        to_flush.clear()
        try:
            for connection in remaining:
                try:
                    connection.flush()
                except Exception as exc:
                    self._callbacks.report(connection.flush, exc)
        finally:
            # Where an exception leaves `run()`, the others are flushed when it runs again.
            to_flush[:0] = remaining

    def close_sockets(self) -> None:
        """Close the sockets that ended in this turn."""
        while self.to_close:
            self.to_close.pop().close()

    def clear(self) -> None:
        """Forget the calls and the connections to flush."""
        self.calls.clear()
        self.to_flush.clear()

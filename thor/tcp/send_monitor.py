"""Those who wait for a connection's send queue to become shorter.

Owns: the callbacks of `when_sent`, and the pause of the writer. Must not know what is written, nor
how it is sent.

Theory of operation: most flushes send everything and nobody waits for it. So a connection has a
monitor only while somebody does: a callback, a writer that was told to pause, or the connection
itself, which sends a FIN after the last byte. Each flush then asks the monitor what is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from thor.tcp.state import CLOSED, FLUSHING
from thor.tcp.transport import Transport


class MonitoredConnection(Transport, Protocol):
    """A connection, as its monitor uses it."""

    bytes_written: int
    low_water: int
    write_paused: bool

    def on_flushed(self) -> None:
        """Handle that all was sent after the last write."""


class _SentCallback(NamedTuple):
    bytes_written: int  # when so many bytes were sent
    callback: Callable[[], object]


class SendMonitor:
    """What waits for the send queue of one connection."""

    __slots__ = ("_callbacks", "_conn")

    def __init__(self, conn: MonitoredConnection) -> None:
        self._conn = conn
        self._callbacks: list[_SentCallback] = []

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when all that was written until now was sent."""
        conn = self._conn
        sent = conn.bytes_written + conn.write_buffer.size
        self._callbacks.append(_SentCallback(sent, callback))

    def pause_writer(self) -> None:
        """Emit `pause(True)`; `pause(False)` follows when the queue is short enough."""
        if not self._conn.write_paused:
            self._conn.write_paused = True
            self._emit_pause(True)

    def _emit_pause(self, paused: bool) -> None:
        owner = self._conn.owner
        if owner is not None:
            owner.pause(paused)
        self._conn.emit("pause", paused)

    def on_sent(self) -> bool:
        """Notify those whose bytes were sent. Return whether anybody still waits."""
        conn = self._conn
        callbacks = self._callbacks
        while callbacks and callbacks[0].bytes_written <= conn.bytes_written:
            conn.loop.call_soon(callbacks.pop(0).callback)
        if conn.write_paused and conn.write_buffer.size <= conn.low_water:
            conn.write_paused = False
            # After `close()` too: the source that was paused for this may have other uses.
            if conn.write_state is not CLOSED:
                self._emit_pause(False)
        if not conn.write_buffer.size and conn.write_state is FLUSHING:
            conn.on_flushed()
        return bool(callbacks) or conn.write_paused or conn.write_state is FLUSHING

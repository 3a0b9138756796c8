"""The writing side of a TCP connection.

Owns: the queue to send, its marks, and who waits for it to get shorter. Must not know what is read,
nor how the connection ends.

Theory of operation: `write` queues; the loop's flush stage sends, once a turn, all that was written
in it. Above `high_water` the queue is sent at once, and if it stays above, `pause(True)` tells the
writer to wait until `pause(False)`, at `low_water`, also while the rest leaves after `close()`.
WRITABLE is asked for only after a short send.
"""

from __future__ import annotations

from typing import Any

from thor.loop import EventSource
from thor.loop.poller import WRITABLE
from thor.tcp.state import CLOSED, FLUSHING, OPEN, State
from thor.tcp.write_buffer import NOTHING, WriteBuffer, to_bytes
from thor.types import Data

#: Marks of the queue to send, in bytes; Node's streams and nginx's buffers are of this order.
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024


class WritingSide(EventSource):
    """What of a connection writes; the connection is this class with the rest."""

    #: Marks of the queue to send, in bytes.
    high_water = HIGH_WATER
    low_water = LOW_WATER

    bytes_written: int
    owner: Any
    write_state: State
    #: Nothing can be sent any more, and the program has not been told.
    write_failed = False
    #: The peer has finished, and what is queued is still sent.
    _closing_after_eof = False
    write_paused: bool
    _flush_due: bool
    _after_flush: bool
    write_buffer: WriteBuffer
    _sent_marks: list[tuple[int, Any]] | None = None

    def _send(self, data: Any) -> int:
        raise AssertionError

    def _sendmsg(self, chunks: list[Any]) -> int:
        raise AssertionError

    def _on_write_error(self, exc: OSError | None) -> None:
        raise AssertionError

    def _on_flushed(self) -> None:
        raise AssertionError

    def write(self, data: Data) -> bool:
        """Queue `data` to be sent; it leaves at the end of the current batch of events.

        data: `str` is sent as UTF-8; a `bytearray` or `memoryview` is copied
        Returns: False when the queue is above its high mark: wait for `pause(False)`
        Raises: ValueError on a connection that was closed; the message names its state
        """
        if data.__class__ is not bytes:
            data = to_bytes(data)
        if self.write_state is not OPEN:
            if self.write_failed or self._closing_after_eof:
                return False  # the program has not been told yet
            raise ValueError(f"write on a connection that is {self.write_state.value}")
        buffer = self.write_buffer
        if data and not self.write_failed:
            if buffer is NOTHING:
                buffer = self.write_buffer = WriteBuffer()
                buffer.size = 0
            buffer.append(data)
            buffer.size = size = buffer.size + len(data)
            if not self._flush_due:
                self._flush_due = True
                self.loop.to_flush.append(self)
            if size > self.high_water:
                return self._write_through()
        return not self.write_paused

    def own_buffer(self) -> WriteBuffer:
        """The queue, to put something into: a connection has one only while it is needed."""
        if self.write_buffer is NOTHING:
            self.write_buffer = WriteBuffer()
            self.write_buffer.size = 0
        return self.write_buffer

    def _write_through(self) -> bool:
        """The queue is above its high mark: send at once, and if that is not enough, say so."""
        if not self._interest & WRITABLE:
            self._send_some()
        if self.write_buffer.size > self.high_water:
            self._pause_writer()
        return not self.write_paused

    def _pause_writer(self) -> None:
        """Who writes is to wait."""
        if not self.write_paused:
            self.write_paused = self._after_flush = True
            self._emit_pause(True)

    def _emit_pause(self, paused: bool) -> None:
        owner = self.owner
        if owner is not None:
            owner.pause(paused)
        self.emit("pause", paused)

    def _send_some(self) -> None:
        buffer = self.write_buffer
        try:
            self.bytes_written += buffer.send_to(self)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            self._on_write_error(exc)

    def flush(self) -> None:
        """The loop's call: send what is queued."""
        self._flush_due = False
        if self.write_failed:
            return
        buffer = self.write_buffer
        if buffer.size:
            try:
                self.bytes_written += buffer.send_to(self)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                self._on_write_error(exc)
                return
        if buffer.size:
            self._flush_due = True  # WRITABLE is what will flush it
            if not self._interest & WRITABLE:
                self.set_interest(self._interest | WRITABLE)
                if self.owner is not None:
                    self.owner.write_blocked()
        else:
            if self._interest & WRITABLE:
                self.set_interest(self._interest & ~WRITABLE)
            if buffer is self.write_buffer and not buffer:  # else it gave way already
                self.write_buffer = NOTHING
        if self._after_flush:
            self._flushed()

    def _flushed(self) -> None:
        """After a send: who waits for the queue to get shorter?"""
        marks = self._sent_marks
        while marks and marks[0][0] <= self.bytes_written:
            self.loop.call_soon(marks.pop(0)[1])
        if self.write_paused and self.write_buffer.size <= self.low_water:
            self.write_paused = False
            # After `close()` too: the source that was paused for this may have other uses.
            if self.write_state is not CLOSED:
                self._emit_pause(False)
        if not self.write_buffer.size and self.write_state is FLUSHING:
            self._on_flushed()
        # Not `marks`: a listener of `pause` may have made the first one just now.
        self._after_flush = (
            bool(self._sent_marks) or self.write_paused or self.write_state is FLUSHING
        )

    def when_sent(self, callback: Any) -> None:
        """Call `callback()` when all that was written until now has been handed to the kernel.

        It is never called if the connection is lost before.
        """
        if self._sent_marks is None:
            self._sent_marks = []
        self._sent_marks.append((self.bytes_written + self.write_buffer.size, callback))
        self._after_flush = True
        self._queue_flush()

    def _queue_flush(self) -> None:
        """Be flushed at the end of the batch, if nothing else will do it."""
        if not self._flush_due:
            self._flush_due = True
            self.loop.to_flush.append(self)

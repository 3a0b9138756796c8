"""Writing lines to a file descriptor whose reader may be slow or gone.

Owns: a bounded queue of lines, and the thread that writes them. Must not know what the lines say.

Theory of operation: `write` only appends to the queue, and a daemon thread calls the system: a pipe
with a slow reader blocks, and O_NONBLOCK would hold for every process that shares the pipe. The
thread starts with the first line, so that a process can fork before. Each `write(2)` has whole
lines of at most `BATCH_BYTES`, which a pipe writes atomically: the lines of several processes do
not mix. Lines that find the queue full are dropped and counted; when half of the queue is free
again, a line in the log has the count.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress

#: Most bytes that wait to be written; some 8,000 lines of an access log.
MAX_QUEUED_BYTES = 1024 * 1024
#: Most bytes of lines in one call: PIPE_BUF of Linux (POSIX: 512). A single line may be longer.
BATCH_BYTES = 4096
#: How long the thread waits for more lines before it writes the first, in seconds: waking for each
#: line would take the GIL from the loop's thread as often.
BATCH_DELAY_S = 0.01
#: Seconds before a retry: of a descriptor that another process has made non-blocking, and of one
#: that fails for a reason that may pass, such as a full disk.
BUSY_RETRY_S = 0.05
FAILED_RETRY_S = 1.0
#: How long `close` waits for the queue to be written, in seconds.
CLOSE_TIMEOUT_S = 1.0


class LineWriter:
    """Writes lines to a descriptor, without ever blocking the caller.

    If the reader has closed the pipe, the writer ends with one line on stderr; another error is
    reported there and retried. Dropped lines are counted: in the log as soon as there is room, or
    on stderr at the end.
    """

    def __init__(self, fd: int, name: str) -> None:
        """Write nothing yet. fd: stays open; name: for messages, such as "the access log" """
        self._fd = fd
        self._name = name
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        #: Lines that the thread has taken and not written yet.
        self._taken = 0
        self._lost = 0
        self._failing = self._ended = self._closing = False

    def write(self, line: str) -> None:
        """Queue a line, given without its line end; drop it if the queue is full."""
        data = line.encode("ascii", "backslashreplace") + b"\n"
        with self._changed:
            if self._ended:
                return
            if self._lost or self._queued_bytes + len(data) > MAX_QUEUED_BYTES:
                self._lost += 1
                return
            self._append(data)
            if len(self._lines) == 1:
                self._changed.notify()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Write what is queued, for at most `CLOSE_TIMEOUT_S`, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
        with self._changed:
            lost = self._lost + self._taken + len(self._lines)
            self._lines.clear()
            if self._ended:
                return
            self._ended = True
        if lost:
            # If stderr is the same pipe, it blocks as well.
            reporter = threading.Thread(
                target=_write_stderr, args=(self._describe(lost),), daemon=True
            )
            reporter.start()
            reporter.join(CLOSE_TIMEOUT_S)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="thor-lines", daemon=True)
        with suppress(RuntimeError):  # the system has no thread left; the next line tries again
            thread.start()
            self._thread = thread

    def _append(self, data: bytes) -> None:
        self._lines.append(data)
        self._queued_bytes += len(data)

    def _describe(self, lost: int) -> str:
        return f"thor: {lost} line{'s' * (lost != 1)} of {self._name} could not be written"

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while data := self._take():
            if not self._write_whole(data):
                return

    def _take(self) -> bytes:
        """Wait for lines. Returns: the first lines, up to `BATCH_BYTES`; empty at the end"""
        batch: list[bytes] = []
        size = 0
        with self._changed:
            self._taken = 0
            while not self._lines and not self._closing:
                self._changed.wait()
            if not self._closing and self._queued_bytes < BATCH_BYTES:
                self._changed.wait(BATCH_DELAY_S)
            while self._lines and (not batch or size + len(self._lines[0]) <= BATCH_BYTES):
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._queued_bytes -= size
            self._taken = len(batch)
            if self._lost and self._queued_bytes <= MAX_QUEUED_BYTES // 2:
                self._append(f"{self._describe(self._lost)}\n".encode())
                self._lost = 0
        return b"".join(batch)

    def _write_whole(self, data: bytes) -> bool:
        """Write all of `data`. Returns: False if the reader has closed the pipe"""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
                self._failing = False
            except BlockingIOError:
                self._pause(BUSY_RETRY_S)
            except ConnectionError as exc:
                with self._changed:
                    self._ended = True
                    self._lines.clear()
                _write_stderr(
                    f"thor: {self._name} ends here, nothing more is written: {exc.strerror}"
                )
                return False
            except OSError as exc:
                if not self._failing:
                    self._failing = True
                    _write_stderr(f"thor: cannot write {self._name}, trying again: {exc.strerror}")
                self._pause(FAILED_RETRY_S)
        return True

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait(seconds)


def _write_stderr(message: str) -> None:
    """Write a line to stderr, without `sys.stderr`: a blocked write would hold its lock, which the
    interpreter needs at exit."""
    with suppress(OSError):
        os.write(2, f"{message}\n".encode("utf-8", "backslashreplace"))

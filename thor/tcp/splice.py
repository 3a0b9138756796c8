"""Bytes that go from one connection to another without leaving the kernel.

Owns: the pipes that they go through, and when they do. Must not know what the bytes mean, nor how
many of them may go: the layer that joined the connections says so, by a `SpliceTarget`.

Theory of operation. splice(2) moves pages between a socket and a pipe and copies nothing. A
`Splice` takes the place of the socket as the stream of the connection that is read. Each time that
this one is readable it moves one piece into an empty pipe, and the pipe becomes the beginning of
the other connection's queue (`KernelBuffer`), which sends, waits, ends and counts as with any
queue. So everywhere else a piece that was moved looks like one that was read and written, and each
piece is decided on separately. In every unusual case the splice ends itself and the same call reads
the usual way; the layer above begins another splice when much data has arrived again.

One piece is under way at a time: the source is not read while the destination has anything queued.
It is paused then, so that its timeouts are the same as with a queue above its mark.

| source | destination | what happens |
|---|---|---|
| has bytes | queue empty | moved; `on_spliced(count)`; sent at the end of the turn |
| has bytes | something queued | source paused, `pause(True)`; `pause(False)` when it was sent |
| has few bytes | any | moved, and the splice ends: small pieces are cheaper to read |
| nothing, or urgent data | any | the splice ends, `recv` decides |
| FIN | any | the splice ends, `end` follows; what is in the pipe is still sent |
| RST, error | any | the connection is lost as by a `recv`; what is in the pipe is still sent |
| hang-up while paused | any | the splice ends; what is left is read the usual way, as always |
| any | short send | the pipe stays the queue until WRITABLE has emptied it |
| any | RST, error, `abort()`, loop stopped | the pipe is closed, and the bytes in it are dropped |
| any | `close()`, `end_writing()` | the splice ends; what is in the pipe is sent, then the FIN |
| closed, aborted | any | the splice ends; what is in the pipe is still sent |
| paused by the program | any | it is not read, so nothing is moved |
| has a listener for `data` | any | the splice ends |
| any | the target allows too little | the splice ends |
| splice unsupported, no pipe available | any | the splice ends |
| any | splice unsupported | what is in the pipe is read, and sent the usual way |

Some facts about splice, and what they mean for us:

- It stops before urgent data, for ever, where `recv` skips it. So when splice finds nothing,
  `recv` is called.
- An error that it reports is not reported again, as with `recv`: it is the connection's.
- The pages of all pipes of a user are limited. Above the limit new pipes are tiny, or none can be
  made: their number is bounded, and where no useful pipe is available, bytes are copied.
- What is in a pipe cannot be dropped, only read. A pipe with unwanted bytes is closed.
"""

from __future__ import annotations

import fcntl
import io
import os
from typing import TYPE_CHECKING, Protocol

from thor.tcp.kernel_buffer import UNSUPPORTED_ERRNOS, KernelBuffer, has_kernel_socket
from thor.tcp.state import OPEN
from thor.tcp.transport import Transport

if TYPE_CHECKING:
    from thor.loop import EventLoop

#: The requested capacity of a pipe: a connection's high mark. The kernel may grant less.
PIPE_BYTES = 256 * 1024
#: Reading and writing a smaller piece is cheaper than moving it.
MIN_SPLICE_BYTES = 32 * 1024
#: Most pipes of a loop that wait for their next use, and most in all. Only a pipe whose bytes the
#: destination does not take is in use for longer than a turn.
MAX_IDLE_PIPES = 4
MAX_PIPES = 64

_HAS_SPLICE = hasattr(os, "splice")


class SpliceTarget(Protocol):
    """The layer that joined two connections."""

    def allowance(self) -> int:
        """Return how many of the bytes that arrive next may go to the other connection.

        With less than `MIN_SPLICE_BYTES` the splice ends.
        """

    def on_spliced(self, count: int, /) -> None:
        """Handle that `count` bytes arrived and were queued, as if by `data` and `write`."""


class Splice:
    """The stream of a connection whose bytes are moved to another one."""

    __slots__ = ("_count", "_dst", "_src", "_target", "send", "sendmsg")

    def __init__(self, src: Transport, dst: Transport, target: SpliceTarget) -> None:
        self._src = src
        self._dst = dst
        self._target = target
        self._count = 0
        #: What the source itself writes goes to its socket, as always.
        self.send = src.socket.send
        self.sendmsg = src.socket.sendmsg

    def recv(self, size: int) -> bytes | None:
        """Move a piece, or read up to `size` bytes.

        Returns: None if `report` has to be called; else what a socket's `recv` returns
        Raises: what that raises
        """
        if self._allowance() >= MIN_SPLICE_BYTES:
            if self._dst.write_buffer.size:
                return None
            self._count = self._move_piece()
            if self._count:
                return None
        end_splice(self._src)
        return self._src.socket.recv(size)

    def report(self) -> None:
        """Report to both sides, after `recv` returned None, what it has done."""
        count, self._count = self._count, 0
        if count:
            if count < MIN_SPLICE_BYTES:
                end_splice(self._src)
            self._target.on_spliced(count)
        else:
            self._src.pause(True)
            self._dst.own_monitor().pause_writer()

    def _allowance(self) -> int:
        src, dst = self._src, self._dst
        if src.write_failed or dst.write_failed or dst.write_state is not OPEN:
            return 0
        if src.has_listener("data"):
            return 0
        return self._target.allowance()

    def _move_piece(self) -> int:
        """Move a piece into a pipe, which becomes the beginning of the destination's queue.

        Returns: how many bytes; 0 if only `recv` can say what there is
        Raises: OSError for an error of the connection
        """
        src, dst = self._src, self._dst
        pipes = pipes_of(src.loop)
        pipe = pipes.acquire()
        if pipe is None:
            return 0
        size = min(self._target.allowance(), pipe.size)
        count = 0
        try:
            count = _splice(src.socket.fileno(), pipe.writer.fileno(), size)
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno not in UNSUPPORTED_ERRNOS:
                raise
        finally:
            if not count:
                pipes.release(pipe)
        if count:
            src.bytes_read += count
            dst.write_buffer = KernelBuffer(dst, _PipeContent(pipes, pipe), count)
            dst.queue_flush()
        return count


class _PipeContent:
    """The bytes in a pipe, as the beginning of a connection's queue."""

    __slots__ = ("_pipe", "_pipes")

    def __init__(self, pipes: Pipes, pipe: Pipe) -> None:
        self._pipes = pipes
        self._pipe = pipe

    def send_to(self, fd: int, count: int) -> int:
        """Send bytes from the pipe."""
        return _splice(self._pipe.reader.fileno(), fd, count)

    def read(self, count: int) -> bytes:
        """Read bytes from the pipe."""
        return os.read(self._pipe.reader.fileno(), count)

    def release(self, *, empty: bool) -> None:
        """Release the pipe."""
        if empty:
            self._pipes.release(self._pipe)
        else:
            self._pipes.discard(self._pipe)


class Pipe:
    """A pipe; `size` is its capacity in bytes."""

    __slots__ = ("reader", "size", "writer")

    def __init__(self) -> None:
        """Make a pipe. Raises: OSError"""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # File objects, which close themselves: a loop that is forgotten or forked drops them.
        self.reader = io.FileIO(reader, "rb")
        self.writer = io.FileIO(writer, "wb")
        try:
            self.size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # over the user's limit: it keeps its default
            self.size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        """Close it, with what is in it."""
        self.reader.close()
        self.writer.close()


class Pipes:
    """The pipes of a loop."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._in_use = 0

    def acquire(self) -> Pipe | None:
        """Return an empty pipe, to be released or discarded; None if there is none available."""
        if self._idle:
            pipe = self._idle.pop()
        elif self._in_use >= MAX_PIPES:
            return None
        else:
            try:
                pipe = Pipe()
            except OSError:
                return None
            if pipe.size < MIN_SPLICE_BYTES:
                pipe.close()
                return None
        self._in_use += 1
        return pipe

    def release(self, pipe: Pipe) -> None:
        """Take back a pipe that is empty."""
        self._in_use -= 1
        if len(self._idle) < MAX_IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()

    def discard(self, pipe: Pipe) -> None:
        """Close a pipe that is not empty: its bytes would come out before the next ones."""
        self._in_use -= 1
        pipe.close()

    def close(self) -> None:
        """Close the idle pipes: the loop was stopped."""
        while self._idle:
            self._idle.pop().close()


def pipes_of(loop: EventLoop) -> Pipes:
    """Return the pipes of a loop, which closes them when it is stopped."""
    return loop.local.get(Pipes, Pipes)


def begin_splice(src: Transport, dst: Transport, target: SpliceTarget) -> bool:
    """From the next readiness on, move what arrives on `src` to `dst`: see `splice_to`.

    It is as if each piece came as `data` and was written to `dst`. The splice ends by itself where
    a piece should be read: that one comes as `data`, and another splice may begin.
    """
    end_splice(src)
    if not _HAS_SPLICE or not (has_kernel_socket(src) and has_kernel_socket(dst)):
        return False
    if src.loop is not dst.loop:
        return False
    src.stream = Splice(src, dst, target)
    return True


def end_splice(conn: Transport) -> None:
    """Read the usual way again, if what arrives on `conn` is spliced."""
    if isinstance(conn.stream, Splice):
        conn.stream = conn.socket


def _splice(source: int, target: int, size: int) -> int:
    return os.splice(source, target, size, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)

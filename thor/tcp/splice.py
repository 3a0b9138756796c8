"""Bytes that go from one connection to another without leaving the kernel.

Owns: the pipes that they go through, and when they do. Must not know what the bytes mean, nor how
many of them may go: the layer that joined the connections says so, through a `SpliceTarget`.

Theory of operation. splice(2) moves pages between a socket and a pipe and copies nothing. A
`Splice` stands in for the `recv` of the connection that is read. Each time that this one is
readable it moves one piece into an empty pipe, and the pipe becomes the queue of the other
connection (`PipeBuffer`), which sends, waits, ends and counts as with any queue. So to all but
these two places a piece that was moved is one that was read and written, and each piece is decided
on anew. Whenever something is not as it should be, the splice ends itself and the same call reads
the usual way; who joined the connections begins another when much has come again.

One piece is under way at a time: the source is not read while the destination has anything queued.
It is told to wait then, so that who is read has the same patience as with a queue above its mark.

| source | destination | what happens |
|---|---|---|
| has bytes | queue empty | moved; `moved(count)`; sent at the end of the turn |
| has bytes | something queued | source paused, `pause(True)`; `pause(False)` when it was sent |
| has little | any | moved, and the splice ends: small pieces are cheaper to read |
| nothing after all, or urgent data | any | the splice ends, `recv` says what there is |
| FIN | any | the splice ends, `end` follows; what is in the pipe is still sent |
| RST, error | any | the connection is lost as by a `recv`; what is in the pipe is still sent |
| hang-up while paused | any | the splice ends; what is left is read the usual way, as always |
| any | short send | the pipe stays the queue until WRITABLE has emptied it |
| any | RST, error, `abort()`, loop stopped | the pipe is closed, and the bytes in it are dropped |
| any | `close()`, `end_writing()` | the splice ends; what is in the pipe is sent, then the FIN |
| closed, aborted | any | the splice ends; what is in the pipe is still sent |
| paused by the program | any | it is not read, so nothing is moved |
| somebody listens for `data` | any | the splice ends |
| any | no room in the target | the splice ends |
| splice refused, no pipe to be had | any | the splice ends |
| any | splice refused | what is in the pipe is read out of it, and sent the usual way |

Some facts about splice, and what they mean for us:

- It stops short of urgent data, for ever, where `recv` skips it. So "nothing there" from splice is
  not believed: `recv` is asked.
- An error that it reports is not reported again, like that of a `recv`: it is the connection's.
- The pages of all pipes of a user are limited. Past that new pipes are tiny, or none can be made:
  their number is bounded, and where there is none worth it, bytes are copied.
- What is in a pipe cannot be dropped, only read. A pipe that holds bytes nobody wants is closed.
"""

from __future__ import annotations

import fcntl
import io
import os
from typing import TYPE_CHECKING, Protocol

from thor.tcp.kernel_buffer import REFUSALS, KernelBuffer, has_kernel_socket
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.loop import EventLoop
    from thor.tcp.connection import TcpConnection

#: What a pipe is to hold, in bytes: a connection's high mark. The kernel may grant less.
PIPE_BYTES = 256 * 1024
#: Below this, in bytes, a piece is cheaper read and written than moved.
PIECE_BYTES = 32 * 1024
#: Pipes of a loop: so many wait for their next use, so many there are. Only a pipe whose bytes
#: the destination does not take is kept for longer than a turn.
IDLE_PIPES = 4
MAX_PIPES = 64

_HAS_SPLICE = hasattr(os, "splice")


class SpliceTarget(Protocol):
    """What a splice asks the layer that joined two connections."""

    def allowance(self) -> int:
        """How many of the bytes that arrive next may go to the other connection. With less than
        `PIECE_BYTES` of room the splice ends."""

    def on_spliced(self, count: int) -> None:
        """So many bytes arrived and were queued, as if by `data` and `write`."""


class Splice:
    """Stands in for the `recv` of a connection."""

    __slots__ = ("_count", "_dst", "_passage", "_src")

    def __init__(self, src: TcpConnection, dst: TcpConnection, target: SpliceTarget) -> None:
        self._src = src
        self._dst = dst
        self._passage = target
        self._count = 0

    def recv(self, most: int) -> bytes | None:
        """Move a piece, or read up to `most` bytes.

        Returns: None if `tell` has something to tell; else what a socket's `recv` returns
        Raises: what that raises
        """
        if self._room() >= PIECE_BYTES:
            if self._dst.write_buffer.size:
                return None
            self._count = self._move()
            if self._count:
                return None
        self.end()
        return self._src.socket.recv(most)

    def tell(self) -> None:
        """After `recv` returned None: tell who is concerned what it has done."""
        count, self._count = self._count, 0
        if count:
            if count < PIECE_BYTES:
                self.end()
            self._passage.on_spliced(count)
        else:
            self._src.pause(True)
            self._dst._pause_writer()

    def end(self) -> None:
        """Read the usual way again."""
        self._src._splice = None

    def _room(self) -> int:
        src, dst = self._src, self._dst
        if src.write_failed or dst.write_failed or dst.write_state is not OPEN or _is_watched(src):
            return 0
        return self._passage.allowance()

    def _move(self) -> int:
        """Move a piece into a pipe, which becomes the destination's queue.

        Returns: how many bytes; 0 if it is for `recv` to say what there is
        Raises: OSError for what is wrong with the connection
        """
        src, dst = self._src, self._dst
        pipes = pipes_of(src.loop)
        pipe = pipes.take()
        if pipe is None:
            return 0
        most = min(self._passage.allowance(), pipe.size)
        count = 0
        try:
            count = _splice(src._fd, pipe.writer.fileno(), most)
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno not in REFUSALS:
                raise
        finally:
            if not count:
                pipes.give(pipe)
        if count:
            src.bytes_read += count
            dst.write_buffer = PipeBuffer(dst, pipes, pipe, count)
            dst._queue_flush()
        return count


class PipeBuffer(KernelBuffer):
    """A queue that begins with the bytes in a pipe."""

    __slots__ = ("_pipe", "_pipes")

    def __init__(self, conn: TcpConnection, pipes: Pipes, pipe: Pipe, held: int) -> None:
        """conn: has nothing queued; held: how many bytes are in the pipe"""
        KernelBuffer.__init__(self, conn, held)
        self._pipes = pipes
        self._pipe = pipe

    def _send_held(self) -> int:
        return _splice(self._pipe.reader.fileno(), self._conn._fd, self._held)

    def _read_held(self) -> bytes:
        return os.read(self._pipe.reader.fileno(), self._held)

    def _release(self, empty: bool) -> None:
        if empty:
            self._pipes.give(self._pipe)
        else:
            self._pipes.drop(self._pipe)


class Pipe:
    """A pipe; `size` is what it holds."""

    __slots__ = ("reader", "size", "writer")

    def __init__(self) -> None:
        """Raises: OSError where none can be made"""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # File objects, which close themselves: a loop that is forgotten or forked drops them.
        self.reader = io.FileIO(reader, "rb")
        self.writer = io.FileIO(writer, "wb")
        try:
            self.size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # over the user's limit: it stays as it was made
            self.size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        """Close it, with what is in it."""
        self.reader.close()
        self.writer.close()


class Pipes:
    """The pipes of a loop."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._lent = 0

    def take(self) -> Pipe | None:
        """An empty pipe; None if there is none to be had. To be given back, or dropped."""
        if self._idle:
            pipe = self._idle.pop()
        elif self._lent >= MAX_PIPES:
            return None
        else:
            try:
                pipe = Pipe()
            except OSError:
                return None
            if pipe.size < PIECE_BYTES:
                pipe.close()
                return None
        self._lent += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back a pipe, which is empty."""
        self._lent -= 1
        if len(self._idle) < IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()

    def drop(self, pipe: Pipe) -> None:
        """Close a pipe that is not empty: its bytes would come out in front of the next ones."""
        self._lent -= 1
        pipe.close()

    def close(self) -> None:
        """The loop was stopped: close those that wait."""
        while self._idle:
            self._idle.pop().close()


def pipes_of(loop: EventLoop) -> Pipes:
    """The pipes of a loop, which closes them when it is stopped."""
    return loop.local.get(Pipes, Pipes)


def begin_splice(src: TcpConnection, dst: TcpConnection, target: SpliceTarget) -> bool:
    """Have what arrives on `src` go to `dst`: see `TcpConnection.splice_to`."""
    if src._splice is not None:
        src._splice.end()
    if not _HAS_SPLICE or not (has_kernel_socket(src) and has_kernel_socket(dst)):
        return False
    if src.loop is not dst.loop:
        return False
    src._splice = Splice(src, dst, target)
    return True


def _is_watched(conn: TcpConnection) -> bool:
    """Whether somebody besides the owner wants to see what arrives."""
    listeners = conn._listeners
    return conn._sink is not None or (listeners is not None and "data" in listeners)


def _splice(source: int, target: int, most: int) -> int:
    return os.splice(source, target, most, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)

"""Two connections joined by a splice, between two sockets that the test plays.

Owns: the sockets, a layer above the connections, and a count of what the kernel moved. Must not
know any test.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from interop_data import PATTERN
from tcp_support import PEER_LIMIT_S, Owner

from thor.loop import LoopBase, ScheduledEvent
from thor.tcp import TcpConnection
from thor.tcp import splice as splice_module
from thor.tcp.splice import MIN_SPLICE_BYTES
from thor_support import run_loop

splicing = pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice")

#: Plenty of pieces, and no multiple of anything.
BULK_BYTES = 5_000_003
#: How often peers are looked at while the loop has nothing to do, in seconds.
LOOK_S = 0.005


def bulk(size: int = BULK_BYTES) -> bytes:
    """So many bytes of the pattern."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


class Kernel:
    """What os.splice was asked, and did: `moved` bytes from sockets into pipes; `fail(fd, most)`
    may raise, or return what is to be done instead. With `present` False there is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, present: bool = True) -> None:
        self.present = present
        self.moved = 0
        self.pieces: list[int] = []
        self.fail: Callable[[int, int], int | None] = lambda source, target: None
        self._splice = os.splice
        monkeypatch.setattr(os, "splice", self.splice)
        monkeypatch.setattr(splice_module, "_HAS_SPLICE", present)

    def took_part(self, least: int = 0) -> bool:
        """Whether it moved more than that, if it could; else nothing."""
        return self.moved > least if self.present else self.moved == 0

    def splice(self, source: int, target: int, most: int, **settings: Any) -> int:
        instead = self.fail(source, target)
        if instead is not None:
            return instead
        count = self._splice(source, target, most, **settings)
        if not is_pipe(source):
            self.moved += count
            self.pieces.append(count)
        return count


def is_pipe(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")


def pipes_open() -> int:
    """How many ends of pipes this process has open."""
    return sum(is_pipe(int(fd)) for fd in os.listdir("/proc/self/fd") if _is_open(fd))


def _is_open(fd: str) -> bool:
    try:
        os.fstat(int(fd))
    except OSError:  # the one that listed the directory
        return False
    return True


def pair(family: str = "inet", buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets: ours, which does not block, and the one that the test plays.

    buffer_bytes: of both, each way; 0 leaves it to the system
    """
    if family == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffer_bytes else ():
                listening.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
            ours = socket.socket()
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffer_bytes else ():
                ours.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
            ours.connect(listening.getsockname())
            theirs, _ = listening.accept()
    ours.setblocking(False)
    theirs.settimeout(PEER_LIMIT_S)
    return ours, theirs


# -- peers, which move between the turns of a loop -------------------------------------------------


def run_beside(loop: LoopBase, until: Callable[[], object]) -> None:
    """As `run_loop`, for an `until` that moves peers: they are looked at again and again, since
    the loop does not know that it waits for them."""

    timers: list[ScheduledEvent] = []

    def look() -> None:
        timers[:] = [loop.schedule(LOOK_S, look)]

    look()
    try:
        run_loop(loop, until)
    finally:
        timers[0].delete()


def feed(sock: socket.socket, data: bytes) -> bytes:
    """Send what is taken of it. Returns: the rest"""
    sock.setblocking(False)
    try:
        while data:
            data = data[sock.send(data) :]
    except BlockingIOError:
        pass
    return data


def fill(loop: LoopBase, sock: socket.socket, until: Callable[[], object]) -> int:
    """Send, a little each turn, until `until()`. Returns: how many bytes of `bulk` that was"""
    data = bulk(16 << 20)
    sent = 0

    def step() -> bool:
        nonlocal sent
        if until():
            return True
        piece = data[sent : sent + 2 * MIN_SPLICE_BYTES]
        sent += len(piece) - len(feed(sock, piece))
        return False

    run_beside(loop, step)
    return sent


def take(sock: socket.socket, into: bytearray) -> bool:
    """Read what is there. Returns: whether the stream has ended, in whatever way"""
    sock.setblocking(False)
    try:
        while piece := sock.recv(1 << 20):
            into += piece
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def carry(
    loop: LoopBase, source: socket.socket, target: socket.socket, data: bytes, size: int
) -> bytes:
    """Send `data` at one end, and read at the other until `size` bytes are there, or it ends."""
    arrived = bytearray()
    rest = data

    def step() -> bool:
        nonlocal rest
        rest = feed(source, rest)
        over = take(target, arrived)
        return over or (not rest and len(arrived) >= size)

    run_beside(loop, step)
    return bytes(arrived)


# -- two connections -------------------------------------------------------------------------------


class Side(Owner):
    """The layer above one connection; the source's writes what it is given to the other."""

    def __init__(self, joint: Joint, conn: TcpConnection) -> None:
        super().__init__(conn)
        self.joint = joint

    def data(self, data: bytes) -> None:
        joint = self.joint
        joint.read += len(data)
        if joint.dst.tcp_connected:
            joint.dst.write(data)
        if joint.again:
            joint.src.splice_to(joint.dst, joint)

    def pause(self, paused: bool) -> None:
        super().pause(paused)
        self.joint.src.pause(paused)


class Joint:
    """`feeder` sends to `src`, which is joined to `dst`, which sends to `reader`.

    near, far: the layers above `src` and `dst`; arrived: what `reader` got; over: its stream ended
    read, went: bytes that came as data, and that went by a splice; left: how many may still go
    again: whether data that comes begins another splice
    """

    def __init__(self, loop: LoopBase, family: str = "inet", buffer_bytes: int = 0) -> None:
        """buffer_bytes: of the destination's sockets, as in `pair`"""
        self.loop = loop
        ours, self.feeder = pair(family)
        theirs, self.reader = pair(family, buffer_bytes)
        self.src = TcpConnection(ours, ("127.0.0.1", 1), loop)
        self.dst = TcpConnection(theirs, ("127.0.0.1", 2), loop)
        self.near, self.far = Side(self, self.src), Side(self, self.dst)
        self.src.allow_half_open = self.dst.allow_half_open = True
        self.read = self.went = 0
        self.left = 1 << 40
        self.again = True
        self.then: Callable[[], Any] = lambda: None
        self.arrived = bytearray()
        self.over = False
        assert self.src.splice_to(self.dst, self)
        self.src.pause(False)

    # -- the passage ---------------------------------------------------------------------------

    def allowance(self) -> int:
        return self.left

    def on_spliced(self, count: int) -> None:
        self.went += count
        self.left -= count
        self.then()

    # -- what the peers do ---------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """The feeder sends what is taken of it. Returns: the rest"""
        return feed(self.feeder, data)

    def fill(self) -> int:
        """The feeder sends, a little each turn, and nobody reads, until the source waits.

        Returns: how many bytes it got rid of
        """
        return fill(self.loop, self.feeder, lambda: self.src.read_paused)

    def take(self) -> bool:
        """The reader takes what is there. Returns: whether its stream has ended"""
        self.over = take(self.reader, self.arrived)
        return self.over

    def drain(self, size: int) -> bytes:
        """The reader reads until it has so many bytes. Returns: all that it has"""
        run_beside(self.loop, lambda: self.take() or len(self.arrived) >= size)
        return bytes(self.arrived)

    def carry(self, data: bytes) -> bytes:
        """The feeder sends all of it, and the reader reads as much. Returns: what it got"""
        return carry(self.loop, self.feeder, self.reader, data, len(data))

    def end(self) -> None:
        """Close all that is open."""
        for sock in (self.feeder, self.reader):
            sock.close()
        self.src.abort()
        self.dst.abort()
        self.loop.run_once()

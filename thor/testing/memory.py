"""A kernel in memory: a clock, a poller, sockets, and the loops and connections that use them.

Owns: sockets and a poller that take no fds and never wait, so that a test is deterministic. Must
not know hosts or ports, nor what is tested.

Theory of operation: only the kernel is replaced; loops, connections and all above are the real
ones. `settle` runs a loop until nothing is left to do now, `advance` moves the time forward, timer
by timer. What is sent arrives at once, up to the room in the receiver's buffer.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple, cast

from thor.loop import EventLoop, make
from thor.loop.poller import ERROR, HANGUP, MAX_EVENTS, READABLE, WRITABLE
from thor.tcp import TcpConnection
from thor.types import Address

#: The numbers of fds in memory start here, where no kernel's are.
FIRST_FD = 1_000_000
#: The size of a socket's receive buffer, in bytes, unless a test sets another.
BUFFER_BYTES = 64 * 1024


class ManualClock:
    """A clock that only `advance` moves; monotonic from 1000.0, wall from 2023-11-14 22:13:20."""

    def __init__(self) -> None:
        self._monotonic = 1000.0
        self._time = 1_700_000_000.0

    def monotonic(self) -> float:
        return self._monotonic

    def time(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Move the time forward. No timer fires by that alone: see the function `advance`."""
        if not seconds >= 0:
            raise ValueError(f"time cannot go on by {seconds!r} seconds")
        self._monotonic += seconds
        self._time += seconds


class MemoryPoller:
    """A `Poller` for fds in memory. It never waits: a wait moves the clock forward instead."""

    name = "memory"
    never_waits = True

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.polls = 0  #: how many times the loop has asked
        self._numbers = count(FIRST_FD)
        self._state: dict[int, Callable[[], int]] = {}
        self._interest: dict[int, int] = {}

    def add(self, state: Callable[[], int]) -> int:
        """Open an fd. `state()` returns the bits that apply. Return its number, a new one."""
        self._state[fd := next(self._numbers)] = state
        return fd

    def remove(self, fd: int) -> None:
        """Close an fd: it is watched no longer, as with a kernel."""
        self._state.pop(fd, None)
        self._interest.pop(fd, None)

    def register(self, fd: int, bits: int) -> None:
        if 0 <= fd < FIRST_FD:
            raise ValueError(
                f"fd {fd} is the kernel's, and a memory loop watches what is in memory alone: "
                "MemoryNetwork has servers and clients for it"
            )
        if fd in self._interest or fd not in self._state:
            raise os_error(errno.EEXIST if fd in self._interest else errno.EBADF)
        self._interest[fd] = bits

    def modify(self, fd: int, bits: int) -> None:
        if fd not in self._interest:
            raise os_error(errno.ENOENT)
        self._interest[fd] = bits

    def unregister(self, fd: int) -> None:
        self._interest.pop(fd, None)

    def ready(self) -> list[tuple[int, int]]:
        """Return the events that would be reported now, in order of registration."""
        bits = {fd: self._state[fd]() & (i | ERROR | HANGUP) for fd, i in self._interest.items()}
        return [event for event in bits.items() if event[1]]

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        self.polls += 1
        events = self.ready()
        if not events and timeout_s is None:
            raise RuntimeError("nothing can happen any more: the loop would wait for ever")
        if not events and timeout_s:
            self.clock.advance(timeout_s)
        if len(events) > MAX_EVENTS:
            del events[MAX_EVENTS:]
            for fd, _ in events:  # they come again after the others
                self._interest[fd] = self._interest.pop(fd)
        return events

    def close(self) -> None:
        self._interest.clear()


def os_error(code: int) -> OSError:
    """Return what a system call raises."""
    return OSError(code, os.strerror(code))


class MemorySocket:
    """One end of a connected stream, with the methods of `socket.socket` that connections call.

    buffer_bytes: how much it holds of what arrived; may be set at any time, 0 stops the peer
    received: what arrived and was not yet taken by `recv`
    calls: how many times "recv" and "send" were called; `sendmsg` counts as "send"
    """

    family, type = socket.AF_INET, socket.SOCK_STREAM

    def __init__(self, poller: MemoryPoller, address: Address, peer: MemorySocket | None) -> None:
        self.buffer_bytes = BUFFER_BYTES
        self.received = bytearray()
        self.calls = {"recv": 0, "send": 0}
        self.address = address
        self._poller = poller
        self._fd = poller.add(self._bits)
        self._faults: dict[tuple[str, int], OSError] = {}
        self._error = 0  # what SO_ERROR would tell
        self._fin_sent = self._fin_received = False
        self._reset = self.is_closed = self._lingers = False
        self.backlog: list[MemorySocket] | None = None  # of a listening socket
        self.peer: MemorySocket = peer or self
        self.peer.peer = self

    def fail(self, call: str, error: OSError, nth: int = 1) -> None:
        """Have the `nth` call of "recv" or "send" from now on (1: the next) raise `error`."""
        self._faults[call, self.calls[call] + nth] = error

    def reset(self, code: int = errno.ECONNRESET) -> None:
        """End the connection as if a RST arrived: after what was received, `code` is raised."""
        self._reset, self._error = True, code

    def _bits(self) -> int:
        if self.backlog is not None:
            return READABLE if self.backlog else 0
        if self._reset:
            return READABLE | WRITABLE | HANGUP | (ERROR if self._error else 0)
        bits = READABLE if self.received or self._fin_received else 0
        if self._fin_sent and self._fin_received:
            bits |= HANGUP
        return bits | (WRITABLE if self._fin_sent or self.peer._room() > 0 else 0)

    def _room(self) -> int:
        return BUFFER_BYTES if self.is_closed else self.buffer_bytes - len(self.received)

    def _begin(self, call: str) -> None:
        if self.is_closed:
            raise os_error(errno.EBADF)
        self.calls[call] += 1
        if fault := self._faults.pop((call, self.calls[call]), None):
            raise fault

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._begin("recv")
        if self.received:
            data = bytes(self.received[:size])
            if not flags & socket.MSG_PEEK:
                del self.received[:size]
            return data
        if code := self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise os_error(code)
        if self._fin_received or self._reset:
            return b""
        raise os_error(errno.EAGAIN)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        self._begin("send")
        if code := self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise os_error(code)
        if self._fin_sent or self._reset:
            raise os_error(errno.EPIPE)
        if self.peer.is_closed:
            self.reset()  # the bytes are lost, and a RST answers them
            return len(data)
        taken = min(len(data), self.peer._room())
        if taken <= 0 < len(data):
            raise os_error(errno.EAGAIN)
        self.peer.received += data[:taken]
        return taken

    def sendmsg(self, buffers: Iterable[bytes | memoryview]) -> int:
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        if self._reset or self.is_closed:
            raise os_error(errno.ENOTCONN)
        if how != socket.SHUT_RD:
            self._fin_sent = self.peer._fin_received = True

    def close(self) -> None:
        self._poller.remove(self._fd)
        for end in self.backlog or ():
            end.peer.reset()
        if not (self.is_closed or self._reset or self.peer.is_closed):
            if self._lingers or self.received:  # unread bytes make it a RST, as in a kernel
                self.peer.reset()
            else:
                self.peer._fin_received = True
        self.is_closed = True

    def listen(self, backlog: int) -> None:
        self.backlog = []

    def accept(self) -> tuple[MemorySocket, Address]:
        if not self.backlog:
            raise os_error(errno.EAGAIN)
        end = self.backlog.pop(0)
        return end, end.peer.address

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._lingers |= option == socket.SO_LINGER and level == socket.SOL_SOCKET  # for no time

    def getsockopt(self, level: int, option: int) -> int:
        code, self._error = self._error, 0
        return code

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def fileno(self) -> int:
        return -1 if self.is_closed else self._fd

    def getsockname(self) -> Address:
        return self.address

    def getpeername(self) -> Address:
        return self.peer.address


def as_socket(end: MemorySocket) -> socket.socket:
    """Return it as what connections take it for."""
    return cast(socket.socket, end)


def memory_loop(clock: ManualClock | None = None) -> EventLoop:
    """Return a loop for fds in memory. It raises what a callback raises.

    Its `run()` jumps from timer to timer, and ends in RuntimeError if it would wait for ever.
    """
    poller = MemoryPoller(clock)
    loop = make(backend=poller, clock=poller.clock)
    loop.on_exception = "raise"
    return loop


def settle(loop: EventLoop) -> None:
    """Run a memory loop until nothing is left to do now; AssertionError if it never rests."""
    poller = poller_of(loop)
    for _ in range(10_000):
        if loop.next_timeout() != 0.0 and not poller.ready():
            return
        loop.run_once()
    raise AssertionError(f"the loop spins; ready: {poller.ready()}")


def advance(loop: EventLoop, seconds: float) -> None:
    """Move the clock of a memory loop on by `seconds`; timers fire on the way, each at its time.

    Raises: ValueError if `seconds` is negative or not a number
    """
    clock = poller_of(loop).clock
    if not seconds >= 0:
        raise ValueError(f"time cannot go on by {seconds!r} seconds")
    until = clock.monotonic() + seconds
    settle(loop)
    # Small steps can add up to a rounding error less than the sum that a timer waits for.
    while (due := loop.timers.next_due()) is not None and due <= until + 1e-9:
        clock.advance(max(0.0, due - clock.monotonic()))
        clock._monotonic = max(clock._monotonic, due)
        settle(loop)
    clock.advance(max(0.0, until - clock.monotonic()))
    settle(loop)


def poller_of(loop: EventLoop) -> MemoryPoller:
    """Return the poller of a memory loop. Raises: TypeError for another loop"""
    poller = loop.fds.open()
    if not isinstance(poller, MemoryPoller):
        raise TypeError(f"{loop!r} is not a memory loop: memory_loop() makes one")
    return poller


def is_in_memory(loop: EventLoop) -> bool:
    """Return whether a loop is a memory loop."""
    return isinstance(loop.fds.open(), MemoryPoller)


class Pair(NamedTuple):
    """Two connections, each the other's peer."""

    client: TcpConnection
    server: TcpConnection


def connection_pair(
    loop: EventLoop | None = None,
    *,
    clock: ManualClock | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    address: Address = ("127.0.0.1", 80),
    client_address: Address = ("127.0.0.1", 50000),
) -> Pair:
    """Return two real `TcpConnection`s, joined in memory; both start paused, as connections do.

    loop: a memory loop; None makes one, with `clock`
    buffer_bytes: both sockets' receive buffers; `conn.socket.buffer_bytes` sets one of them
    """
    loop = loop or memory_loop(clock)
    client = MemorySocket(poller_of(loop), client_address, None)
    server = MemorySocket(poller_of(loop), address, client)
    client.buffer_bytes = server.buffer_bytes = buffer_bytes
    return Pair(
        TcpConnection(as_socket(client), address, loop),
        TcpConnection(as_socket(server), client_address, loop),
    )

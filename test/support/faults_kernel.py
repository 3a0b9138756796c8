"""A kernel in memory whose n-th call goes wrong.

Owns: sockets, a poller, a clock, threads and names in memory, and the faults that they can have.
Must not know what runs on them, nor what is promised about it.

Theory of operation: each call is counted by its kind. Of one kind the n-th call has a fault, that
is all. So a scenario that is run once without one tells how many calls of each kind there are, and
can then be run again with a fault at each of them. Descriptors are numbered as a kernel numbers
them: the lowest that is free, so that a number comes again as soon as it can.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import thor.tcp.client
import thor.tcp.listening
from thor.loop import make
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE
from thor.loop.threads import Job
from thor.testing import BUFFER_BYTES, FIRST_FD, ManualClock, MemoryPoller, MemorySocket


class Fault(NamedTuple):
    """What can happen to a call.

    call: the kind of call; name: what it is called in a report
    does: an errno to raise, or what `Kernel.enter` is to give back to the call
    harmless: whether nobody above may notice
    lasting: whether each later call of this kind has it too, until `heal`
    """

    call: str
    name: str
    does: Any
    harmless: bool = False
    lasting: bool = False


class Interrupted(KeyboardInterrupt):
    """The user's, on purpose."""


class Boom(Exception):
    """A listener's, on purpose."""


def injected(code: int) -> OSError:
    """An error that nobody but a fault has made."""
    return OSError(code, f"injected: {os.strerror(code)}")


class Kernel:
    """The calls that are made, and what is open.

    open: the sockets; misuse: calls that no program may make
    names: what the resolver knows; silent: addresses that never answer
    buffer_bytes: how much a new socket holds of what arrives
    """

    def __init__(self, fault: Fault | None = None, nth: int = 0) -> None:
        self.fault = fault
        self.nth = nth
        self.calls: Counter[str] = Counter()
        self.open: dict[int, FaultySocket] = {}
        self.doors: dict[Any, FaultySocket] = {}
        self.misuse: list[str] = []
        self.names: dict[bytes, list[str]] = {}
        self.silent: set[Any] = set()
        self.buffer_bytes = BUFFER_BYTES
        self.loop: Any = None
        self.clock = FaultyClock(self)
        self.poller = FaultyPoller(self)
        self.loop = make(backend=self.poller, clock=self.clock)
        self.loop._hire = self.hire
        self._ports = iter(range(40000, 60000))

    def enter(self, call: str) -> Any:
        """A call begins. Returns: what a fault does to it, None without one. Raises: OSError"""
        calls = self.calls
        calls[call] += 1
        fault = self.fault
        if fault is None or fault.call != call:
            return None
        if calls[call] != self.nth and not (fault.lasting and calls[call] > self.nth):
            return None
        if isinstance(fault.does, int):
            raise injected(fault.does)
        return fault.does

    def heal(self) -> None:
        """From now on all is well."""
        self.fault = None

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> Any:
        """What stands in for `socket.socket`."""
        self.enter("socket")
        return FaultySocket(self, family)

    def connect(self, address: Any, **details: Any) -> FaultySocket | None:
        """A socket that a test plays: it is connected, and has no faults. None if refused"""
        sock = FaultySocket(self, socket.AF_INET)
        sock.exempt = True
        for name, value in details.items():
            setattr(sock, name, value)
        sock.connect_ex(address)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            return None
        return sock

    def pair(self) -> tuple[FaultySocket, FaultySocket]:
        """Two connected sockets."""
        one, other = FaultySocket(self), FaultySocket(self)
        one.join(other)
        return one, other

    def hire(self, _: Any, f: Callable[..., Any], args: tuple[Any, ...], then: Any) -> Job:
        """What stands in for threads: the work is done at once, and told later."""
        job = Job(self.loop._epoch, f, args, then)
        does = self.enter("thread")
        if does == "none":
            raise RuntimeError("can't start new thread")
        if does != "hangs":
            job._work(self.loop)
        return job

    def getaddrinfo(self, host: bytes, port: int, *more: Any) -> Any:
        """What stands in for the resolver."""
        if host not in self.names:
            return _getaddrinfo(host, port, *more)
        if more[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        does = self.enter("resolve")
        if isinstance(does, BaseException):
            raise does
        found = self.names[host] if does is None else does
        return [
            (socket.AF_INET6, more[1], 0, "", (ip, 0, 0, 0))
            if ":" in ip
            else (socket.AF_INET, more[1], 0, "", (ip, 0))
            for ip in found
        ]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In the block, the library's own code opens sockets, and asks for names, here."""
        sockets = _Sockets(self)
        with (
            patch.object(thor.tcp.client, "socket", sockets),
            patch.object(thor.tcp.listening, "socket", sockets),
            patch.object(socket, "getaddrinfo", self.getaddrinfo),
        ):
            yield


_getaddrinfo = socket.getaddrinfo


class _Sockets(ModuleType):
    """The module `socket`, but for its class."""

    def __init__(self, kernel: Kernel) -> None:
        ModuleType.__init__(self, "socket")
        self.socket = kernel.socket

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


class FaultyClock(ManualClock):
    """A clock that can jump."""

    def __init__(self, kernel: Kernel) -> None:
        ManualClock.__init__(self)
        self._kernel = kernel

    def monotonic(self) -> float:
        loop = self._kernel.loop
        if loop is not None and loop._in_turn:  # what the test itself reads does not count
            self._monotonic += self._kernel.enter("clock") or 0.0
        return self._monotonic

    def time(self) -> float:
        self._time += self._kernel.enter("wall") or 0.0
        return self._time


class FaultyPoller(MemoryPoller):
    """A poller that can refuse, and say more or less than it should."""

    def __init__(self, kernel: Kernel) -> None:
        MemoryPoller.__init__(self, kernel.clock)
        self._kernel = kernel

    def add(self, state: Callable[[], int]) -> int:
        fd = FIRST_FD
        while fd in self._state:
            fd += 1
        self._state[fd] = state
        return fd

    def register(self, fd: int, bits: int) -> None:
        if fd not in self._kernel.open or not self._kernel.open[fd].exempt:
            self._kernel.enter("register")
        MemoryPoller.register(self, fd, bits)

    def modify(self, fd: int, bits: int) -> None:
        if fd not in self._interest:
            self._kernel.misuse.append(f"modify of fd {fd}, which is not registered")
        elif bits & ~self._interest[fd] and not self._kernel.open[fd].exempt:
            self._kernel.enter("modify")  # to watch for less needs nothing
        MemoryPoller.modify(self, fd, bits)

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        does = self._kernel.enter("poll")
        if does is None:
            return MemoryPoller.poll(self, timeout_s)
        if does == "nothing":
            return []
        if does == "everything":
            return [
                (fd, bits)
                for fd, bits in self._interest.items()
                if bits and not self._kernel.open[fd].is_unconnected()
            ]
        return self.ready()[::-1]


class FaultySocket(MemorySocket):
    """A stream socket whose calls can fail. exempt: this one's do not"""

    exempt = False
    _unconnected = False

    def __init__(self, kernel: Kernel, family: int = socket.AF_INET) -> None:
        self._kernel = kernel
        self.family = socket.AddressFamily(family)
        self._unconnected = True
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        MemorySocket.__init__(self, kernel.poller, (host, next(kernel._ports)), None)
        self.buffer_bytes = kernel.buffer_bytes
        kernel.open[self._fd] = self

    def join(self, other: FaultySocket) -> None:
        """Be connected to it."""
        self._peer, other._peer = other, self
        self._unconnected = other._unconnected = False

    def is_unconnected(self) -> bool:
        """Whether a `connect` is still to end; no kernel is wrong about that."""
        return self._backlog is None and self._unconnected

    def _enter(self, call: str) -> Any:
        if self._closed:
            self._kernel.misuse.append(f"{call} on a closed socket")
        return None if self.exempt else self._kernel.enter(call)

    def _bits(self) -> int:
        if self.is_unconnected():
            return (READABLE | WRITABLE | HANGUP | ERROR) if self._error else 0
        return MemorySocket._bits(self)

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            does = self._enter("recv")
        except OSError as why:
            self._end_by(why)
            raise
        return MemorySocket.recv(self, size if does is None else 1, flags)

    def send(self, data: bytes | memoryview) -> int:
        try:
            does = self._enter("send")
        except OSError as why:
            self._end_by(why)
            raise
        if does is not None:
            data = bytes(data[: len(data) // 2 if does == "half" else 1])
        return MemorySocket.send(self, data)

    def _end_by(self, why: OSError) -> None:
        """After the network's errors a socket is of no use any more, though it can be read."""
        if why.errno not in (errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM):
            self.reset(0)
            self._peer.reset()

    def shutdown(self, how: int) -> None:
        self._enter("shutdown")
        MemorySocket.shutdown(self, how)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._enter("setsockopt")
        MemorySocket.setsockopt(self, level, option, value)

    def getsockopt(self, level: int, option: int) -> int:
        if option == socket.SO_ERROR and self._error == 0:
            try:
                self._enter("SO_ERROR")
            except OSError as why:
                return why.errno or 0
        return MemorySocket.getsockopt(self, level, option)

    def getsockname(self) -> Any:
        self._enter("getsockname")
        return self.address

    def getpeername(self) -> Any:
        self._enter("getpeername")
        return self._peer.address

    def bind(self, address: Any) -> None:
        self._enter("bind")
        if address in self._kernel.doors:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self.address = address if address[1] else (address[0], next(self._kernel._ports))

    def listen(self, backlog: int) -> None:
        self._enter("listen")
        self._kernel.doors[self.address[:2]] = self
        MemorySocket.listen(self, backlog)

    def accept(self) -> tuple[Any, Any]:
        try:
            self._enter("accept")
        except ConnectionAbortedError:
            if self._backlog:  # it is this connection that is gone
                self._drop(self._backlog.pop(0))
            raise
        end, address = MemorySocket.accept(self)
        end._fd = self._kernel.poller.add(end._bits)
        self._kernel.open[end._fd] = end  # type: ignore[assignment]
        return end, address

    def _give_number_back(self) -> None:
        """Nobody has it yet: it waits to be accepted."""
        self._kernel.poller.remove(self._fd)
        self._kernel.open.pop(self._fd)
        self._fd = -1

    def _drop(self, end: MemorySocket) -> None:
        end._peer.reset()
        end.close()

    def connect_ex(self, address: Any) -> int:
        try:
            self._enter("connect")
        except OSError as why:
            return why.errno or 0
        if address[:2] in self._kernel.silent:
            return errno.EINPROGRESS
        door = self._kernel.doors.get(address[:2])
        if door is None:
            self._error = errno.ECONNREFUSED
            return errno.EINPROGRESS
        end = FaultySocket(self._kernel, self.family)
        end.address = door.address
        self.join(end)
        end._give_number_back()
        assert door._backlog is not None
        door._backlog.append(end)
        return errno.EINPROGRESS

    def close(self) -> None:
        if self._closed:
            return
        if self._backlog is not None:
            self._kernel.doors.pop(self.address[:2], None)
            for end in self._backlog:
                self._drop(end)
            self._backlog = []
        if self._fd in self._kernel.poller._interest and self._kernel.loop.running:
            self._kernel.misuse.append(f"fd {self._fd} was closed while it was watched")
        MemorySocket.close(self)
        if self._fd >= 0:
            self._kernel.open.pop(self._fd)

"""A kernel in memory whose n-th call goes wrong.

Owns: a poller, a clock, threads and names in memory, what sockets are open, and the faults that
calls can have. Must not know what runs on them, nor what is promised about it.

Theory of operation: each call is counted by its kind. Of one kind the n-th call has a fault, that
is all. So a scenario that is run once without one tells how many calls of each kind there are, and
can then be run again with a fault at each of them. Descriptors are numbered as a kernel numbers
them: the lowest that is free, so that a number comes again as soon as it can.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

from faults_pipes import MemoryPipe, spliced
from faults_sockets import FaultyDatagrams, FaultySocket

import thor.tcp.client
import thor.tcp.listening
import thor.tcp.socketfile
import thor.udp.sockets
from thor.loop import make
from thor.loop.poller import ERROR, HANGUP
from thor.loop.threads import Job
from thor.testing import BUFFER_BYTES, FIRST_FD, ManualClock, MemoryPoller


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


#: A fault, and at which of the calls of its kind.
Point = tuple[Fault, int]


class Interrupted(KeyboardInterrupt):
    """The user's, on purpose."""


class Boom(Exception):
    """A listener's, on purpose."""


def injected(code: int) -> OSError:
    """An error that nobody but a fault has made."""
    return OSError(code, f"injected: {os.strerror(code)}")


class Kernel:
    """The calls that are made, and what is open.

    always: errnos of calls that fail without a fault too, {(kind of call, n): errno}
    open: the sockets, of which `doors` listen and `mailboxes` take datagrams
    pipes: those that are open; misuse: calls that no program may make
    names: what the resolver knows; silent: addresses that never answer
    buffer_bytes: how much a new socket holds of what arrives
    """

    def __init__(self, *points: Point) -> None:
        self.points = points
        self.always: dict[tuple[str, int], int] = {}
        self.calls: Counter[str] = Counter()
        self.open: dict[int, Any] = {}
        self.doors: dict[Any, FaultySocket] = {}
        self.mailboxes: dict[Any, FaultyDatagrams] = {}
        self.pipes: dict[int, MemoryPipe] = {}
        self.misuse: list[str] = []
        self.names: dict[bytes, list[str]] = {}
        self.silent: set[Any] = set()
        self.buffer_bytes = BUFFER_BYTES
        self.loop: Any = None
        self.clock = FaultyClock(self)
        self.poller = FaultyPoller(self)
        self.loop = make(backend=self.poller, clock=self.clock)
        self.loop.submit_job = self.hire
        self._ports = iter(range(40000, 60000))

    def enter(self, call: str) -> Any:
        """A call begins. Returns: what a fault does to it, None without one. Raises: OSError"""
        calls = self.calls
        calls[call] += 1
        code = self.always.get((call, calls[call]))
        if code is not None:
            raise injected(code)
        for fault, nth in self.points:
            if fault.call == call and (calls[call] == nth or (fault.lasting and calls[call] > nth)):
                if isinstance(fault.does, int):
                    raise injected(fault.does)
                return fault.does
        return None

    def heal(self) -> None:
        """From now on all is well."""
        self.points = ()

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> Any:
        """What stands in for `socket.socket`."""
        self.enter("socket")
        return (FaultySocket if kind == socket.SOCK_STREAM else FaultyDatagrams)(self, family)

    def unbound(self, family: int) -> Any:
        """The address of a socket that is not bound to any."""
        if family == socket.AF_UNIX:
            return ""
        return ("::1" if family == socket.AF_INET6 else "127.0.0.1", next(self._ports))

    def connect(self, address: Any) -> FaultySocket | None:
        """A socket that a test plays: it is connected, and has no faults. None if refused"""
        sock = FaultySocket(self, socket.AF_INET)
        sock.exempt = True
        sock.connect_ex(address)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            return None
        return sock

    def hire(self, _: Any, f: Callable[..., Any], args: tuple[Any, ...], then: Any) -> Job:
        """What stands in for threads: the work is done at once, and told later."""
        job = Job(self.loop.epoch, f, args, then)
        does = self.enter("thread")
        if does == "none":
            exc = RuntimeError("can't start new thread")
            self.loop.run_in_loop(job.finish, self.loop, None, exc)
        elif does == "late":
            self.loop.call_later(60.0, job.run, self.loop)
        elif does != "hangs":
            job.run(self.loop)
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
            patch.object(thor.tcp.socketfile, "socket", sockets),
            patch.object(thor.udp.sockets, "socket", sockets),
            patch.object(socket, "getaddrinfo", self.getaddrinfo),
            spliced(self),
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
        if loop is not None and loop.in_turn:  # what the test itself reads does not count
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

    def ready(self) -> list[tuple[int, int]]:
        state = self._state  # what a sweep does most
        watched = self._interest.items()
        return [(fd, bits) for fd, i in watched if (bits := state[fd]() & (i | ERROR | HANGUP))]

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

"""Sockets in memory whose calls can fail.

Owns: stream sockets and UDP sockets over the calls that a `Kernel` counts. Must not know which call
fails, nor why.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE
from thor.testing import MemorySocket

if TYPE_CHECKING:
    from faults_kernel import Kernel


class FaultySocket(MemorySocket):
    """A stream socket whose calls can fail. exempt: this one's do not"""

    exempt = False
    _connect_failed = False

    def __init__(self, kernel: Kernel, family: int = socket.AF_INET) -> None:
        self._kernel = kernel
        self.family = socket.AddressFamily(family)
        self._connect_failed = True
        MemorySocket.__init__(self, kernel.poller, kernel.unbound(family), None)
        self.buffer_bytes = kernel.buffer_bytes
        kernel.open[self._fd] = self

    def __repr__(self) -> str:
        return f"<FaultySocket {self._fd} {self.address!r} from {self.peer.address!r}>"

    def join(self, other: FaultySocket) -> None:
        """Be connected to it."""
        self.peer, other.peer = other, self
        self._connect_failed = other._connect_failed = False

    def is_unconnected(self) -> bool:
        """Whether a `connect` is still to end; no kernel is wrong about that."""
        return self.backlog is None and self._connect_failed

    def _enter(self, call: str) -> Any:
        if self.is_closed:
            self._kernel.misuse.append(f"{call} on a closed socket")
        return None if self.exempt else self._kernel.enter(call)

    def _bits(self) -> int:
        if not self._connect_failed or self.backlog is not None:
            return MemorySocket._bits(self)
        return (READABLE | WRITABLE | HANGUP | ERROR) if self._error else 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            does = self._enter("recv")
        except OSError as exc:
            self._end_by(exc)
            raise
        with self.unfailing():
            return MemorySocket.recv(self, size if does is None else 1, flags)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            does = self._enter("send")
        except OSError as exc:
            self._end_by(exc)
            raise
        with self.unfailing():
            return MemorySocket.send(self, data if does is None else bytes(data[:1]))

    @contextmanager
    def unfailing(self) -> Iterator[None]:
        """In the block, what the socket asks of itself is no call of the library's."""
        exempt, self.exempt = self.exempt, True
        try:
            yield
        finally:
            self.exempt = exempt

    def _end_by(self, exc: OSError) -> None:
        """After the network's errors a socket is of no use any more, though it can be read."""
        if exc.errno not in (errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM):
            self.reset(0)
            self.peer.reset()

    def shutdown(self, how: int) -> None:
        self._enter("shutdown")
        MemorySocket.shutdown(self, how)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._enter("setsockopt")
        MemorySocket.setsockopt(self, level, option, value)

    def getsockopt(self, level: int, option: int) -> int:
        if option == socket.SO_ERROR and self._error == 0 and not self.exempt:
            try:
                self._enter("SO_ERROR")
            except OSError as exc:
                return exc.errno or 0
        return MemorySocket.getsockopt(self, level, option)

    def getsockname(self) -> Any:
        self._enter("getsockname")
        return self.address

    def getpeername(self) -> Any:
        self._enter("getpeername")
        return self.peer.address

    def bind(self, address: Any) -> None:
        self._enter("bind")
        if address in self._kernel.doors:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if not self.address or address[1]:
            self.address = address
        else:
            self.address = (address[0], next(self._kernel._ports))

    def listen(self, backlog: int) -> None:
        self._enter("listen")
        self._kernel.doors[_where(self.address)] = self
        MemorySocket.listen(self, backlog)

    def accept(self) -> tuple[Any, Any]:
        try:
            self._enter("accept")
        except ConnectionAbortedError:
            if self.backlog:  # it is this connection that is gone
                self._drop(self.backlog.pop(0))
            raise
        end, address = MemorySocket.accept(self)
        end._fd = self._kernel.poller.add(end._bits)
        self._kernel.open[end._fd] = end
        return end, address

    def _give_number_back(self) -> None:
        """Nobody has it yet: it waits to be accepted."""
        self._kernel.poller.remove(self._fd)
        self._kernel.open.pop(self._fd)
        self._fd = -1

    def _drop(self, end: MemorySocket) -> None:
        end.peer.reset()
        end.close()

    def connect_ex(self, address: Any) -> int:
        try:
            self._enter("connect")
        except InterruptedError as exc:  # it goes on all the same (POSIX, connect)
            self._connect(address)
            return exc.errno or 0
        except OSError as exc:
            return exc.errno or 0
        return self._connect(address)

    def _connect(self, address: Any) -> int:
        if _where(address) in self._kernel.silent:
            return errno.EINPROGRESS
        door = self._kernel.doors.get(_where(address))
        if door is None:
            self._error = errno.ECONNREFUSED
            return errno.EINPROGRESS
        end = FaultySocket(self._kernel, self.family)
        end.address = door.address
        self.join(end)
        end._give_number_back()
        assert door.backlog is not None
        door.backlog.append(end)
        return errno.EINPROGRESS

    def close(self) -> None:
        if self.is_closed:
            return
        if self.backlog is not None:
            self._kernel.doors.pop(_where(self.address), None)
            for end in self.backlog:
                self._drop(end)
            self.backlog = []
        if self._fd in self._kernel.poller._interest and self._kernel.loop.running:
            self._kernel.misuse.append(f"fd {self._fd} was closed while it was watched")
        MemorySocket.close(self)
        if self._fd >= 0:
            self._kernel.open.pop(self._fd)


def _where(address: Any) -> Any:
    """What of an address says where it is: an IPv6 one has more."""
    return address[:2] if isinstance(address, tuple) else address


class FaultyDatagrams:
    """A UDP socket whose calls can fail. What nobody takes comes back as an error, as ICMP's do."""

    exempt = False
    is_closed = False

    def __init__(self, kernel: Kernel, family: int) -> None:
        self._kernel = kernel
        self.family = socket.AddressFamily(family)
        self.address: Any = ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
        self.received: list[tuple[bytes, Any]] = []
        self._errors: list[tuple[int, Any]] = []
        self._fd = kernel.poller.add(self._bits)
        kernel.open[self._fd] = self

    def _bits(self) -> int:
        return WRITABLE | (READABLE if self.received else 0) | (ERROR if self._errors else 0)

    def is_unconnected(self) -> bool:
        """UDP knows no connections."""
        return False

    def _enter(self, call: str) -> Any:
        if self.is_closed:
            self._kernel.misuse.append(f"{call} on a closed socket")
        return self._kernel.enter(call)

    def bind(self, address: Any) -> None:
        self._enter("bind")
        self.address = (address[0], address[1] or next(self._kernel._ports))
        self._kernel.mailboxes[self.address] = self

    def sendto(self, data: bytes, address: Any) -> None:
        self._enter("sendto")
        if not self.address[1]:
            self.bind(self.address)
        target = self._kernel.mailboxes.get(address[:2])
        if target is None:
            self._errors.append((errno.ECONNREFUSED, address))
        else:
            target.received.append((data, self.address))

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        self._enter("recvfrom")
        if self._errors:
            raise OSError(self._errors[0][0], "an error of another datagram")
        if not self.received:
            raise OSError(errno.EAGAIN, "nothing there")
        return self.received.pop(0)

    def recvmsg(self, size: int, ancillary: int, flags: int) -> tuple[bytes, Any, int, Any]:
        self._enter("recvmsg")
        if not self._errors:
            raise OSError(errno.EAGAIN, "nothing there")
        code, address = self._errors.pop(0)
        return b"", [(0, 11, struct.pack("@IB", code, 2) + bytes(11))], 0, address

    def setsockopt(self, *_: Any) -> None:
        self._enter("setsockopt")

    def getsockopt(self, level: int, option: int) -> int:
        self._enter("getsockopt")
        return 0

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def getsockname(self) -> Any:
        self._enter("getsockname")
        return self.address

    def fileno(self) -> int:
        return -1 if self.is_closed else self._fd

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._kernel.mailboxes.pop(self.address, None)
            self._kernel.open.pop(self._fd)
            self._kernel.poller.remove(self._fd)

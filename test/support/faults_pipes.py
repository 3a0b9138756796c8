"""splice(2) and its pipes, in memory, and sendfile(2), with calls that can fail.

Owns: pipes, and the calls that move bytes between them, or files, and the sockets of a `Kernel`.
Must not know which call fails, nor why.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from faults_sockets import FaultySocket

import thor.tcp.kernel_buffer
import thor.tcp.sendfile
import thor.tcp.splice

if TYPE_CHECKING:
    from faults_kernel import Kernel

#: The numbers of the pipes' fds, apart from those of sockets.
FIRST_PIPE_FD = 2_000_000


class MemoryPipe:
    """What stands in for `thor.tcp.splice.Pipe`: both ends have one number."""

    def __init__(self, kernel: Kernel) -> None:
        does = kernel.enter("pipe")
        self.size = 4096 if does == "tiny" else thor.tcp.splice.PIPE_BYTES
        self.held = b""
        self.reader = self.writer = self
        self._kernel = kernel
        self._fd = FIRST_PIPE_FD + kernel.calls["pipe"]
        kernel.pipes[self._fd] = self

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self._kernel.pipes.pop(self._fd, None)


class _Splicing(ModuleType):
    """The module `os`, with what is done with pipes, and with files that are sent."""

    def __init__(self, kernel: Kernel) -> None:
        ModuleType.__init__(self, "os")
        self.kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def splice(self, source: int, target: int, most: int, flags: int) -> int:
        """Move bytes from a socket to an empty pipe, or from a pipe to a socket."""
        kernel = self.kernel
        into = source in kernel.open
        call, sock = ("splice in", kernel.open[source]) if into else ("splice out", None)
        sock = sock or kernel.open[target]
        if self._enter(call, sock) is not None:
            most = 1
        with sock.unfailing():
            if into:
                pipe = kernel.pipes[target]
                assert not pipe.held
                pipe.held = sock.recv(min(most, pipe.size))
                return len(pipe.held)
            pipe = kernel.pipes[source]
            sent: int = sock.send(pipe.held[:most])
            pipe.held = pipe.held[sent:]
            return sent

    def sendfile(self, target: int, source: int, offset: int, most: int) -> int:
        """Send a piece of a file to a socket."""
        sock = self.kernel.open[target]
        does = self._enter("sendfile", sock)
        if does == "nothing":
            return 0
        with sock.unfailing():
            sent: int = sock.send(os.pread(source, most if does is None else 1, offset))
        return sent

    def _enter(self, call: str, sock: FaultySocket) -> Any:
        """A call begins. Returns: what is to be done; None for what is usual"""
        try:
            return self.kernel.enter(call)
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.ENOSYS):
                sock._end_by(exc)
            raise

    def read(self, fd: int, most: int) -> bytes:
        """Read from a pipe."""
        pipe = self.kernel.pipes[fd]
        data, pipe.held = pipe.held[:most], pipe.held[most:]
        return data


@contextmanager
def spliced(kernel: Kernel) -> Iterator[None]:
    """In the block, bytes that nobody looks at go through pipes in memory."""
    with (
        patch.object(thor.tcp.splice, "Pipe", lambda: MemoryPipe(kernel)),
        patch.object(thor.tcp.splice, "os", _Splicing(kernel)),
        patch.object(thor.tcp.sendfile, "os", _Splicing(kernel)),
        patch.object(thor.tcp.sendfile, "_HAS_SENDFILE", True),
        patch.object(thor.tcp.kernel_buffer, "socket_module", SimpleNamespace(socket=FaultySocket)),
    ):
        yield

"""Listening Unix sockets: the socket file, and who may replace and remove it.

Owns: binding to a path or an abstract name, its permissions, its removal. Must not know loops or
servers.

Theory of operation: a socket's file outlives its socket, so an existing one may be in use or
abandoned. It is in use if a process accepts connections there; only a file that refuses them is
replaced, never a file of another kind. Between `bind` and `listen` a new socket refuses as well,
and between the probe and the removal another process may have taken the path: processes that open
sockets in one directory therefore do so one after the other, under a lock on the directory, which
leaves no file behind. Whoever may read the directory may hold that lock: it is waited for only a
limited time, and without it nothing is replaced.

A file never has more permissions than were requested. On Linux it gets those of the unbound socket,
less the umask; what the umask removed is added afterwards. Elsewhere they are set between `bind`
and `listen`, when nobody can connect yet.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from thor.binding import with_address

#: How long to wait for the lock of another process, in seconds; it is needed for a moment only.
LOCK_WAIT_S = 1.0
#: The interval of the attempts to lock, in seconds.
_LOCK_RETRY_S = 0.01
#: The device, the inode, and the process that made the file.
Identity = tuple[int, int, int]


def open_unix(path: str | bytes, backlog: int, mode: int | None = None) -> socket.socket:
    """Open a non-blocking, listening Unix socket. An abandoned file is replaced.

    path: a path, or the bytes of an abstract name, which begin with a NUL
    mode: the file's permissions, such as 0o660; None leaves them to the umask
    Raises: OSError, with EADDRINUSE if a process listens there, or the file is of another kind;
        ValueError for an invalid mode, or one for an abstract name
    """
    if mode is not None and not 0 <= mode <= 0o777:
        raise ValueError(f"{mode!r} is not a mode of a file")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if isinstance(path, str):
            _listen_at(sock, path, backlog, mode)
        elif mode is not None:
            raise ValueError("mode is for socket files: an abstract name has no permissions")
        else:
            sock.bind(path)
            sock.listen(backlog)
    except OSError as exc:
        sock.close()
        raise _named(exc, path) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _named(exc: OSError, path: str | bytes) -> OSError:
    """Return the same exception, with the path."""
    if exc.errno is None:  # Python itself rejects a path that is too long
        exc = OSError(errno.ENAMETOOLONG, str(exc))
    return with_address(exc, path if isinstance(path, str) else b"@" + path[1:])


def _listen_at(sock: socket.socket, path: str, backlog: int, mode: int | None) -> None:
    with _directory_locked(path) as locked:
        if mode is not None:
            _limit_mode(sock, mode)
        try:
            sock.bind(path)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            obstacle = _obstacle(path) if locked else "another process keeps its directory locked"
            if obstacle is not None:
                raise OSError(exc.errno, obstacle) from None
            os.unlink(path)
            sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(backlog)


def _limit_mode(sock: socket.socket, mode: int) -> None:
    """Limit the permissions of the file that `sock` will be bound to."""
    try:
        os.fchmod(sock.fileno(), mode)
    except OSError:
        pass  # not on this system; the file is not listened on before its mode is set


@contextmanager
def _directory_locked(path: str) -> Iterator[bool]:
    """Keep other processes of Thor from opening sockets in the directory of `path`.

    Yields: False if another process holds the lock for too long
    """
    try:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        # It cannot be read, or does not exist: `bind` raises then.
        yield True
        return
    try:
        yield _lock(directory)
    finally:
        os.close(directory)


def _lock(directory: int) -> bool:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOCK_RETRY_S)
        except OSError:
            return True  # a file system without locks
        else:
            return True


def _obstacle(path: str) -> str | None:
    """Return why the file at `path` may not be replaced; None if nobody listens on it."""
    in_use = os.strerror(errno.EADDRINUSE)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return f"{in_use} by a file that is no socket"
    except OSError:
        return in_use
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return None if probe.connect_ex(path) == errno.ECONNREFUSED else in_use


def file_identity(path: str | bytes) -> Identity | None:
    """Return which file `path` is, in this process; None if there is none (an abstract name)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, os.getpid())


def remove_file(path: str | bytes, identity: Identity | None) -> None:
    """Remove a socket's file, unless a successor has replaced it, or a parent process made it."""
    if identity is not None and file_identity(path) == identity:
        try:
            os.unlink(path)
        except OSError:
            pass  # whoever listens there next replaces it


class SocketFile:
    """The file of a Unix socket that this process has bound."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path
        self._identity = file_identity(path)

    def remove(self) -> None:
        """Remove the file, if it is still this socket's and this process made it."""
        remove_file(self._path, self._identity)

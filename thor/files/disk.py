"""Files and listings below a directory, and nothing outside of it. Blocks: for a thread.

Owns: opening a file by names that cannot lead out of a directory. Must not know requests.

Theory of operation: the path is resolved by the kernel's rules (`realpath`) and must lie inside the
directory. It is then opened name by name with O_NOFOLLOW, so that a link that replaces a name
meanwhile is not followed. Size and date come from the open file (`fstat`), so that they belong to
the same file as the contents, whatever happens to its name.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from thor.files.listing import Entry, directory_listing
from thor.files.responses import Response, is_name

if TYPE_CHECKING:
    from thor.http.conditional import ByteRange

#: Most bytes of a piece: a client that stops reading costs as much, for as long as it does.
FILE_PIECE_BYTES = 32 * 1024
#: Most entries of a directory that a listing shows.
MAX_LISTED = 10_000

#: Errors of a name that is answered with 404.
NOT_FOUND_ERRNOS = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
        errno.EINVAL,
        errno.ENXIO,
    )
)
#: Whether `os.access` can check with the effective user id, which a server may have changed.
_EFFECTIVE_IDS = os.access in os.supports_effective_ids
#: The flag of a read that fails instead of waiting for the disk; None if the system has none.
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_PATH needs only the permission to traverse a directory, not to read it.
_TRAVERSE_DIRECTORY = _OPEN_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


class OpenFile:
    """A regular file that is open for reading, with its size and date, and what is left to send.

    It counts its users: the one that opened it, a thread that reads it, a send queue that has a
    piece of it. It is closed when the last of them has released it, so that nobody uses a
    descriptor whose number belongs to another file by then.
    """

    __slots__ = ("_holders", "fd", "left", "mtime_ns", "offset", "size")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self._holders = 1
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        self.offset = self.left = 0

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.fd

    def hold(self) -> None:
        """Count one more user: keep the file open until that one calls `release`."""
        self._holders += 1

    def release(self) -> None:
        """Count one user less; close the file after the last."""
        self._holders -= 1
        if not self._holders:
            self.close()

    def begin(self, part: ByteRange) -> bytes:
        """Go to the beginning of `part`, and return its first piece. Raises: OSError"""
        self.offset, self.left = part.first, part.length
        return self.read()

    def read(self) -> bytes:
        """Return the next piece; empty at the end, or if the file has become shorter.

        Raises: OSError
        """
        data = os.pread(self.fd, min(FILE_PIECE_BYTES, self.left), self.offset)
        self.skip(len(data))
        return data

    def read_cached(self) -> bytes:
        """Return the part of the next piece that is in memory; empty if the disk must be read."""
        data = self._read_without_waiting(min(FILE_PIECE_BYTES, self.left), self.offset)
        self.skip(len(data))
        return data

    def is_cached(self, count: int) -> bool:
        """Return whether the next `count` bytes are in memory, judging by the last of them."""
        return len(self._read_without_waiting(1, self.offset + count - 1)) == 1

    def skip(self, count: int) -> None:
        """Advance by `count` bytes."""
        self.offset += count
        self.left -= count

    def close(self) -> None:
        """Close the file, if it is open."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # A loop that was stopped calls no callback, so nobody releases the file.
    __del__ = close

    def _read_without_waiting(self, count: int, offset: int) -> bytes:
        """Return what is in memory; empty after an error too, which `read` will then raise."""
        if _NO_WAIT is None:
            return b""
        buffer = bytearray(count)
        try:
            return bytes(memoryview(buffer)[: os.preadv(self.fd, [buffer], offset, _NO_WAIT)])
        except OSError:
            return b""


def check_root(root: bytes, listing: bool) -> None:
    """Raise OSError if `root` is not a directory, or may not be accessed.

    listing: whether the directory must be readable, too
    """
    flags = _OPEN_DIRECTORY | os.O_RDONLY if listing else _TRAVERSE_DIRECTORY
    os.close(os.open(os.path.join(root, b"."), flags))


def _real_names(root: bytes, names: tuple[bytes, ...], hidden: bool) -> list[bytes]:
    """Return the names from `root` to the file at `names`, with links resolved.

    Raises: OSError; ENOENT also for a file outside of `root`, or below a hidden name
    """
    inside = root.rstrip(b"/") + b"/"
    real = os.path.realpath(os.path.join(root, *names), strict=True)
    if real != root and not real.startswith(inside):
        raise FileNotFoundError(errno.ENOENT, "outside of the directory")
    found = [name for name in real[len(inside) :].split(b"/") if name]
    if not all(is_name(name, hidden) for name in found):
        raise FileNotFoundError(errno.ENOENT, "behind a hidden name")
    return found


def _open_directory(root: bytes, names: list[bytes], flags: int) -> int:
    """Open a directory by its real names, without following links. Returns: an fd"""
    fd = os.open(root, _TRAVERSE_DIRECTORY if names else flags)
    try:
        for index, name in enumerate(names, 1):
            inner = os.open(name, _TRAVERSE_DIRECTORY if index < len(names) else flags, dir_fd=fd)
            os.close(fd)
            fd = inner
    except OSError:
        os.close(fd)
        raise
    return fd


def open_file(root: bytes, names: tuple[bytes, ...], hidden: bool) -> OpenFile | None:
    """Open the regular file at `names`.

    Returns: None for a directory
    Raises: OSError; ENOENT also for what is neither file nor directory, and is not opened: opening
        a device or a FIFO can have effects
    """
    *parents, last = _real_names(root, names, hidden) or [b"."]
    directory = _open_directory(root, parents, _TRAVERSE_DIRECTORY)
    try:
        mode = os.stat(last, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file")
        fd = os.open(last, _OPEN_FILE, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        status = os.fstat(fd)
    except OSError:
        os.close(fd)
        raise
    file = OpenFile(fd, status)
    if not stat.S_ISREG(status.st_mode):  # it was replaced after `stat`
        file.close()
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return file


def list_directory(root: bytes, names: tuple[bytes, ...], hidden: bool) -> Response:
    """Return the listing of the directory at `names` below `root`. Raises: OSError"""
    real = _real_names(root, names, hidden)
    fd = _open_directory(root, real, _OPEN_DIRECTORY | os.O_RDONLY)
    found: list[Entry] = []
    complete = True
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if not is_name(name, hidden) or not _is_reachable(
                    root, (*real, name), entry, hidden
                ):
                    continue
                listed = _to_entry(fd, name)
                if listed is None:
                    continue
                if len(found) == MAX_LISTED:
                    complete = False
                    break
                found.append(listed)
    finally:
        os.close(fd)
    return directory_listing(names, found, complete=complete)


def _to_entry(directory: int, name: bytes) -> Entry | None:
    """Return the entry of a name in the listing.

    Returns: None for what would not be served: what may not be read, and what is neither a file nor
        a directory
    """
    try:
        status = os.stat(name, dir_fd=directory)
        is_directory = stat.S_ISDIR(status.st_mode)
        needed = os.R_OK | os.X_OK if is_directory else os.R_OK
        if not os.access(name, needed, dir_fd=directory, effective_ids=_EFFECTIVE_IDS):
            return None
    except OSError:  # gone meanwhile
        return None
    if is_directory:
        return Entry(name, None, status.st_mtime)
    return Entry(name, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


def _is_reachable(
    root: bytes, names: tuple[bytes, ...], entry: os.DirEntry[str], hidden: bool
) -> bool:
    """Return whether an entry would be served: False for a link that leads outside of `root`, so
    that the listing does not show the size and date of its target."""
    if not entry.is_symlink():
        return True
    try:
        _real_names(root, names, hidden)
    except OSError:
        return False
    return True

"""Finding and opening what is below a directory, and nothing else. Blocking: for a thread.

Owns: the way from names to an open file that cannot lead out of a directory. Must not know
requests.

Theory of operation: the path that the names make is resolved by the kernel's rules (`realpath`)
and must lie inside the directory; it is then opened name by name with O_NOFOLLOW, so that a link
that is put in its place meanwhile is not followed. What is opened is asked what it is (`fstat`):
its size, dates and contents are those of one file, whatever happens to its name.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from thor.files.listing import Entry, listing_for
from thor.files.responses import Answer, is_name

if TYPE_CHECKING:
    from thor.http.conditional import ByteRange

#: What is read at once, in bytes: a reader that stops costs as much, for as long as it does.
FILE_PIECE_BYTES = 32 * 1024
#: Most entries of a directory that a listing shows.
MAX_LISTED = 10_000

#: What the system says of a name behind which there is nothing to be had.
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
#: A server that has changed its user reads as whom it has become, where the system can ask so.
_EFFECTIVE_IDS = os.access in os.supports_effective_ids
#: Has a read fail that would wait for the disk; None where the system cannot tell.
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: To go through a directory asks for less than to read it, where the system can tell them apart.
_PASS_DIRECTORY = _OPEN_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


class OpenFile:
    """A regular file that is open for reading, what it was then, and how much is left to send.

    Who made it holds it, and so does each one who uses the descriptor meanwhile: a thread, or a
    queue that has a piece of it. It is closed when the last of them lets go, and not before its
    number could be another file's.
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
        """Keep it open until `release` was called once more."""
        self._holders += 1

    def release(self) -> None:
        """Let go of it."""
        self._holders -= 1
        if not self._holders:
            self.close()

    def begin(self, part: ByteRange) -> bytes:
        """Go to `part`, and read its first piece."""
        self.offset, self.left = part.first, part.length
        return self.read()

    def read(self) -> bytes:
        """Return the next piece; empty at the end, or where the file has become shorter."""
        data = os.pread(self.fd, min(FILE_PIECE_BYTES, self.left), self.offset)
        self.skip(len(data))
        return data

    def read_cached(self) -> bytes:
        """Return the next piece as far as it is in memory; empty if the disk has to be read."""
        data = self._read_now(min(FILE_PIECE_BYTES, self.left), self.offset)
        self.skip(len(data))
        return data

    def is_cached(self, count: int) -> bool:
        """Return whether the next `count` bytes seem to be in memory: the last one of them is."""
        return len(self._read_now(1, self.offset + count - 1)) == 1

    def skip(self, count: int) -> None:
        """Go on by so many bytes."""
        self.offset += count
        self.left -= count

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # A loop that is stopped calls nobody back: then the descriptor goes with the object.
    __del__ = close

    def _read_now(self, count: int, offset: int) -> bytes:
        """Read what is there without waiting. What is wrong with the file `read` will tell."""
        if _NO_WAIT is None:
            return b""
        buffer = bytearray(count)
        try:
            return bytes(memoryview(buffer)[: os.preadv(self.fd, [buffer], offset, _NO_WAIT)])
        except OSError:
            return b""


def check_root(root: bytes, listing: bool) -> None:
    """Raise OSError if nothing in the directory `root` could be served: it is none, or its
    permissions are lacking.

    listing: whether it must be possible to list it, too
    """
    flags = _OPEN_DIRECTORY | os.O_RDONLY if listing else _PASS_DIRECTORY
    os.close(os.open(os.path.join(root, b"."), flags))


def _real_names(root: bytes, names: tuple[bytes, ...], hidden: bool) -> list[bytes]:
    """Return the names from `root` to where `names` lead, links resolved.

    Raises: OSError; ENOENT also for what lies outside, or behind a hidden name
    """
    inside = root.rstrip(b"/") + b"/"
    real = os.path.realpath(os.path.join(root, *names), strict=True)
    if real != root and not real.startswith(inside):
        raise FileNotFoundError(errno.ENOENT, "outside of the directory")
    found = [name for name in real[len(inside) :].split(b"/") if name]
    if not all(is_name(name, hidden) for name in found):
        raise FileNotFoundError(errno.ENOENT, "behind a hidden name")
    return found


def _enter(root: bytes, names: list[bytes], flags: int) -> int:
    """Open a directory by its real names, following no link on the way. Returns: an fd"""
    fd = os.open(root, _PASS_DIRECTORY if names else flags)
    try:
        for index, name in enumerate(names, 1):
            inner = os.open(name, _PASS_DIRECTORY if index < len(names) else flags, dir_fd=fd)
            os.close(fd)
            fd = inner
    except OSError:
        os.close(fd)
        raise
    return fd


def open_file(root: bytes, names: tuple[bytes, ...], hidden: bool) -> OpenFile | None:
    """Open the regular file at `names`. Returns: None if a directory is there

    Raises: OSError; ENOENT also for what is neither file nor directory. Nothing but a regular
        file is ever opened: to open a device or a FIFO may do something.
    """
    *above, last = _real_names(root, names, hidden) or [b"."]
    directory = _enter(root, above, _PASS_DIRECTORY)
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
    if not stat.S_ISREG(status.st_mode):  # replaced since it was looked at
        file.close()
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return file


def list_directory(root: bytes, names: tuple[bytes, ...], hidden: bool) -> Answer:
    """Return what `names` lead to under `root`, a directory, holds. Raises: OSError"""
    real = _real_names(root, names, hidden)
    fd = _enter(root, real, _OPEN_DIRECTORY | os.O_RDONLY)
    found: list[Entry] = []
    complete = True
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if not is_name(name, hidden) or not _is_there(root, (*real, name), entry, hidden):
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
    return listing_for(names, found, complete=complete)


def _to_entry(directory: int, name: bytes) -> Entry | None:
    """Return what is listed of a name; None for what would not be served: what may not be read,
    and what is neither a file nor a directory."""
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


def _is_there(root: bytes, names: tuple[bytes, ...], entry: os.DirEntry[str], hidden: bool) -> bool:
    """Whether who asks for it gets it, as far as links go: not even what one that leads outside
    leads to is told."""
    if not entry.is_symlink():
        return True
    try:
        _real_names(root, names, hidden)
    except OSError:
        return False
    return True

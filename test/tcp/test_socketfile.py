"""Unix sockets to listen on: files, their permissions, and who may replace them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from thor.tcp import socketfile
from thor.tcp.socketfile import file_identity, open_unix, remove_file


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@contextmanager
def opened(path: str | bytes, mode: int | None = None) -> Iterator[socket.socket]:
    with open_unix(path, 10, mode) as sock:
        yield sock


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def can_connect(path: str | bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_socket_file_is_opened(path: str) -> None:
    with opened(path) as sock:
        assert sock.getsockname() == path
        assert sock.gettimeout() == 0
        assert can_connect(path)


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened("s"):
        assert can_connect("s")


@pytest.mark.skipif("sys.platform != 'linux'")
def test_abstract_name(path: str) -> None:
    name = b"\0" + os.fsencode(path)
    with opened(name) as sock:
        assert sock.getsockname() == name
        assert can_connect(name)
        assert not os.path.exists(path)
        with pytest.raises(OSError, match=f"in use: '@{path}'"):
            open_unix(name, 10)
    with opened(name):  # it went with its socket
        pass


def test_path_that_is_too_long_is_an_error() -> None:
    with pytest.raises(OSError, match=r"too long.*/xxx") as caught:
        open_unix("/" + "x" * 200, 10)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_unix(str(tmp_path / "none" / "s"), 10)


# -- files that are there ------------------------------------------------------------------------


def test_abandoned_socket_file_is_replaced(path: str) -> None:
    with opened(path):
        pass
    assert os.path.exists(path)
    with opened(path):
        assert can_connect(path)


def test_socket_file_that_is_listened_on_is_in_use(path: str) -> None:
    with opened(path):
        with pytest.raises(OSError, match=f"in use: '{path}'"):
            open_unix(path, 10)
        assert can_connect(path)


def test_socket_whose_queue_is_full_is_in_use(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as client:
        full.bind(path)
        full.listen(0)
        client.connect(path)
        with pytest.raises(OSError, match="in use"):
            open_unix(path, 10)


def test_datagram_socket_is_in_use(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(OSError, match="in use"):
            open_unix(path, 10)


def test_file_of_another_kind_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(OSError, match="in use by a file that is no socket"):
        open_unix(path, 10)
    assert Path(path).read_text() == "precious"


def test_link_to_an_abandoned_socket_is_left_alone(path: str, tmp_path: Path) -> None:
    with opened(path):
        pass
    link = str(tmp_path / "link")
    os.symlink(path, link)
    with pytest.raises(OSError, match="in use"):
        open_unix(link, 10)
    assert os.path.islink(link)
    assert os.path.exists(path)


class Waits(Exception):
    """Another one has the lock."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        pytest.param(socketfile, "_obstacle", id="asking"),
        pytest.param(os, "unlink", id="removing"),
        pytest.param(socket.socket, "listen", id="bound, not yet listening"),
    ],
)
def test_one_that_opens_the_same_path_meanwhile_waits_and_finds_it_in_use(
    path: str, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    """Otherwise it would take the first for abandoned, and its file away."""
    with opened(path):
        pass
    real_step, real_flock = getattr(owner, step), fcntl.flock
    waited: list[bool] = []

    def flock(fd: int, how: int) -> None:
        try:
            real_flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Waits from None

    def meanwhile(*args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, real_step)
            with pytest.raises(Waits):
                open_unix(path, 10)
        waited.append(True)
        return real_step(*args)

    monkeypatch.setattr(fcntl, "flock", flock)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, meanwhile)
        first = open_unix(path, 10)
    with first:
        assert waited == [True]
        with pytest.raises(OSError, match="in use"):
            open_unix(path, 10)
        assert can_connect(path)


def test_directory_that_cannot_be_locked_is_no_hindrance(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise OSError(errno.ENOLCK, "no locks")

    for module, name in ((fcntl, "flock"), (os, "open")):
        with opened(path):
            pass
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with opened(path):
                assert can_connect(path)


def test_whoever_keeps_the_directory_locked_holds_nobody_up_but_nothing_is_replaced(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock can be had by anyone who may read the directory: /tmp, for example."""
    monkeypatch.setattr(socketfile, "LOCK_WAIT_S", 0)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)
        with opened(path):
            assert can_connect(path)
        with pytest.raises(OSError, match="keeps its directory locked") as caught:
            open_unix(path, 10)
        assert caught.value.errno == errno.EADDRINUSE
    finally:
        os.close(directory)
    with opened(path):
        assert can_connect(path)


def test_lock_that_is_held_for_a_moment_is_waited_for(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path):
        pass
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(directory))
    with opened(path):
        assert can_connect(path)


# -- permissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0])
def test_file_has_the_mode_that_was_asked_for(path: str, mask: int, mode: int) -> None:
    with umask(mask), opened(path, mode):
        assert mode_of(path) == mode


def test_without_a_mode_the_umask_decides(path: str) -> None:
    with umask(0o027), opened(path):
        assert mode_of(path) == 0o750


@pytest.mark.parametrize("fchmod", [True, False], ids=["Linux", "elsewhere"])
def test_file_never_has_more_permissions_while_one_can_connect(
    path: str, monkeypatch: pytest.MonkeyPatch, fchmod: bool
) -> None:
    seen: list[tuple[str, int]] = []
    real_chmod, real_listen = os.chmod, socket.socket.listen

    def chmod(where: Any, mode: int) -> None:
        seen.append(("bound", mode_of(path)))
        real_chmod(where, mode)

    def listen(sock: socket.socket, backlog: int) -> None:
        seen.append(("listens", mode_of(path)))
        real_listen(sock, backlog)

    def fail(fd: int, mode: int) -> None:
        raise OSError(errno.EINVAL, "not a file")

    monkeypatch.setattr(os, "chmod", chmod)
    monkeypatch.setattr(socket.socket, "listen", listen)
    if not fchmod:
        monkeypatch.setattr(os, "fchmod", fail)
    with umask(0), opened(path, 0o600):
        pass
    bound = 0o600 if fchmod else 0o777
    assert seen == [("bound", bound), ("listens", 0o600)]


@pytest.mark.parametrize("mode", [-1, 0o1000, 0o100600])
def test_what_is_no_mode_is_refused(path: str, mode: int) -> None:
    with pytest.raises(ValueError, match="mode"):
        open_unix(path, 10, mode)
    assert not os.path.exists(path)


@pytest.mark.skipif("sys.platform != 'linux'")
def test_abstract_name_has_no_mode() -> None:
    with pytest.raises(ValueError, match="abstract"):
        open_unix(b"\0name", 10, 0o600)


# -- removing ------------------------------------------------------------------------------------


def test_only_the_file_that_was_made_is_removed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(path).write_text("one")
    mine = file_identity(path)
    assert mine is not None
    remove_file(path, (mine[0], mine[1] + 1, mine[2]))
    remove_file(path, (mine[0], mine[1], mine[2] + 1))  # a forked child has another process's
    remove_file(path, None)
    assert os.path.exists(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda path: os.rmdir(path))
        remove_file(path, mine)
    remove_file(path, mine)
    assert not os.path.exists(path)
    assert file_identity(path) is None
    assert file_identity(b"\0abstract") is None

"""Finding files: links, special files, what changes under one's feet."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from thor.files import disk
from thor.files.disk import OpenFile, list_directory, open_file
from thor.http.conditional import ByteRange
from thor_support import open_fds


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    """A directory with a file and a directory, beside something that must not be reached."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "rootless").mkdir()
    (tmp_path / "rootless" / "x").write_text("secret")
    top = tmp_path / "root"
    (top / "sub").mkdir(parents=True)
    (top / "a.txt").write_text("hello")
    (top / "sub" / "b.txt").write_text("below")
    (top / ".hidden").write_text("secret")
    return os.fsencode(os.path.realpath(top))


def contents(file: OpenFile | None) -> bytes:
    assert file is not None
    try:
        return file.begin(ByteRange(0, file.size - 1))
    finally:
        file.close()


def read(root: bytes, path: str, hidden: bool = False) -> bytes:
    return contents(open_file(root, tuple(os.fsencode(path).split(b"/")), hidden))


def test_files_below_the_directory_are_opened(root: bytes) -> None:
    assert read(root, "a.txt") == b"hello"
    assert read(root, "sub/b.txt") == b"below"


def test_a_directory_is_not_opened(root: bytes) -> None:
    assert open_file(root, (b"sub",), False) is None


def test_a_link_inside_is_followed(root: bytes) -> None:
    os.symlink(b"a.txt", root + b"/file-link")
    os.symlink(b"sub", root + b"/directory-link")
    os.symlink(root, root + b"/absolute")
    assert read(root, "file-link") == b"hello"
    assert read(root, "directory-link/b.txt") == b"below"
    assert read(root, "absolute/a.txt") == b"hello"
    assert open_file(root, (b"absolute",), False) is None


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param("out", "../secret", id="file"),
        pytest.param("out", "/etc/passwd", id="absolute"),
        pytest.param("out", "sub/../../secret", id="by-way-of-inside"),
        pytest.param("out", "../rootless/x", id="sibling-with-the-same-beginning"),
        pytest.param("out", "out", id="loop"),
        pytest.param("out", "nowhere", id="dangling"),
        pytest.param("out", ".hidden", id="hidden"),
    ],
)
def test_a_link_that_leads_elsewhere_is_not_there(root: bytes, link: str, target: str) -> None:
    os.symlink(target, os.path.join(os.fsdecode(root), link))
    with pytest.raises(OSError) as raised:
        read(root, link)
    assert raised.value.errno in disk.NOT_FOUND_ERRNOS


def test_a_linked_directory_outside_is_not_there(root: bytes) -> None:
    os.symlink(b"../rootless", root + b"/out")
    for attempt in (
        lambda: read(root, "out/x"),
        lambda: list_directory(root, (b"out",), False),
    ):
        with pytest.raises(FileNotFoundError):
            attempt()


def test_a_link_put_in_place_after_the_look_is_not_followed(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = os.path.realpath

    def swap(path: bytes, *, strict: bool) -> bytes:
        found = resolve(path, strict=strict)
        os.rename(root + b"/sub", root + b"/was-sub")
        os.symlink(b"../rootless", root + b"/sub")
        return found

    (Path(os.fsdecode(root)).parent / "rootless" / "b.txt").write_text("secret")
    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(OSError) as raised:
        read(root, "sub/b.txt")
    assert raised.value.errno in disk.NOT_FOUND_ERRNOS


def test_a_file_replaced_by_a_link_after_the_look_is_not_followed(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.stat

    def swap(path: bytes, **kwargs: Any) -> os.stat_result:
        found = look(path, **kwargs)
        if path == b"a.txt":
            os.unlink(root + b"/a.txt")
            os.symlink(b"../secret", root + b"/a.txt")
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(OSError) as raised:
        read(root, "a.txt")
    assert raised.value.errno in disk.NOT_FOUND_ERRNOS


def test_a_fifo_is_not_opened(root: bytes) -> None:
    os.mkfifo(root + b"/fifo")
    with pytest.raises(FileNotFoundError):
        read(root, "fifo")


def test_a_device_is_not_opened() -> None:
    with pytest.raises(FileNotFoundError):
        read(b"/dev", "null")


def test_a_file_replaced_by_a_fifo_after_the_look_is_refused(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.stat

    def swap(path: bytes, **kwargs: Any) -> os.stat_result:
        found = look(path, **kwargs)
        if path == b"a.txt":
            os.unlink(root + b"/a.txt")
            os.mkfifo(root + b"/a.txt")
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(FileNotFoundError):
        read(root, "a.txt")


def test_hidden_names_are_there_only_when_allowed(root: bytes) -> None:
    with pytest.raises(FileNotFoundError):
        read(root, ".hidden")
    assert read(root, ".hidden", hidden=True) == b"secret"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("missing", id="missing"),
        pytest.param("a.txt/below", id="below-a-file"),
        pytest.param("x" * 300, id="long-name"),
        pytest.param("/".join(["y"] * 3000), id="long-path"),
    ],
)
def test_what_is_not_there(root: bytes, path: str) -> None:
    with pytest.raises(OSError) as raised:
        read(root, path)
    assert raised.value.errno in disk.NOT_FOUND_ERRNOS


def test_the_root_of_the_file_system_can_be_served(root: bytes) -> None:
    assert read(b"/", os.fsdecode(root)[1:] + "/a.txt", hidden=True) == b"hello"


def test_a_file_is_read_in_pieces(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "FILE_PIECE_BYTES", 2)
    file = open_file(root, (b"a.txt",), False)
    assert file is not None
    pieces = [file.begin(ByteRange(1, 4)), file.read(), file.read()]
    file.close()
    assert pieces == [b"el", b"lo", b""]
    assert file.left == 0


def test_a_file_that_became_shorter_gives_no_more(root: bytes) -> None:
    file = open_file(root, (b"a.txt",), False)
    assert file is not None
    os.truncate(root + b"/a.txt", 2)
    assert file.begin(ByteRange(0, 4)) == b"he"
    assert file.read() == b""
    assert file.left == 3
    file.close()


def test_a_dropped_file_is_closed(root: bytes) -> None:
    file = open_file(root, (b"a.txt",), False)
    assert file is not None
    fd = file.fd
    del file
    with pytest.raises(OSError) as raised:
        os.fstat(fd)
    assert raised.value.errno == errno.EBADF


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up root's rights inside the block; others have none to give up."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_listing_shows_what_can_be_asked_for(root: bytes) -> None:
    body = list_directory(root, (), False).body
    assert b'"./a.txt"' in body
    assert b'"./sub/"' in body
    assert b"hidden" not in body
    assert b"hidden" in list_directory(root, (), True).body
    assert b'"./b.txt"' in list_directory(root, (b"sub",), False).body


def test_a_listing_shows_links_that_lead_to_something_inside(root: bytes) -> None:
    os.symlink(b"circle", root + b"/circle")
    os.symlink(b"nowhere", root + b"/dangling")
    os.symlink(b"..", root + b"/above")
    os.symlink(b"../..", root + b"/sub/above")
    os.symlink(b"sub", root + b"/inside")
    os.symlink(b"../a.txt", root + b"/sub/inside")
    body = list_directory(root, (), False).body
    assert re.findall(rb'href="./([^"]*)"', body) == [b"a.txt", b"inside/", b"sub/"]
    for names in ((b"sub",), (b"inside",)):
        body = list_directory(root, names, False).body
        assert b'"./inside"' in body
        assert b"above" not in body


def test_a_listing_is_bounded(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MAX_LISTED", 1)
    body = list_directory(root, (), False).body
    assert body.count(b'href="./') == 1
    assert b"more" in body


def test_a_listing_leaves_out_what_is_not_served(root: bytes) -> None:
    os.mkfifo(root + b"/pipe")
    assert b"pipe" not in list_directory(root, (), True).body


def test_a_listing_leaves_out_what_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as directory:  # an ordinary user may enter it
        root = os.fsencode(directory)
        os.chmod(root, 0o755)
        for name, mode in ((b"open", 0o644), (b"closed", 0), (b"write-only", 0o222)):
            os.close(os.open(root + b"/" + name, os.O_CREAT))
            os.chmod(root + b"/" + name, mode)
        for name, mode in ((b"inner", 0o755), (b"locked", 0), (b"unlistable", 0o311)):
            os.mkdir(root + b"/" + name)
            os.chmod(root + b"/" + name, mode)
        with ordinary_user():
            body = list_directory(root, (), False).body
    assert re.findall(rb'href="./([^"]*)"', body) == [b"inner/", b"open"]


def test_a_file_that_cannot_be_asked_about_is_closed(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_fds()

    def fail(fd: int) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        with pytest.raises(OSError, match="Input/output"):
            open_file(root, (b"a.txt",), False)
    assert open_fds() == before

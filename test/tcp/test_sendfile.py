"""Pieces of files that the kernel sends, over real sockets."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from splice_support import bulk, pair, run_beside
from tcp_support import reset

from thor.loop import LoopBase
from thor.loop.poller import WRITABLE
from thor.tcp import TcpConnection
from thor.testing import connection_pair
from thor_support import run_loop

pytestmark = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="this system has no sendfile")

#: More than small sockets take.
DATA = bulk(1_000_003)
SMALL = 16 * 1024


class HeldFile:
    """A file that counts who holds it, and is closed by the last one."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self.holders = 0

    def fileno(self) -> int:
        return self.file.fileno()

    def hold(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1
        if not self.holders:
            self.file.close()


class _Nobodys:
    """A file that must not be touched."""

    def fileno(self) -> int:
        raise AssertionError

    hold = release = fileno


NOBODYS: Any = _Nobodys()


class Sender:
    """A connection, a peer that the test plays, and a file to send."""

    def __init__(self, loop: LoopBase, path: Path) -> None:
        self.loop = loop
        self.path = path
        path.write_bytes(DATA)
        ours, self.peer = pair(buffer_bytes=SMALL)
        self.peer.setblocking(False)
        self.conn = TcpConnection(ours, ("127.0.0.1", 1), loop)
        self.over: list[bool] = []
        self.conn.on("disconnect", lambda: self.over.append(True))
        self.received = b""

    def send(self, offset: int, count: int) -> HeldFile:
        file = HeldFile(self.path)
        assert self.conn.write_file(file, offset, count)
        return file

    def run_until_stopped(self) -> None:
        """Run until the sockets are full."""
        run_loop(self.loop, lambda: self.conn._interest & WRITABLE)
        run_loop(self.loop, lambda: not select.select([], [self.conn.socket], [], 0)[1])

    def read(self) -> bool:
        """Read what is there. Returns: whether it has ended"""
        try:
            while data := self.peer.recv(65536):
                self.received += data
        except BlockingIOError:
            return False
        return True

    def read_to_end(self) -> bytes:
        self.conn.close()
        run_beside(self.loop, self.read)
        return self.received


@pytest.fixture
def sender(loop: LoopBase, tmp_path: Path) -> Iterator[Sender]:
    sender = Sender(loop, tmp_path / "file")
    yield sender
    sender.conn.abort()
    run_loop(loop, lambda: sender.over)
    sender.peer.close()


def test_file_piece_is_sent_between_what_is_written(sender: Sender) -> None:
    sender.conn.write(b"head")
    run_loop(sender.loop, lambda: not sender.conn.write_buffer.size)
    sender.send(1, len(DATA) - 2)
    sender.conn.write(b"tail")
    assert sender.read_to_end() == b"head" + DATA[1:-1] + b"tail"
    assert sender.conn.bytes_written == len(sender.received)


def test_file_piece_is_counted_in_the_queue(sender: Sender) -> None:
    sent: list[int] = []
    sender.send(0, len(DATA))
    sender.conn.when_sent(lambda: sent.append(sender.conn.bytes_written))
    assert sender.conn.write_buffer.size == len(DATA)
    assert sender.read_to_end() == DATA
    assert sent == [len(DATA)]


def test_file_that_becomes_shorter_resets_the_connection(sender: Sender) -> None:
    sender.send(0, len(DATA))
    sender.run_until_stopped()
    os.truncate(sender.path, sender.conn.bytes_written)
    with pytest.raises(ConnectionResetError):
        run_beside(sender.loop, sender.read)
    assert sender.over == [True]
    assert len(sender.received) < len(DATA)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_file_that_sendfile_refuses_is_read(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", refuse)
    sender.send(1, len(DATA) - 1)
    assert sender.read_to_end() == DATA[1:]


def test_refused_file_that_is_shorter_resets_the_connection(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "sendfile", refuse)
    sender.send(0, len(DATA) + 1)
    with pytest.raises(ConnectionResetError):
        run_beside(sender.loop, sender.read)
    assert sender.received == b""


@pytest.mark.parametrize("ending", ["sent", "abort", "peer", "stop"])
def test_file_is_let_go_at_the_end(sender: Sender, ending: str) -> None:
    file = sender.send(0, len(DATA))
    sender.run_until_stopped()
    assert file.holders == 1
    if ending == "sent":
        sender.read_to_end()
    elif ending == "abort":
        sender.conn.abort()
    elif ending == "peer":
        reset(sender.peer)
    else:
        sender.loop.stop()
        sender.over.append(True)
    run_loop(sender.loop, lambda: sender.over)
    assert file.holders == 0
    assert file.file.closed


def test_file_is_not_taken_behind_a_queue(sender: Sender) -> None:
    sender.conn.write(b"head")
    assert not sender.conn.write_file(NOBODYS, 0, 1)


def test_file_is_not_taken_by_a_connection_in_memory() -> None:
    assert not connection_pair().server.write_file(NOBODYS, 0, 1)

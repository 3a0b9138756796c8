"""Lines to a descriptor, whatever its reader does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from thor.cli import line_writer
from thor.cli.line_writer import BATCH_BYTES, LineWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: its reading and its writing end."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def full_pipe(pipe: tuple[int, int]) -> tuple[int, int]:
    """A pipe in which there is no room for another byte."""
    os.set_blocking(pipe[1], False)
    for size in (BATCH_BYTES, 1):
        try:
            while True:
                os.write(pipe[1], b"." * size)
        except BlockingIOError:
            pass
    os.set_blocking(pipe[1], True)
    return pipe


def read_until(fd: int, end: Callable[[bytes], object]) -> bytes:
    """Read until `end` is true of all that was read, and return that."""
    data = b""
    while not end(data):
        data += os.read(fd, 65536)
    return data


def blocked_writer(fd: int) -> LineWriter:
    """A writer whose thread is in a call that does not return, with one line."""
    writer = LineWriter(fd, "the log")
    writer.write("first")
    while not writer._taken:
        pass
    return writer


def test_lines_arrive_in_their_order(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], "the log")
    for number in range(200):
        writer.write(f"line {number}")
    writer.close()
    assert os.read(pipe[0], 65536).decode().splitlines() == [f"line {n}" for n in range(200)]


def test_lines_are_written_whole_and_at_most_a_pipe_s_atomic_size(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def note(fd: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    writer = LineWriter(pipe[1], "the log")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", note)
        for number in range(300):
            writer.write(f"{number} {'x' * 90}")
        writer.close()
    assert all(len(data) <= BATCH_BYTES and data.endswith(b"\n") for data in written)
    assert len(b"".join(written).splitlines()) == 300
    assert len(written) < 30


def test_write_returns_though_nobody_reads_and_the_count_follows(
    full_pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(line_writer, "MAX_QUEUED_BYTES", 1000)
    readable, writable = full_pipe
    writer = blocked_writer(writable)
    for number in range(300):
        writer.write(f"line {number:04}")
    data = read_until(readable, lambda data: data.endswith(b"could not be written\n"))
    writer.write("later")
    writer.close()
    data += os.read(readable, 65536)
    assert data.lstrip(b".").decode().splitlines() == [
        "first",
        *(f"line {number:04}" for number in range(100)),
        "thor: 200 lines of the log could not be written",
        "later",
    ]
    assert capfd.readouterr().err == ""


def test_what_is_lost_at_the_end_is_told_on_stderr(
    full_pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(line_writer, "MAX_QUEUED_BYTES", 1000)
    monkeypatch.setattr(line_writer, "CLOSE_TIMEOUT_S", 0.05)
    readable, writable = full_pipe
    writer = blocked_writer(writable)
    for _ in range(199):
        writer.write("x" * 9)
    thread = writer._thread
    writer.close()
    monkeypatch.undo()
    assert capfd.readouterr().err == "thor: 200 lines of the log could not be written\n"
    # So that nothing is left: the thread is in its call until there is room.
    read_until(readable, lambda data: len(data) >= 65536)
    assert thread is not None
    thread.join()


def test_reader_that_leaves_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    readable, writable = os.pipe()
    writer = LineWriter(writable, "the log")
    os.close(readable)
    writer.write("one")
    thread = writer._thread
    assert thread is not None
    thread.join()
    writer.write("two")
    writer.close()
    os.close(writable)
    assert capfd.readouterr().err == (
        "thor: the log ends here, nothing more is written: Broken pipe\n"
    )


def test_full_disk_is_told_once_and_tried_again(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(line_writer, "FAILED_RETRY_S", 0.001)
    left = [3, 2, 1]
    write = os.write

    def fill(fd: int, data: bytes) -> int:
        if fd != pipe[1]:
            return write(fd, data)
        if not left:
            return write(fd, data[:2])
        left.pop()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = LineWriter(pipe[1], "the log")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill)
        writer.write("one")
        writer.close()
    assert os.read(pipe[0], 100) == b"one\n"
    told = capfd.readouterr().err
    assert told == "thor: cannot write the log, trying again: No space left on device\n"


def test_descriptor_that_does_not_block_is_tried_again(
    full_pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    readable, writable = full_pipe
    os.set_blocking(writable, False)
    writer = LineWriter(writable, "the log")
    writer.write("one")
    data = read_until(readable, lambda data: data.endswith(b"one\n"))
    writer.close()
    assert data.lstrip(b".") == b"one\n"
    assert capfd.readouterr().err == ""

"""Bytes that go from one connection to another in the kernel, over real sockets."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from splice_support import BULK_BYTES, Joint, Kernel, bulk, pipes_open, run_beside, splicing
from tcp_support import reset

from thor.loop import LoopBase
from thor.tcp import TcpConnection
from thor.tcp import splice as splice_module
from thor.tcp.splice import (
    MAX_IDLE_PIPES,
    MAX_PIPES,
    MIN_SPLICE_BYTES,
    PIPE_BYTES,
    Pipes,
    Splice,
    pipes_of,
)
from thor.testing import connection_pair
from thor_support import run_loop

pytestmark = splicing

#: Small sockets: they are full after a few pieces.
SMALL = 64 * 1024


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def joint(kernel: Kernel, loop: LoopBase) -> Iterator[Joint]:
    joint = Joint(loop)
    yield joint
    joint.end()


@pytest.fixture
def tight(kernel: Kernel, loop: LoopBase) -> Iterator[Joint]:
    """With small sockets."""
    joint = Joint(loop, buffer_bytes=SMALL)
    yield joint
    joint.end()


def fill(joint: Joint) -> int:
    """Send until the destination's queue is a pipe that it cannot empty, and a bit more.

    Returns: how many bytes are on their way
    """
    sent = joint.fill()
    assert joint.dst.write_buffer.size
    assert not joint.dst.write_buffer  # not a byte of it is in this process
    more = bulk(sent + 1000)[sent:]
    assert joint.feed(more) == b""
    return sent + 1000


# -- bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["inet", "unix"])
@pytest.mark.parametrize("buffer_bytes", [0, SMALL])
def test_all_bytes_arrive_in_order(
    kernel: Kernel, loop: LoopBase, family: str, buffer_bytes: int
) -> None:
    joint = Joint(loop, family, buffer_bytes)
    data = bulk()
    assert joint.carry(data) == data
    assert (joint.src.bytes_read, joint.dst.bytes_written) == (BULK_BYTES, BULK_BYTES)
    assert joint.read + joint.went == BULK_BYTES
    assert joint.went == kernel.moved
    assert kernel.moved > 0
    joint.end()


def test_what_comes_in_bulk_does_not_leave_the_kernel(joint: Joint) -> None:
    joint.carry(bulk())
    assert joint.went > BULK_BYTES / 2


def test_what_comes_in_small_pieces_is_read(joint: Joint, kernel: Kernel) -> None:
    for _ in range(5):
        joint.carry(b"x" * 100)
        joint.again = False
    assert (joint.went, joint.read) == (100, 400)


def test_what_was_queued_before_goes_first(kernel: Kernel, loop: LoopBase) -> None:
    joint = Joint(loop)
    joint.dst.write(b"before ")
    joint.src.unread(b"given back ")
    joint.feed(bulk(100_000))
    assert joint.drain(100_018) == b"before given back " + bulk(100_000)
    joint.end()


def test_what_is_written_beside_it_comes_behind_it(tight: Joint) -> None:
    sent = fill(tight)
    tight.dst.write(b" and this")
    took = tight.src.bytes_read
    assert tight.drain(sent + 9) == bulk(sent)[:took] + b" and this" + bulk(sent)[took:]


@pytest.mark.parametrize("left", [MIN_SPLICE_BYTES - 1, MIN_SPLICE_BYTES, 100_000, PIPE_BYTES * 2])
def test_no_more_goes_than_there_is_room_for(joint: Joint, left: int) -> None:
    joint.left = left
    joint.again = False
    data = bulk(1_000_000)
    assert joint.carry(data) == data
    assert joint.went <= left
    assert joint.went + joint.read == len(data)
    assert bool(joint.went) is (left >= MIN_SPLICE_BYTES)


def test_urgent_data_holds_nothing_up(joint: Joint) -> None:
    joint.feed(bulk(100_000))
    joint.feeder.send(b"!", socket.MSG_OOB)
    joint.feed(bulk(100_000))
    assert joint.drain(200_000) == bulk(100_000) * 2


def test_nothing_there_after_all_changes_nothing(joint: Joint) -> None:
    joint.src.on_ready(1)
    joint.src.on_ready(1)
    assert joint.near.calls == []
    assert joint.carry(b"later") == b"later"


def test_what_was_sent_is_told_when_it_left(tight: Joint) -> None:
    told: list[int] = []
    fill(tight)
    took = tight.src.bytes_read
    tight.dst.when_sent(lambda: told.append(tight.dst.bytes_written))
    assert told == []
    tight.again = False
    run_beside(tight.loop, lambda: tight.take() or told)
    assert told[0] >= took


# -- a destination that does not take them -------------------------------------------------------


def test_source_is_not_read_while_the_destination_takes_nothing(tight: Joint) -> None:
    sent = fill(tight)
    assert tight.far.calls[:2] == [("stuck",), ("pause", True)]
    assert tight.far.calls[-1] == ("pause", True)
    assert tight.dst.write_buffer.size <= PIPE_BYTES
    assert tight.src.bytes_read - tight.dst.bytes_written == tight.dst.write_buffer.size
    assert tight.drain(sent) == bulk(sent)
    run_loop(tight.loop, lambda: not tight.dst._interest & 4)
    paused = [call[1] for call in tight.far.calls if call[0] == "pause"]
    assert paused == [True, False] * (len(paused) // 2)


def test_source_that_is_paused_by_the_program_is_not_read(joint: Joint) -> None:
    joint.then = lambda: joint.src.pause(True)
    joint.feed(bulk(1_000_000))
    run_loop(joint.loop, lambda: joint.went)
    went = joint.went
    for _ in range(3):
        joint.loop.run_once()
    assert joint.went == went
    joint.then = lambda: None
    joint.src.pause(False)
    assert joint.drain(1_000_000) == bulk(1_000_000)


# -- ends ----------------------------------------------------------------------------------------


def test_end_comes_after_all_bytes(tight: Joint) -> None:
    sent = fill(tight)
    tight.feeder.shutdown(socket.SHUT_WR)
    tight.drain(sent)
    run_loop(tight.loop, lambda: tight.near.calls)
    assert tight.near.calls == [("end",)]
    tight.dst.end_writing()
    run_beside(tight.loop, tight.take)
    assert tight.arrived == bulk(sent)


@pytest.mark.parametrize("end", ["close", "end_writing"])
def test_what_is_in_the_pipe_is_sent_before_the_end(tight: Joint, end: str) -> None:
    fill(tight)
    took = tight.src.bytes_read
    getattr(tight.dst, end)()
    run_beside(tight.loop, tight.take)
    assert tight.arrived == bulk(took)
    run_loop(tight.loop, lambda: tight.far.calls[-1] == ("disconnect",) or end != "close")


def test_source_that_is_reset_is_lost_and_what_it_sent_arrives(tight: Joint) -> None:
    fill(tight)
    reset(tight.feeder)
    took = tight.src.bytes_read
    assert tight.drain(took)[:took] == bulk(took)
    run_loop(tight.loop, lambda: tight.near.calls[-1:] == [("disconnect",)])
    assert tight.near.calls[-2:] == [("close", ConnectionResetError), ("disconnect",)]
    assert tight.near.calls[:-2] in ([], [("hangup",)])


def test_reset_that_the_splice_meets_is_no_end(joint: Joint) -> None:
    reset(joint.feeder)
    run_loop(joint.loop, lambda: joint.near.calls[-1:] == [("disconnect",)])
    assert joint.near.calls == [("close", ConnectionResetError), ("disconnect",)]


def test_source_that_is_gone_while_it_waits_is_read_to_its_end(tight: Joint) -> None:
    sent = fill(tight)
    tight.src.end_writing()
    tight.loop.run_once()
    tight.feeder.close()
    run_loop(tight.loop, lambda: tight.near.calls)
    assert tight.near.calls == [("hangup",)]
    tight.drain(sent)
    run_loop(tight.loop, lambda: tight.near.calls[-1] == ("disconnect",))
    assert tight.arrived == bulk(sent)
    assert tight.near.calls[1:] == [("end",), ("close", type(None)), ("disconnect",)]


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_destination_that_is_lost_drops_what_is_in_its_pipe(tight: Joint, how: str) -> None:
    fill(tight)
    before = pipes_open()
    if how == "reset":
        reset(tight.reader)
    else:
        tight.dst.abort()
    run_loop(tight.loop, lambda: tight.far.calls[-1:] == [("disconnect",)])
    assert tight.dst.write_buffer.size == 0
    assert pipes_open() == before - 2


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda joint: joint.src.abort(), id="source aborted"),
        pytest.param(lambda joint: joint.src.close(), id="source closed"),
        pytest.param(lambda joint: joint.src.pause(True), id="source paused"),
        pytest.param(lambda joint: joint.dst.abort(), id="destination aborted"),
        pytest.param(lambda joint: joint.dst.close(), id="destination closed"),
        pytest.param(lambda joint: joint.dst.end_writing(), id="destination ended"),
        pytest.param(lambda joint: (joint.src.abort(), joint.dst.abort()), id="both aborted"),
        pytest.param(lambda joint: joint.loop.stop(), id="loop stopped"),
    ],
)
def test_anything_may_be_done_when_bytes_went(
    kernel: Kernel, loop: LoopBase, end: Callable[[Joint], Any]
) -> None:
    joint = Joint(loop)

    def once() -> None:
        joint.then = lambda: None
        joint.again = False
        end(joint)

    joint.then = once
    joint.feed(bulk(1_000_000))
    for _ in range(20):
        loop.run_once()
    joint.take()
    assert bytes(joint.arrived) == bulk(1_000_000)[: len(joint.arrived)]
    joint.end()


def test_what_the_listener_raises_is_not_taken_for_a_loss(joint: Joint, expected_logs: Any) -> None:
    joint.loop.on_exception = "log"

    def fail() -> None:
        joint.then = lambda: None
        raise ConnectionResetError(errno.ECONNRESET, "the program's own")

    joint.then = fail
    joint.feed(bulk(100_000))
    run_loop(joint.loop, lambda: joint.near.calls)
    assert joint.near.calls == [("failed", ConnectionResetError)]


def test_stopped_loop_leaves_no_pipe(kernel: Kernel, loop: LoopBase) -> None:
    before = pipes_open()
    joint = Joint(loop, buffer_bytes=SMALL)
    fill(joint)
    assert pipes_open() > before
    loop.stop()
    assert pipes_open() == before
    joint.end()


# -- falling back --------------------------------------------------------------------------------


def refuse(code: int) -> Callable[[int, int], int | None]:
    def fail(source: int, target: int) -> int | None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EAGAIN])
def test_bytes_are_copied_where_splice_refuses_to_read(
    joint: Joint, kernel: Kernel, code: int
) -> None:
    kernel.fail = refuse(code)
    assert joint.carry(bulk()) == bulk()
    assert (joint.went, joint.read) == (0, BULK_BYTES)


def test_bytes_are_copied_where_splice_refuses_to_write(joint: Joint, kernel: Kernel) -> None:
    def fail(source: int, target: int) -> int | None:
        if target == joint.dst.socket.fileno():
            raise OSError(errno.EINVAL, "refused")
        return None

    kernel.fail = fail
    assert joint.carry(bulk()) == bulk()
    assert joint.went > 0


def test_error_of_the_source_is_not_taken_for_a_refusal(joint: Joint, kernel: Kernel) -> None:
    kernel.fail = refuse(errno.ETIMEDOUT)
    joint.feed(b"x")
    run_loop(joint.loop, lambda: joint.near.calls[-1:] == [("disconnect",)])
    assert joint.near.calls == [("close", TimeoutError), ("disconnect",)]


def test_error_of_the_destination_is_not_taken_for_a_refusal(joint: Joint, kernel: Kernel) -> None:
    def fail(source: int, target: int) -> int | None:
        if target == joint.dst.socket.fileno():
            raise BrokenPipeError(errno.EPIPE, "gone")
        return None

    kernel.fail = fail
    joint.feed(b"x")
    run_loop(joint.loop, lambda: joint.far.calls[-1:] == [("disconnect",)])
    assert joint.far.calls == [("close", BrokenPipeError), ("disconnect",)]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_bytes_are_copied_where_no_pipe_can_be_made(
    joint: Joint, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def pipe2(flags: int) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pipe2", pipe2)
    assert joint.carry(bulk()) == bulk()
    assert (joint.went, joint.read) == (0, BULK_BYTES)


def test_pipe_that_may_not_grow_is_used_as_it_is(
    joint: Joint, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = fcntl.fcntl

    def deny(fd: int, command: int, *args: Any) -> Any:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(errno.EPERM, "over the limit")
        return call(fd, command, *args)

    monkeypatch.setattr(fcntl, "fcntl", deny)
    assert joint.carry(bulk()) == bulk()
    assert joint.went > 0
    assert max(kernel.pieces) <= 64 * 1024


def test_bytes_are_copied_where_pipes_are_tiny(
    joint: Joint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: 8192)  # what is left to a user over the limit
    before = pipes_open()
    assert joint.carry(bulk()) == bulk()
    assert (joint.went, joint.read) == (0, BULK_BYTES)
    assert pipes_open() == before


def test_there_is_no_splice_where_the_system_has_none(
    joint: Joint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice_module, "_HAS_SPLICE", False)
    assert joint.src.splice_to(joint.dst, joint) is False
    assert joint.carry(bulk()) == bulk()
    assert joint.went == 0


def test_there_is_no_splice_in_memory(memory: LoopBase, joint: Joint) -> None:
    one, other = connection_pair(memory)
    assert one.splice_to(other, joint) is False
    assert one.splice_to(joint.dst, joint) is False
    assert joint.src.splice_to(other, joint) is False


@pytest.mark.parametrize("side", ["src", "dst"])
def test_there_is_no_splice_for_what_encrypts(joint: Joint, side: str) -> None:
    getattr(joint, side).is_encrypted = True
    assert joint.src.splice_to(joint.dst, joint) is False


def test_who_listens_for_data_gets_all_that_comes(joint: Joint) -> None:
    data = bulk()
    heard: list[bytes] = []
    joint.carry(data)
    joint.src.on("data", heard.append)
    went = joint.went
    assert joint.carry(data) == data
    assert b"".join(heard) == data
    assert joint.went == went


# -- pipes ---------------------------------------------------------------------------------------


def test_pipe_is_used_again(joint: Joint) -> None:
    joint.carry(bulk())
    before = pipes_open()
    joint.carry(bulk())
    assert pipes_open() == before


def test_number_of_pipes_is_bounded() -> None:
    pipes = Pipes()
    before = pipes_open()
    taken = [pipes.acquire() for _ in range(MAX_PIPES)]
    assert None not in taken
    assert pipes.acquire() is None
    assert pipes_open() == before + 2 * MAX_PIPES
    for number, pipe in enumerate(taken):
        assert pipe is not None
        (pipes.release if number % 2 else pipes.discard)(pipe)
    assert pipes_open() == before + 2 * MAX_IDLE_PIPES
    pipes.close()
    assert pipes_open() == before


def test_pipe_that_holds_bytes_is_not_used_again() -> None:
    pipes = Pipes()
    pipe = pipes.acquire()
    assert pipe is not None
    pipe.writer.write(b"old")
    pipes.discard(pipe)
    another = pipes.acquire()
    assert another is not None
    assert another.reader.read(3) is None
    pipes.release(another)
    pipes.close()


def test_many_that_wait_for_slow_readers_share_what_pipes_there_are(
    kernel: Kernel, loop: LoopBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice_module, "MAX_PIPES", 1)
    joints = [Joint(loop, buffer_bytes=SMALL) for _ in range(3)]
    sent = [joint.fill() for joint in joints]
    assert (
        sum(bool(joint.dst.write_buffer.size and not joint.dst.write_buffer) for joint in joints)
        == 1
    )
    for joint, size in zip(joints, sent, strict=True):
        assert joint.drain(size) == bulk(size)
        joint.end()


def test_forked_child_has_no_pipes_of_its_parent(joint: Joint) -> None:
    others = pipes_open()
    joint.carry(bulk())
    ours = pipes_open()
    assert ours > others
    child = os.fork()
    if not child:
        os._exit(pipes_open() - others)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pipes_open() == ours
    joint.carry(bulk())


def test_connection_that_ends_forgets_its_splice(joint: Joint) -> None:
    conn: TcpConnection = joint.src
    assert type(conn.stream) is Splice
    conn.abort()
    assert type(conn.stream) is not Splice
    assert pipes_of(joint.loop) is pipes_of(joint.loop)

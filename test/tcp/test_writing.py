"""What is written to a connection: when it leaves, who waits, what is too late."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tcp_support import MIB, Heard, memory_socket, played, read_all

from thor.loop import LoopBase
from thor.tcp import TcpConnection
from thor.testing import Pair, connection_pair, settle
from thor_support import run_loop

# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        pytest.param(b"bytes", b"bytes", id="bytes"),
        pytest.param("str \u20ac", b"str \xe2\x82\xac", id="str"),
        pytest.param(bytearray(b"array"), b"array", id="bytearray"),
        pytest.param(memoryview(b"view")[1:], b"iew", id="memoryview"),
        pytest.param(b"", b"", id="empty"),
    ],
)
def test_what_may_be_written(pair: Pair, memory: LoopBase, data: Any, sent: bytes) -> None:
    assert pair.client.write(data) is True
    settle(memory)
    assert memory_socket(pair.server).received == sent
    assert pair.client.bytes_written == len(sent)


def test_what_the_program_changes_after_writing_is_not_sent(pair: Pair, memory: LoopBase) -> None:
    data = bytearray(b"before")
    pair.client.write(data)
    data[:] = b"after!"
    settle(memory)
    assert memory_socket(pair.server).received == b"before"


@pytest.mark.parametrize("data", [None, 1, ["a"], object()], ids=["None", "int", "list", "object"])
def test_what_is_no_data_cannot_be_written(pair: Pair, data: Any) -> None:
    with pytest.raises(TypeError):
        pair.client.write(data)


def test_connections_that_write_in_the_same_turn_send_each_their_own(memory: LoopBase) -> None:
    """A queue passes from one connection to the next, empty."""
    pairs = [connection_pair(memory) for _ in range(3)]
    for turn in range(5):
        for number, pair in enumerate(pairs):
            pair.client.write(b"%d" % number * turn)
            pair.server.write(b"%d" % (9 - number))
        settle(memory)
        for number, pair in enumerate(pairs):
            pair.client.write(b"%d" % number)
    settle(memory)
    for number, pair in enumerate(pairs):
        assert memory_socket(pair.server).received == b"%d" % number * 15
        assert memory_socket(pair.client).received == b"%d" % (9 - number) * 5


def test_what_is_written_in_one_callback_leaves_in_one_call(pair: Pair, memory: LoopBase) -> None:
    settle(memory)
    for piece in (b"start ", b"body ", b"done"):
        pair.client.write(piece)
    assert memory_socket(pair.client).calls["send"] == 0
    settle(memory)
    assert memory_socket(pair.client).calls["send"] == 1
    assert memory_socket(pair.server).received == b"start body done"


def test_queue_above_its_high_mark_is_sent_at_once(pair: Pair) -> None:
    memory_socket(pair.server).buffer_bytes = 2 * MIB
    assert pair.client.write(b"x" * MIB) is True
    assert len(memory_socket(pair.server).received) == MIB


def test_peer_that_never_reads_pauses_the_writer_once(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.client)
    memory_socket(pair.server).buffer_bytes = 0
    answers = [pair.client.write(b"x" * 65536) for _ in range(8)]
    assert answers == [True] * 4 + [False] * 4
    assert heard.take() == [("pause", True)]
    settle(memory)
    memory_socket(pair.server).buffer_bytes = 8 * 65536 - pair.client.low_water - 1
    settle(memory)
    assert heard.take() == []
    assert pair.client.write(b"") is False
    memory_socket(pair.server).buffer_bytes += 1
    settle(memory)
    assert heard.take() == [("pause", False)]
    assert pair.client.write(b"") is True


def test_marks_are_settings(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.client)
    pair.client.high_water, pair.client.low_water = 10, 0
    memory_socket(pair.server).buffer_bytes = 0
    assert pair.client.write(b"x" * 10) is True
    assert pair.client.write(b"x") is False
    memory_socket(pair.server).buffer_bytes = 100
    settle(memory)
    assert heard.take() == [("pause", True), ("pause", False)]


def test_reading_resumed_inside_a_write_that_pauses_emits_nothing_in_it(
    pair: Pair, memory: LoopBase
) -> None:
    """A relay's pause: the writer's other side is told to go on, in the middle of a write."""
    heard: list[Any] = []
    pair.server.write(b"waiting")
    settle(memory)
    memory_socket(pair.server).buffer_bytes = 0

    def resume(paused: bool) -> None:
        heard.append(paused)
        pair.client.pause(False)

    pair.client.on("pause", resume)
    pair.client.on("data", heard.append)
    pair.client.write(b"x" * MIB)
    assert heard == [True]
    settle(memory)
    assert heard == [True, b"waiting"]


def test_writer_that_goes_on_inside_pause_false_is_paused_again(
    pair: Pair, memory: LoopBase
) -> None:
    heard = Heard(pair.client)
    writes = iter([b"y" * MIB, b"z" * MIB])

    def refill(paused: bool) -> None:
        data = b"" if paused else next(writes, b"")
        if data:
            pair.client.write(data)

    pair.client.on("pause", refill)
    pair.client.write(b"x" * MIB)
    got = 0
    for _ in range(100):
        settle(memory)
        got += len(memory_socket(pair.server).received)
        memory_socket(pair.server).received.clear()
    assert got == 3 * MIB
    assert heard.take() == [("pause", True), ("pause", False)] * 3


def test_data_written_and_closed_inside_pause_false_is_sent(pair: Pair, memory: LoopBase) -> None:
    def finish(paused: bool) -> None:
        if not paused:
            pair.client.write(b"the end")
            pair.client.close()

    pair.client.on("pause", finish)
    pair.client.low_water = 0
    pair.client.write(b"x" * MIB)
    heard = Heard(pair.server)
    pair.server.pause(False)
    settle(memory)
    assert heard.events[0] == ("data", b"x" * MIB + b"the end")


def test_who_ends_inside_pause_false_is_told_when_all_was_sent(
    pair: Pair, memory: LoopBase
) -> None:
    told: list[str] = []

    def finish(paused: bool) -> None:
        if not paused:
            pair.client.write(b"the end")
            pair.client.when_sent(lambda: told.append("sent"))

    pair.client.on("pause", finish)
    memory_socket(pair.server).buffer_bytes = 1000
    pair.client.write(b"x" * MIB)
    memory_socket(pair.server).buffer_bytes = 2 * MIB
    settle(memory)
    assert memory_socket(pair.server).received == b"x" * MIB + b"the end"
    assert told == ["sent"]


def test_interrupt_while_sending_keeps_the_others_from_nothing(memory: LoopBase) -> None:
    """`KeyboardInterrupt` leaves `run()`; the program may drain and run again."""
    first, second = connection_pair(memory), connection_pair(memory)

    def interrupt(paused: bool) -> None:
        if not paused:
            raise KeyboardInterrupt

    first.client.on("pause", interrupt)
    memory_socket(first.server).buffer_bytes = 0
    first.client.write(b"x" * MIB)
    memory_socket(first.server).buffer_bytes = 2 * MIB
    second.client.write(b"drained")
    with pytest.raises(KeyboardInterrupt):
        memory.run_once()
    settle(memory)
    assert memory_socket(second.server).received == b"drained"


def test_write_that_was_interrupted_is_nobody_else_s(memory: LoopBase) -> None:
    first, second = connection_pair(memory), connection_pair(memory)

    def interrupt(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code is not TcpConnection.write.__code__:
            return None
        buffer = frame.f_locals.get("buffer")
        if buffer and not buffer.size:
            sys.settrace(before)
            raise KeyboardInterrupt
        return interrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            first.client.write(b"secret")
    finally:
        sys.settrace(before)
    first.client.close()
    settle(memory)
    second.client.write(b"own")
    settle(memory)
    assert memory_socket(second.server).received == b"own"


def test_many_small_pieces_cross_a_real_socket(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        for number in range(20_000):
            conn.write(b"%06d\n" % number)
        conn.close()
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read_all(peer)))
        reader.start()
        heard = Heard(conn)
        run_loop(loop, lambda: "disconnect" in heard.names())
        reader.join()
        assert got == [b"".join(b"%06d\n" % number for number in range(20_000))]


# -- writing to what is over -----------------------------------------------------------------------


def settle_loop_of(conn: TcpConnection) -> None:
    settle(conn.loop)


def stop_loop_of(conn: TcpConnection) -> None:
    conn.loop.stop()


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ([TcpConnection.close], "flushing"),
        ([TcpConnection.end_writing], "flushing"),
        ([TcpConnection.abort], "closed"),
        ([TcpConnection.end_writing, settle_loop_of], "ended"),
        ([TcpConnection.close, settle_loop_of], "closed"),
        ([stop_loop_of], "closed"),
    ],
    ids=["close", "end_writing", "abort", "ended", "closed", "stopped"],
)
def test_writing_after_the_end_names_the_state(
    pair: Pair, end: list[Callable[[TcpConnection], None]], state: str
) -> None:
    for step in end:
        step(pair.client)
    with pytest.raises(ValueError, match=state):
        pair.client.write(b"too late")


@pytest.mark.parametrize("how", ["reset", "send fails", "end"])
def test_writing_after_close_was_emitted_is_an_error_too(
    pair: Pair, memory: LoopBase, how: str
) -> None:
    caught: list[ValueError] = []

    def write() -> None:
        try:
            pair.client.write(b"x")
        except ValueError as exc:
            caught.append(exc)

    pair.client.on("close", write)
    pair.client.pause(False)
    if how == "reset":
        pair.server.abort()
    elif how == "end":
        pair.server.close()
    else:
        memory_socket(pair.client).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
        pair.client.write(b"x")
    settle(memory)
    assert len(caught) == 1


def test_writing_before_the_loss_was_told_is_dropped(pair: Pair, memory: LoopBase) -> None:
    """The program cannot know yet, so it is no misuse."""
    heard = Heard(pair.client)
    memory_socket(pair.client).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    pair.client.write(b"x" * MIB)
    assert pair.client.write(b"y") is True
    assert heard.events == []
    settle(memory)
    assert heard.take() == [("close",), ("disconnect",)]


def test_writing_between_the_peers_end_and_close_is_dropped(pair: Pair, memory: LoopBase) -> None:
    memory_socket(pair.server).buffer_bytes = 0
    pair.client.write(b"stuck")
    pair.client.pause(False)
    pair.server.end_writing()
    settle(memory)
    assert pair.client.write(b"x") is False

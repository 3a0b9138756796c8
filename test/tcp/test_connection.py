"""One connection: what it emits, what it does to the wire, in every order that hurts."""

from __future__ import annotations

import errno
import gc
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tcp_support import EVENTS, Owner, played, read_all, reset
from thor.loop import LoopBase
from thor.tcp import TcpConnection
from thor.testing import (
    Pair,
    Recorder,
    advance,
    connection_pair,
    memory_loop,
    settle,
)
from thor_support import run_loop

MIB = 1 << 20


class Heard(Recorder):
    """All that a connection emits."""

    def __init__(self, conn: TcpConnection) -> None:
        super().__init__(conn, *EVENTS)

    def names(self) -> list[str]:
        return [event[0] for event in self.events]


@pytest.fixture
def memory() -> LoopBase:
    return memory_loop()


@pytest.fixture
def pair(memory: LoopBase) -> Pair:
    return connection_pair(memory)


# -- as documented -------------------------------------------------------------------------------


def test_a_new_connection_emits_no_data_until_it_is_unpaused(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"early")
    settle(memory)
    assert heard.events == []
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"early")]


def test_pausing_stops_data_and_unpausing_resumes_it(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.server.pause(True)
    pair.client.write(b"one")
    settle(memory)
    assert heard.take() == []
    pair.server.pause(False)
    settle(memory)
    pair.client.write(b"two")
    settle(memory)
    assert heard.take() == [("data", b"onetwo")]


def test_close_writes_what_is_queued_first(loop: LoopBase) -> None:
    payload = bytes(range(256)) * (10 * MIB // 256)
    with played(loop) as (conn, peer):
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read_all(peer)))
        reader.start()
        heard = Heard(conn)
        conn.write(payload)
        conn.close()
        run_loop(loop, lambda: "disconnect" in heard.names())
        reader.join()
        assert got == [payload]
        assert heard.names() == ["pause", "disconnect"]


@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["closed", "reset"])
def test_close_is_emitted_when_the_other_side_ends_the_connection(
    loop: LoopBase, how: Callable[[socket.socket], None]
) -> None:
    with played(loop) as (conn, peer):
        heard = Recorder(conn, "close", "disconnect")
        conn.pause(False)
        how(peer)
        run_loop(loop, lambda: len(heard.events) == 2)
        loop.run_once()
        assert heard.take() == [("close",), ("disconnect",)]


def test_pause_tells_the_writer_to_wait_until_the_peer_has_read(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Recorder(conn, "pause")
        written = 0
        while conn.write(b"x" * 65536):
            written += 65536
            loop.run_once()
        written += 65536
        loop.run_once()
        assert heard.events == [("pause", True)]
        assert conn._buffer.size <= conn.high_water + 65536
        while written:
            written -= len(peer.recv(MIB))
            loop.run_once()
        run_loop(loop, lambda: len(heard.events) == 2)
        assert heard.take() == [("pause", True), ("pause", False)]


# -- reading -------------------------------------------------------------------------------------


def test_pause_holds_inside_the_listener_that_calls_it(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.on("data", lambda data: conn.pause(True))
        peer.sendall(b"x" * 200_000)
        conn.pause(False)
        run_loop(loop, lambda: heard.events)
        for _ in range(3):
            loop.run_once()
        assert len(heard.events) == 1
        assert 0 < len(heard.events[0][1]) < 200_000


def test_pausing_and_unpausing_inside_a_listener_loses_and_repeats_nothing(
    pair: Pair, memory: LoopBase
) -> None:
    heard = Heard(pair.server)

    def toggle(_: bytes) -> None:
        pair.server.pause(True)
        pair.server.pause(False)

    pair.server.on("data", toggle)
    pair.server.pause(False)
    pair.client.write(bytes(range(256)) * 1024)
    settle(memory)
    assert heard.take() == [("data", bytes(range(256)) * 1024)]


def test_each_turn_reads_each_connection_once(memory: LoopBase) -> None:
    """So that one with much to say does not keep the others waiting."""
    pairs = [connection_pair(memory, buffer_bytes=4 * MIB) for _ in range(2)]
    order: list[int] = []
    for number, (client, server) in enumerate(pairs):
        server.on("data", lambda data, number=number: order.append(number))
        server.pause(False)
        client.write(b"x" * 3 * 65536)
    settle(memory)
    assert order == [0, 1] * 3


def test_nothing_is_read_after_close(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.server.close()
    pair.client.write(b"late")
    settle(memory)
    assert heard.take() == [("disconnect",)]


def test_bytes_given_back_come_first(pair: Pair, memory: LoopBase) -> None:
    server = pair.server
    first = Recorder(server, "data")
    server.pause(False)
    pair.client.write(b"head+body")
    settle(memory)
    assert first.take() == [("data", b"head+body")]
    server.pause(True)
    server.unread(b"body")
    pair.client.write(b"+more")
    settle(memory)
    assert first.take() == []
    server.pause(False)
    settle(memory)
    assert first.take() == [("data", b"body+more")]


def test_bytes_given_back_in_a_listener_come_first(pair: Pair, memory: LoopBase) -> None:
    server = pair.server
    seen: list[bytes] = []

    def take_one_byte(data: bytes) -> None:
        seen.append(data[:1])
        server.unread(data[1:])

    server.on("data", take_one_byte)
    server.pause(False)
    pair.client.write(b"abc")
    settle(memory)
    pair.client.write(b"def")
    settle(memory)
    assert b"".join(seen) == b"abcdef"


def test_bytes_given_back_twice_keep_their_order(pair: Pair, memory: LoopBase) -> None:
    heard = Recorder(pair.server, "data")
    pair.server.unread(b"second ")
    pair.server.unread(b"first ")
    pair.server.unread(b"")
    pair.client.write(b"third")
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"first second third")]


def test_bytes_given_back_after_the_end_are_followed_by_the_end_again(
    pair: Pair, memory: LoopBase
) -> None:
    """Who hands a connection on gives the whole rest of the stream on, its end too."""
    pair.server.allow_half_open = True
    heard = Recorder(pair.server, "data", "end", "close")
    pair.server.pause(False)
    pair.client.write(b"rest")
    pair.client.end_writing()
    settle(memory)
    assert heard.take() == [("data", b"rest"), ("end",)]
    pair.server.unread(b"rest")
    settle(memory)
    assert heard.take() == [("data", b"rest"), ("end",)]


def test_bytes_given_back_are_dropped_by_close(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.server.unread(b"x")
    pair.server.close()
    pair.server.unread(b"y")
    settle(memory)
    assert heard.take() == [("disconnect",)]


# -- half-close ----------------------------------------------------------------------------------


def test_by_default_a_connection_answers_and_closes_when_the_peer_has_finished(
    loop: LoopBase,
) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.on("end", lambda: conn.write(b"last words"))
        conn.pause(False)
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"question"), ("end",), ("close",), ("disconnect",)]
        assert read_all(peer) == b"last words"


def test_a_half_open_connection_stays_writable_after_the_peer_has_finished(
    loop: LoopBase,
) -> None:
    with played(loop) as (conn, peer):
        conn.allow_half_open = True
        heard = Heard(conn)
        conn.pause(False)
        peer.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: heard.events)
        for _ in range(3):
            loop.run_once()
        assert heard.take() == [("end",)]
        conn.write(b"still here")
        loop.run_once()
        assert peer.recv(100) == b"still here"
        conn.close()
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("disconnect",)]
        assert peer.recv(100) == b""


def test_a_connection_that_finished_writing_still_reads(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.pause(False)
        conn.write(b"request")
        conn.end_writing()
        loop.run_once()
        assert read_all(peer) == b"request"
        peer.sendall(b"answer")
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("data", b"answer")]
        peer.close()
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("end",), ("close",), ("disconnect",)]


def test_data_after_half_close_is_forwarded(memory: LoopBase) -> None:
    """A relay of two connections: each direction ends on its own."""
    left, right = connection_pair(memory), connection_pair(memory)
    near, far = left.server, right.client
    for source, sink in ((near, far), (far, near)):
        source.allow_half_open = True
        source.on("data", sink.write)
        source.on("end", sink.end_writing)
        source.pause(False)
    browser, origin = Heard(left.client), Heard(right.server)
    for end in (left.client, right.server):
        end.allow_half_open = True
        end.pause(False)
    left.client.write(b"ask")
    left.client.end_writing()
    settle(memory)
    assert origin.take() == [("data", b"ask"), ("end",)]
    right.server.write(b"tell")
    settle(memory)
    assert browser.take() == [("data", b"tell")]
    right.server.end_writing()
    settle(memory)
    assert browser.take() == [("end",), ("close",), ("disconnect",)]
    assert origin.take() == [("close",), ("disconnect",)]


@pytest.mark.parametrize("half_open", [False, True])
def test_a_connection_whose_two_directions_have_ended_closes_by_itself(
    loop: LoopBase, half_open: bool
) -> None:
    with played(loop) as (conn, peer):
        conn.allow_half_open = half_open
        heard = Heard(conn)
        conn.end_writing()
        conn.pause(False)
        loop.run_once()
        peer.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("end",), ("close",), ("disconnect",)]


def test_what_is_queued_when_the_peer_finishes_is_sent(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            pass
        total = conn._buffer.size + conn.bytes_written
        peer.shutdown(socket.SHUT_WR)
        conn.pause(False)
        run_loop(loop, lambda: "end" in heard.names())
        got = 0
        while got < total:
            got += len(peer.recv(MIB))
            loop.run_once()
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert [name for name in heard.names() if name != "pause"] == ["end", "close", "disconnect"]


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
    assert pair.server.socket.received == sent
    assert pair.client.bytes_written == len(sent)


def test_what_the_program_changes_after_writing_is_not_sent(pair: Pair, memory: LoopBase) -> None:
    data = bytearray(b"before")
    pair.client.write(data)
    data[:] = b"after!"
    settle(memory)
    assert pair.server.socket.received == b"before"


@pytest.mark.parametrize("data", [None, 1, ["a"], object()], ids=repr)
def test_what_is_no_data_cannot_be_written(pair: Pair, data: Any) -> None:
    with pytest.raises(TypeError):
        pair.client.write(data)


def test_what_is_written_in_one_callback_leaves_in_one_call(pair: Pair, memory: LoopBase) -> None:
    settle(memory)
    for piece in (b"start ", b"body ", b"done"):
        pair.client.write(piece)
    assert pair.client.socket.calls["send"] == 0
    settle(memory)
    assert pair.client.socket.calls["send"] == 1
    assert pair.server.socket.received == b"start body done"


def test_a_queue_above_its_high_mark_is_sent_at_once(pair: Pair) -> None:
    pair.server.socket.buffer_bytes = 2 * MIB
    assert pair.client.write(b"x" * MIB) is True
    assert len(pair.server.socket.received) == MIB


def test_a_peer_that_never_reads_pauses_the_writer_once(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.client)
    pair.server.socket.buffer_bytes = 0
    answers = [pair.client.write(b"x" * 65536) for _ in range(8)]
    assert answers == [True] * 4 + [False] * 4
    assert heard.take() == [("pause", True)]
    settle(memory)
    pair.server.socket.buffer_bytes = 8 * 65536 - pair.client.low_water - 1
    settle(memory)
    assert heard.take() == []
    assert pair.client.write(b"") is False
    pair.server.socket.buffer_bytes += 1
    settle(memory)
    assert heard.take() == [("pause", False)]
    assert pair.client.write(b"") is True


def test_marks_are_settings(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.client)
    pair.client.high_water, pair.client.low_water = 10, 0
    pair.server.socket.buffer_bytes = 0
    assert pair.client.write(b"x" * 10) is True
    assert pair.client.write(b"x") is False
    pair.server.socket.buffer_bytes = 100
    settle(memory)
    assert heard.take() == [("pause", True), ("pause", False)]


def test_reading_resumed_inside_a_write_that_pauses_emits_nothing_in_it(
    pair: Pair, memory: LoopBase
) -> None:
    """A relay's pause: the writer's other side is told to go on, in the middle of a write."""
    heard: list[Any] = []
    pair.server.write(b"waiting")
    settle(memory)
    pair.server.socket.buffer_bytes = 0
    pair.client.on("pause", lambda paused: (heard.append(paused), pair.client.pause(False)))
    pair.client.on("data", heard.append)
    pair.client.write(b"x" * MIB)
    assert heard == [True]
    settle(memory)
    assert heard == [True, b"waiting"]


def test_a_writer_that_goes_on_inside_pause_false_is_paused_again(
    pair: Pair, memory: LoopBase
) -> None:
    heard = Heard(pair.client)
    writes = iter([b"y" * MIB, b"z" * MIB])

    def refill(paused: bool) -> None:
        data = next(writes, b"")
        if not paused and data:
            pair.client.write(data)

    pair.client.on("pause", lambda paused: paused or refill(paused))
    pair.client.write(b"x" * MIB)
    got = 0
    for _ in range(100):
        settle(memory)
        got += len(pair.server.socket.received)
        pair.server.socket.received.clear()
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


def test_short_sends_lose_nothing(pair: Pair, memory: LoopBase) -> None:
    pair.server.socket.buffer_bytes = 1000
    heard = Heard(pair.server)
    expected = b""
    for number in range(200):
        piece = b"%d," % number * (number + 1)
        expected += piece
        pair.client.write(piece)
    pair.client.close()
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", expected), ("end",), ("close",), ("disconnect",)]
    assert pair.client.bytes_written == len(expected) == pair.server.bytes_read


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


def test_writable_is_asked_for_only_after_a_short_send(pair: Pair, memory: LoopBase) -> None:
    asked: list[int] = []
    poller: Any = memory._poller
    modify = poller.modify
    poller.modify = lambda fd, bits: (asked.append(bits), modify(fd, bits))
    pair.client.write(b"small")
    settle(memory)
    assert asked == []
    pair.server.socket.buffer_bytes = 10
    pair.client.write(b"much more than that")
    settle(memory)
    pair.server.socket.received.clear()
    settle(memory)
    pair.server.socket.received.clear()
    settle(memory)
    assert len(asked) == 2


def test_when_sent_tells_when_the_kernel_has_it_all(pair: Pair, memory: LoopBase) -> None:
    told: list[str] = []
    pair.server.socket.buffer_bytes = 10
    pair.client.write(b"x" * 10)
    pair.client._when_sent(lambda: told.append("ten"))
    pair.client.write(b"x" * 10)
    pair.client._when_sent(lambda: told.append("twenty"))
    assert told == []
    settle(memory)
    assert told == ["ten"]
    pair.server.socket.received.clear()
    settle(memory)
    assert told == ["ten", "twenty"]
    pair.client._when_sent(lambda: told.append("nothing queued"))
    settle(memory)
    assert told[2:] == ["nothing queued"]


# -- what a method causes comes after the callback -------------------------------------------------


@pytest.mark.parametrize("method", ["close", "abort", "end_writing"])
def test_a_method_never_emits(pair: Pair, memory: LoopBase, method: str) -> None:
    pair.client.end_writing()
    settle(memory)
    heard = Heard(pair.server)
    getattr(pair.server, method)()
    assert heard.events == []


# -- writing to what is over -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda conn: conn.close(), "flushing"),
        (lambda conn: conn.end_writing(), "flushing"),
        (lambda conn: conn.abort(), "closed"),
        (lambda conn: (conn.end_writing(), settle(conn._loop)), "ended"),
        (lambda conn: (conn.close(), settle(conn._loop)), "closed"),
        (lambda conn: conn._loop.stop(), "closed"),
    ],
    ids=["close", "end_writing", "abort", "ended", "closed", "stopped"],
)
def test_writing_after_the_end_names_the_state(
    pair: Pair, end: Callable[[TcpConnection], Any], state: str
) -> None:
    end(pair.client)
    with pytest.raises(ValueError, match=state):
        pair.client.write(b"too late")


def test_writing_after_close_was_emitted_is_an_error_too(pair: Pair, memory: LoopBase) -> None:
    caught: list[ValueError] = []

    def write() -> None:
        try:
            pair.client.write(b"x")
        except ValueError as why:
            caught.append(why)

    pair.client.on("close", write)
    pair.client.pause(False)
    pair.server.abort()
    settle(memory)
    assert len(caught) == 1


def test_writing_before_the_loss_was_told_is_dropped(pair: Pair, memory: LoopBase) -> None:
    """The program cannot know yet, so it is no misuse."""
    heard = Heard(pair.client)
    pair.client.socket.fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    pair.client.write(b"x" * MIB)
    assert pair.client.write(b"y") is True
    assert heard.events == []
    settle(memory)
    assert heard.take() == [("close",), ("disconnect",)]


def test_writing_between_the_peers_end_and_close_is_dropped(pair: Pair, memory: LoopBase) -> None:
    pair.server.socket.buffer_bytes = 0
    pair.client.write(b"stuck")
    pair.client.pause(False)
    pair.server.end_writing()
    settle(memory)
    assert pair.client.write(b"x") is False


# -- loss ------------------------------------------------------------------------------------------


def test_a_reset_is_told_after_the_data_before_it(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"last")
        reset(peer)
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"last"), ("close",), ("disconnect",)]


def test_a_send_that_fails_ends_the_connection_after_what_has_arrived(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"answer")
        peer.shutdown(socket.SHUT_WR)
        reset(peer)
        conn.write(b"never read")  # EPIPE: the peer's FIN came before its RST
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"answer"), ("end",), ("close",), ("disconnect",)]


def test_a_reset_that_a_send_finds_is_no_clean_end(loop: LoopBase) -> None:
    """The kernel tells a reset once; what a `recv` then finds looks like a FIN."""
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"answ")
        reset(peer)
        conn.write(b"never read")
        conn._flush()
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"answ"), ("close",), ("disconnect",)]


def test_a_reset_while_paused_is_told_at_once_if_nothing_is_left(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        reset(peer)
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("close",), ("disconnect",)]


def test_a_reset_while_paused_keeps_what_is_left_and_does_not_spin(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"kept")
        reset(peer)
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("hangup",)]
        assert loop._poller is not None
        assert loop._poller.poll(0) == []
        assert conn.write(b"x") is True  # dropped: close was not told yet
        loop.run_once()
        assert heard.take() == []
        conn.pause(False)
        loop.run_once()
        assert heard.take() == [("data", b"kept"), ("close",), ("disconnect",)]


def test_a_hang_up_is_told_once_and_pausing_again_holds(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.on("data", lambda data: pair.server.pause(True))
    pair.server.socket.buffer_bytes = MIB
    pair.client.write(b"x" * 3 * 65536)
    settle(memory)
    pair.server.socket.reset()
    for number in range(3):
        settle(memory)
        assert heard.events == [("hangup",), ("data", b"x" * number * 65536)][: number + 1]
        pair.server.pause(False)
    settle(memory)
    assert heard.names() == ["hangup", "data", "close", "disconnect"]


def test_unread_holds_the_rest_of_a_broken_connection(pair: Pair, memory: LoopBase) -> None:
    pair.client.write(b"abcdef")
    settle(memory)
    pair.server.socket.reset()
    seen: list[bytes] = []

    def take_two(data: bytes) -> None:
        seen.append(data[:2])
        pair.server.unread(data[2:])

    pair.server.on("data", take_two)
    heard = Recorder(pair.server, "close", "disconnect")
    settle(memory)
    pair.server.pause(False)
    settle(memory)
    assert seen == [b"ab", b"cd", b"ef"]
    assert heard.take() == [("close",), ("disconnect",)]


def test_a_reset_while_the_queue_is_full_is_told(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            loop.run_once()
        loop.run_once()
        reset(peer)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("pause", True), ("close",), ("disconnect",)]


def test_a_reset_while_flushing_after_close_ends_in_disconnect(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            loop.run_once()
        conn.close()
        loop.run_once()
        reset(peer)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("pause", True), ("disconnect",)]


@pytest.mark.parametrize("half_open", [False, True])
def test_a_reset_after_the_peers_end_is_told(loop: LoopBase, half_open: bool) -> None:
    with played(loop) as (conn, peer):
        conn.allow_half_open = half_open
        while conn.write(b"x" * 65536):
            loop.run_once()
        heard = Heard(conn)
        conn.pause(False)
        peer.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: heard.events)
        reset(peer)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("end",), ("close",), ("disconnect",)]


def test_an_error_of_the_network_ends_the_connection(pair: Pair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.server.pause(False)
    pair.server.socket.fail("recv", TimeoutError(errno.ETIMEDOUT, "no answer"))
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("close", TimeoutError), ("disconnect",)]


def test_a_shutdown_that_fails_ends_the_connection(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.socket.shutdown(socket.SHUT_RDWR)
        reset(peer)
        conn.end_writing()
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.names()[-2:] == ["close", "disconnect"]


# -- ending from inside an event, in every way ---------------------------------------------------


def _provoke(pair: Pair, event: str) -> None:
    """Have the server side emit `event`, whatever else comes with it."""
    server, client, loop = pair.server, pair.client, pair.server._loop
    if event == "hangup":
        client.write(b"left")
        settle(loop)
        server.socket.reset()
        settle(loop)
        return
    server.pause(False)
    if event == "pause":
        client.socket.buffer_bytes = 0
        loop._soon(server.write, b"x" * MIB)
        loop._soon(server.close)
    elif event == "data":
        client.write(b"data")
    elif event == "end":
        client.end_writing()
    elif event == "close":
        client.abort()
    elif event == "disconnect":
        server.close()
    settle(loop)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("method", ["close", "abort"])
def test_ending_inside_any_event_is_followed_by_one_disconnect(
    pair: Pair, memory: LoopBase, event: str, method: str
) -> None:
    heard = Heard(pair.server)
    pair.server.once(event, lambda *args: getattr(pair.server, method)())
    _provoke(pair, event)
    pair.client.socket.buffer_bytes = 2 * MIB
    settle(memory)
    before = ["close"] if event == "close" else []
    if event not in ("close", "disconnect"):
        before = [event]
    assert heard.names() == [*before, "disconnect"]


@pytest.mark.parametrize("event", EVENTS)
def test_stopping_the_loop_inside_any_event_forgets_the_connection(
    pair: Pair, memory: LoopBase, event: str
) -> None:
    pair.server.once(event, lambda *args: memory.stop())
    fd = pair.server.socket.fileno()
    _provoke(pair, event)
    assert fd not in memory.registered_fd_handlers()
    assert pair.server.socket.fileno() == -1
    assert pair.server.tcp_connected is False


@pytest.mark.parametrize("event", EVENTS)
def test_a_listener_that_raises_resets_its_connection(
    pair: Pair, memory: LoopBase, event: str, expected_logs: Any
) -> None:
    memory.on_exception = "log"

    def fail(*args: Any) -> None:
        raise RuntimeError("oops")

    heard = Recorder(pair.server, "close", "disconnect")
    pair.server.once(event, fail)
    peer = Recorder(pair.client, "close")
    pair.client.pause(False)
    _provoke(pair, event)
    settle(memory)
    told = [event[0] for event in heard.take()]
    assert told == (["close", "disconnect"] if event == "close" else ["disconnect"])
    if event not in ("close", "disconnect", "hangup"):
        assert peer.take() == [("close",)]


def test_disconnect_comes_once_whatever_ends_at_the_same_time(
    pair: Pair, memory: LoopBase
) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.client.abort()
    pair.server.end_writing()
    pair.server.close()
    pair.server.close()
    pair.server.abort()
    pair.server.abort()
    settle(memory)
    advance(memory, 1)
    assert heard.take() == [("disconnect",)]


def test_abort_resets_the_peer_and_drops_the_queue(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.write(b"never sent")
        conn.abort()
        loop.run_once()
        assert heard.take() == [("disconnect",)]
        with pytest.raises(ConnectionResetError):
            peer.recv(100)


def test_abort_while_flushing_after_close_is_at_once(loop: LoopBase) -> None:
    with played(loop) as (conn, _):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            loop.run_once()
        conn.close()
        loop.run_once()
        assert heard.take() == [("pause", True)]
        conn.abort()
        loop.run_once()
        assert heard.take() == [("disconnect",)]


# -- the loop's stop -------------------------------------------------------------------------------


def test_stopping_the_loop_closes_connections_without_a_word(loop: LoopBase) -> None:
    with played(loop) as (open_conn, peer), played(loop) as (broken, other):
        other.sendall(b"left")
        reset(other)
        heard, hung = Heard(open_conn), Heard(broken)
        run_loop(loop, lambda: hung.events)
        loop.stop()
        assert heard.take() == []
        assert hung.take() == [("hangup",)]
        assert open_conn.socket.fileno() == broken.socket.fileno() == -1
        assert peer.recv(1) == b""
        open_conn.pause(False)
        open_conn.close()
        loop.run_once()
        assert heard.take() == []


def test_what_was_written_in_the_turn_of_the_stop_is_sent(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        conn.on("data", lambda data: (conn.write(b"bye"), loop.stop()))
        conn.pause(False)
        peer.sendall(b"x")
        loop.run()
        assert read_all(peer) == b"bye"


# -- the layer above -------------------------------------------------------------------------------


def test_the_owner_is_called_before_listeners_and_told_everything(
    pair: Pair, memory: LoopBase
) -> None:
    owner = Owner(pair.server)
    pair.server.on("data", lambda data: owner.calls.append(("listener", data)))
    pair.client.socket.buffer_bytes = 0
    pair.client.pause(False)
    pair.server.pause(False)
    pair.server.write(b"x" * MIB)
    pair.client.write(b"hello")
    settle(memory)
    pair.client.socket.buffer_bytes = MIB
    settle(memory)
    pair.client.end_writing()
    settle(memory)
    assert owner.calls == [
        ("pause", True),
        ("stuck",),
        ("data", b"hello"),
        ("listener", b"hello"),
        ("pause", False),
        ("end",),
        ("close", type(None)),
        ("disconnect",),
    ]


def test_an_owner_that_closes_keeps_the_event_from_listeners(pair: Pair, memory: LoopBase) -> None:
    owner: Any = Owner(pair.server)
    heard = Heard(pair.server)
    owner.data = lambda data: pair.server.close()
    pair.server.pause(False)
    pair.client.write(b"hello")
    settle(memory)
    assert heard.take() == [("disconnect",)]


def test_an_owner_hears_of_a_hang_up_while_paused(pair: Pair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.client.write(b"left")
    settle(memory)
    pair.server.socket.reset()
    settle(memory)
    assert owner.calls == [("hangup",)]
    pair.server.pause(False)
    settle(memory)
    assert owner.calls == [
        ("hangup",),
        ("data", b"left"),
        ("close", ConnectionResetError),
        ("disconnect",),
    ]


def test_an_owner_decides_what_a_failed_listener_means(
    pair: Pair, memory: LoopBase, expected_logs: Any
) -> None:
    memory.on_exception = "log"
    owner: Any = Owner(pair.server)

    def fail(data: bytes) -> None:
        raise LookupError

    owner.data = fail
    pair.server.pause(False)
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("failed", LookupError)]
    assert pair.server.tcp_connected


# -- what can be seen ------------------------------------------------------------------------------


def test_addresses_of_both_sides_are_known(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        assert conn.address == peer.getsockname()
        assert conn.local_address == peer.getpeername()
        assert conn.socket.fileno() >= 0


def test_repr_shows_both_states(pair: Pair) -> None:
    assert repr(pair.client) == (
        "<TcpConnection ('127.0.0.1', 80) reading open (paused), writing open>"
    )
    pair.client.pause(False)
    pair.client.end_writing()
    assert repr(pair.client).endswith("reading open, writing flushing>")


def test_an_ended_connection_keeps_no_listener_alive(pair: Pair, memory: LoopBase) -> None:
    class Program:
        def hear(self, *args: Any) -> None: ...

    program = Program()
    pair.server.on("data", program.hear)
    pair.server.on("disconnect", program.hear)
    gone = weakref.ref(program)
    del program
    gc.disable()
    try:
        pair.server.abort()
        settle(memory)
        assert gone() is None
    finally:
        gc.enable()

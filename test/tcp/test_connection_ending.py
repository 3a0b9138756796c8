"""How a connection ends, from every side and in the middle of everything."""

from __future__ import annotations

import errno
import socket

import pytest
from tcp_support import MIB, Heard, Owner, memory_socket, played, read_all, reset

from thor.loop import LoopBase
from thor.testing import Pair, Recorder, advance, settle
from thor_support import run_loop

# -- loss ------------------------------------------------------------------------------------------


def test_reset_is_told_after_the_data_before_it(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"last")
        reset(peer)
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"last"), ("close",), ("disconnect",)]


def test_send_that_fails_ends_the_connection_after_what_has_arrived(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"answer")
        peer.shutdown(socket.SHUT_WR)
        reset(peer)
        conn.write(b"never read")  # EPIPE: the peer's FIN came before its RST
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"answer"), ("end",), ("close",), ("disconnect",)]


def test_reset_that_a_send_finds_is_no_clean_end(loop: LoopBase) -> None:
    """The kernel tells a reset once; what a `recv` then finds looks like a FIN."""
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"answ")
        reset(peer)
        conn.write(b"never read")
        conn.flush()
        conn.pause(False)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("data", b"answ"), ("close",), ("disconnect",)]


def test_reset_while_paused_is_told_at_once_if_nothing_is_left(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        reset(peer)
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("close",), ("disconnect",)]


def test_reset_while_paused_keeps_what_is_left_and_does_not_spin(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        peer.sendall(b"kept")
        reset(peer)
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("hangup",)]
        assert loop.fds.poller is not None
        assert loop.fds.poller.poll(0) == []
        assert conn.write(b"x") is True  # dropped: close was not told yet
        loop.run_once()
        assert heard.take() == []
        conn.pause(False)
        loop.run_once()
        assert heard.take() == [("data", b"kept"), ("close",), ("disconnect",)]


def test_hang_up_is_told_once_and_pausing_again_holds(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.on("data", lambda data: pair.server.pause(True))
    memory_socket(pair.server).buffer_bytes = MIB
    pair.client.write(b"x" * 3 * 65536)
    settle(memory)
    memory_socket(pair.server).reset()
    for number in range(3):
        settle(memory)
        assert heard.events == [("hangup",), ("data", b"x" * number * 65536)][: number + 1]
        pair.server.pause(False)
    settle(memory)
    assert heard.names() == ["hangup", "data", "close", "disconnect"]


def test_unread_holds_the_rest_of_a_broken_connection(pair: Pair, memory: LoopBase) -> None:
    pair.client.write(b"abcdef")
    settle(memory)
    memory_socket(pair.server).reset()
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


def test_reset_while_the_queue_is_full_is_told(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            loop.run_once()
        loop.run_once()
        reset(peer)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert heard.take() == [("pause", True), ("close",), ("disconnect",)]


def test_reset_while_flushing_after_close_ends_in_disconnect(loop: LoopBase) -> None:
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
def test_reset_after_the_peers_end_is_told(loop: LoopBase, half_open: bool) -> None:
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


def test_error_of_the_network_ends_the_connection(pair: Pair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.server.pause(False)
    memory_socket(pair.server).fail("recv", TimeoutError(errno.ETIMEDOUT, "no answer"))
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("close", TimeoutError), ("disconnect",)]


def test_shutdown_that_fails_ends_the_connection(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"last")

    def end() -> None:
        memory_socket(pair.server).reset()
        pair.server.end_writing()

    settle(memory)
    memory.call_soon(end)
    settle(memory)
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("hangup",), ("data", b"last"), ("close",), ("disconnect",)]


def test_close_after_end_writing_closes(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.end_writing()
    settle(memory)
    pair.server.close()
    settle(memory)
    assert heard.take() == [("disconnect",)]


def test_writes_of_a_turn_in_which_the_connection_broke_are_dropped(
    pair: Pair, memory: LoopBase
) -> None:
    heard = Heard(pair.server)
    memory_socket(pair.server).fail("send", ConnectionResetError(errno.ECONNRESET, "reset"))
    pair.client.write(b"left")
    settle(memory)
    pair.server.write(b"x" * MIB)
    pair.server.write(b"y")
    settle(memory)
    assert heard.take() == [("hangup",)]
    pair.server.end_writing()
    pair.server.close()
    settle(memory)
    assert heard.take() == [("disconnect",)]


# -- ending from inside an event, in every way ---------------------------------------------------


def test_disconnect_comes_once_whatever_ends_at_the_same_time(pair: Pair, memory: LoopBase) -> None:
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
        conn.on("data", lambda data: conn.write(b"bye"))
        conn.on("data", lambda data: loop.stop())
        conn.pause(False)
        peer.sendall(b"x")
        loop.run()
        assert read_all(peer) == b"bye"

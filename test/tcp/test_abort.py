"""A connection that is reset when its peer has what was written."""

from __future__ import annotations

import socket

import pytest
from tcp_support import MIB, Heard, memory_socket, played, reset

from thor.loop import LoopBase
from thor.tcp.abort import abort_when_sent, unacknowledged_bytes
from thor.testing import advance, connection_pair, memory_loop
from thor_support import left_on, run_loop


def read_to_the_reset(loop: LoopBase, peer: socket.socket) -> int:
    """Have the peer read as it can while the loop runs. Returns: bytes before the RST"""
    peer.setblocking(False)
    total, lost = 0, False

    def read() -> bool:
        nonlocal total, lost
        try:
            while data := peer.recv(64 * 1024):
                total += len(data)
        except BlockingIOError:
            loop.schedule(0, int)  # look again in the next turn
        except ConnectionResetError:
            lost = True
        return lost

    run_loop(loop, read)
    return total


@pytest.mark.parametrize("size", [1000, 4 * MIB], ids=["in the kernel", "queued"])
def test_slow_reader_gets_everything_before_the_reset(loop: LoopBase, size: int) -> None:
    with played(loop) as (conn, peer):
        conn.write(b"x" * size)
        abort_when_sent(conn, 10)
        assert read_to_the_reset(loop, peer) == size
    assert left_on(loop) == []


def test_what_the_kernel_holds_is_not_destroyed_by_the_reset(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        while conn.write(b"x" * MIB):
            loop.run_once(0)
        size = conn.bytes_written
        conn.write_buffer.clear()
        assert unacknowledged_bytes(conn.socket) > 0
        abort_when_sent(conn, 10)
        assert read_to_the_reset(loop, peer) == size


def test_with_nothing_on_its_way_the_reset_comes_at_once(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        abort_when_sent(conn, 10)
        loop.run_once()
        assert heard.names() == ["disconnect"]
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        abort_when_sent(conn, 10)  # it is over, and stays over
        assert loop.scheduled_events() == []


def test_peer_that_reads_nothing_is_reset_when_time_is_up() -> None:
    loop = memory_loop()
    near, far = connection_pair(loop, buffer_bytes=0)
    heard = Heard(far)
    far.pause(False)
    near.write(b"hello")
    abort_when_sent(near, 10)
    advance(loop, 9.9)
    assert near.tcp_connected
    advance(loop, 0.2)
    assert near.socket.fileno() == -1
    assert heard.names() == ["close", "disconnect"]


def test_kernel_that_keeps_something_is_asked_until_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("thor.tcp.abort.unacknowledged_bytes", lambda sock: 1)
    loop = memory_loop()
    near, _ = connection_pair(loop)
    near.write(b"hello")
    abort_when_sent(near, 10)
    advance(loop, 9.9)
    assert near.tcp_connected
    advance(loop, 0.2)
    assert near.socket.fileno() == -1
    assert loop.scheduled_events() == []


def test_without_a_limit_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = 1
    monkeypatch.setattr("thor.tcp.abort.unacknowledged_bytes", lambda sock: held)
    loop = memory_loop()
    near, far = connection_pair(loop, buffer_bytes=0)
    near.write(b"hello")
    abort_when_sent(near, None)
    advance(loop, 1_000_000)
    assert near.tcp_connected
    memory_socket(far).buffer_bytes = 100
    far.pause(False)
    advance(loop, 1000)
    assert near.tcp_connected
    held = 0
    advance(loop, 2)
    assert near.socket.fileno() == -1


def test_peer_that_vanishes_meanwhile_leaves_no_timer(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.pause(False)
        while conn.write(b"x" * MIB):
            loop.run_once(0)
        abort_when_sent(conn, 10)
        reset(peer)
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert left_on(loop) == []


def test_what_is_no_socket_of_the_kernels_holds_nothing() -> None:
    loop = memory_loop()
    near, _ = connection_pair(loop)
    assert unacknowledged_bytes(near.socket) == 0

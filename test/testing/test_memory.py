"""What lives in memory behaves as the kernel's does; records and playbooks tell what happened."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

import thor_support
from thor.http import HttpServer
from thor.loop import LoopBase, make
from thor.loop.poller import ERROR, HANGUP, MAX_EVENTS, READABLE, WRITABLE
from thor.tcp import TcpConnection
from thor.testing import (
    FIRST_FD,
    ManualClock,
    MemoryPoller,
    MemorySocket,
    Recorder,
    advance,
    connection_pair,
    memory_loop,
    settle,
)

CONNECTION_EVENTS = ("data", "end", "pause", "close", "disconnect")


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


def memory_of(conn: TcpConnection) -> MemorySocket:
    sock: Any = conn.socket
    assert isinstance(sock, MemorySocket)
    return sock


# -- the clock ----------------------------------------------------------------------------------


def test_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    before = clock.monotonic(), clock.time()
    assert before == (clock.monotonic(), clock.time())
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (before[0] + 2.5, before[1] + 2.5)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_manual_clock_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="time"):
        ManualClock().advance(seconds)


def test_advance_fires_timers_in_order_each_at_its_time(mem: LoopBase) -> None:
    began = mem.clock.monotonic()
    heard: list[tuple[str, float]] = []

    def note(name: str) -> None:
        heard.append((name, mem.clock.monotonic() - began))

    mem.schedule(3, note, "c")
    mem.schedule(1, note, "a")
    mem.schedule(1, lambda: mem.schedule(1, note, "b"))
    advance(mem, 2.5)
    assert heard == [("a", 1), ("b", 2)]
    assert mem.clock.monotonic() == began + 2.5
    advance(mem, 0.5)
    assert heard[2:] == [("c", 3)]


def test_small_steps_add_up(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(0.9, heard.append, "fired")
    for _ in range(3):
        advance(mem, 0.3)  # their sum is less than 0.9, by a rounding error
    assert heard == ["fired"]


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_advance_does_not_go_back(mem: LoopBase, seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot go on by"):
        advance(mem, seconds)


def test_real_server_on_a_memory_loop_is_told_what_to_use(mem: LoopBase) -> None:
    with pytest.raises(ValueError, match="MemoryNetwork has servers"):
        HttpServer("127.0.0.1", 0, mem)


def test_run_jumps_from_timer_to_timer(mem: LoopBase) -> None:
    began = mem.clock.time()
    mem.schedule(3600, mem.stop)
    mem.run()
    assert mem.clock.time() == began + 3600


# -- settle -------------------------------------------------------------------------------------


def test_settle_leaves_the_time_alone(mem: LoopBase) -> None:
    before = mem.clock.monotonic()
    mem.schedule(1, print)
    settle(mem)
    assert mem.clock.monotonic() == before
    assert len(mem.scheduled_events()) == 1


def test_settle_runs_everything_that_is_due(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(0, lambda: mem.call_soon(mem.run_in_loop, heard.append, "last"))
    settle(mem)
    assert heard == ["last"]


def test_settle_fails_when_the_loop_spins(mem: LoopBase) -> None:
    def again() -> None:
        mem.schedule(0, again)

    again()
    with pytest.raises(AssertionError, match="spins"):
        settle(mem)


def test_what_a_callback_raises_comes_out_of_settle(mem: LoopBase) -> None:
    mem.schedule(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        settle(mem)


def test_loop_that_would_wait_for_ever_says_so(mem: LoopBase) -> None:
    with pytest.raises(RuntimeError, match="for ever"):
        mem.run()


def test_real_loops_cannot_be_settled() -> None:
    loop = make()
    with pytest.raises(TypeError, match="memory"):
        settle(loop)
    loop.stop()


def test_no_fds_are_taken() -> None:
    before = thor_support.open_fds()
    client, _ = connection_pair()
    settle(client.loop)
    assert thor_support.open_fds() == before


def test_stopped_memory_loop_can_be_used_again(mem: LoopBase) -> None:
    connection_pair(mem)
    mem.stop()
    client, server = connection_pair(mem)
    heard = Recorder(server, *CONNECTION_EVENTS)
    server.pause(False)
    client.write(b"hello")
    settle(mem)
    assert heard.take() == [("data", b"hello")]


def test_memory_loop_runs_in_any_thread_and_leaves_signals_alone(mem: LoopBase) -> None:
    mem.schedule(1, mem.stop)
    mem.run()
    assert not mem.running


# -- sockets ------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> tuple[MemorySocket, MemorySocket]:
    poller = MemoryPoller()
    first = MemorySocket(poller, "a", None)
    return first, MemorySocket(poller, "b", first)


Ends = tuple[MemorySocket, MemorySocket]


def bits(sock: MemorySocket) -> int:
    return sock._bits()


def test_numbers_are_unique_and_beyond_the_kernels() -> None:
    poller = MemoryPoller()
    numbers = {MemorySocket(poller, ("", n), None).fileno() for n in range(10)}
    assert len(numbers) == 10
    assert min(numbers) >= FIRST_FD


def test_what_is_sent_arrives_in_order(ends: Ends) -> None:
    assert ends[0].send(b"hello ") == 6
    assert ends[0].sendmsg([b"wo", memoryview(b"rld")]) == 5
    assert ends[1].recv(8) == b"hello wo"
    assert ends[1].recv(100) == b"rld"


def test_peeking_takes_nothing(ends: Ends) -> None:
    ends[0].send(b"hello")
    assert ends[1].recv(2, socket.MSG_PEEK) == b"he"
    assert ends[1].recv(100) == b"hello"


def test_nothing_to_receive_would_block(ends: Ends) -> None:
    with pytest.raises(BlockingIOError):
        ends[0].recv(1)


def test_full_buffer_makes_sends_short_and_then_block(ends: Ends) -> None:
    ends[1].buffer_bytes = 4
    assert ends[0].send(b"hello") == 4
    assert not bits(ends[0]) & WRITABLE
    with pytest.raises(BlockingIOError):
        ends[0].send(b"o")
    ends[1].recv(1)
    assert bits(ends[0]) & WRITABLE
    assert ends[0].sendmsg([b"o", b"!"]) == 1
    assert ends[1].recv(100) == b"ello"


def test_what_is_sent_after_the_peer_finished_still_arrives(ends: Ends) -> None:
    ends[0].shutdown(socket.SHUT_WR)
    assert ends[1].recv(1) == b""
    ends[1].send(b"late")
    assert ends[0].recv(10) == b"late"
    with pytest.raises(BrokenPipeError):
        ends[0].send(b"x")


def test_data_comes_before_the_end(ends: Ends) -> None:
    ends[0].send(b"last")
    ends[0].close()
    assert ends[1].recv(10) == b"last"
    assert ends[1].recv(10) == b""
    assert ends[1].recv(10) == b""


def test_sending_to_who_is_gone_is_answered_with_a_reset(ends: Ends) -> None:
    ends[1].close()
    assert ends[0].send(b"lost") == 4
    with pytest.raises(ConnectionResetError):
        ends[0].recv(1)
    assert ends[0].recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ends[0].send(b"x")


def test_closing_with_bytes_unread_resets(ends: Ends) -> None:
    ends[0].send(b"unread")
    ends[1].close()
    with pytest.raises(ConnectionResetError):
        ends[0].send(b"x")


def test_closing_with_linger_resets_but_what_arrived_can_be_read(ends: Ends) -> None:
    ends[1].send(b"arrived")
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends[1].close()
    assert ends[0].recv(100) == b"arrived"
    with pytest.raises(ConnectionResetError):
        ends[0].recv(100)


def test_so_error_tells_once(ends: Ends) -> None:
    ends[0].reset(errno.ETIMEDOUT)
    assert ends[0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT
    assert ends[0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_connection_that_is_gone_cannot_be_finished(ends: Ends) -> None:
    ends[0].reset()
    with pytest.raises(OSError, match="not connected"):
        ends[0].shutdown(socket.SHUT_WR)


def test_closed_socket_has_no_fd(ends: Ends) -> None:
    ends[0].close()
    ends[0].close()
    assert ends[0].fileno() == -1
    with pytest.raises(OSError, match="descriptor"):
        ends[0].recv(1)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("nothing", WRITABLE),
        ("data", READABLE | WRITABLE),
        ("their end", READABLE | WRITABLE),
        ("our end", WRITABLE),
        ("both ends", READABLE | WRITABLE | HANGUP),
        ("reset", READABLE | WRITABLE | HANGUP | ERROR),
        ("their full buffer", 0),
    ],
)
def test_what_the_poller_reports(ends: Ends, what: str, expected: int) -> None:
    near, far = ends
    if what == "data":
        far.send(b"x")
    if what in ("their end", "both ends"):
        far.shutdown(socket.SHUT_WR)
    if what in ("our end", "both ends"):
        near.shutdown(socket.SHUT_WR)
    if what == "reset":
        near.reset()
    if what == "their full buffer":
        far.buffer_bytes = 0
    assert bits(near) == expected


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("call", ["recv", "send"])
def test_nth_call_fails_and_only_that_one(ends: Ends, call: str, nth: int) -> None:
    near, far = ends
    far.send(b"x" * 10)
    calls: dict[str, Callable[[], object]] = {
        "recv": lambda: near.recv(1),
        "send": lambda: near.sendmsg([b"x"]),
    }
    do = calls[call]
    do()
    near.fail(call, OSError(errno.ENOBUFS, "no buffers"), nth)
    for _ in range(nth - 1):
        do()
    with pytest.raises(OSError, match="no buffers"):
        do()
    do()
    assert near.calls[call] == nth + 2


@pytest.mark.parametrize("misuse", ["twice", "closed"])
def test_poller_refuses_what_a_kernel_refuses(ends: Ends, misuse: str) -> None:
    poller, fd = ends[0]._poller, ends[0].fileno()
    poller.register(fd, 0)
    if misuse == "closed":
        ends[0].close()
    with pytest.raises(OSError, match={"twice": "exists", "closed": "descriptor"}[misuse]):
        poller.register(fd, 0)


def test_batch_of_the_poller_is_bounded() -> None:
    poller = MemoryPoller()
    for _ in range(MAX_EVENTS + 1):
        poller.register(poller.add(lambda: READABLE), READABLE)
    assert len(poller.poll(0)) == MAX_EVENTS
    assert poller.polls == 1


# -- connections --------------------------------------------------------------------------------


def test_pair_is_two_real_connections(mem: LoopBase) -> None:
    client, server = connection_pair(mem, address=("a", 1), client_address=("b", 2))
    assert type(client) is type(server) is TcpConnection
    assert (client.address, client.local_address) == (("a", 1), ("b", 2))
    assert (server.address, server.local_address) == (("b", 2), ("a", 1))
    assert client.loop is server.loop is mem


def test_both_sockets_of_a_pair_tell_both_addresses(mem: LoopBase) -> None:
    client, server = (memory_of(conn) for conn in connection_pair(mem))
    assert client.getpeername() == server.getsockname() == ("127.0.0.1", 80)
    assert server.getpeername() == client.getsockname() == ("127.0.0.1", 50000)


def test_pair_makes_its_own_loop_with_a_clock() -> None:
    clock = ManualClock()
    client, _ = connection_pair(clock=clock)
    assert client.loop.clock is clock


def test_conversation_and_its_end(mem: LoopBase) -> None:
    client, server = connection_pair(mem)
    at_client, at_server = (Recorder(conn, *CONNECTION_EVENTS) for conn in (client, server))
    server.on("data", lambda data: server.write(data.upper()))
    client.pause(False)
    server.pause(False)
    client.write(b"hello")
    settle(mem)
    client.close()
    settle(mem)
    assert at_client.take() == [("data", b"HELLO"), ("disconnect",)]
    assert at_server.take() == [("data", b"hello"), ("end",), ("close",), ("disconnect",)]
    assert mem.fd_count() == 0


def test_backpressure_happens(mem: LoopBase) -> None:
    client, server = connection_pair(mem, buffer_bytes=1000)
    heard = Recorder(client, "pause")
    client.high_water, client.low_water = 5000, 1000
    assert client.write(b"x" * 10_000) is False
    settle(mem)
    assert heard.take() == [("pause", True)]
    assert len(memory_of(server).received) == 1000
    got = Recorder(server, "data")
    server.pause(False)
    settle(mem)
    assert heard.take() == [("pause", False)]
    assert got.take() == [("data", b"x" * 10_000)]


def test_reset_of_the_network(mem: LoopBase) -> None:
    client, _ = connection_pair(mem)
    heard = Recorder(client, *CONNECTION_EVENTS)
    client.pause(False)
    memory_of(client).reset()
    settle(mem)
    assert heard.take() == [("close",), ("disconnect",)]


def test_fault_ends_the_connection(mem: LoopBase) -> None:
    client, server = connection_pair(mem)
    heard = Recorder(server, *CONNECTION_EVENTS)
    server.pause(False)
    memory_of(server).fail("recv", OSError(errno.ETIMEDOUT, "timed out"), 2)
    for word in (b"one", b"two"):
        client.write(word)
        settle(mem)
    assert heard.take() == [("data", b"one"), ("close",), ("disconnect",)]

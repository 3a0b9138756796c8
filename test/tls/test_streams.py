"""What a connection does, be it TCP, TLS or TLS in TLS: reading, writing, ending, failing."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tcp_support import EVENTS, MIB, Heard, Owner, memory_socket
from tls_support import SecurePair, secure_pair, serving, trusting

from thor.loop import LoopBase
from thor.loop.poller import WRITABLE
from thor.testing import Pair, Recorder, connection_pair, settle
from thor.tls import TlsConnection

PATTERN = bytes(range(256)) * (MIB // 256)

AnyPair = Pair | SecurePair


@pytest.fixture(params=["tcp", "tls", "tls in tls"])
def make_pair(request: pytest.FixtureRequest, memory: LoopBase) -> Callable[[], AnyPair]:
    """A maker of two connections in memory, each the other's peer."""
    if request.param == "tcp":
        return partial(connection_pair, memory)
    secure = partial(secure_pair, memory, client=trusting(), server=serving())
    return secure if request.param == "tls" else lambda: secure(over=secure())


@pytest.fixture
def pair(make_pair: Callable[[], AnyPair], memory: LoopBase) -> Iterator[AnyPair]:
    """Two connections of either kind."""
    found = make_pair()
    yield found
    found.client.abort()
    found.server.abort()
    settle(memory)


# -- reading ------------------------------------------------------------------------------------


def test_new_connection_reads_nothing_until_it_is_resumed(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"early")
    sock = memory_socket(pair.server)
    before = sock.calls["recv"]
    settle(memory)
    assert heard.events == []
    assert sock.calls["recv"] == before
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"early")]


def test_pause_holds_inside_the_listener_that_calls_it(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.on("data", lambda data: pair.server.pause(True))
    pair.client.write(PATTERN)
    pair.server.pause(False)
    settle(memory)
    [(_, data)] = heard.take()
    assert 0 < len(data) < MIB
    assert PATTERN.startswith(data)


def test_pausing_and_resuming_inside_a_listener_loses_nothing(
    pair: AnyPair, memory: LoopBase
) -> None:
    heard = Recorder(pair.server, "data", "end")

    def toggle(_: bytes) -> None:
        pair.server.pause(True)
        pair.server.pause(False)

    pair.server.on("data", toggle)
    pair.server.pause(False)
    pair.client.write(PATTERN)
    pair.client.end_writing()
    settle(memory)
    assert heard.take() == [("data", PATTERN), ("end",)]


def test_bytes_given_back_come_first_and_the_end_last(pair: AnyPair, memory: LoopBase) -> None:
    heard = Recorder(pair.server, "data", "end")
    pair.server.once("data", lambda data: pair.server.unread(data[4:]))
    pair.server.pause(False)
    pair.client.write(b"headbody")
    pair.client.close()
    settle(memory)
    assert heard.take() == [("data", b"headbodybody"), ("end",)]


# -- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 100, 5000, 30_000])
def test_short_sends_lose_and_repeat_nothing(pair: AnyPair, memory: LoopBase, room: int) -> None:
    memory_socket(pair.server).buffer_bytes = room
    heard = Recorder(pair.server, "data", "end")
    pair.server.pause(False)
    sent = PATTERN[: 40 * room if room < 1000 else MIB]
    for start in range(0, len(sent), 7001):
        pair.client.write(sent[start : start + 7001])
    pair.client.end_writing()
    settle(memory)
    assert heard.take() == [("data", sent), ("end",)]
    assert pair.client.bytes_written == len(sent) == pair.server.bytes_read


def test_peer_that_does_not_read_pauses_the_writer_until_it_does(
    pair: AnyPair, memory: LoopBase
) -> None:
    heard = Recorder(pair.client, "pause")
    memory_socket(pair.server).buffer_bytes = 65536
    while pair.client.write(b"x" * 65536):
        memory.run_once()
    settle(memory)
    assert heard.events == [("pause", True)]
    assert pair.client.write_buffer.size <= pair.client.high_water + 65536
    if isinstance(pair.client, TlsConnection):  # what is encrypted is bounded as well
        assert len(pair.client.tls.unsent) <= 4 * (65536 + 1000)
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("pause", True), ("pause", False)]
    assert pair.server.bytes_read == pair.client.bytes_written


def test_writable_is_watched_only_after_a_short_send(pair: AnyPair, memory: LoopBase) -> None:
    owner = Owner(pair.client)
    memory_socket(pair.server).buffer_bytes = 3 * MIB
    pair.client.write(PATTERN)
    settle(memory)
    assert owner.calls == []
    assert not pair.client._interest & WRITABLE
    memory_socket(pair.server).buffer_bytes = 0
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("stuck",)]
    assert pair.client._interest & WRITABLE


def test_when_sent_is_called_when_the_kernel_has_everything(
    pair: AnyPair, memory: LoopBase
) -> None:
    told: list[int] = []
    memory_socket(pair.server).buffer_bytes = 1
    for number in range(2):
        pair.client.write(b"x" * 10)
        pair.client.when_sent(partial(told.append, number))
    settle(memory)
    assert told == []
    memory_socket(pair.server).buffer_bytes = MIB
    settle(memory)
    assert told == [0, 1]
    pair.client.when_sent(lambda: told.append(2))  # nothing is queued
    settle(memory)
    assert told == [0, 1, 2]


@pytest.mark.parametrize("error", [BlockingIOError(errno.EAGAIN, ""), InterruptedError()], ids=repr)
@pytest.mark.parametrize("size", [10, MIB], ids=["small", "large"])
def test_send_that_the_kernel_refuses_is_repeated(
    pair: AnyPair, memory: LoopBase, error: OSError, size: int
) -> None:
    heard = Recorder(pair.server, "data")
    pair.server.pause(False)
    for nth in (1, 2, 4):
        memory_socket(pair.client).fail("send", error, nth)
    pair.client.write(b"x" * size)
    settle(memory)
    assert heard.take() == [("data", b"x" * size)]


@pytest.mark.parametrize("error", [BlockingIOError(errno.EAGAIN, ""), InterruptedError()], ids=repr)
def test_readiness_without_data_is_ignored(pair: AnyPair, memory: LoopBase, error: OSError) -> None:
    heard = Recorder(pair.server, "data", "close")
    pair.server.pause(False)
    memory_socket(pair.server).fail("recv", error)
    pair.client.write(b"x")
    settle(memory)
    assert heard.take() == [("data", b"x")]


# -- ends ----------------------------------------------------------------------------------------


def test_close_is_an_end_at_the_other_side(pair: AnyPair, memory: LoopBase) -> None:
    client, server = Heard(pair.client), Heard(pair.server)
    pair.server.pause(False)
    pair.client.write(b"last words")
    pair.client.close()
    settle(memory)
    assert client.take() == [("disconnect",)]
    assert server.take() == [("data", b"last words"), ("end",), ("close",), ("disconnect",)]


def test_abort_is_a_reset_at_the_other_side(pair: AnyPair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.server.pause(False)
    pair.client.write(b"x")
    pair.client.abort()
    settle(memory)
    assert owner.calls == [("close", ConnectionResetError), ("disconnect",)]


def test_connection_that_finished_writing_still_reads(pair: AnyPair, memory: LoopBase) -> None:
    client, server = Heard(pair.client), Heard(pair.server)
    pair.server.allow_half_open = True
    for end in pair:
        end.pause(False)
    pair.client.write(b"request")
    pair.client.end_writing()
    settle(memory)
    assert server.take() == [("data", b"request"), ("end",)]
    pair.server.write(b"x" * MIB)
    pair.server.close()
    settle(memory)
    assert client.take() == [("data", b"x" * MIB), ("end",), ("close",), ("disconnect",)]
    assert server.take() == [("pause", True), ("pause", False), ("disconnect",)]


def test_connection_answers_and_closes_after_the_end_of_the_peer(
    pair: AnyPair, memory: LoopBase
) -> None:
    client, server = Heard(pair.client), Heard(pair.server)
    pair.client.pause(False)
    pair.server.on("end", lambda: pair.server.write(b"last words"))
    pair.server.pause(False)
    pair.client.write(b"question")
    pair.client.end_writing()
    settle(memory)
    assert server.take() == [("data", b"question"), ("end",), ("close",), ("disconnect",)]
    assert client.take() == [("data", b"last words"), ("end",), ("close",), ("disconnect",)]


@pytest.mark.parametrize("half_open", [False, True])
def test_connection_closes_when_both_directions_have_ended(
    pair: AnyPair, memory: LoopBase, half_open: bool
) -> None:
    heard = Heard(pair.server)
    pair.server.allow_half_open = half_open
    pair.server.pause(False)
    pair.client.end_writing()
    pair.server.end_writing()
    settle(memory)
    assert heard.take() == [("end",), ("close",), ("disconnect",)]


def test_end_behind_data_waits_until_reading_resumes(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.allow_half_open = True
    pair.server.once("data", lambda data: pair.server.pause(True))
    pair.client.write(b"data")
    pair.client.end_writing()
    memory.run_once()
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"data")]
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("end",)]


def test_end_behind_data_is_not_emitted_after_close(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.on("data", lambda data: pair.server.close())
    pair.client.write(b"data")
    pair.client.close()
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"data"), ("disconnect",)]


def test_reset_comes_after_the_data_before_it(pair: AnyPair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.client.write(b"left")
    memory.run_once()
    memory_socket(pair.server).reset()
    settle(memory)
    assert owner.calls == [("hangup",)]
    pair.server.pause(False)
    settle(memory)
    assert owner.calls[1:] == [
        ("data", b"left"),
        ("close", ConnectionResetError),
        ("disconnect",),
    ]


def test_failed_send_ends_the_connection_after_what_has_arrived(
    pair: AnyPair, memory: LoopBase
) -> None:
    owner = Owner(pair.client)
    for word in (b"one ", b"two"):
        pair.server.write(word)
        memory.run_once()
    pair.client.pause(False)
    memory_socket(pair.client).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("data", b"one two"), ("close", BrokenPipeError), ("disconnect",)]


@pytest.mark.parametrize("make_pair", ["tcp", "tls"], indirect=True)
def test_connection_that_is_over_is_freed_without_the_collector(
    make_pair: Callable[[], AnyPair], memory: LoopBase
) -> None:
    gc.collect()
    gc.disable()
    try:
        pair = make_pair()
        freed = [weakref.ref(end) for end in pair]
        for end in pair:
            end.on("data", end.write)  # a cycle through its own listener
            end.pause(False)
        pair.client.close()
        settle(memory)
        del pair, end
        assert [ref() for ref in freed] == [None, None]
    finally:
        gc.enable()


# -- ending from inside an event, in every way ----------------------------------------------------


def provoke(pair: AnyPair, event: str) -> None:
    """Have the server's side emit `event`, whatever else comes with it."""
    server, client, loop = pair.server, pair.client, pair.server.loop
    if event == "hangup":
        client.write(b"left")
        settle(loop)
        memory_socket(server).reset()
        settle(loop)
        return
    server.pause(False)
    if event == "pause":
        memory_socket(client).buffer_bytes = 0
        loop.call_soon(server.write, b"x" * MIB)
        loop.call_soon(server.close)
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
    pair: AnyPair, memory: LoopBase, event: str, method: str
) -> None:
    heard = Heard(pair.server)
    pair.server.once(event, lambda *_: getattr(pair.server, method)())
    provoke(pair, event)
    memory_socket(pair.client).buffer_bytes = 2 * MIB
    settle(memory)
    before = ["close"] if event == "close" else []
    if event not in ("close", "disconnect"):
        before = [event]
    if (method, event) == ("close", "pause"):
        before.append("pause")  # the rest has left
    assert heard.names() == [*before, "disconnect"]


@pytest.mark.parametrize("event", EVENTS)
def test_stopping_the_loop_inside_any_event_forgets_the_connection(
    pair: AnyPair, memory: LoopBase, event: str
) -> None:
    pair.server.once(event, lambda *_: memory.stop())
    provoke(pair, event)
    assert pair.server not in memory.registered_fd_handlers()
    assert pair.server.socket.fileno() == -1
    assert pair.server.tcp_connected is False


@pytest.mark.parametrize("event", EVENTS)
def test_listener_that_raises_resets_its_connection(
    pair: AnyPair, memory: LoopBase, event: str, expected_logs: Any
) -> None:
    memory.on_exception = "log"

    def fail(*_: Any) -> None:
        raise LookupError

    heard = Recorder(pair.server, "close", "disconnect")
    pair.server.once(event, fail)
    peer = Recorder(pair.client, "close")
    pair.client.pause(False)
    provoke(pair, event)
    settle(memory)
    told = [name for name, *_ in heard.take()]
    assert told == (["close", "disconnect"] if event == "close" else ["disconnect"])
    assert any("LookupError" in message for message in expected_logs.messages)
    if event not in ("close", "disconnect", "hangup"):
        assert peer.take() == [("close",)]


def test_method_never_emits(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"data")
    pair.client.close()
    memory.run_once()
    methods: list[Callable[[], None]] = [
        lambda: pair.server.pause(False),
        lambda: pair.server.pause(True),
        lambda: pair.server.pause(False),
        pair.server.end_writing,
        pair.server.close,
        pair.server.abort,
    ]
    for method in methods:
        method()
        assert heard.events == []

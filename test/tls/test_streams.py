"""What a connection does whether it is TCP or TLS: pausing, giving back, ending inside an event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tcp_support import EVENTS, MIB
from tls_support import Heard, SecurePair, secure_pair

from thor.loop import LoopBase
from thor.testing import Pair, Recorder, connection_pair, settle

PATTERN = bytes(range(256)) * (MIB // 256)

AnyPair = Pair | SecurePair


@pytest.fixture(params=["tcp", "tls"])
def pair(request: pytest.FixtureRequest, memory: LoopBase) -> Iterator[AnyPair]:
    """Two connections in memory, each the other's peer."""
    found = connection_pair(memory) if request.param == "tcp" else secure_pair(memory)
    yield found
    found.client.abort()
    found.server.abort()
    settle(memory)


# -- reading ------------------------------------------------------------------------------------


def test_new_connection_reads_nothing_until_it_is_resumed(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"early")
    sock: Any = pair.server.socket
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


# -- ending from inside an event, in every way ----------------------------------------------------


def provoke(pair: AnyPair, event: str) -> None:
    """Have the server's side emit `event`, whatever else comes with it."""
    server, client, loop = pair.server, pair.client, pair.server.loop
    if event == "hangup":
        client.write(b"left")
        settle(loop)
        server.socket.reset()  # type: ignore[attr-defined]
        settle(loop)
        return
    server.pause(False)
    if event == "pause":
        client.socket.buffer_bytes = 0  # type: ignore[attr-defined]
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
    pair.client.socket.buffer_bytes = 2 * MIB  # type: ignore[attr-defined]
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
def test_a_listener_that_raises_resets_its_connection(
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


def test_a_method_never_emits(pair: AnyPair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.client.write(b"data")
    pair.client.close()
    memory.run_once()
    for method in (
        lambda: pair.server.pause(False),
        lambda: pair.server.pause(True),
        lambda: pair.server.pause(False),
        pair.server.end_writing,
        pair.server.close,
        pair.server.abort,
    ):
        method()
        assert heard.events == []

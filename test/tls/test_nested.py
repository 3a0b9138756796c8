"""TLS inside TLS: a connection that goes through another one."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from tcp_support import MIB
from tls_support import (
    CLIENT_EVENTS,
    NAME,
    Bytes,
    Heard,
    Meeting,
    SecurePair,
    outcome,
    secure_pair,
    serving,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Recorder, advance, connection_pair, settle
from thor.tls import TlsClient, TlsConnection, accept_tls

PATTERN = bytes(range(256)) * (MIB // 256)


@pytest.fixture
def nested(memory: LoopBase) -> Iterator[SecurePair]:
    """A pair through a pair."""
    outer = secure_pair(memory)
    inner = secure_pair(
        over=outer,
        name="inner.test",
        client=trusting(alpn=["x"]),
        server=serving("inner.test", alpn=["x"]),
    )
    yield inner
    inner.end()


def test_both_layers_are_ended_by_their_close_notify(nested: SecurePair) -> None:
    outer: Any = nested.server.tls.lower_tls
    nested.server.pause(False)
    nested.client.close()
    nested.settle()
    assert outer.has_ended
    assert outer.error is None


def test_data_and_the_outer_end_in_one_read_are_both_delivered(nested: SecurePair) -> None:
    heard = Heard(nested.server)
    nested.client.write(b"question")
    nested.client.close()
    nested.loop.run_once()
    nested.server.pause(False)
    nested.settle()
    assert heard.take() == [("data", b"question"), ("end",), ("close",), ("disconnect",)]


def test_outer_end_alone_cuts_the_inner_one_off(nested: SecurePair) -> None:
    heard = Heard(nested.server)
    nested.server.pause(False)
    outer: Any = nested.client.tls.lower_tls
    nested.client.write(b"part of it")
    nested.loop.run_once()
    outer.send_close_notify()
    nested.settle()
    assert heard.take() == [("data", b"part of it"), ("close",), ("disconnect",)]
    assert isinstance(nested.server.error, ssl.SSLEOFError)


def test_alert_for_a_bad_record_leaves_through_both(nested: SecurePair) -> None:
    client, server = Heard(nested.client), Heard(nested.server)
    for end in nested:
        end.pause(False)
    outer: Any = nested.client.tls.lower_tls
    outer.send(b"this is no record at all")
    nested.settle()
    assert server.take() == [("close",), ("disconnect",)]
    assert isinstance(nested.server.error, ssl.SSLError)
    assert client.names() == ["close", "disconnect"]
    assert "alert" in str(nested.client.error).lower()
    advance(nested.loop, 3)


def test_bad_outer_record_is_told_and_answered(nested: SecurePair) -> None:
    client, server = Heard(nested.client), Heard(nested.server)
    for end in nested:
        end.pause(False)
    nested.client.write(b"x" * 100)
    nested.loop.run_once()
    received: Any = nested.server.socket
    received.received[-1] ^= 1
    nested.settle()
    assert server.names() == ["close", "disconnect"]
    assert client.names() == ["close", "disconnect"]
    assert "ALERT_BAD_RECORD_MAC" in str(nested.client.error)
    advance(nested.loop, 3)


class Inside:
    """A server that nests TLS in TLS, with a client that is played with bytes."""

    def __init__(self, loop: LoopBase) -> None:
        self.loop = loop
        self.plain = connection_pair(loop)
        self.plain.client.allow_half_open = True
        self.plain.client.pause(False)
        self.said = Recorder(self.plain.client, "data")
        self.heard: Recorder | None = None
        self.outer, self.inner = Bytes(trusting(), NAME), Bytes(trusting(), "inner.test")
        accept_tls(self.plain.server, serving()).on("connect", self.nest)
        self.finished = self.outer.shake(self.send(self.outer.shake()))

    def nest(self, conn: TlsConnection) -> None:
        self.heard = Recorder(accept_tls(conn, serving("inner.test")), *CLIENT_EVENTS)

    def send(self, data: bytes) -> bytes:
        """Returns: the answer"""
        self.plain.client.write(data)
        settle(self.loop)
        return b"".join(event[1] for event in self.said.take())

    def events(self) -> list[Any]:
        """What came of the inner handshake."""
        assert self.heard is not None
        return self.heard.take()


def test_inner_handshake_that_comes_with_the_end_of_the_outer_one(memory: LoopBase) -> None:
    """It is in OpenSSL already, where no poller sees it."""
    inside = Inside(memory)
    sent = inside.finished + inside.outer.say(inside.inner.shake())
    answer = inside.outer.hear(inside.send(sent))
    inside.send(inside.outer.say(inside.inner.shake(answer)))
    [(event, conn)] = inside.events()
    assert event == "connect"
    conn.abort()
    inside.plain.client.abort()
    settle(memory)


def test_outer_end_behind_a_part_of_an_inner_handshake_is_told(memory: LoopBase) -> None:
    inside = Inside(memory)
    part = inside.outer.say(inside.inner.shake()[:100]) + inside.outer.finish()
    inside.send(inside.finished + part)
    told = "the peer closed during the handshake"
    assert inside.events() == [("connect_error", ssl.SSLError, told)]
    inside.plain.client.abort()
    settle(memory)


def test_over_a_real_socket(served: Meeting) -> None:
    outer, outer_server = served.meet()
    acceptance = accept_tls(outer_server, serving("inner.test"))
    heard = Recorder(acceptance, "connect")
    client = TlsClient(served.loop)
    client.context = trusting()
    conn = outcome(client, lambda: client.start_tls(outer, "inner.test"))
    assert isinstance(conn, TlsConnection)
    served.until(lambda: heard.events)
    server = heard.events[0][1]
    assert served.server.active_connections == 1
    server.on("data", server.write)
    server.on("pause", server.pause)
    server.pause(False)
    got = Recorder(conn, "data", "end")
    conn.pause(False)
    conn.write(PATTERN)
    conn.end_writing()
    served.until(lambda: ("end",) in got.events)
    assert got.take() == [("data", PATTERN), ("end",)]
    served.until(lambda: served.server.active_connections == 0)

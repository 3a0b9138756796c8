"""Clients that are slow, that send without end, or that vanish: each meets a bound."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import (
    CHUNKED,
    HELLO,
    ServerHarness,
    answer,
    answering,
    answering_done,
    request,
)

from thor.tcp import TcpConnection
from thor.testing import Peer

REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\n"

#: What is read of a connection beyond a bound before the bound is noticed: one `recv`.
PIECE = 64 * 1024


# -- what dribbles in ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "dribbles"),
    [
        pytest.param(b"", b"0" * 100, id="size"),
        pytest.param(b"5;", b"a" * 100, id="extension"),
        pytest.param(b"5\r\nhello", b"", id="end-of-a-chunk"),
        pytest.param(b"0\r\n", b"A: " + b"b" * 100, id="trailer"),
        pytest.param(b"0\r\n", b"A: b\r\n" * 100, id="trailers"),
    ],
)
def test_what_is_no_data_does_not_extend_the_time_of_a_body(before: bytes, dribbles: bytes) -> None:
    stage = ServerHarness(body_timeout=10, min_body_rate=0)
    client = stage.client().send(CHUNKED, before)
    for second in range(10):
        assert not client.is_closed, second
        client.send(dribbles[second : second + 1])
        stage.advance(1)
    stage.advance(0.1)
    assert client.take().startswith(REQUEST_TIMEOUT)
    assert stage.names()[-3:] == ["error", "close", "done"]


def test_a_rest_that_dribbles_is_not_read_for_ever() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED)
    seconds = 0
    while not client.is_closed:
        client.send(b"1\r\nx\r\n")
        stage.advance(5)
        seconds += 5
        assert seconds < 60
    assert client.take() == HELLO


# -- what has no end ----------------------------------------------------------------------------


def flood(
    stage: ServerHarness, client: Peer, head: bytes, again: bytes, megabytes: int = 20
) -> int:
    """Send `again` and again until the server has answered and reads no more of it, and ends it in
    time. Returns: the bytes that it has read"""
    client.send(head)
    again *= PIECE // len(again)
    for _ in range(megabytes * 1024 * 1024 // len(again)):
        read = stage.server_side(client).bytes_read
        client.send(again)
        if stage.server_side(client).bytes_read == read:
            break
    assert client.is_ended
    assert not client.is_reset
    stage.advance(stage.server.linger_timeout or 0)
    assert stage.server.connections == []
    return stage.server_side(client).bytes_read


def test_a_piece_of_no_length_does_not_end_a_response() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.exchange.response_start(200, "OK", [])
    for piece in (b"", "", bytearray(), b"x", b""):
        stage.exchange.response_body(piece)
    assert client.take().endswith(b"\r\n\r\n1\r\nx\r\n")
    stage.exchange.response_done([])
    assert client.take() == b"0\r\n\r\n"


def test_an_endless_body_that_nobody_wants_is_not_read_to_its_end() -> None:
    stage = ServerHarness(answering)
    client = stage.client()
    read = flood(stage, client, CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert client.take() == HELLO
    assert read < stage.server.drain_bytes + stage.server.linger_bytes + 3 * PIECE


def test_an_endless_body_waits_for_a_program_that_has_paused() -> None:
    stage = ServerHarness(lambda exchange: exchange.pause(True))
    client = stage.client().send(CHUNKED)
    for _ in range(100):
        client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert not client.is_closed
    assert stage.server_side(client).bytes_read < 4 * PIECE
    assert stage.names() == ["request_start"]


# -- pipelining ---------------------------------------------------------------------------------


def test_deep_pipelining_waits_with_the_client_and_is_answered_in_order() -> None:
    stage = ServerHarness()
    count = 5_000
    asked = b"".join(request(f"/{number}") for number in range(count))
    client = stage.client().send(asked)
    assert stage.server_side(client).bytes_read <= stage.server.read_ahead_bytes + PIECE
    assert len(stage.exchanges) == 1
    stage.handler = answering
    answer(stage.exchange)
    assert client.take() == HELLO * count
    assert [exchange.uri for exchange in stage.exchanges] == [b"/%d" % n for n in range(count)]


def test_how_much_is_read_ahead_can_be_set() -> None:
    stage = ServerHarness(read_ahead_bytes=1000)
    client = stage.client().send(*[request("/" + "a" * 100)] * 100)
    assert stage.server_side(client).bytes_read < 1200
    stage.handler = answering
    answer(stage.exchange)
    assert client.take() == HELLO * 100


def test_who_pipelines_and_reads_no_answers_is_not_asked_for_more() -> None:
    stage = ServerHarness(lambda exchange: answer(exchange, b"x" * 10_000), send_timeout=10)
    client = stage.client().pause()
    for _ in range(50):
        client.send(request() * 1000)
    queue = stage.server_side(client).write_buffer.size
    assert queue < stage.server_side(client).high_water + 20_000
    assert stage.server_side(client).bytes_read < 4 * PIECE
    stage.advance(20.1)
    assert client.is_reset


# -- many ---------------------------------------------------------------------------------------


THOUSANDS = 2000


def crowd(stage: ServerHarness) -> list[TcpConnection]:
    """Thousands of connections, made at once."""
    conns = [stage.network.connect("origin", 80) for _ in range(THOUSANDS)]
    stage.settle()
    assert len(stage.server.connections) == THOUSANDS
    return conns


def test_thousands_of_idle_connections_end_in_time_and_wake_nobody_before() -> None:
    stage = ServerHarness(answering, idle_timeout=60, head_timeout=30)
    conns = crowd(stage)
    for conn in conns[::2]:
        conn.write(request())
    stage.settle()
    assert len(stage.exchanges) == THOUSANDS // 2
    polls = stage.loop.fds.poller.polls  # type: ignore[union-attr]
    stage.advance(29)
    assert stage.loop.fds.poller.polls - polls < 10  # type: ignore[union-attr]
    stage.advance(2)
    assert len(stage.server.connections) == THOUSANDS // 2
    stage.advance(31)
    assert stage.server.connections == []


def test_thousands_of_heads_that_dribble_end_in_time() -> None:
    stage = ServerHarness(head_timeout=30)
    conns = crowd(stage)
    for index in range(6):
        for conn in conns:
            conn.write(request()[index : index + 1])
        stage.advance(4.9)
    assert len(stage.server.connections) == THOUSANDS
    stage.advance(0.7 + (stage.server.linger_timeout or 0))
    assert stage.server.connections == []
    assert stage.refused == ["RequestTimeoutError"] * THOUSANDS


def test_thousands_of_clients_that_left_without_a_word_end_in_time() -> None:
    stage = ServerHarness(half_close_timeout=60)
    for conn in crowd(stage):
        conn.write(request())
        conn.end_writing()
    stage.settle()
    assert len(stage.server.connections) == THOUSANDS
    stage.advance(60.1)
    assert stage.server.connections == []


# -- vanishing ----------------------------------------------------------------------------------

CONVERSATION = (
    request("/1")
    + request("/2", method="POST", body=b"hello")
    + CHUNKED
    + b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"
    + b"\r\n"
    + request("/3", "Expect: 100-continue", "Content-Length: 2", method="PUT")
    + b"ab"
    + b"JUNK\n"
)


@pytest.mark.parametrize("how", ["abort", "end", "close"])
@pytest.mark.parametrize("whole", [False, True], ids=["answered", "half-answered"])
def test_a_client_may_vanish_after_any_byte(how: str, whole: bool) -> None:
    def begin(exchange: Any) -> None:
        if whole:
            answering_done(exchange)
        else:
            exchange.on("request_start", lambda *_: exchange.response_start(200, "OK", []))
            exchange.on("request_done", lambda _: exchange.response_body("x"))

    for size in range(len(CONVERSATION) + 1):
        stage = ServerHarness(begin)
        client = stage.client().send(CONVERSATION[:size])
        getattr(client, how)()
        stage.advance(200)
        assert stage.server.connections == [], size
        assert stage.loop.scheduled_events() == [], size
        for index in range(len(stage.exchanges)):
            assert stage.names(index).count("done") == 1, size
            assert stage.names(index)[-1] == "done", size

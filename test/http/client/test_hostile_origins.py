"""Origins that are slow, that send without end, or that vanish: each meets a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness, Watched, ok

from thor.http import error as errors

MakeHarness = Callable[..., ClientHarness]

#: What is read of a connection beyond a bound before the bound is noticed: one `recv`.
PIECE = 64 * 1024

CHUNKED = ok("Transfer-Encoding: chunked")


def test_a_piece_of_no_length_does_not_end_a_request(stage: ClientHarness) -> None:
    watched = stage.start("POST", headers=[("Transfer-Encoding", "chunked")])
    for piece in (b"", "", bytearray(), b"x", b""):
        watched.exchange.request_body(piece)
    assert stage.peer.take().endswith(b"\r\n\r\n1\r\nx\r\n")
    watched.exchange.request_done([])
    assert stage.peer.take() == b"0\r\n\r\n"
    assert stage.answer(watched).events == HELLO_EVENTS


def test_an_endless_body_waits_for_a_program_that_has_paused(stage: ClientHarness) -> None:
    watched = stage.request()
    near = stage.client_side(stage.peer)
    watched.exchange.pause(True)
    stage.peer.send(CHUNKED)
    for _ in range(100):
        stage.peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert watched.names in ([], ["response_start"])
    assert near.bytes_read < 4 * PIECE
    watched.exchange.cancel()


@pytest.mark.parametrize(
    ("begins", "dribbles"),
    [
        pytest.param(b"", ok("A: " + "b" * 100), id="head"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 100, id="body"),
        pytest.param(CHUNKED + b"5;", b"a" * 100, id="extension"),
        pytest.param(CHUNKED + b"0\r\n", b"A: b\r\n" * 100, id="trailers"),
        pytest.param(b"", ok(start="HTTP/1.1 103 Hint") * 10, id="hints"),
    ],
)
def test_what_dribbles_in_has_a_limit_for_all_of_it(
    make_harness: MakeHarness, begins: bytes, dribbles: bytes
) -> None:
    stage = make_harness(read_timeout=5, exchange_timeout=60)
    watched = stage.request()
    stage.peer.send(begins)
    for second in range(59):
        stage.peer.send(dribbles[second : second + 1])
        stage.advance(1)
    watched.is_silent()
    stage.advance(1.1)
    assert isinstance(watched.error, errors.ExchangeTimeoutError)


@pytest.mark.parametrize("how", ["end", "abort"])
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(ok(start="HTTP/1.1 103 Hint") + HELLO, id="length"),
        pytest.param(CHUNKED + b"5;a\r\nhello\r\n0\r\nA: b\r\n\r\n", id="chunks"),
    ],
)
def test_an_origin_may_vanish_after_any_byte(
    make_harness: MakeHarness, response: bytes, how: str
) -> None:
    for size in range(len(response) + 1):
        stage = make_harness(retry_limit=0)
        watched = stage.request()
        stage.peer.send(response[:size])
        getattr(stage.peer, how)()
        watched.ends_once()
        assert watched.names[-1] == ("response_done" if size == len(response) else "error"), size
        assert stage.leftovers() == [], size
        assert stage.open == 0, size


def test_answers_to_nothing_are_answers_to_nobody(stage: ClientHarness) -> None:
    for _ in range(20):
        watched = stage.request()
        stage.answer(watched, HELLO + HELLO)
        assert watched.events == HELLO_EVENTS
        assert stage.open == 0


def one_behind_the_other(stage: ClientHarness) -> tuple[Watched, Watched]:
    """Two requests, the second of which begins when the first is answered, in the same turn."""
    first, second = stage.request(), stage.exchange()
    kernel: Any = stage.client_side(stage.peer).socket
    kernel.buffer_bytes = 10 * PIECE

    def ask(trailers: object) -> None:
        second.exchange.request_start("GET", "http://origin/", [])
        second.exchange.request_done([])

    first.exchange.on("response_done", ask)
    return first, second


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", b"\0"], ids=["", "head", "junk"])
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_what_waits_behind_a_full_piece_is_an_answer_to_nobody(
    stage: ClientHarness, pieces: int, ended: bool, begun: bytes
) -> None:
    first, second = one_behind_the_other(stage)
    peer = stage.peer
    size = pieces * PIECE - len(ok("Content-Length: 123456"))
    body = b"x" * size
    peer.send(ok(f"Content-Length: {size:06}") + body + begun)
    if ended:
        peer.end()
    assert first.body() == body
    assert second.events == []
    assert (stage.peer is peer) == (not begun and not ended)
    stage.answer(second)
    assert second.events == HELLO_EVENTS


def test_what_came_while_nobody_read_is_an_answer_to_nobody(stage: ClientHarness) -> None:
    first, second = one_behind_the_other(stage)
    peer = stage.peer
    first.exchange.pause(True)
    size = 2 * PIECE - len(ok("Content-Length: 123456")) - 1
    peer.send(ok(f"Content-Length: {size:06}"), b"x" * size)
    assert stage.client_side(peer).read_paused
    peer.send(HELLO)
    first.exchange.pause(False)
    assert first.body() == b"x" * size
    assert second.events == []
    assert stage.peer is not peer
    stage.answer(second)
    assert second.events == HELLO_EVENTS

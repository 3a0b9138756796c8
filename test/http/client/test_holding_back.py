"""Requests whose body waits: for a 100, for a connection, for an origin that reads."""

from __future__ import annotations

from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness

# -- expectations ---------------------------------------------------------------------------------

EXPECT = [("Expect", "100-continue"), ("Content-Length", "2")]


def expecting(stage: ClientHarness, method: str = "POST", headers: Any = EXPECT) -> Any:
    watched = stage.start(method, headers=headers)
    watched.exchange.request_body("ok")
    watched.exchange.request_done([])
    return watched


@pytest.mark.parametrize("known", [False, True], ids=["new-connection", "pooled"])
def test_a_body_that_is_expected_waits_for_100(stage: ClientHarness, known: bool) -> None:
    if known:
        stage.answer(stage.request())
        stage.peer.take()
    watched = expecting(stage)
    assert stage.peer.take().endswith(b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stage.peer.take() == b"ok"
    assert stage.answer(watched).events == [
        ("response_nonfinal", b"100", b"Continue", []),
        *HELLO_EVENTS,
    ]
    assert stage.idle == 1


def test_the_head_leaves_though_no_body_comes_before_the_100(stage: ClientHarness) -> None:
    for method in ("POST", "GET"):
        watched = stage.start(method, headers=[("expect", "100-continue")])
        assert stage.peer.take().endswith(b"Transfer-Encoding: chunked\r\n\r\n")
        stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert watched.names == ["response_nonfinal"]
        watched.exchange.request_body("ok")
        watched.exchange.request_done([])
        assert stage.peer.take() == b"2\r\nok\r\n0\r\n\r\n"
        stage.answer(watched)


def test_a_server_that_says_nothing_gets_the_body_after_a_second(stage: ClientHarness) -> None:
    watched = expecting(stage)
    stage.advance(0.9)
    assert stage.peer.take().endswith(b"\r\n\r\n")
    stage.advance(0.2)
    assert stage.peer.take() == b"ok"
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_final_response_in_place_of_the_100_ends_it_without_the_body(
    stage: ClientHarness,
) -> None:
    watched = expecting(stage)
    stage.peer.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    assert watched.names == ["response_start", "response_done"]
    assert stage.peer.take().endswith(b"Content-Length: 2\r\n\r\n")
    assert stage.peer.is_closed  # whether the body comes is not clear to the server
    assert stage.open == 0


def test_the_words_elsewhere_are_no_expectation(stage: ClientHarness) -> None:
    watched = expecting(stage, headers=[("X", "100-continue"), ("Content-Length", "2")])
    assert stage.peer.take().endswith(b"\r\n\r\nok")
    stage.answer(watched)


def test_what_waits_for_the_100_is_bounded(stage: ClientHarness) -> None:
    watched = stage.start("POST", headers=[("Expect", "100-continue")])
    assert not watched.exchange.request_body(b"x" * 300_000)
    assert watched.events == [("pause", True)]
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert watched.names == ["pause", "response_nonfinal", "pause"]
    assert watched.events[-1] == ("pause", False)
    watched.exchange.request_done([])
    assert stage.peer.take().endswith(b"x\r\n0\r\n\r\n")
    stage.answer(watched, HELLO)


# -- more than the connection takes ---------------------------------------------------------------


def test_a_body_before_the_connection_is_there_is_held_up_to_a_mark(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    assert watched.exchange.request_body(b"x" * 200_000)
    assert not watched.exchange.request_body(b"x" * 100_000)
    assert watched.heard.events == [("pause", True)]
    stage.settle()
    assert watched.heard.events == [("pause", True), ("pause", False)]
    watched.exchange.request_done([])
    assert stage.peer.take().count(b"x") >= 300_000
    stage.answer(watched)


def test_an_origin_that_does_not_read_pauses_the_program(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    stage.peer.pause()
    while watched.exchange.request_body(b"x" * 50_000):
        stage.settle()
    assert watched.events == [("pause", True)]
    stage.peer.pause(False)
    assert watched.events == [("pause", True), ("pause", False)]
    watched.exchange.request_done([])
    stage.answer(watched, HELLO)
    assert watched.body() == b"hello"


def test_the_request_survives_what_its_caller_does_to_the_list(stage: ClientHarness) -> None:
    headers = [("A", "b")]
    watched = stage.start("GET", headers=iter(headers))
    headers.clear()
    watched.exchange.request_body("x")
    watched.exchange.request_done([])
    assert b"\r\nA: b\r\n" in stage.peer.take()
    assert stage.answer(watched, HELLO).body() == b"hello"

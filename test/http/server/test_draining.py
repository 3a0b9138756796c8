"""Clients that have no request in flight when a server shuts down gracefully, or have one that it
has not read: nobody who did nothing wrong loses a request."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from server_support import (
    CHUNKED,
    HELLO,
    HELLO_CLOSE,
    ServerHarness,
    answer,
    answering,
    answering_done,
    chunks,
    request,
)
from tcp_support import PEER_LIMIT_S, read_all

from thor.http.server import HttpServer
from thor.loop import LoopBase
from thor.testing.memory import poller_of
from thor_support import host_and_port, run_loop

PART = b"GET / HTTP/1.1\r\nHost: ori"
STOPPED = [("start",), ("stop",)]


def draining(stage: ServerHarness) -> ServerHarness:
    stage.server.graceful_shutdown()
    stage.settle()
    return stage


# -- the time that they have --------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", request()], ids=["new", "between requests"])
@pytest.mark.parametrize("after_s", [0, 4.9])
def test_an_idle_client_is_told_on_its_next_answer(first: bytes, after_s: float) -> None:
    stage = ServerHarness(answering_done)
    client = stage.client().send(first)
    client.take()
    draining(stage).advance(after_s)
    assert client.send(request()).take() == HELLO_CLOSE
    assert client.is_ended
    client.close()
    assert stage.server_events.events == STOPPED


@pytest.mark.parametrize("first", [b"", request()], ids=["new", "between requests"])
def test_one_that_stays_idle_is_closed_without_a_word(first: bytes) -> None:
    stage = ServerHarness(answering_done)
    stage.advance(10)
    client = stage.client().send(first)
    client.take()
    stage.advance(20)  # which is not held against it
    draining(stage).advance(4.9)
    assert not client.is_closed
    assert stage.server_events.events == [("start",)]
    stage.advance(0.2)
    assert (client.is_ended, client.take()) == (True, b"")
    assert stage.server_events.events == STOPPED
    stage.advance(100)
    assert stage.server_events.events == STOPPED


def test_the_time_can_be_set_and_an_idle_timeout_that_is_shorter_holds() -> None:
    for setting in ("drain_idle_timeout", "idle_timeout"):
        settings: dict[str, Any] = {setting: 2}
        stage = ServerHarness(**settings)
        client = stage.client().send(request())
        answer(stage.exchange)
        draining(stage).advance(1.9)
        assert not client.is_closed
        stage.advance(0.2)
        assert client.is_ended


def test_graceful_shutdown_sets_the_time_that_idle_clients_have() -> None:
    stage = ServerHarness(answering_done)
    idle = stage.client()
    busy = stage.client().send(PART)
    assert stage.server.connection_count == 2
    stage.server.graceful_shutdown(idle_timeout=0)
    stage.settle()
    assert idle.is_closed
    assert stage.server.connection_count == 1
    assert busy.send(request()[len(PART) :]).take() == HELLO_CLOSE


@pytest.mark.parametrize("setting", [None, 0])
def test_without_such_a_time_what_is_idle_is_closed_at_once(setting: Any) -> None:
    stage = ServerHarness(answering_done, drain_idle_timeout=setting)
    idle, new, unread = stage.client().send(request()), stage.client(), stage.client()
    rest = stage.client().send(request("/", "Content-Length: 3", method="POST"))
    unread.sock.send(request())  # it is there, and not read
    draining(stage)
    assert (idle.is_ended, new.is_ended, rest.is_closed) == (True, True, False)
    assert unread.take() == HELLO_CLOSE
    assert rest.send(b"abc").take() == HELLO_CLOSE
    for client in (unread, rest):
        client.close()
    assert stage.server_events.events == STOPPED


@pytest.mark.parametrize("setting", [None, 0])
def test_without_such_a_time_an_answer_is_still_sent_whole(setting: Any) -> None:
    stage = ServerHarness(answering_done, drain_idle_timeout=setting)
    client = stage.client().pause().send(request())
    draining(stage).advance(1)
    assert client.pause(False).take() == HELLO
    assert client.is_ended


@pytest.mark.parametrize("setting", [None, 5])
def test_a_request_behind_an_answer_that_is_still_leaving_is_answered(setting: Any) -> None:
    body = b"x" * 300_000
    stage = ServerHarness(lambda exchange: answer(exchange, body), drain_idle_timeout=setting)
    client = stage.client().pause().send(request() * 2)
    draining(stage).advance(11)
    first, second, third = client.pause(False).take().split(b"HTTP/1.1 200 OK\r\n")
    assert (first, second) == (b"", b"Content-Length: 300000\r\n\r\n" + body)
    assert third == b"Content-Length: 300000\r\nConnection: close\r\n\r\n" + body
    assert client.is_ended


def test_a_request_that_is_there_when_the_time_is_over_is_answered() -> None:
    stage = ServerHarness(answering_done)
    client = stage.client()
    draining(stage)
    client.sock.send(request())  # not read yet: the loop was busy for a while
    poller_of(stage.loop).clock.advance(6)
    assert client.take() == HELLO_CLOSE


def test_the_time_counts_from_when_the_client_can_know_that_it_is_its_turn() -> None:
    stage = ServerHarness(answering_done)
    client = stage.client().pause().send(request())
    draining(stage).advance(9)
    assert client.pause(False).take() == HELLO
    assert client.send(request()).take() == HELLO_CLOSE


def test_a_head_that_has_begun_does_not_begin_anew() -> None:
    stage = ServerHarness(answering_done)
    client = stage.client().send(PART)
    stage.advance(20)
    draining(stage).advance(10.1)
    assert client.take().startswith(b"HTTP/1.1 408 ")


def test_the_rest_of_a_request_may_come_and_the_next_request_behind_it() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED)
    assert client.take() == HELLO
    draining(stage).advance(4)
    client.send(chunks(b"abc"))
    stage.advance(4)
    client.send(b"0\r\n\r\n")
    stage.advance(4)
    assert client.send(request()).take() == HELLO_CLOSE


def test_the_rest_of_a_request_that_comes_when_the_time_is_over_is_more_time() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED)
    draining(stage)
    client.sock.send(chunks(b"abc"))  # not read yet: the loop was busy for a while
    poller_of(stage.loop).clock.advance(5)
    stage.advance(4.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_ended
    client.send(chunks(b"def"))
    assert not client.is_reset  # a reset could destroy the answer


# -- its end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "end", "abort"])
def test_the_server_stops_as_soon_as_idle_clients_leave(leave: str) -> None:
    stage = ServerHarness(answering_done)
    clients = [stage.client(), stage.client().send(request())]
    draining(stage)
    for client in clients:
        assert stage.server_events.events == [("start",)]
        getattr(client, leave)()
    assert stage.server_events.events == STOPPED


def test_a_second_call_gives_nobody_more_time() -> None:
    stage = ServerHarness()
    client = stage.client()
    draining(stage).advance(3)
    draining(stage).advance(2.1)
    assert client.is_ended
    assert stage.server_events.events == STOPPED


def test_a_shutdown_ends_it_at_once() -> None:
    stage = ServerHarness()
    client = stage.client()
    draining(stage).server.shutdown()
    stage.settle()
    assert client.is_ended
    assert stage.server_events.events == STOPPED
    stage.advance(100)
    assert stage.server_events.events == STOPPED


# -- who waits to be accepted -------------------------------------------------------------------


def test_the_server_does_not_stop_while_somebody_waits_to_be_accepted() -> None:
    stage = ServerHarness(answering_done)
    upgraded = stage.client()
    stage.handler = lambda exchange: exchange.upgrade("x")
    upgraded.send(request("/", "Connection: upgrade", "Upgrade: x"))
    stage.handler = answering_done
    waiting = stage.network.connect("origin", 80)
    waiting.write(request())
    got: list[bytes] = []
    waiting.on("data", got.append)
    waiting.pause(False)
    stage.server.graceful_shutdown()
    stage.settle()
    assert b"".join(got) == HELLO_CLOSE
    assert stage.server_events.events == STOPPED
    assert not upgraded.is_closed


def test_a_server_with_an_upgraded_connection_stops_when_nobody_waits() -> None:
    stage = ServerHarness(lambda exchange: exchange.upgrade("x"))
    upgraded = stage.client().send(request("/", "Connection: upgrade", "Upgrade: x"))
    stage.server.graceful_shutdown()
    assert stage.server_events.events == [("start",)]
    stage.settle()
    assert stage.server_events.events == STOPPED
    assert not upgraded.is_closed


@pytest.mark.parametrize("accepted", [False, True], ids=["in the queue", "accepted, not read"])
def test_a_request_that_was_sent_before_is_answered(loop: LoopBase, accepted: bool) -> None:
    server = HttpServer("127.0.0.1", 0, loop)
    server.on("exchange", answer)
    stopped: list[bool] = []
    server.on("stop", lambda: stopped.append(True))
    loop.run_once()
    with socket.create_connection(host_and_port(server), PEER_LIMIT_S) as client:
        if accepted:
            run_loop(loop, lambda: server.connections)
        client.sendall(request())
        server.graceful_shutdown()
        client.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: stopped)
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in said
    assert stopped == [True]


def test_no_time_for_idle_clients_ends_those_that_have_not_introduced_themselves(
    loop: LoopBase,
) -> None:
    server = HttpServer("127.0.0.1", 0, loop, proxy_protocol=("127.0.0.0/8",))
    stopped: list[bool] = []
    server.on("stop", lambda: stopped.append(True))
    with socket.create_connection(host_and_port(server), PEER_LIMIT_S) as client:
        run_loop(loop, lambda: server.connection_count)
        server.graceful_shutdown(idle_timeout=0)
        assert server.connection_count == 0
        run_loop(loop, lambda: stopped)
        with pytest.raises(ConnectionResetError):
            client.recv(1)

"""The server: its settings, its connections, how it stops."""

from __future__ import annotations

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
    request,
)

from thor.http.server import HttpServer, HttpServerConnection, HttpServerExchange

# -- settings -----------------------------------------------------------------------------------


def test_settings_are_class_variables_of_a_subclass_or_an_instance() -> None:
    stage = ServerHarness(answering, max_head_bytes=100)
    assert HttpServer.max_head_bytes == 64 * 1024
    large = request("/", "X: " + "y" * 100)
    assert stage.client().send(large).take().startswith(b"HTTP/1.1 431 ")
    stage.server.max_head_bytes = 1000
    assert stage.client().send(large).take() == HELLO
    stage.server.idle_timeout = 3
    client = stage.client().send(request())
    stage.advance(3.1)
    assert client.is_ended


LIMITS: dict[str, tuple[int, bytes, int]] = {
    "max_head_bytes": (60, request("/", "X: " + "y" * 60), 431),
    "max_head_fields": (2, request("/", "A: 1", "B: 2"), 431),
    "max_field_bytes": (20, request("/", "X: " + "y" * 20), 431),
    "max_target_bytes": (10, request("/" + "x" * 10), 414),
    "max_method_bytes": (5, request(method="METHOD"), 400),
    "max_empty_lines": (1, b"\r\n\r\n" + request(), 400),
    "max_chunk_extension_bytes": (5, CHUNKED + b"1;abcdefg\r\nx\r\n", 400),
    "max_chunk_extensions_bytes": (5, CHUNKED + b"1;abc\r\nx\r\n1;abc\r\nx\r\n", 400),
    "max_body_bytes": (3, request(method="PUT", body=b"four"), 413),
}


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_can_be_set(name: str) -> None:
    limit, data, status = LIMITS[name]
    assert ServerHarness(answering_done).client().send(data).take()[:12] in (b"", HELLO[:12])
    setting: dict[str, Any] = {name: limit}
    response = ServerHarness(**setting).client().send(data).take()
    assert int(response[9:12]) == status


def test_a_setting_that_makes_no_sense_raises_at_once() -> None:
    with pytest.raises(ValueError, match="fold"):
        ServerHarness(fold="ignore")


# -- connections --------------------------------------------------------------------------------


def test_the_server_knows_its_connections() -> None:
    stage = ServerHarness()
    assert stage.server.address == ("origin", 80)
    assert stage.server_events.events == [("start",)]
    clients = [stage.client() for _ in range(3)]
    connections = stage.server.connections
    assert len(connections) == 3
    assert all(isinstance(connection, HttpServerConnection) for connection in connections)
    assert {c.address for c in connections} == {stage.server_side(c).address for c in clients}
    clients[0].close()
    assert len(stage.server.connections) == 2
    assert "2 connections" in repr(stage.server)
    assert "127.0.0.1" in repr(connections[0])


def test_trouble_with_accepting_is_passed_on() -> None:
    stage = ServerHarness()
    told: list[Any] = []
    stage.server.on("accept_paused", told.append)
    stage.server.on("accept_resumed", lambda: told.append("resumed"))
    stage.server.tcp_server.emit("accept_paused", 24)
    stage.server.tcp_server.emit("accept_resumed")
    assert told == [24, "resumed"]


def test_coroutine_function_trusts_nobody(expected_logs: Any) -> None:
    async def no(*args: Any) -> bool:
        return False

    stage = ServerHarness(trusts_https=no)
    stage.loop.on_exception = "log"
    client = stage.client().send(b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert stage.exchanges == []
    assert not client.take().startswith(b"HTTP/1.1 200")


def await_room(stage: ServerHarness) -> None:
    """Have the server stop accepting, as where descriptors would run out."""
    server_class: Any = type(stage.server.tcp_server)
    server_class.awaits_room = True
    stage.server.tcp_server.emit("accept_paused", 24)


def test_server_with_waiting_clients_closes_after_responses() -> None:
    stage = ServerHarness()
    early = stage.client().send(request())
    answer(stage.exchange)
    assert early.take() == HELLO
    await_room(stage)
    early.send(request())
    late = stage.client().send(request())
    for exchange, client in zip(stage.exchanges[1:], (early, late), strict=True):
        answer(exchange)
        assert client.take() == HELLO_CLOSE
        assert client.is_ended


def test_server_with_waiting_clients_closes_idle_connections() -> None:
    stage = ServerHarness()
    idle, busy, new = stage.client(), stage.client(), stage.client()
    idle.send(request())
    answer(stage.exchange)
    busy.send(request())
    await_room(stage)
    stage.advance(5.1)
    assert (idle.is_ended, new.is_ended, busy.is_ended) == (True, True, False)


def test_server_without_waiting_clients_keeps_connections() -> None:
    stage = ServerHarness()
    idle = stage.client()
    await_room(stage)
    stage.advance(4)
    stage.server.tcp_server.emit("accept_resumed")
    stage.advance(4)
    idle.send(request())
    answer(stage.exchange)
    assert idle.take() == HELLO
    assert not idle.is_ended


def test_connections_do_not_share_their_exchanges() -> None:
    stage = ServerHarness()
    one, two = stage.client().send(request("/1")), stage.client().send(request("/2"))
    answer(stage.exchanges[1], b"two")
    answer(stage.exchanges[0], b"one")
    assert one.take().endswith(b"one")
    assert two.take().endswith(b"two")


# -- graceful shutdown --------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_client_whose_answer_has_begun_in_a_graceful_shutdown_may_go_on(goes_on: bool) -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.exchange.response_start(200, "OK", [("Content-Length", "5")])
    stage.server.graceful_shutdown()
    stage.advance(20)
    stage.exchange.response_body("hello")
    stage.exchange.response_done([])
    assert client.take() == HELLO  # which says that the connection persists
    stage.advance(4.9)
    assert not client.is_closed
    if goes_on:
        client.send(request())
        answer(stage.exchange)
        assert client.take() == HELLO_CLOSE
    else:
        stage.advance(0.2)
    assert client.is_ended
    client.close()
    assert stage.server_events.events == [("start",), ("stop",)]


def test_an_empty_line_behind_a_request_does_not_hold_up_a_graceful_shutdown() -> None:
    stage = ServerHarness()
    client = stage.client().send(request() + b"\r\n")
    stage.exchange.response_start(200, "OK", [("Content-Length", "0")])
    stage.server.graceful_shutdown()
    stage.exchange.response_done([])
    stage.advance(3)
    client.send(b"\r\n")
    stage.advance(1.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_ended
    assert stage.server_events.events == [("start",), ("stop",)]


def test_a_graceful_shutdown_does_not_wait_for_who_closed_its_side() -> None:
    stage = ServerHarness()
    early = stage.client().send(request()).end()
    late = stage.client().send(request())
    stage.server.graceful_shutdown()
    stage.settle()
    assert early.is_reset
    assert not late.is_closed
    late.end()
    assert late.is_reset
    assert [stage.events(i)[-1] for i in (0, 1)] == [("done", "ConnectError")] * 2
    assert stage.server_events.events == [("start",), ("stop",)]


def test_a_graceful_shutdown_waits_for_the_last_byte() -> None:
    stage = ServerHarness()
    client = stage.client().pause().send(request())
    answer(stage.exchange)
    stage.server.graceful_shutdown()
    stage.settle()
    assert stage.server_events.events == [("start",)]
    client.pause(False)
    assert client.take() == HELLO
    assert stage.events()[-1] == ("done", None)
    assert stage.server_events.events == [("start",)]
    client.close()
    assert stage.server_events.events == [("start",), ("stop",)]


def test_a_graceful_shutdown_without_connections_stops_after_the_callback() -> None:
    stage = ServerHarness()
    stage.server.graceful_shutdown()
    assert stage.server_events.events == [("start",)]
    stage.settle()
    assert stage.server_events.events == [("start",), ("stop",)]


def test_a_graceful_shutdown_leaves_upgraded_connections_to_the_program() -> None:
    stage = ServerHarness(lambda exchange: exchange.upgrade("x"))
    client = stage.client().send(request("/", "Connection: upgrade", "Upgrade: x"))
    stage.server.graceful_shutdown()
    stage.settle()
    assert stage.server_events.events == [("start",), ("stop",)]
    assert not client.is_closed


def test_a_client_that_drops_its_rest_is_closed_in_a_graceful_shutdown() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED)
    stage.server.graceful_shutdown()
    assert client.take() == HELLO
    stage.advance(4.9)
    assert not client.is_closed
    stage.advance(0.2)
    assert client.is_ended
    client.close()
    assert stage.server_events.events == [("start",), ("stop",)]


# -- shutdown -----------------------------------------------------------------------------------


def test_a_shutdown_sends_what_is_queued_and_loses_what_is_in_progress() -> None:
    stage = ServerHarness()
    answered, busy, idle = stage.client(), stage.client(), stage.client()
    answered.send(request())
    busy.send(request())
    answer(stage.exchanges[0])
    stage.exchanges[1].response_start(200, "OK", [])
    stage.exchanges[1].response_body("part")
    stage.server.shutdown()
    stage.exchanges[1].response_body("late")  # accepted and dropped
    assert stage.names(1)[-1] == "request_done"  # a method never emits
    stage.settle()
    assert answered.take() == HELLO
    assert busy.take().endswith(b"4\r\npart\r\n")  # no last chunk: it is not complete
    assert all(client.is_ended for client in (answered, busy, idle))
    assert stage.events(0)[-1] == ("done", None)
    assert stage.events(1)[-3:] == [("error", "ConnectError"), ("close",), ("done", "ConnectError")]
    assert stage.server_events.events == [("start",), ("stop",)]
    assert stage.server.connections == []
    with pytest.raises(KeyError):
        stage.client()


def test_a_shutdown_resets_a_response_that_ends_with_the_connection() -> None:
    stage = ServerHarness()
    client = stage.client().send(request(version="1.0"))
    stage.exchange.response_start(200, "OK", [])
    stage.exchange.response_body("part")
    stage.settle()
    stage.server.shutdown()
    stage.settle()
    assert client.is_reset  # a clean end would make it complete
    assert stage.events()[-1] == ("done", "ConnectError")


@pytest.mark.parametrize(
    "calls",
    [
        ["shutdown", "shutdown"],
        ["graceful_shutdown", "shutdown"],
        ["shutdown", "graceful_shutdown"],
        ["graceful_shutdown", "graceful_shutdown"],
    ],
)
@pytest.mark.parametrize("busy", [False, True])
def test_stop_is_emitted_once(calls: list[str], busy: bool) -> None:
    stage = ServerHarness()
    client = stage.client().send(request()) if busy else None
    for call in calls:
        getattr(stage.server, call)()
        stage.settle()
    if client is not None and "shutdown" not in calls:
        assert stage.server_events.take() == [("start",)]
        answer(stage.exchange)
        client.close()
        assert stage.server_events.take() == [("stop",)]
    else:
        assert stage.server_events.take() == [("start",), ("stop",)]
    stage.advance(1000)
    assert stage.server_events.take() == []


def test_a_tcp_server_that_stops_by_itself_stops_the_server() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.server.tcp_server.close()
    stage.settle()
    answer(stage.exchange)
    assert client.take() == HELLO_CLOSE
    client.close()
    assert stage.server_events.events == [("start",), ("stop",)]


def test_an_interrupt_leaves_a_server_that_can_be_drained() -> None:
    def handler(exchange: HttpServerExchange) -> None:
        answer(exchange)
        raise KeyboardInterrupt

    stage = ServerHarness(handler)
    client = stage.client()
    with pytest.raises(KeyboardInterrupt):
        client.send(request())
    stage.server.graceful_shutdown()
    assert client.take() == HELLO
    client.close()
    assert stage.server_events.events == [("start",), ("stop",)]
    assert stage.events()[-1] == ("done", None)


def test_without_a_listener_the_client_is_told(expected_logs: Any) -> None:
    stage = ServerHarness()
    stage.server.remove_listeners("exchange")
    client = stage.client().send(request())
    assert client.take().startswith(b"HTTP/1.1 500 ")
    assert [record.levelname for record in expected_logs.records] == ["WARNING"]


def test_after_the_loop_was_stopped_nothing_raises() -> None:
    stage = ServerHarness()
    stage.client().send(request())
    exchange = stage.exchange
    stage.loop.stop()
    exchange.response_start(200, "OK", [])
    exchange.response_body("x")
    exchange.response_done([])
    assert stage.names() == ["request_start", "request_done"]
    stage.server.shutdown()  # and the loop runs again
    stage.settle()
    assert stage.events()[-3:] == [("error", "ConnectError"), ("close",), ("done", "ConnectError")]

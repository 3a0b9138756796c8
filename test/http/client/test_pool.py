"""Which connection a request gets, and what becomes of connections in between."""

from __future__ import annotations

import gc
import os
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness, Watched

from thor.http.client import HttpClient
from thor.http.client import pool as pool_module
from thor.http.client.pool import pool_of
from thor.http.error import AccessError, ConnectError, PoolFullError
from thor.testing import MemoryNetwork

MakeHarness = Callable[..., ClientHarness]


def get(
    stage: ClientHarness, uri: str = "http://origin/", client: HttpClient | None = None
) -> Watched:
    """A request that is answered."""
    watched = stage.request(uri=uri, client=client)
    assert stage.answer(watched).events == HELLO_EVENTS
    return watched


# -- reuse ----------------------------------------------------------------------------------------


def test_requests_one_after_the_other_share_a_connection(stage: ClientHarness) -> None:
    for _ in range(5):
        get(stage)
    assert (len(stage.peers), stage.idle) == (1, 1)


def test_requests_at_the_same_time_do_not(stage: ClientHarness) -> None:
    first, second = stage.request(), stage.request()
    assert len(stage.peers) == 2
    for peer in stage.peers:
        peer.send(HELLO)
    assert first.events == second.events == HELLO_EVENTS
    assert stage.idle == 2


def test_the_connection_that_was_used_last_is_used_first(stage: ClientHarness) -> None:
    for _ in range(3):
        stage.request()
    for index in (1, 0, 2):
        stage.peers[index].send(HELLO)
        stage.peers[index].take()
    stage.request()
    assert stage.peers[2].take()
    stage.request()
    assert stage.peers[0].take()
    for peer in stage.peers:
        peer.send(HELLO)


def test_clients_of_a_loop_share_the_pool(stage: ClientHarness) -> None:
    get(stage)
    get(stage, client=stage.make_client(read_timeout=5, retry_limit=7))
    assert len(stage.peers) == 1


@pytest.mark.parametrize(
    "uri", ["http://ORIGIN/x?y", "http://origin:80", "http://origin:/", "HTTP://origin?a"]
)
def test_spellings_of_an_origin_share_a_connection(stage: ClientHarness, uri: str) -> None:
    get(stage)
    get(stage, uri)
    get(stage, uri)
    assert len(stage.peers) == 1
    assert len(stage.groups) == 1


def test_other_origins_do_not(stage: ClientHarness) -> None:
    stage.listen("origin", 81)
    stage.listen("other")
    for uri in ("http://origin/", "http://origin:81/", "http://other/"):
        get(stage, uri)
    assert len(stage.peers) == 3


def test_a_client_gets_no_connection_that_its_settings_would_have_refused(
    stage: ClientHarness,
) -> None:
    get(stage)
    strict = stage.make_client(check_ip=lambda address: False)
    assert isinstance(stage.request(client=strict).error, AccessError)
    lenient = stage.make_client(check_ip=lambda address: True)
    get(stage, client=lenient)
    assert len(stage.peers) == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fold", "refuse"),
        ("max_head_bytes", 1000),
        ("max_head_fields", 7),
        ("max_field_bytes", 100),
        ("max_informational", 3),
        ("max_chunk_extension_bytes", 10),
        ("max_chunk_extensions_bytes", 20),
        ("tls_client_class", object),
        ("tls_context", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
        ("verify", False),
        ("check_ip", lambda address: True),
    ],
)
def test_settings_that_decide_have_connections_of_their_own(
    stage: ClientHarness, setting: str, value: Any
) -> None:
    before = getattr(stage.client, setting)
    get(stage)
    setattr(stage.client, setting, value)
    get(stage)
    assert len(stage.peers) == 2
    setattr(stage.client, setting, before)  # and the first connection fits again
    watched = stage.request()
    assert stage.peers[0].take()
    stage.peers[0].send(HELLO)
    assert watched.events == HELLO_EVENTS


def test_other_settings_do_not(stage: ClientHarness) -> None:
    get(stage)
    stage.client.read_timeout = 5
    stage.client.careful = False
    get(stage)
    assert len(stage.peers) == 1


def test_a_setting_that_is_taken_back_is_the_class_s_again(stage: ClientHarness) -> None:
    get(stage)
    stage.client.verify = False
    get(stage)
    del stage.client.verify
    watched = stage.request()
    assert stage.peers[0].take()
    stage.peers[0].send(HELLO)
    assert watched.events == HELLO_EVENTS


def test_a_setting_of_the_class_holds_from_when_a_client_is_first_used(
    stage: ClientHarness,
) -> None:
    class Client(HttpClient):
        pass

    def make() -> HttpClient:
        client = Client(stage.loop)
        client.tcp_client_class = stage.network.tcp_client_class
        client.tls_client_class = stage.tls_client_class
        return client

    used, unused = make(), make()
    get(stage, client=used)
    Client.max_head_fields = 7
    get(stage, client=unused)
    watched = stage.request(client=used)
    stage.peers[0].send(HELLO)
    assert watched.events == HELLO_EVENTS
    assert [group.limits.max_head_fields for group in stage.groups] == [128, 7]
    assert len(stage.peers) == 2


def test_a_request_that_is_tried_again_goes_the_way_it_went(make_harness: MakeHarness) -> None:
    stage = make_harness(retry_limit=1)
    watched = stage.request()
    stage.peer.end()
    stage.client.proxy = "http://other"  # whose form of target is another one
    stage.advance(0.6)
    assert stage.peer.take().startswith(b"GET / HTTP/1.1\r\n")
    assert stage.answer(watched).events == HELLO_EVENTS


def test_client_classes_have_connections_of_their_own(stage: ClientHarness) -> None:
    get(stage)
    other = stage.make_client()
    other.tcp_client_class = type("Other", (stage.network.tcp_client_class,), {})
    get(stage, client=other)
    assert len(stage.peers) == 2


def test_a_unix_socket_has_connections_of_its_own(stage: ClientHarness) -> None:
    get(stage)
    watched = stage.request(client=stage.make_client(unix_path="/nothing", retry_limit=0))
    assert isinstance(watched.error, ConnectError)
    assert len(stage.groups) == 2


@pytest.mark.parametrize("idle_timeout", [None, 0])
def test_no_idle_timeout_is_no_reuse(make_harness: MakeHarness, idle_timeout: Any) -> None:
    stage = make_harness(idle_timeout=idle_timeout)
    get(stage)
    assert stage.peer.is_closed
    get(stage)
    assert len(stage.peers) == 2
    assert stage.open == 0


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_connection_that_its_last_program_closed_is_not_used(
    stage: ClientHarness, how: str
) -> None:
    watched = stage.start()
    stage.settle()
    conn = watched.exchange.conn
    assert conn is not None
    kept = conn.tcp_conn
    watched.exchange.request_done([])
    stage.answer(watched)
    getattr(kept, how)()
    following = stage.request()
    assert len(stage.peers) == 2
    assert stage.answer(following).events == HELLO_EVENTS


# -- how many -------------------------------------------------------------------------------------


def test_the_number_of_connections_to_a_server_is_bounded(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=2)
    watched = [stage.request() for _ in range(5)]
    assert len(stage.peers) == 2
    while not all(one.events for one in watched):
        for peer in stage.peers:
            if peer.take():
                peer.send(HELLO)
    assert all(one.events == HELLO_EVENTS for one in watched)
    assert (len(stage.peers), stage.idle) == (2, 2)


def test_they_are_served_in_order(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1)
    for name in "abc":
        stage.request(uri=f"http://origin/{name}")
    paths = []
    for _ in range(3):
        paths.append(stage.peer.take()[5:6])
        stage.peer.send(HELLO)
    assert paths == [b"a", b"b", b"c"]


def test_the_bound_is_per_server(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1)
    stage.listen("other")
    stage.request()
    stage.request(uri="http://other/")
    assert len(stage.peers) == 2
    for peer in stage.peers:
        peer.send(HELLO)


@pytest.mark.parametrize("how", ["close", "cancel", "error"])
def test_a_connection_that_goes_makes_room(make_harness: MakeHarness, how: str) -> None:
    stage = make_harness(max_server_conn=1)
    first, second = stage.request("POST"), stage.request()
    assert len(stage.peers) == 1
    if how == "close":
        stage.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert first.names[-1] == "response_done"
    elif how == "cancel":
        first.exchange.cancel()
    else:
        stage.peer.end()
        assert isinstance(first.error, ConnectError)
    stage.settle()
    assert len(stage.peers) == 2
    assert stage.answer(second).events == HELLO_EVENTS


def test_a_connection_attempt_that_fails_makes_room(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, retry_limit=0)
    stage.network.errors["gone", 80] = None
    first, second = stage.request(uri="http://gone/"), stage.request(uri="http://gone/")
    stage.network.errors["gone", 80] = (ConnectionRefusedError, 111)
    first.exchange.cancel()  # what hangs is given up, and the next one may try
    assert isinstance(second.error, ConnectError)


def test_the_queue_is_bounded(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, max_waiting=2)
    first = stage.request()
    waiting = [stage.request(), stage.request()]
    refused = stage.start()
    assert refused.heard.events == []  # a method never emits
    assert isinstance(refused.error, PoolFullError)
    waiting[0].exchange.cancel()
    third = stage.request()  # there is room in the queue again
    for watched in (first, waiting[1], third):
        assert stage.answer(watched).events == HELLO_EVENTS


def test_waiting_in_the_queue_is_bounded(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, pool_timeout=3)
    first, second = stage.request(), stage.request()
    stage.advance(2.9)
    assert second.events == []
    stage.advance(0.2)
    assert isinstance(second.error, ConnectError)
    assert stage.answer(first).events == HELLO_EVENTS


def test_who_got_a_connection_is_not_timed_out_by_the_queue(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, pool_timeout=3)
    first, second = stage.request(), stage.request()
    stage.answer(first)
    stage.advance(10)
    assert stage.answer(second).events == HELLO_EVENTS


def test_a_retry_at_the_bound_makes_itself_room(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1)
    watched = stage.request()
    stage.peer.end()
    get(stage)  # while it waits, another request gets the one connection
    other = stage.peer
    stage.advance(0.5)
    assert other.is_closed
    assert stage.answer(watched).events == HELLO_EVENTS
    assert stage.open == 1


def test_room_for_one_is_not_room_for_all(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1)
    first, *waiting = [stage.request() for _ in range(3)]
    first.exchange.cancel()
    for watched in waiting:
        assert stage.open == 1
        assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 2


def test_a_retry_finds_the_queue_full(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1, max_waiting=0)
    first = stage.request()
    stage.peer.end()
    second = stage.request()
    stage.advance(0.5)
    assert isinstance(first.error, PoolFullError)
    assert stage.answer(second).events == HELLO_EVENTS


def test_a_request_that_was_held_is_sent_when_its_turn_comes(make_harness: MakeHarness) -> None:
    stage = make_harness(max_server_conn=1)
    first = stage.request()
    second = stage.start("POST")
    assert not second.exchange.request_body(b"x" * 300_000)
    assert second.events == [("pause", True)]
    stage.answer(first)
    assert second.events[1:] == [("pause", False)]
    second.exchange.request_done([])
    assert stage.peer.take().endswith(b"x\r\n0\r\n\r\n")
    stage.answer(second)


# -- the pool itself ------------------------------------------------------------------------------


def test_many_origins_do_not_fill_the_memory(
    stage: ClientHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_ORIGIN_POOLS", 10)
    monkeypatch.setattr(pool_module, "MAX_ROUTES", 20)
    get(stage)
    for number in range(200):
        stage.start(uri=f"http://host{number % 100}/").exchange.cancel()
        stage.settle()
    pool = pool_of(stage.loop)
    assert len(pool.origin_pools) <= 11
    assert sum(len(routes) for routes in pool.routes.values()) <= 20
    get(stage)
    assert len(stage.peers) == 1  # what is in use stays


def test_many_settings_do_not_fill_the_memory(
    stage: ClientHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_SETTINGS", 10)
    get(stage)
    contexts = weakref.WeakSet[Any]()
    for _ in range(100):
        client = stage.make_client(tls_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        contexts.add(client.tls_context)
        stage.start(client=client).exchange.cancel()
        stage.settle()
        del client
    pool = pool_of(stage.loop)
    assert len(pool.routes) <= 10
    gc.collect()
    assert len(contexts) <= 10
    get(stage)
    assert len(stage.peers) == 1


def test_clients_go_on_when_what_they_knew_was_dropped(
    stage: ClientHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_ROUTES", 2)
    other = stage.make_client()
    for number in range(10):
        for client in (stage.client, other):
            stage.start(uri=f"http://host{number}/", client=client).exchange.cancel()
            stage.settle()
            get(stage, client=client)
    assert len(stage.peers) == 1


def test_a_stopped_loop_forgets_the_pool(stage: ClientHarness) -> None:
    get(stage)
    stage.client.max_server_conn = 1
    busy, queued = stage.request(), stage.request()
    stage.loop.stop()
    assert pool_of(stage.loop).origin_pools == {}
    for watched in (busy, queued):
        watched.exchange.request_body("x")
        watched.exchange.request_done([])
        watched.exchange.cancel()
    stage.listen("again")
    get(stage, "http://again/")
    assert stage.idle == 1


def test_an_exchange_over_a_stopped_loop_can_be_written_to(stage: ClientHarness) -> None:
    watched = stage.start("POST")
    stage.settle()
    stage.loop.stop()
    watched.exchange.request_body("x")
    watched.exchange.request_done([])
    watched.exchange.pause(True)
    watched.exchange.pause(False)
    stage.settle()
    watched.is_silent()
    watched.exchange.cancel()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_begins_with_an_empty_pool(default_loop: Any) -> None:
    pools: Any = pool_of(default_loop).origin_pools
    pools["x"] = None
    child = os.fork()
    if not child:
        os._exit(0 if not pool_of(default_loop).origin_pools else 1)
    assert os.waitpid(child, 0)[1] == 0
    pool_of(default_loop).origin_pools.clear()


def test_the_pool_goes_with_its_loop() -> None:
    network = MemoryNetwork()
    client = HttpClient(network.loop)
    client.exchange().request_start("GET", "nonsense", [])
    pool = weakref.ref(pool_of(network.loop))
    loop = weakref.ref(network.loop)
    del network, client
    gc.collect()
    assert loop() is None
    assert pool() is None


def test_a_client_is_made_without_touching_its_loop(default_loop: Any) -> None:
    HttpClient()
    HttpClient().exchange().cancel()
    assert default_loop.fds.poller is None

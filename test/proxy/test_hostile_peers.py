"""Clients and origins of a proxy that are slow, that send without end, or that vanish."""

from __future__ import annotations

import pytest
from proxy_support import DATE, ProxyHarness, get, got, own

from thor.http.client.pool import pool_of

HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"


def at_rest(harness: ProxyHarness) -> bool:
    """Whether nothing is left of what went on: no connection, no exchange, no timer."""
    groups = pool_of(harness.loop).origin_pools.values()
    waiting = [timer for _, timer in harness.loop.scheduled_events()]
    sweeper = harness.loop.deadlines._timer
    return (
        harness.proxy.server.connections == []
        and not any(group.open or group.connecting or group.waiting for group in groups)
        and [timer for timer in waiting if timer is not sweeper] == []
        and harness.proxy.tunnels == []
    )


# -- many ---------------------------------------------------------------------------------------


# -- slow ---------------------------------------------------------------------------------------


def test_exchange_timeout_ends_an_origin_that_sends_slowly() -> None:
    harness = ProxyHarness()
    harness.proxy.client.exchange_timeout = 100
    harness.send("browser", get()).expect(("a", "data", got()))
    head = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100
    for second in range(3):
        harness.send("a", head[second : second + 1]).advance(33)
    harness.expect().advance(1.1)
    late = own(504, "Gateway Timeout", "http_response_timeout")
    harness.expect(("browser", "data", late), ("a", "close"))


def test_client_that_sends_slowly_occupies_no_origin() -> None:
    harness = ProxyHarness()
    length = b"Content-Length: 100\r\n"
    harness.send("browser", get("/", length, "PUT")).expect(("a", "data", got("/", length, "PUT")))
    for _ in range(4):
        if not harness.peers["a"].is_closed:
            harness.send("browser", b"x").advance(5)
    events = harness.take()
    assert ("a", "close") in events
    (answer,) = [event[2] for event in events if event[:2] == ("browser", "data")]
    assert answer.startswith(b"HTTP/1.1 408 ")


# -- vanishing ----------------------------------------------------------------------------------

REQUEST = (
    get("/1")
    + get("/2", b"Transfer-Encoding: chunked\r\n", "POST")
    + b"5;a\r\nhello\r\n0\r\nA: b\r\n\r\n"
    + get("/3", b"Expect: 100-continue\r\nContent-Length: 2\r\n", "PUT")
    + b"ab"
)
RESPONSE = HINT + CHUNKED + b"5;a\r\nhello\r\n0\r\nA: b\r\n\r\n"


def vanish(harness: ProxyHarness, name: str, how: str) -> None:
    """A peer goes."""
    harness.abort(name) if how == "reset" else harness.finish(name)


@pytest.mark.parametrize("how", ["reset", "finish"])
@pytest.mark.parametrize("answered", [False, True], ids=["unanswered", "answered"])
def test_client_may_disconnect_after_any_byte(how: str, answered: bool) -> None:
    for size in range(len(REQUEST) + 1):
        harness = ProxyHarness()
        harness.send("browser", REQUEST[:size])
        if answered and "a" in harness.peers:
            harness.send("a", RESPONSE[: len(RESPONSE) // 2])
        vanish(harness, "browser", how)
        if how == "reset" and "a" in harness.peers and not answered:
            assert harness.peers["a"].is_closed, size  # in the same turn
        harness.advance(300)
        assert at_rest(harness), size


@pytest.mark.parametrize("how", ["reset", "finish"])
def test_origin_may_disconnect_after_any_byte(how: str) -> None:
    for size in range(len(RESPONSE) + 1):
        harness = ProxyHarness()
        harness.send("browser", get()).expect(("a", "data", got()))
        harness.send("a", RESPONSE[:size])
        vanish(harness, "a", how)
        seen = b"".join(event[2] for event in harness.take() if event[:2] == ("browser", "data"))
        final = seen.rpartition(b"HTTP/1.1 ")[2]
        whole = size == len(RESPONSE)
        assert whole == final.endswith(b"5\r\nhello\r\n0\r\n\r\n"), size
        if final.startswith(b"200") and not whole:
            assert harness.peers["browser"].is_closed, size
        elif not whole:
            assert final.startswith(b"502 "), size
            assert not harness.peers["browser"].is_closed, size
        vanish(harness, "browser", "reset")
        harness.advance(300)
        assert at_rest(harness), size

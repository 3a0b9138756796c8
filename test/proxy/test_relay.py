"""What a relay does between two exchanges: conversations in memory."""

from __future__ import annotations

from typing import Any

import pytest
from proxy_support import DATE, ProxyHarness, get, got, ok, own, passed

from thor.http import HttpServerExchange
from thor.http.error import OutputStateError

CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"
PASSED_CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + DATE + b"Via: 1.1 fred\r\nTransfer-Encoding: chunked\r\n\r\n"
)


# -- plain messages -----------------------------------------------------------------------------


def test_request_and_response_are_forwarded() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/x?y", b"Accept: a\r\n"))
    harness.expect(("a", "data", got("/x?y", b"Accept: a\r\n")))
    harness.send("a", ok(b"hello", b"Server: s\r\n"))
    harness.expect(("browser", "data", passed(ok(b"hello", b"Server: s\r\n"))))


def test_connections_of_both_sides_are_reused() -> None:
    harness = ProxyHarness()
    for _ in range(3):
        harness.send("browser", get()).expect(("a", "data", got()))
        harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    assert list(harness.peers) == ["browser", "a"]


@pytest.mark.parametrize("forwarded", [True, False], ids=["where-set", "by-default-not"])
def test_request_trailers_are_forwarded(forwarded: bool) -> None:
    harness = ProxyHarness()
    harness.upstream.request_trailers = forwarded
    harness.send(
        "browser",
        get("/", b"Transfer-Encoding: chunked\r\n", "POST")
        + b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\nConnection: x\r\n\r\n",
    )
    fields = got("/", b"", "POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    trailer = b"X-Sum: 1\r\n" if forwarded else b""
    harness.expect(("a", "data", fields + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"))


def test_get_with_a_body_is_forwarded_completely() -> None:
    harness = ProxyHarness()
    length = b"Content-Length: 3\r\n"
    harness.send("browser", get("/", length) + b"abc")
    harness.expect(("a", "data", got("/", length) + b"abc"))


def test_chunked_response_streams() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", CHUNKED).expect(("browser", "data", PASSED_CHUNKED))
    harness.send("a", b"3\r\nabc\r\n").expect(("browser", "data", b"3\r\nabc\r\n"))
    harness.send("a", b"0\r\n\r\n").expect(("browser", "data", b"0\r\n\r\n"))


# -- informational responses --------------------------------------------------------------------


def test_client_that_does_not_wait_gets_no_100() -> None:
    harness = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT") + b"abc")
    harness.expect(("a", "data", got("/", fields, "PUT")))
    harness.advance(2).expect(("a", "data", b"abc"))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


# -- pausing ------------------------------------------------------------------------------------


def test_client_that_does_not_read_pauses_the_origin() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.peers["browser"].pause()
    size = 4 * 1024 * 1024
    harness.send("a", b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: %d\r\n\r\n" % size)
    harness.send("a", b"x" * size).expect()
    near = harness.network.pairs[0].server
    assert near.write_buffer.size < 1024 * 1024
    assert harness.peers["a"].unsent > size // 2
    harness.peers["browser"].pause(False)
    harness.advance(0)
    (event,) = harness.take()
    assert event[:2] == ("browser", "data")
    assert event[2].endswith(b"\r\n\r\n" + b"x" * size)


def test_origin_that_does_not_read_pauses_the_client() -> None:
    harness = ProxyHarness()
    size = 4 * 1024 * 1024
    length = b"Content-Length: %d\r\n" % size
    harness.send("browser", get("/", length, "PUT")).expect(("a", "data", got("/", length, "PUT")))
    harness.peers["a"].pause()
    harness.send("browser", b"x" * size).expect()
    far = harness.network.pairs[1].client
    assert far.write_buffer.size < 1024 * 1024
    assert harness.peers["browser"].unsent > size // 2
    harness.peers["a"].pause(False)
    harness.advance(0)
    harness.expect(("a", "data", b"x" * size))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


# -- failures -----------------------------------------------------------------------------------


def test_client_that_does_not_read_earlier_responses_is_reset() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.peers["browser"].pause()
    harness.send("a", CHUNKED + b"3\r\nabc\r\n").abort("a").advance(61)
    harness.expect(("browser", "close"))
    assert harness.proxy.server.connections == []


def test_response_that_cannot_be_forwarded_is_a_502() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", b"", "HEAD")).expect(("a", "data", got("/", b"", "HEAD")))
    harness.send("a", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    answer = own(502, "Bad Gateway", "http_protocol_error").removesuffix(b"Bad Gateway\n")
    harness.expect(("browser", "data", answer), ("a", "close"))


# -- another endpoint ---------------------------------------------------------------------------


def test_body_that_continues_in_the_next_attempt_is_complete() -> None:
    harness = ProxyHarness("a", "b").refuse("a")
    harness.upstream.request_trailers = True
    harness.network.errors["a", 80] = None  # the connect hangs until its timeout
    fields = b"Transfer-Encoding: chunked\r\n"
    harness.send("browser", get("/", fields, "POST") + b"1\r\na\r\n").expect()
    harness.advance(5)
    harness.send("browser", b"1\r\nb\r\n", b"0\r\nX: y\r\n\r\n")
    (event,) = harness.take()
    assert event[:2] == ("b", "data")
    assert event[2].endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n")


def test_body_above_the_replay_limit_is_not_replayed() -> None:
    harness = ProxyHarness("a", "b").refuse("a")
    harness.network.errors["a", 80] = None
    size = 100_000
    length = b"Content-Length: %d\r\n" % size
    harness.send("browser", get("/", length, "PUT") + b"x" * size).expect()
    harness.advance(5)
    harness.expect(("browser", "data", own(504, "Gateway Timeout", "connection_timeout")))


def test_idle_connection_that_was_closed_is_replaced() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    harness.send("browser", get())
    harness.expect(("a", "data", got()))
    harness.abort("a").expect(("a2", "data", got()))


# -- answers of the proxy's own -----------------------------------------------------------------


def test_options_with_max_forwards_0_is_answered_by_the_proxy() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("*", b"Max-Forwards: 0\r\n", "OPTIONS"))
    (event,) = harness.take()
    assert event[2].startswith(b"HTTP/1.1 204 No Content\r\n")
    harness.send("browser", get("/", b"Max-Forwards: 1\r\n", "OPTIONS"))
    harness.expect(("a", "data", got("/", b"Max-Forwards: 0\r\n", "OPTIONS")))


# -- switching protocols ------------------------------------------------------------------------

ASK = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n"
)


def switched(*origins: str) -> ProxyHarness:
    """A harness with a tunnel; bytes that came with the heads are through."""
    harness = ProxyHarness(*origins)
    harness.send("browser", get("/chat", ASK))
    up = got("/chat", b"Sec-WebSocket-Key: k\r\n")[:-2]
    up += b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    harness.expect(("a", "data", up))
    harness.send("a", SWITCH + b"first")
    down = (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nVia: 1.1 fred\r\n"
        b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
    )
    harness.expect(("browser", "data", down))
    return harness


def test_upgrade_makes_a_tunnel() -> None:
    harness = switched()
    assert len(harness.proxy.tunnels) == 1
    harness.send("browser", b"ping").expect(("a", "data", b"ping"))
    harness.send("a", b"pong").expect(("browser", "data", b"pong"))
    harness.finish("browser").expect(("a", "end"))
    harness.send("a", b"bye").expect(("browser", "data", b"bye"))
    harness.finish("a").expect(("a", "close"), ("browser", "end"), ("browser", "close"))
    assert harness.proxy.tunnels == []


def test_upgrade_for_a_lost_client_closes_the_upstream() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/chat", ASK))
    harness.take()
    harness.peers["browser"].abort()
    harness.send("a", SWITCH)
    harness.take()
    assert harness.peers["a"].is_closed
    assert harness.proxy.tunnels == []


def test_upgrade_that_was_not_offered_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OutputStateError

    monkeypatch.setattr(HttpServerExchange, "upgrade", refuse)
    harness = ProxyHarness()
    harness.send("browser", get("/chat", ASK))
    harness.take()
    harness.send("a", SWITCH)
    answer = own(502, "Bad Gateway", "http_upgrade_failed")
    harness.expect(("browser", "data", answer), ("a", "close"))


def test_request_on_a_unix_socket_is_answered() -> None:
    harness = ProxyHarness().advance(0)
    near = harness.network.pairs[0].server
    near.address = "/run/site"
    owner: Any = near.owner
    owner.address = near.address
    harness.send("browser", get())
    harness.expect(("a", "data", got().replace(b"For: 127.0.0.1", b"For: unknown")))

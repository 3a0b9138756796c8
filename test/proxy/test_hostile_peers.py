"""Clients and origins of a proxy that are slow, that send without end, or that vanish."""

from __future__ import annotations

import pytest
from proxy_support import DATE, ProxyHarness, get, got, ok, own, passed

from thor.http.client.pool import pool_of

HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"
#: What is read of a connection beyond a bound before the bound is noticed: one `recv`.
PIECE = 64 * 1024


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


# -- without end --------------------------------------------------------------------------------


def test_flood_of_informational_responses_is_a_502() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", HINT * 100)
    events = harness.take()
    seen = b"".join(event[2] for event in events if event[:2] == ("browser", "data"))
    hints, _, answer = seen.rpartition(passed(HINT))
    assert hints == passed(HINT) * 15
    assert answer == own(502, "Bad Gateway", "http_protocol_error")
    assert ("a", "close") in events


@pytest.mark.parametrize(
    ("begins", "again", "error"),
    [
        pytest.param(ok()[:-2], b"A: b\r\n", "http_response_header_section_size", id="fields"),
        pytest.param(ok()[:-2] + b"A: ", b"b", "http_response_header_section_size", id="field"),
        pytest.param(b"", b"x", "http_response_header_section_size", id="line"),
    ],
)
def test_response_with_an_endless_head_is_a_502(begins: bytes, again: bytes, error: str) -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", begins, again * (4 * PIECE))
    harness.expect(("browser", "data", own(502, "Bad Gateway", error)), ("a", "close"))


@pytest.mark.parametrize(
    "goes_on",
    [
        pytest.param(b"1;" + b"a" * PIECE, id="extension"),
        pytest.param(b"1;aaaaaaaa\r\nx\r\n" * 10_000, id="extensions"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * 1000, id="trailers"),
        pytest.param(b"0" * 10_000, id="chunk-size"),
    ],
)
def test_response_with_an_endless_chunk_line_is_aborted(goes_on: bytes) -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", CHUNKED, goes_on)
    events = harness.take()
    assert ("browser", "close") in events
    assert ("a", "close") in events
    assert b"\r\n0\r\n" not in b"".join(e[2] for e in events if e[:2] == ("browser", "data"))


def test_chunk_extensions_are_not_forwarded() -> None:
    harness = ProxyHarness()
    fields = b"Transfer-Encoding: chunked\r\n"
    harness.send("browser", get("/", fields, "POST") + b"1;aaa\r\nx\r\n" * 1000 + b"0;b\r\n\r\n")
    (event,) = harness.take()
    assert b";" not in event[2]
    harness.send("a", CHUNKED + b"1;aaa\r\nx\r\n" * 1000 + b"0;b\r\n\r\n")
    (event,) = harness.take()
    assert b";" not in event[2]


# -- many ---------------------------------------------------------------------------------------


def test_pipelined_requests_reach_the_origin_one_by_one() -> None:
    harness = ProxyHarness()
    harness.send("browser", *[get(f"/{number}") for number in range(3000)])
    near = harness.network.pairs[0].server
    assert near.bytes_read <= harness.proxy.server.read_ahead_bytes + PIECE
    for number in range(3000):
        harness.expect(("a", "data", got(f"/{number}")))
        harness.peers["a"].send(ok(b"x"))
        harness.advance(0)
        assert harness.events.pop(0) == ("browser", "data", passed(ok(b"x")))
    assert list(harness.peers) == ["browser", "a"]


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

"""What a relay does between two exchanges: conversations in memory."""

from __future__ import annotations

from typing import Any

import pytest
from proxy_support import ADDED, DATE, ProxyHarness, get, got, ok, own, passed

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


def test_pipelined_requests_are_answered_in_order() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/1") + get("/2"))
    harness.expect(("a", "data", got("/1")))
    harness.send("a", ok(b"1"))
    harness.expect(("browser", "data", passed(ok(b"1"))), ("a", "data", got("/2")))
    harness.send("a", ok(b"2")).expect(("browser", "data", passed(ok(b"2"))))


def test_body_keeps_its_length() -> None:
    harness = ProxyHarness()
    length = b"Content-Length: 6\r\n"
    harness.send("browser", get("/", length, "POST") + b"abc")
    harness.expect(("a", "data", got("/", length, "POST") + b"abc"))
    harness.send("browser", b"def").expect(("a", "data", b"def"))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


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


@pytest.mark.parametrize(
    ("te", "goes"),
    [
        pytest.param(b"TE: trailers\r\nConnection: TE\r\n", True, id="wanted"),
        pytest.param(b"", False, id="not-wanted"),
    ],
)
def test_response_trailers_are_forwarded_if_accepted(te: bytes, goes: bool) -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", te))
    up = got()[:-2] + (b"TE: trailers\r\nConnection: TE\r\n" if goes else b"") + b"\r\n"
    harness.expect(("a", "data", up))
    head = CHUNKED[:-2] + b"Trailer: X-Sum\r\n\r\n"
    harness.send("a", head + b"0\r\nX-Sum: 1\r\nKeep-Alive: 1\r\n\r\n")
    announced = b"Trailer: X-Sum\r\n" if goes else b""
    down = PASSED_CHUNKED.replace(b"Via:", announced + b"Via:")
    trailer = b"X-Sum: 1\r\n" if goes else b""
    harness.expect(("browser", "data", down + b"0\r\n" + trailer + b"\r\n"))


def test_http10_client_gets_chunked_response_until_close() -> None:
    harness = ProxyHarness()
    harness.send("browser", b"GET / HTTP/1.0\r\nHost: site\r\n\r\n")
    harness.expect(("a", "data", got().replace(b"1.1 fred", b"1.0 fred")))
    harness.send("a", CHUNKED + b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n")
    down = PASSED_CHUNKED.replace(b"Transfer-Encoding: chunked", b"Connection: close") + b"abc"
    harness.expect(("browser", "data", down), ("browser", "end"))


def test_response_delimited_by_close_is_chunked() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", b"HTTP/1.0 200 OK\r\n" + DATE + b"\r\nabc").finish("a")
    down = PASSED_CHUNKED.replace(b"1.1 fred", b"1.0 fred") + b"3\r\nabc\r\n0\r\n\r\n"
    harness.expect(("browser", "data", down), ("a", "end"), ("a", "close"))


def test_head_response_has_length_and_no_body() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", b"", "HEAD")).expect(("a", "data", got("/", b"", "HEAD")))
    head = ok(b"12345")[:-5]
    harness.send("a", head).expect(("browser", "data", passed(head)))
    harness.send("browser", get()).expect(("a", "data", got()))


def test_not_modified_response_has_no_body() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    head = b"HTTP/1.1 304 Not Modified\r\n" + DATE + b'ETag: "x"\r\n\r\n'
    harness.send("a", head).expect(("browser", "data", passed(head)))


def test_options_of_the_server_as_a_whole() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("*", b"", "OPTIONS")).expect(
        ("a", "data", got("*", b"", "OPTIONS"))
    )


def test_authority_of_an_absolute_target_replaces_host() -> None:
    harness = ProxyHarness()
    harness.send("browser", b"GET http://other/x HTTP/1.1\r\nHost: site\r\n\r\n")
    up = b"GET /x HTTP/1.1\r\nHost: other\r\n" + ADDED.replace(b"site", b"other") + b"\r\n"
    harness.expect(("a", "data", up))


@pytest.mark.parametrize("path", ["//a/../b%2e%2F%00", '/a?b=[1]|{}"<>', "/%ff", "/?"])
def test_path_is_forwarded_unchanged(path: str) -> None:
    harness = ProxyHarness()
    harness.send("browser", get(path)).expect(("a", "data", got(path)))


# -- informational responses --------------------------------------------------------------------


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_informational_responses_are_forwarded_in_order() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    harness.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_http10_client_gets_no_informational_response() -> None:
    harness = ProxyHarness()
    harness.send("browser", b"GET / HTTP/1.0\r\nHost: site\r\n\r\n")
    harness.expect(("a", "data", got().replace(b"1.1 fred", b"1.0 fred")))
    harness.send("a", HINTS).expect()


def test_origin_decides_whether_to_send_a_100() -> None:
    harness = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT"))
    harness.expect(("a", "data", got("/", fields, "PUT")))
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    harness.send("a", go_on).expect(("browser", "data", passed(go_on)))
    harness.send("browser", b"abc").expect(("a", "data", b"abc"))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_immediate_response_ends_the_wait_for_a_100() -> None:
    harness = ProxyHarness()
    timers = len(harness.loop.scheduled_events())
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT"))
    waiting = len(harness.loop.scheduled_events())
    harness.send("a", ok(b"x"))
    assert timers < waiting > len(harness.loop.scheduled_events())


def test_client_that_waits_gets_a_100_from_the_proxy_in_time() -> None:
    harness = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT"))
    harness.expect(("a", "data", got("/", fields, "PUT")))
    harness.advance(2).expect(("browser", "data", b"HTTP/1.1 100 Continue\r\n\r\n"))
    harness.send("browser", b"abc").expect(("a", "data", b"abc"))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_client_that_does_not_wait_gets_no_100() -> None:
    harness = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT") + b"abc")
    harness.expect(("a", "data", got("/", fields, "PUT")))
    harness.advance(2).expect(("a", "data", b"abc"))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_origin_that_refuses_the_body_gets_none() -> None:
    harness = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    harness.send("browser", get("/", fields, "PUT"))
    harness.expect(("a", "data", got("/", fields, "PUT")))
    refusal = b"HTTP/1.1 403 Forbidden\r\n" + DATE + b"Content-Length: 2\r\n\r\nno"
    harness.send("a", refusal)
    down = passed(refusal).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    harness.expect(("browser", "data", down), ("a", "close"), ("browser", "end"))


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


def test_upstream_reset_in_the_body_resets_the_client() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", CHUNKED + b"3\r\nabc\r\n")
    harness.expect(("browser", "data", PASSED_CHUNKED + b"3\r\nabc\r\n"))
    harness.abort("a").expect(("browser", "close"))


def test_truncated_body_resets_the_client() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", ok(b"x" * 10)[:-5]).finish("a")
    harness.take()
    assert harness.peers["browser"].is_closed


def test_responses_before_a_truncated_one_are_sent() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/1") + get("/2") + get("/3")).expect(("a", "data", got("/1")))
    harness.peers["browser"].pause()
    harness.send("a", ok(b"1")).expect(("a", "data", got("/2")))
    harness.send("a", ok(b"2")).expect(("a", "data", got("/3")))
    harness.send("a", CHUNKED + b"3\r\nabc\r\n").abort("a").expect()
    harness.advance(59).expect()
    harness.peers["browser"].pause(False)
    whole = passed(ok(b"1")) + passed(ok(b"2"))
    harness.expect(
        ("browser", "data", whole + PASSED_CHUNKED + b"3\r\nabc\r\n"), ("browser", "close")
    )


def test_client_that_does_not_read_earlier_responses_is_reset() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.peers["browser"].pause()
    harness.send("a", CHUNKED + b"3\r\nabc\r\n").abort("a").advance(61)
    harness.expect(("browser", "close"))
    assert harness.proxy.server.connections == []


def test_client_disconnect_cancels_the_upstream() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.abort("browser").expect(("a", "close"))


def test_client_disconnect_in_the_body_cancels_the_upstream() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", CHUNKED).expect(("browser", "data", PASSED_CHUNKED))
    harness.abort("browser").expect(("a", "close"))


def test_client_that_half_closed_gets_its_response() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).finish("browser").expect(("a", "data", got()))
    harness.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    harness.expect(("browser", "data", down), ("browser", "end"), ("browser", "close"))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        pytest.param(b"garbage\r\n\r\n", "http_protocol_error", id="no-status-line"),
        pytest.param(b"HTTP/1.1 200 OK\nX: y\n\n", "http_protocol_error", id="bare-lf"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
            "http_protocol_error",
            id="folded",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http_response_transfer_coding",
            id="two-lengths",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "http_protocol_error",
            id="differing-lengths",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "http_response_transfer_coding",
            id="coding-that-nobody-takes-off",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
            "http_response_header_section_size",
            id="too-large",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "http_upgrade_failed",
            id="unasked-switch",
        ),
    ],
)
def test_malformed_response_is_a_502(response: bytes, error: str) -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", response)
    harness.expect(("browser", "data", own(502, "Bad Gateway", error)), ("a", "close"))


def test_response_that_cannot_be_forwarded_is_a_502() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", b"", "HEAD")).expect(("a", "data", got("/", b"", "HEAD")))
    harness.send("a", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    answer = own(502, "Bad Gateway", "http_protocol_error").removesuffix(b"Bad Gateway\n")
    harness.expect(("browser", "data", answer), ("a", "close"))


def test_upstream_that_closes_without_a_response_is_a_502() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.abort("a")
    harness.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))
    harness.send("browser", get()).expect(("a2", "data", got()))


def test_truncated_head_is_a_502() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", b"HTTP/1.1 200 OK\r\nX: y").finish("a")
    harness.expect(
        ("browser", "data", own(502, "Bad Gateway", "connection_terminated")), ("a", "close")
    )


def test_upstream_timeout_is_a_504() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.advance(59).expect()
    harness.advance(2)
    harness.expect(
        ("browser", "data", own(504, "Gateway Timeout", "connection_read_timeout")), ("a", "close")
    )


def test_failure_after_an_informational_response_is_a_502() -> None:
    harness = ProxyHarness("a", "b")
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    harness.abort("a")
    harness.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))


def test_malformed_request_body_cancels_the_upstream() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", b"Transfer-Encoding: chunked\r\n", "PUT") + b"3\r\nabc\r\n")
    (event,) = harness.take()
    assert event[0] == "a"
    harness.send("browser", b"zz\r\n")
    first, *rest = harness.take()
    assert first[:2] == ("browser", "data")
    assert first[2].startswith(b"HTTP/1.1 400 ")
    assert ("a", "close") in rest


def test_early_response_ends_the_upload() -> None:
    harness = ProxyHarness()
    length = b"Content-Length: 6\r\n"
    harness.send("browser", get("/", length, "POST") + b"abc")
    harness.expect(("a", "data", got("/", length, "POST") + b"abc"))
    harness.send("a", ok(b"x"))
    harness.expect(("browser", "data", passed(ok(b"x"))), ("a", "close"))
    harness.send("browser", b"def" + get()).expect(("a2", "data", got()))


# -- another endpoint ---------------------------------------------------------------------------


def test_refused_connection_is_retried_at_the_next_endpoint() -> None:
    harness = ProxyHarness("a", "b").refuse("a")
    harness.send("browser", get()).expect(("b", "data", got()))
    harness.send("b", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    harness.send("browser", get()).expect(("b", "data", got()))


def test_unsent_post_is_replayed_at_the_next_endpoint() -> None:
    harness = ProxyHarness("a", "b").refuse("a")
    length = b"Content-Length: 3\r\n"
    harness.send("browser", get("/", length, "POST") + b"abc")
    harness.expect(("b", "data", got("/", length, "POST") + b"abc"))


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


def test_idempotent_request_that_was_lost_is_replayed() -> None:
    harness = ProxyHarness("a", "b")
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.abort("a").expect(("b", "data", got()))
    harness.send("b", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_post_that_was_sent_is_not_replayed() -> None:
    harness = ProxyHarness("a", "b")
    length = b"Content-Length: 3\r\n"
    harness.send("browser", get("/", length, "POST") + b"abc")
    harness.expect(("a", "data", got("/", length, "POST") + b"abc"))
    harness.abort("a")
    harness.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))


def test_request_that_timed_out_is_not_replayed() -> None:
    harness = ProxyHarness("a", "b")
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.advance(61)
    error = own(504, "Gateway Timeout", "connection_read_timeout")
    harness.expect(("browser", "data", error), ("a", "close"))


def test_refused_connections_everywhere_are_a_502() -> None:
    harness = ProxyHarness("a", "b").refuse("a").refuse("b")
    harness.send("browser", get())
    harness.expect(("browser", "data", own(502, "Bad Gateway", "connection_refused")))


def test_idle_connection_that_was_closed_is_replaced() -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    harness.send("browser", get())
    harness.expect(("a", "data", got()))
    harness.abort("a").expect(("a2", "data", got()))


# -- answers of the proxy's own -----------------------------------------------------------------


def test_request_loop_is_a_508() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/", b"Via: 1.1 fred\r\n"))
    harness.expect(("browser", "data", own(508, "Loop Detected", "proxy_loop_detected")))


def test_connect_is_refused() -> None:
    harness = ProxyHarness()
    harness.send("browser", b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n")
    first, *rest = harness.take()
    assert first[2].startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET" in first[2]
    assert b"\r\nConnection: close\r\n" in first[2]
    assert rest == [("browser", "end")]


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


def test_tunnel_reset_closes_both_connections() -> None:
    harness = switched()
    harness.abort("a").expect(("browser", "close"))
    assert harness.proxy.tunnels == []


def test_an_idle_tunnel_is_reset() -> None:
    harness = switched()
    harness.advance(3601)
    assert harness.proxy.tunnels == []


def test_origin_may_respond_to_an_upgrade_normally() -> None:
    harness = ProxyHarness()
    harness.send("browser", get("/chat", ASK))
    harness.take()
    harness.send("a", ok(b"no")).expect(("browser", "data", passed(ok(b"no"))))
    harness.send("browser", get()).expect(("a", "data", got()))


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

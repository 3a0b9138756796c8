"""What a relay does between two exchanges: conversations in memory."""

from __future__ import annotations

import pytest
from proxy_support import ADDED, DATE, ProxyHarness, get, got, ok, own, passed

from thor.http import HttpServerExchange
from thor.http.error import OutputStateError

CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"
PASSED_CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + DATE + b"Via: 1.1 fred\r\nTransfer-Encoding: chunked\r\n\r\n"
)


# -- plain messages -----------------------------------------------------------------------------


def test_a_request_and_its_response_cross() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/x?y", b"Accept: a\r\n"))
    stage.expect(("a", "data", got("/x?y", b"Accept: a\r\n")))
    stage.send("a", ok(b"hello", b"Server: s\r\n"))
    stage.expect(("browser", "data", passed(ok(b"hello", b"Server: s\r\n"))))


def test_connections_of_both_sides_are_used_again() -> None:
    stage = ProxyHarness()
    for _ in range(3):
        stage.send("browser", get()).expect(("a", "data", got()))
        stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    assert list(stage.peers) == ["browser", "a"]


def test_pipelined_requests_are_answered_in_order() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/1") + get("/2"))
    stage.expect(("a", "data", got("/1")))
    stage.send("a", ok(b"1"))
    stage.expect(("browser", "data", passed(ok(b"1"))), ("a", "data", got("/2")))
    stage.send("a", ok(b"2")).expect(("browser", "data", passed(ok(b"2"))))


def test_a_body_keeps_its_length() -> None:
    stage = ProxyHarness()
    length = b"Content-Length: 6\r\n"
    stage.send("browser", get("/", length, "POST") + b"abc")
    stage.expect(("a", "data", got("/", length, "POST") + b"abc"))
    stage.send("browser", b"def").expect(("a", "data", b"def"))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


@pytest.mark.parametrize("forwarded", [True, False], ids=["where-set", "by-default-not"])
def test_trailers_of_a_request_go_up(forwarded: bool) -> None:
    stage = ProxyHarness()
    stage.upstream.request_trailers = forwarded
    stage.send(
        "browser",
        get("/", b"Transfer-Encoding: chunked\r\n", "POST")
        + b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\nConnection: x\r\n\r\n",
    )
    fields = got("/", b"", "POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    trailer = b"X-Sum: 1\r\n" if forwarded else b""
    stage.expect(("a", "data", fields + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"))


def test_a_get_with_a_body_is_passed_on_whole() -> None:
    stage = ProxyHarness()
    length = b"Content-Length: 3\r\n"
    stage.send("browser", get("/", length) + b"abc")
    stage.expect(("a", "data", got("/", length) + b"abc"))


def test_a_chunked_response_streams() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", CHUNKED).expect(("browser", "data", PASSED_CHUNKED))
    stage.send("a", b"3\r\nabc\r\n").expect(("browser", "data", b"3\r\nabc\r\n"))
    stage.send("a", b"0\r\n\r\n").expect(("browser", "data", b"0\r\n\r\n"))


@pytest.mark.parametrize(
    ("te", "goes"),
    [
        pytest.param(b"TE: trailers\r\nConnection: TE\r\n", True, id="wanted"),
        pytest.param(b"", False, id="not-wanted"),
    ],
)
def test_trailers_go_down_where_they_are_wanted(te: bytes, goes: bool) -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/", te))
    up = got()[:-2] + (b"TE: trailers\r\nConnection: TE\r\n" if goes else b"") + b"\r\n"
    stage.expect(("a", "data", up))
    head = CHUNKED[:-2] + b"Trailer: X-Sum\r\n\r\n"
    stage.send("a", head + b"0\r\nX-Sum: 1\r\nKeep-Alive: 1\r\n\r\n")
    announced = b"Trailer: X-Sum\r\n" if goes else b""
    down = PASSED_CHUNKED.replace(b"Via:", announced + b"Via:")
    trailer = b"X-Sum: 1\r\n" if goes else b""
    stage.expect(("browser", "data", down + b"0\r\n" + trailer + b"\r\n"))


def test_a_1_0_client_gets_a_chunked_response_until_close() -> None:
    stage = ProxyHarness()
    stage.send("browser", b"GET / HTTP/1.0\r\nHost: site\r\n\r\n")
    stage.expect(("a", "data", got().replace(b"1.1 fred", b"1.0 fred")))
    stage.send("a", CHUNKED + b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n")
    down = PASSED_CHUNKED.replace(b"Transfer-Encoding: chunked", b"Connection: close") + b"abc"
    stage.expect(("browser", "data", down), ("browser", "end"))


def test_a_response_that_ends_with_the_connection_is_chunked() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", b"HTTP/1.0 200 OK\r\n" + DATE + b"\r\nabc").finish("a")
    down = PASSED_CHUNKED.replace(b"1.1 fred", b"1.0 fred") + b"3\r\nabc\r\n0\r\n\r\n"
    stage.expect(("browser", "data", down), ("a", "end"), ("a", "close"))


def test_head_has_the_length_and_no_body() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/", b"", "HEAD")).expect(("a", "data", got("/", b"", "HEAD")))
    head = ok(b"12345")[:-5]
    stage.send("a", head).expect(("browser", "data", passed(head)))
    stage.send("browser", get()).expect(("a", "data", got()))


def test_not_modified_has_no_body() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    head = b"HTTP/1.1 304 Not Modified\r\n" + DATE + b'ETag: "x"\r\n\r\n'
    stage.send("a", head).expect(("browser", "data", passed(head)))


def test_options_of_the_server_as_a_whole() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("*", b"", "OPTIONS")).expect(("a", "data", got("*", b"", "OPTIONS")))


def test_the_authority_of_an_absolute_target_replaces_host() -> None:
    stage = ProxyHarness()
    stage.send("browser", b"GET http://other/x HTTP/1.1\r\nHost: site\r\n\r\n")
    up = b"GET /x HTTP/1.1\r\nHost: other\r\n" + ADDED.replace(b"site", b"other") + b"\r\n"
    stage.expect(("a", "data", up))


@pytest.mark.parametrize("path", ["//a/../b%2e%2F%00", '/a?b=[1]|{}"<>', "/%ff", "/?"])
def test_a_path_goes_as_it_came(path: str) -> None:
    stage = ProxyHarness()
    stage.send("browser", get(path)).expect(("a", "data", got(path)))


# -- informational responses --------------------------------------------------------------------


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_informational_responses_are_passed_on_in_order() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    stage.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_a_1_0_client_gets_no_informational_response() -> None:
    stage = ProxyHarness()
    stage.send("browser", b"GET / HTTP/1.0\r\nHost: site\r\n\r\n")
    stage.expect(("a", "data", got().replace(b"1.1 fred", b"1.0 fred")))
    stage.send("a", HINTS).expect()


def test_the_origin_decides_whether_a_body_is_expected() -> None:
    stage = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    stage.send("browser", get("/", fields, "PUT"))
    stage.expect(("a", "data", got("/", fields, "PUT")))
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    stage.send("a", go_on).expect(("browser", "data", passed(go_on)))
    stage.send("browser", b"abc").expect(("a", "data", b"abc"))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_an_origin_that_answers_at_once_leaves_nothing_to_wait_for() -> None:
    stage = ProxyHarness()
    timers = len(stage.loop.scheduled_events())
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    stage.send("browser", get("/", fields, "PUT"))
    waiting = len(stage.loop.scheduled_events())
    stage.send("a", ok(b"x"))
    assert timers < waiting > len(stage.loop.scheduled_events())


def test_an_origin_that_says_nothing_does_not_hold_a_waiting_client_for_ever() -> None:
    stage = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    stage.send("browser", get("/", fields, "PUT"))
    stage.expect(("a", "data", got("/", fields, "PUT")))
    stage.advance(2).expect(("browser", "data", b"HTTP/1.1 100 Continue\r\n\r\n"))
    stage.send("browser", b"abc").expect(("a", "data", b"abc"))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_a_client_that_does_not_wait_is_not_told_to_go_on() -> None:
    stage = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    stage.send("browser", get("/", fields, "PUT") + b"abc")
    stage.expect(("a", "data", got("/", fields, "PUT")))
    stage.advance(2).expect(("a", "data", b"abc"))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_an_origin_that_wants_no_body_gets_none() -> None:
    stage = ProxyHarness()
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n"
    stage.send("browser", get("/", fields, "PUT"))
    stage.expect(("a", "data", got("/", fields, "PUT")))
    refusal = b"HTTP/1.1 403 Forbidden\r\n" + DATE + b"Content-Length: 2\r\n\r\nno"
    stage.send("a", refusal)
    down = passed(refusal).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    stage.expect(("browser", "data", down), ("a", "close"), ("browser", "end"))


# -- pausing ------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_stops_the_origin_from_being_read() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.peers["browser"].pause()
    size = 4 * 1024 * 1024
    stage.send("a", b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: %d\r\n\r\n" % size)
    stage.send("a", b"x" * size).expect()
    near = stage.network.pairs[0].server
    assert near.write_buffer.size < 1024 * 1024
    assert stage.peers["a"].unsent > size // 2
    stage.peers["browser"].pause(False)
    stage.advance(0)
    (event,) = stage.take()
    assert event[:2] == ("browser", "data")
    assert event[2].endswith(b"\r\n\r\n" + b"x" * size)


def test_an_origin_that_reads_nothing_stops_the_client_from_being_read() -> None:
    stage = ProxyHarness()
    size = 4 * 1024 * 1024
    length = b"Content-Length: %d\r\n" % size
    stage.send("browser", get("/", length, "PUT")).expect(("a", "data", got("/", length, "PUT")))
    stage.peers["a"].pause()
    stage.send("browser", b"x" * size).expect()
    far = stage.network.pairs[1].client
    assert far.write_buffer.size < 1024 * 1024
    assert stage.peers["browser"].unsent > size // 2
    stage.peers["a"].pause(False)
    stage.advance(0)
    stage.expect(("a", "data", b"x" * size))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


# -- failures -----------------------------------------------------------------------------------


def test_an_upstream_that_dies_in_the_body_resets_the_client() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", CHUNKED + b"3\r\nabc\r\n")
    stage.expect(("browser", "data", PASSED_CHUNKED + b"3\r\nabc\r\n"))
    stage.abort("a").expect(("browser", "close"))


def test_a_body_cut_short_resets_the_client() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", ok(b"x" * 10)[:-5]).finish("a")
    stage.take()
    assert stage.peers["browser"].is_closed


def test_answers_before_the_one_that_breaks_off_are_not_lost_with_it() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/1") + get("/2") + get("/3")).expect(("a", "data", got("/1")))
    stage.peers["browser"].pause()
    stage.send("a", ok(b"1")).expect(("a", "data", got("/2")))
    stage.send("a", ok(b"2")).expect(("a", "data", got("/3")))
    stage.send("a", CHUNKED + b"3\r\nabc\r\n").abort("a").expect()
    stage.advance(59).expect()
    stage.peers["browser"].pause(False)
    whole = passed(ok(b"1")) + passed(ok(b"2"))
    stage.expect(
        ("browser", "data", whole + PASSED_CHUNKED + b"3\r\nabc\r\n"), ("browser", "close")
    )


def test_a_client_that_does_not_read_what_was_before_is_reset_all_the_same() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.peers["browser"].pause()
    stage.send("a", CHUNKED + b"3\r\nabc\r\n").abort("a").advance(61)
    stage.expect(("browser", "close"))
    assert stage.proxy.server.connections == []


def test_a_client_that_is_gone_cancels_the_upstream() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.abort("browser").expect(("a", "close"))


def test_a_client_that_is_gone_in_the_body_cancels_the_upstream() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", CHUNKED).expect(("browser", "data", PASSED_CHUNKED))
    stage.abort("browser").expect(("a", "close"))


def test_a_client_that_finished_sending_gets_its_answer() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).finish("browser").expect(("a", "data", got()))
    stage.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    stage.expect(("browser", "data", down), ("browser", "end"), ("browser", "close"))


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
def test_a_broken_response_is_a_502(response: bytes, error: str) -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", response)
    stage.expect(("browser", "data", own(502, "Bad Gateway", error)), ("a", "close"))


def test_a_response_that_cannot_be_sent_on_is_a_502() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/", b"", "HEAD")).expect(("a", "data", got("/", b"", "HEAD")))
    stage.send("a", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    answer = own(502, "Bad Gateway", "http_protocol_error").removesuffix(b"Bad Gateway\n")
    stage.expect(("browser", "data", answer), ("a", "close"))


def test_an_upstream_that_closes_without_a_word_is_a_502() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.abort("a")
    stage.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))
    stage.send("browser", get()).expect(("a2", "data", got()))


def test_a_head_cut_short_is_a_502() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", b"HTTP/1.1 200 OK\r\nX: y").finish("a")
    stage.expect(
        ("browser", "data", own(502, "Bad Gateway", "connection_terminated")), ("a", "close")
    )


def test_an_upstream_that_takes_too_long_is_a_504() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.advance(59).expect()
    stage.advance(2)
    stage.expect(
        ("browser", "data", own(504, "Gateway Timeout", "connection_read_timeout")), ("a", "close")
    )


def test_a_failure_after_an_informational_response_is_still_answered() -> None:
    stage = ProxyHarness("a", "b")
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", HINTS).expect(("browser", "data", passed(HINTS)))
    stage.abort("a")
    stage.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))


def test_a_broken_request_body_cancels_the_upstream() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/", b"Transfer-Encoding: chunked\r\n", "PUT") + b"3\r\nabc\r\n")
    (event,) = stage.take()
    assert event[0] == "a"
    stage.send("browser", b"zz\r\n")
    first, *rest = stage.take()
    assert first[:2] == ("browser", "data")
    assert first[2].startswith(b"HTTP/1.1 400 ")
    assert ("a", "close") in rest


def test_an_early_answer_ends_the_upload() -> None:
    stage = ProxyHarness()
    length = b"Content-Length: 6\r\n"
    stage.send("browser", get("/", length, "POST") + b"abc")
    stage.expect(("a", "data", got("/", length, "POST") + b"abc"))
    stage.send("a", ok(b"x"))
    stage.expect(("browser", "data", passed(ok(b"x"))), ("a", "close"))
    stage.send("browser", b"def" + get()).expect(("a2", "data", got()))


# -- another endpoint ---------------------------------------------------------------------------


def test_a_refused_connection_goes_to_the_next_endpoint() -> None:
    stage = ProxyHarness("a", "b").refuse("a")
    stage.send("browser", get()).expect(("b", "data", got()))
    stage.send("b", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    stage.send("browser", get()).expect(("b", "data", got()))


def test_a_post_that_was_not_sent_goes_to_the_next_endpoint_with_its_body() -> None:
    stage = ProxyHarness("a", "b").refuse("a")
    length = b"Content-Length: 3\r\n"
    stage.send("browser", get("/", length, "POST") + b"abc")
    stage.expect(("b", "data", got("/", length, "POST") + b"abc"))


def test_a_body_that_goes_on_during_the_next_attempt_is_whole() -> None:
    stage = ProxyHarness("a", "b").refuse("a")
    stage.upstream.request_trailers = True
    stage.network.errors["a", 80] = None  # the connect hangs until its timeout
    fields = b"Transfer-Encoding: chunked\r\n"
    stage.send("browser", get("/", fields, "POST") + b"1\r\na\r\n").expect()
    stage.advance(5)
    stage.send("browser", b"1\r\nb\r\n", b"0\r\nX: y\r\n\r\n")
    (event,) = stage.take()
    assert event[:2] == ("b", "data")
    assert event[2].endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n")


def test_a_body_too_long_to_be_held_is_not_sent_again() -> None:
    stage = ProxyHarness("a", "b").refuse("a")
    stage.network.errors["a", 80] = None
    size = 100_000
    length = b"Content-Length: %d\r\n" % size
    stage.send("browser", get("/", length, "PUT") + b"x" * size).expect()
    stage.advance(5)
    stage.expect(("browser", "data", own(504, "Gateway Timeout", "connection_timeout")))


def test_an_idempotent_request_that_was_lost_is_sent_again() -> None:
    stage = ProxyHarness("a", "b")
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.abort("a").expect(("b", "data", got()))
    stage.send("b", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))


def test_a_post_that_was_sent_is_not_sent_again() -> None:
    stage = ProxyHarness("a", "b")
    length = b"Content-Length: 3\r\n"
    stage.send("browser", get("/", length, "POST") + b"abc")
    stage.expect(("a", "data", got("/", length, "POST") + b"abc"))
    stage.abort("a")
    stage.expect(("browser", "data", own(502, "Bad Gateway", "connection_terminated")))


def test_a_timed_out_request_is_not_sent_again() -> None:
    stage = ProxyHarness("a", "b")
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.advance(61)
    error = own(504, "Gateway Timeout", "connection_read_timeout")
    stage.expect(("browser", "data", error), ("a", "close"))


def test_when_all_refuse_the_answer_is_a_502() -> None:
    stage = ProxyHarness("a", "b").refuse("a").refuse("b")
    stage.send("browser", get())
    stage.expect(("browser", "data", own(502, "Bad Gateway", "connection_refused")))


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", ok(b"x")).expect(("browser", "data", passed(ok(b"x"))))
    stage.send("browser", get())
    stage.expect(("a", "data", got()))
    stage.abort("a").expect(("a2", "data", got()))


# -- answers of the proxy's own -----------------------------------------------------------------


def test_a_loop_is_broken() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/", b"Via: 1.1 fred\r\n"))
    stage.expect(("browser", "data", own(508, "Loop Detected", "proxy_loop_detected")))


def test_a_tunnel_to_anywhere_is_refused() -> None:
    stage = ProxyHarness()
    stage.send("browser", b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n")
    first, *rest = stage.take()
    assert first[2].startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET" in first[2]
    assert b"\r\nConnection: close\r\n" in first[2]
    assert rest == [("browser", "end")]


def test_options_with_no_forward_left_is_answered() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("*", b"Max-Forwards: 0\r\n", "OPTIONS"))
    (event,) = stage.take()
    assert event[2].startswith(b"HTTP/1.1 204 No Content\r\n")
    stage.send("browser", get("/", b"Max-Forwards: 1\r\n", "OPTIONS"))
    stage.expect(("a", "data", got("/", b"Max-Forwards: 0\r\n", "OPTIONS")))


# -- switching protocols ------------------------------------------------------------------------

ASK = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n"
)


def switched(*origins: str) -> ProxyHarness:
    """A stage with a tunnel; bytes that came with the heads are through."""
    stage = ProxyHarness(*origins)
    stage.send("browser", get("/chat", ASK))
    up = got("/chat", b"Sec-WebSocket-Key: k\r\n")[:-2]
    up += b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    stage.expect(("a", "data", up))
    stage.send("a", SWITCH + b"first")
    down = (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nVia: 1.1 fred\r\n"
        b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
    )
    stage.expect(("browser", "data", down))
    return stage


def test_a_switch_makes_a_tunnel() -> None:
    stage = switched()
    assert len(stage.proxy.tunnels) == 1
    stage.send("browser", b"ping").expect(("a", "data", b"ping"))
    stage.send("a", b"pong").expect(("browser", "data", b"pong"))
    stage.finish("browser").expect(("a", "end"))
    stage.send("a", b"bye").expect(("browser", "data", b"bye"))
    stage.finish("a").expect(("a", "close"), ("browser", "end"), ("browser", "close"))
    assert stage.proxy.tunnels == []


def test_a_tunnel_breaks_as_a_whole() -> None:
    stage = switched()
    stage.abort("a").expect(("browser", "close"))
    assert stage.proxy.tunnels == []


def test_an_idle_tunnel_is_reset() -> None:
    stage = switched()
    stage.advance(3601)
    assert stage.proxy.tunnels == []


def test_an_origin_that_does_not_switch_answers_as_usual() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/chat", ASK))
    stage.take()
    stage.send("a", ok(b"no")).expect(("browser", "data", passed(ok(b"no"))))
    stage.send("browser", get()).expect(("a", "data", got()))


def test_a_switch_for_a_client_that_is_gone_closes_the_upstream() -> None:
    stage = ProxyHarness()
    stage.send("browser", get("/chat", ASK))
    stage.take()
    stage.peers["browser"].abort()
    stage.send("a", SWITCH)
    stage.take()
    assert stage.peers["a"].is_closed
    assert stage.proxy.tunnels == []


def test_a_switch_that_the_client_s_side_refuses_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OutputStateError

    monkeypatch.setattr(HttpServerExchange, "upgrade", refuse)
    stage = ProxyHarness()
    stage.send("browser", get("/chat", ASK))
    stage.take()
    stage.send("a", SWITCH)
    answer = own(502, "Bad Gateway", "http_upgrade_failed")
    stage.expect(("browser", "data", answer), ("a", "close"))


def test_a_request_is_answered_on_a_unix_socket_too() -> None:
    stage = ProxyHarness().advance(0)
    near = stage.network.pairs[0].server
    near.address = "/run/site"
    near.owner.address = near.address
    stage.send("browser", get())
    stage.expect(("a", "data", got().replace(b"For: 127.0.0.1", b"For: unknown")))

"""Large bodies and tunnels through a proxy over real sockets, where they stay in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from passing_support import Way, response, split
from proxy_support import ProxyHarness, get, got, ok, passed
from splice_support import BULK_BYTES, Kernel, bulk, splicing, take
from tcp_support import reset

from thor.events import on
from thor.http.error import (
    ConnectError,
    IncompleteMessageError,
    ReadTimeoutError,
    RequestTimeoutError,
    SendTimeoutError,
)
from thor.loop import LoopBase
from thor.proxy import Flow
from thor.testing import ManualClock

pytestmark = splicing

GET = b"GET / HTTP/1.1\r\nHost: site\r\n\r\n"
#: Receive buffers that are full soon.
SMALL = 64 * 1024
#: More than any buffer holds on the way.
HUGE = 1 << 30


def post(size: int, fields: bytes = b"") -> bytes:
    """The head of a request with a body."""
    return b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: %d\r\n%b\r\n" % (size, fields)


@pytest.fixture(params=["spliced", "copied"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """All is the same where bytes have to be copied."""
    return Kernel(monkeypatch, present=request.param == "spliced")


@pytest.fixture
def way(kernel: Kernel, loop: LoopBase) -> Iterator[Way]:
    way = Way(loop)
    yield way
    way.end()


@pytest.fixture
def slow(kernel: Kernel, make_loop: Callable[..., LoopBase], poller: str) -> Iterator[Way]:
    """With small buffers, and a clock that the test moves."""
    way = Way(make_loop(backend=poller, clock=ManualClock()), SMALL)
    yield way
    way.end()


def begin_down(way: Way, size: int = HUGE) -> int:
    """A response begins that the browser does not read. Returns: how much the origin sent"""
    way.ask(GET)
    way.origin.sendall(response(size))
    sent = way.fill(way.origin)
    assert way.conns[0].write_buffer.size
    return sent


def begin_up(way: Way, size: int = HUGE) -> int:
    """A request begins that the origin does not read. Returns: how much the browser sent"""
    way.ask(post(size))
    sent = way.fill(way.browser)
    assert way.conns[1].write_buffer.size
    return sent


# -- whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
def test_a_response_arrives_byte_for_byte(kernel: Kernel, loop: LoopBase, watched: bool) -> None:
    way = Way(loop, watched=watched)
    data = bulk()
    for _ in range(2):  # and the connections can be used again
        way.ask(GET)
        head = response(len(data))
        arrived = way.down(head + data, len(head) + len(data))
        _, body = split(arrived + way.down(b"", len(data) - len(split(arrived)[1])))
        assert sha256(body).digest() == sha256(data).digest()
    assert len(way.origins) == 1
    assert kernel.took_part(BULK_BYTES)
    way.end()


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
def test_a_request_arrives_byte_for_byte(kernel: Kernel, loop: LoopBase, watched: bool) -> None:
    way = Way(loop, watched=watched)
    data = bulk()
    for _ in range(2):
        way.ask(post(len(data)))
        assert sha256(way.up(data, len(data))).digest() == sha256(data).digest()
        assert split(way.down(response(2) + b"ok", 1))[1] == b"ok"
    assert len(way.origins) == 1
    assert kernel.took_part(BULK_BYTES)
    way.end()


def test_what_went_is_counted(way: Way, kernel: Kernel) -> None:
    data = bulk()
    way.ask(post(len(data)))
    way.up(data, len(data))
    way.down(response(len(data)) + data, len(data))
    way.until(lambda: take(way.browser, bytearray()) or way.flows)
    (flow,) = way.flows
    assert (flow.request_bytes, flow.response_bytes) == (BULK_BYTES, BULK_BYTES)
    assert flow.error is None
    assert kernel.took_part(BULK_BYTES)


def test_the_next_request_may_wait_behind_a_body(way: Way) -> None:
    data = bulk()
    way.ask(post(len(data)))
    assert way.up(data + GET, len(data)) == data
    assert split(way.down(response(1) + b"1", 1))[1] == b"1"
    assert way.ask(b"").startswith(b"GET / ")
    assert split(way.down(response(1) + b"2", 1))[1] == b"2"


def test_a_browser_of_http_1_0_gets_it_too(way: Way, kernel: Kernel) -> None:
    data = bulk()
    way.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert split(way.down(response(len(data)) + data, 1 << 40))[1] == data
    assert kernel.took_part()


def test_a_body_that_the_origin_invites_goes_too(way: Way, kernel: Kernel) -> None:
    data = bulk()
    way.ask(post(len(data), b"Expect: 100-continue\r\n"))
    assert way.down(b"HTTP/1.1 100 Continue\r\n\r\n", 1).startswith(b"HTTP/1.1 100 ")
    assert way.up(data, len(data)) == data
    assert kernel.took_part()


def test_a_body_that_is_framed_anew_is_copied(way: Way, kernel: Kernel) -> None:
    @on(way.proxy)
    def response(flow: Flow) -> None:
        flow.response_headers = []

    way.ask(b"GET / HTTP/1.0\r\n\r\n")
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK_BYTES
    head, body = split(way.down(said + bulk(), 1 << 40))
    assert b"Content-Length" not in head
    assert body == bulk()
    assert kernel.moved == 0


def test_large_bodies_are_copied_in_memory(kernel: Kernel) -> None:
    stage = ProxyHarness()
    stage.send("browser", get()).expect(("a", "data", got()))
    answer = ok(bulk(1_000_000))
    stage.send("a", answer).expect(("browser", "data", passed(answer)))
    assert kernel.moved == 0


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_response_that_is_cut_off_is_no_whole_one(way: Way, kernel: Kernel, how: str) -> None:
    data = bulk()
    way.ask(GET)
    arrived = way.down(response(HUGE) + data, len(data))
    reset(way.origin) if how == "reset" else way.origin.close()
    rest = bytearray()
    way.until(lambda: take(way.browser, rest))
    assert split(arrived + rest)[1] == data
    way.until(lambda: way.flows)
    (flow,) = way.flows
    assert isinstance(flow.error, (IncompleteMessageError, ConnectError))
    assert flow.response_bytes == BULK_BYTES
    assert kernel.took_part()


def test_what_follows_a_body_is_no_response(way: Way) -> None:
    data = bulk()
    way.ask(GET)
    forged = response(6) + b"forged"
    _, body = split(way.down(response(len(data)) + data + forged, len(data)))
    body += way.down(b"", len(data) - len(body))
    assert body == data
    way.ask(GET)
    assert len(way.origins) == 2
    way.origins.reverse()
    assert split(way.down(response(4) + b"true", 1))[1] == b"true"


def test_a_browser_that_is_gone_takes_the_upstream_with_it(slow: Way) -> None:
    begin_down(slow)
    reset(slow.browser)
    slow.until(lambda: slow.flows)
    (flow,) = slow.flows
    assert isinstance(flow.error, ConnectError)
    slow.until(lambda: take(slow.origin, bytearray()))


def test_a_browser_that_is_gone_in_its_request_takes_the_upstream_with_it(slow: Way) -> None:
    begin_up(slow)
    reset(slow.browser)
    slow.until(lambda: slow.flows)
    slow.until(lambda: take(slow.origin, bytearray()))


def test_a_flow_can_be_aborted_in_its_body(kernel: Kernel, loop: LoopBase) -> None:
    way = Way(loop, SMALL)
    begun: list[Flow] = []
    way.proxy.on("response", begun.append)
    begin_down(way)
    begun[0].abort()
    way.until(lambda: take(way.browser, bytearray()))
    way.until(lambda: take(way.origin, bytearray()) and way.flows)
    assert way.flows == begun
    way.end()


def test_a_proxy_can_be_shut_down_in_a_body(slow: Way) -> None:
    begin_down(slow)
    slow.proxy.shutdown()
    slow.until(lambda: take(slow.browser, bytearray()))
    slow.until(lambda: take(slow.origin, bytearray()))


def test_a_loop_can_be_stopped_in_a_body(slow: Way) -> None:
    begin_down(slow)
    slow.loop.stop()
    assert slow.loop.fd_count() == 0


def test_an_early_answer_ends_the_request(slow: Way, kernel: Kernel) -> None:
    sent = begin_up(slow)
    assert kernel.took_part()
    slow.origin.sendall(
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    )
    said = bytearray()
    slow.until(lambda: take(slow.browser, said) or said.endswith(b"no"))
    assert said.startswith(b"HTTP/1.1 413 ")
    before = slow.conns[0].bytes_read
    assert before <= sent


# -- time ----------------------------------------------------------------------------------------


def test_a_browser_that_does_not_read_is_given_up(slow: Way) -> None:
    begin_down(slow)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(62)
    (flow,) = slow.flows
    assert isinstance(flow.error, SendTimeoutError)
    slow.until(lambda: take(slow.origin, bytearray()))


def test_a_browser_that_reads_slowly_costs_its_origin_nothing(slow: Way) -> None:
    slow.proxy.client.read_timeout = 10
    begin_down(slow)
    conn = slow.conns[0]
    for _ in range(4):
        slow.advance(40)
        written = conn.bytes_written
        slow.until(lambda: take(slow.browser, bytearray()) or conn.bytes_written > written)  # noqa: B023
        slow.fill(slow.origin)
    assert slow.flows == []


def test_an_origin_that_stops_in_its_body_is_given_up(slow: Way, kernel: Kernel) -> None:
    slow.ask(GET)
    slow.down(response(HUGE) + bulk(), BULK_BYTES)
    assert kernel.took_part()
    slow.advance(59)
    slow.down(bulk(100_000), 100_000)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(2)
    slow.until(lambda: take(slow.browser, bytearray()))
    (flow,) = slow.flows
    assert isinstance(flow.error, ReadTimeoutError)


def test_an_origin_that_does_not_read_is_given_up(slow: Way) -> None:
    begin_up(slow)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(62)
    said = bytearray()
    slow.until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 504 ")


def test_a_request_that_stops_is_given_up(slow: Way, kernel: Kernel) -> None:
    slow.ask(post(HUGE))
    slow.up(bulk(), BULK_BYTES)
    assert kernel.took_part()
    slow.advance(59)
    slow.up(bulk(100_000), 100_000)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(2)
    said = bytearray()
    slow.until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 408 ")
    slow.until(lambda: slow.flows)
    assert isinstance(slow.flows[0].error, RequestTimeoutError)


def test_a_request_that_is_too_slow_is_given_up(slow: Way, kernel: Kernel) -> None:
    slow.proxy.server.min_body_rate = 100_000
    slow.ask(post(HUGE))
    slow.up(bulk(), BULK_BYTES)
    slow.advance(11)
    for _ in range(2):
        slow.up(bulk(500_000), 500_000)
        slow.advance(5)
    assert kernel.took_part()
    slow.up(bulk(400_000), 400_000)
    slow.advance(5)
    slow.up(bulk(400_000), 400_000)
    slow.advance(6)
    said = bytearray()
    slow.until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 408 ")


# -- tunnels -------------------------------------------------------------------------------------


UPGRADE = b"GET / HTTP/1.1\r\nHost: site\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


def open_tunnel(way: Way) -> None:
    way.ask(UPGRADE)
    assert way.down(SWITCH, 1).startswith(b"HTTP/1.1 101 ")


def test_a_tunnel_is_whole_both_ways(way: Way, kernel: Kernel) -> None:
    open_tunnel(way)
    data = bulk()
    assert way.up(data, len(data)) == data
    assert way.down(data, len(data)) == data
    assert way.up(b"bye", 3) == b"bye"
    assert kernel.took_part(BULK_BYTES)
    way.browser.close()
    way.until(lambda: take(way.origin, bytearray()))
    way.origin.close()
    way.until(lambda: way.flows)
    (flow,) = way.flows
    assert (flow.request_bytes, flow.response_bytes) == (BULK_BYTES + 3, BULK_BYTES)


def test_data_after_a_half_close_goes_through_a_tunnel(way: Way, kernel: Kernel) -> None:
    open_tunnel(way)
    way.browser.shutdown(1)
    way.until(lambda: take(way.origin, bytearray()))
    data = bulk()
    assert way.down(data, len(data)) == data
    assert kernel.took_part()


def test_a_tunnel_that_is_full_stops_its_source(slow: Way) -> None:
    open_tunnel(slow)
    sent = slow.fill(slow.origin)
    assert sent < HUGE
    arrived = bytearray()
    slow.until(lambda: take(slow.browser, arrived) or len(arrived) >= sent)
    assert arrived == bulk(sent)


def test_a_reset_takes_both_ends_of_a_tunnel(slow: Way) -> None:
    open_tunnel(slow)
    slow.fill(slow.origin)
    reset(slow.browser)
    slow.until(lambda: take(slow.origin, bytearray()))
    slow.until(lambda: slow.flows)


def test_bytes_that_stay_in_the_kernel_keep_a_tunnel_alive(slow: Way, kernel: Kernel) -> None:
    slow.proxy.tunnel_timeout = 10
    open_tunnel(slow)
    for _ in range(3):
        slow.advance(9)
        assert slow.down(bulk(1_000_000), 1_000_000) == bulk(1_000_000)
    assert kernel.took_part()
    assert slow.flows == []
    slow.advance(11)
    slow.until(lambda: slow.flows)

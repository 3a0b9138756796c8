"""Large bodies and tunnels through a proxy over real sockets, where they stay in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from proxy_splice_support import SpliceHarness, response, split
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
#: More than any buffer holds on the harness.
HUGE = 1 << 30


def post(size: int, fields: bytes = b"") -> bytes:
    """The head of a request with a body."""
    return b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: %d\r\n%b\r\n" % (size, fields)


@pytest.fixture(params=["spliced", "copied"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """All is the same where bytes have to be copied."""
    return Kernel(monkeypatch, present=request.param == "spliced")


@pytest.fixture
def harness(kernel: Kernel, loop: LoopBase) -> Iterator[SpliceHarness]:
    harness = SpliceHarness(loop)
    yield harness
    harness.close()


@pytest.fixture
def slow(
    kernel: Kernel, make_loop: Callable[..., LoopBase], poller: str
) -> Iterator[SpliceHarness]:
    """With small buffers, and a clock that the test moves."""
    harness = SpliceHarness(make_loop(backend=poller, clock=ManualClock()), SMALL)
    yield harness
    harness.close()


def begin_down(harness: SpliceHarness, size: int = HUGE) -> int:
    """A response begins that the browser does not read. Returns: how much the origin sent"""
    harness.send_head(GET)
    harness.origin.sendall(response(size))
    sent = harness.fill(harness.origin)
    assert harness.conns[0].write_buffer.size
    return sent


def begin_up(harness: SpliceHarness, size: int = HUGE) -> int:
    """A request begins that the origin does not read. Returns: how much the browser sent"""
    harness.send_head(post(size))
    sent = harness.fill(harness.browser)
    assert harness.conns[1].write_buffer.size
    return sent


# -- whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
def test_spliced_response_arrives_byte_for_byte(
    kernel: Kernel, loop: LoopBase, watched: bool
) -> None:
    harness = SpliceHarness(loop, with_flows=watched)
    data = bulk()
    for _ in range(2):  # and the connections can be used again
        harness.send_head(GET)
        head = response(len(data))
        arrived = harness.send_downstream(head + data, len(head) + len(data))
        _, body = split(arrived + harness.send_downstream(b"", len(data) - len(split(arrived)[1])))
        assert sha256(body).digest() == sha256(data).digest()
    assert len(harness.origins) == 1
    assert kernel.took_part(BULK_BYTES)
    harness.close()


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
def test_spliced_request_arrives_byte_for_byte(
    kernel: Kernel, loop: LoopBase, watched: bool
) -> None:
    harness = SpliceHarness(loop, with_flows=watched)
    data = bulk()
    for _ in range(2):
        harness.send_head(post(len(data)))
        assert sha256(harness.send_upstream(data, len(data))).digest() == sha256(data).digest()
        assert split(harness.send_downstream(response(2) + b"ok", 1))[1] == b"ok"
    assert len(harness.origins) == 1
    assert kernel.took_part(BULK_BYTES)
    harness.close()


def test_spliced_bytes_are_counted(harness: SpliceHarness, kernel: Kernel) -> None:
    data = bulk()
    harness.send_head(post(len(data)))
    harness.send_upstream(data, len(data))
    harness.send_downstream(response(len(data)) + data, len(data))
    harness.run_until(lambda: take(harness.browser, bytearray()) or harness.flows)
    (flow,) = harness.flows
    assert (flow.request_bytes, flow.response_bytes) == (BULK_BYTES, BULK_BYTES)
    assert flow.error is None
    assert kernel.took_part(BULK_BYTES)


def test_next_request_may_be_pipelined_after_a_body(harness: SpliceHarness) -> None:
    data = bulk()
    harness.send_head(post(len(data)))
    assert harness.send_upstream(data + GET, len(data)) == data
    assert split(harness.send_downstream(response(1) + b"1", 1))[1] == b"1"
    assert harness.send_head(b"").startswith(b"GET / ")
    assert split(harness.send_downstream(response(1) + b"2", 1))[1] == b"2"


def test_http10_client_gets_a_spliced_body(harness: SpliceHarness, kernel: Kernel) -> None:
    data = bulk()
    harness.send_head(b"GET / HTTP/1.0\r\n\r\n")
    assert split(harness.send_downstream(response(len(data)) + data, 1 << 40))[1] == data
    assert kernel.took_part()


def test_body_after_a_100_is_spliced(harness: SpliceHarness, kernel: Kernel) -> None:
    data = bulk()
    harness.send_head(post(len(data), b"Expect: 100-continue\r\n"))
    assert harness.send_downstream(b"HTTP/1.1 100 Continue\r\n\r\n", 1).startswith(b"HTTP/1.1 100 ")
    assert harness.send_upstream(data, len(data)) == data
    assert kernel.took_part()


def test_body_with_new_framing_is_copied(harness: SpliceHarness, kernel: Kernel) -> None:
    @on(harness.proxy)
    def response(flow: Flow) -> None:
        flow.response_headers = []

    harness.send_head(b"GET / HTTP/1.0\r\n\r\n")
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK_BYTES
    head, body = split(harness.send_downstream(said + bulk(), 1 << 40))
    assert b"Content-Length" not in head
    assert body == bulk()
    assert kernel.moved == 0


def test_large_bodies_are_copied_in_memory(kernel: Kernel) -> None:
    harness = ProxyHarness()
    harness.send("browser", get()).expect(("a", "data", got()))
    answer = ok(bulk(1_000_000))
    harness.send("a", answer).expect(("browser", "data", passed(answer)))
    assert kernel.moved == 0


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncated_response_resets_the_client(
    harness: SpliceHarness, kernel: Kernel, how: str
) -> None:
    data = bulk()
    harness.send_head(GET)
    arrived = harness.send_downstream(response(HUGE) + data, len(data))
    reset(harness.origin) if how == "reset" else harness.origin.close()
    rest = bytearray()
    harness.run_until(lambda: take(harness.browser, rest))
    assert split(arrived + rest)[1] == data
    harness.run_until(lambda: harness.flows)
    (flow,) = harness.flows
    assert isinstance(flow.error, (IncompleteMessageError, ConnectError))
    assert flow.response_bytes == BULK_BYTES
    assert kernel.took_part()


def test_bytes_after_a_spliced_body_are_no_response(harness: SpliceHarness) -> None:
    data = bulk()
    harness.send_head(GET)
    forged = response(6) + b"forged"
    _, body = split(harness.send_downstream(response(len(data)) + data + forged, len(data)))
    body += harness.send_downstream(b"", len(data) - len(body))
    assert body == data
    harness.send_head(GET)
    assert len(harness.origins) == 2
    harness.origins.reverse()
    assert split(harness.send_downstream(response(4) + b"true", 1))[1] == b"true"


def test_client_reset_in_the_response_body_ends_the_upstream(slow: SpliceHarness) -> None:
    begin_down(slow)
    reset(slow.browser)
    slow.run_until(lambda: slow.flows)
    (flow,) = slow.flows
    assert isinstance(flow.error, ConnectError)
    slow.run_until(lambda: take(slow.origin, bytearray()))


def test_client_reset_in_the_request_body_ends_the_upstream(slow: SpliceHarness) -> None:
    begin_up(slow)
    reset(slow.browser)
    slow.run_until(lambda: slow.flows)
    slow.run_until(lambda: take(slow.origin, bytearray()))


def test_flow_can_be_aborted_in_its_body(kernel: Kernel, loop: LoopBase) -> None:
    harness = SpliceHarness(loop, SMALL)
    begun: list[Flow] = []
    harness.proxy.on("response", begun.append)
    begin_down(harness)
    begun[0].abort()
    harness.run_until(lambda: take(harness.browser, bytearray()))
    harness.run_until(lambda: take(harness.origin, bytearray()) and harness.flows)
    assert harness.flows == begun
    harness.close()


def test_proxy_can_be_shut_down_in_a_body(slow: SpliceHarness) -> None:
    begin_down(slow)
    slow.proxy.shutdown()
    slow.run_until(lambda: take(slow.browser, bytearray()))
    slow.run_until(lambda: take(slow.origin, bytearray()))


def test_event_loop_can_be_stopped_in_a_body(slow: SpliceHarness) -> None:
    begin_down(slow)
    slow.loop.stop()
    assert slow.loop.fd_count() == 0


def test_early_response_ends_a_spliced_request(slow: SpliceHarness, kernel: Kernel) -> None:
    sent = begin_up(slow)
    assert kernel.took_part()
    slow.origin.sendall(
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    )
    said = bytearray()
    slow.run_until(lambda: take(slow.browser, said) or said.endswith(b"no"))
    assert said.startswith(b"HTTP/1.1 413 ")
    before = slow.conns[0].bytes_read
    assert before <= sent


# -- time ----------------------------------------------------------------------------------------


def test_client_that_does_not_read_times_out(slow: SpliceHarness) -> None:
    begin_down(slow)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(62)
    (flow,) = slow.flows
    assert isinstance(flow.error, SendTimeoutError)
    slow.run_until(lambda: take(slow.origin, bytearray()))


def test_client_that_reads_slowly_causes_no_upstream_timeout(slow: SpliceHarness) -> None:
    slow.proxy.client.read_timeout = 10
    begin_down(slow)
    conn = slow.conns[0]
    for _ in range(4):
        slow.advance(40)
        written = conn.bytes_written
        slow.run_until(lambda: take(slow.browser, bytearray()) or conn.bytes_written > written)  # noqa: B023
        slow.fill(slow.origin)
    assert slow.flows == []


def test_origin_that_stalls_in_its_body_times_out(slow: SpliceHarness, kernel: Kernel) -> None:
    slow.send_head(GET)
    slow.send_downstream(response(HUGE) + bulk(), BULK_BYTES)
    assert kernel.took_part()
    slow.advance(59)
    slow.send_downstream(bulk(100_000), 100_000)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(2)
    slow.run_until(lambda: take(slow.browser, bytearray()))
    (flow,) = slow.flows
    assert isinstance(flow.error, ReadTimeoutError)


def test_origin_that_does_not_read_times_out(slow: SpliceHarness) -> None:
    begin_up(slow)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(62)
    said = bytearray()
    slow.run_until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 504 ")


def test_request_that_stalls_times_out(slow: SpliceHarness, kernel: Kernel) -> None:
    slow.send_head(post(HUGE))
    slow.send_upstream(bulk(), BULK_BYTES)
    assert kernel.took_part()
    slow.advance(59)
    slow.send_upstream(bulk(100_000), 100_000)
    slow.advance(59)
    assert slow.flows == []
    slow.advance(2)
    said = bytearray()
    slow.run_until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 408 ")
    slow.run_until(lambda: slow.flows)
    assert isinstance(slow.flows[0].error, RequestTimeoutError)


def test_request_that_is_too_slow_times_out(slow: SpliceHarness, kernel: Kernel) -> None:
    slow.proxy.server.min_body_rate = 100_000
    slow.send_head(post(HUGE))
    slow.send_upstream(bulk(), BULK_BYTES)
    slow.advance(11)
    for _ in range(2):
        slow.send_upstream(bulk(500_000), 500_000)
        slow.advance(5)
    assert kernel.took_part()
    slow.send_upstream(bulk(400_000), 400_000)
    slow.advance(5)
    slow.send_upstream(bulk(400_000), 400_000)
    slow.advance(6)
    said = bytearray()
    slow.run_until(lambda: take(slow.browser, said) or said)
    assert said.startswith(b"HTTP/1.1 408 ")


# -- tunnels -------------------------------------------------------------------------------------


UPGRADE = b"GET / HTTP/1.1\r\nHost: site\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


def open_tunnel(harness: SpliceHarness) -> None:
    harness.send_head(UPGRADE)
    assert harness.send_downstream(SWITCH, 1).startswith(b"HTTP/1.1 101 ")


def test_tunnel_forwards_all_bytes_in_both_directions(
    harness: SpliceHarness, kernel: Kernel
) -> None:
    open_tunnel(harness)
    data = bulk()
    assert harness.send_upstream(data, len(data)) == data
    assert harness.send_downstream(data, len(data)) == data
    assert harness.send_upstream(b"bye", 3) == b"bye"
    assert kernel.took_part(BULK_BYTES)
    harness.browser.close()
    harness.run_until(lambda: take(harness.origin, bytearray()))
    harness.origin.close()
    harness.run_until(lambda: harness.flows)
    (flow,) = harness.flows
    assert (flow.request_bytes, flow.response_bytes) == (BULK_BYTES + 3, BULK_BYTES)


def test_data_after_a_half_close_crosses_a_tunnel(harness: SpliceHarness, kernel: Kernel) -> None:
    open_tunnel(harness)
    harness.browser.shutdown(1)
    harness.run_until(lambda: take(harness.origin, bytearray()))
    data = bulk()
    assert harness.send_downstream(data, len(data)) == data
    assert kernel.took_part()


def test_tunnel_that_is_full_pauses_its_source(slow: SpliceHarness) -> None:
    open_tunnel(slow)
    sent = slow.fill(slow.origin)
    assert sent < HUGE
    arrived = bytearray()
    slow.run_until(lambda: take(slow.browser, arrived) or len(arrived) >= sent)
    assert arrived == bulk(sent)


def test_tunnel_forwards_a_reset_over_sockets(slow: SpliceHarness) -> None:
    open_tunnel(slow)
    slow.fill(slow.origin)
    reset(slow.browser)
    slow.run_until(lambda: take(slow.origin, bytearray()))
    slow.run_until(lambda: slow.flows)


def test_spliced_bytes_restart_the_idle_timeout_of_a_tunnel(
    slow: SpliceHarness, kernel: Kernel
) -> None:
    slow.proxy.tunnel_timeout = 10
    open_tunnel(slow)
    for _ in range(3):
        slow.advance(9)
        assert slow.send_downstream(bulk(1_000_000), 1_000_000) == bulk(1_000_000)
    assert kernel.took_part()
    assert slow.flows == []
    slow.advance(11)
    slow.run_until(lambda: slow.flows)

"""What the network says of datagrams that were sent."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import pytest
from udp_support import V4, V6, Bench, data_of, needs_icmp, port_of

from thor.udp import channel
from thor.udp import sockets as udp_sockets

pytestmark = needs_icmp

REFUSED = ("socket_error", socket.error, errno.ECONNREFUSED)


def assert_quiet(bench: Bench) -> None:
    """Nothing would wake the loop."""
    assert bench.loop.fds.poller is not None
    assert bench.loop.fds.poller.poll(0) == []


@pytest.mark.parametrize("host", [V4, V6])
@pytest.mark.parametrize("paused", [False, True])
def test_port_that_nobody_has_is_told(bench: Bench, host: str, paused: bool) -> None:
    endpoint, heard = bench.endpoint(None)
    endpoint.pause(paused)
    port = bench.dead_port(host)
    endpoint.send(b"x", host, port)
    assert bench.hear(heard) == [REFUSED]
    assert str(endpoint.error) == f"[Errno 111] Connection refused: '{host} port {port}'"
    assert_quiet(bench)


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [
        pytest.param(V4, socket.IPPROTO_IP, 12, id="IP_RECVTTL"),
        pytest.param(V4, socket.IPPROTO_IP, 13, id="IP_RECVTOS"),
        pytest.param(V4, socket.IPPROTO_IP, 8, id="IP_PKTINFO"),
        pytest.param(V4, socket.SOL_SOCKET, 29, id="SO_TIMESTAMP"),
        pytest.param(V6, socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, id="IPV6_RECVHOPLIMIT"),
    ],
)
def test_options_of_the_programs_own_do_not_hide_an_error(
    bench: Bench, host: str, level: int, option: int
) -> None:
    """What they have the kernel tell of a datagram comes with each error as well."""
    endpoint, heard = bench.endpoint(host)
    endpoint.sockets[0].setsockopt(level, option, 1)
    endpoint.send(b"x", host, bench.dead_port(host))
    assert bench.hear(heard) == [REFUSED]
    assert_quiet(bench)


def test_each_datagram_that_came_back_is_told(bench: Bench) -> None:
    endpoint, heard = bench.endpoint(None)
    port = bench.dead_port()
    for _ in range(3):
        endpoint.send(b"x", V4, port)
    assert bench.hear(heard, 3) == [REFUSED] * 3
    bench.turns()
    assert heard.take() == []


@pytest.mark.parametrize("known", [False, True])
def test_error_of_one_datagram_does_not_lose_the_next(bench: Bench, known: bool) -> None:
    endpoint, heard = bench.endpoint(None)
    peer = bench.peer("127.0.0.2")
    if known:
        endpoint.send(b"x", "127.0.0.2", port_of(peer))
        peer.recv(100)
    endpoint.send(b"x", V4, bench.dead_port())
    assert endpoint.send(b"y", "127.0.0.2", port_of(peer)) is True
    assert peer.recv(100) == b"y"
    assert bench.hear(heard) == [REFUSED]


def test_error_amid_what_is_received_loses_nothing(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    dead = bench.dead_port()
    endpoint.once("datagram", lambda *_: endpoint.send(b"x", V4, dead))
    peer = bench.peer()
    for number in range(3):
        peer.sendto(b"%d" % number, (V4, port_of(endpoint)))
    events = bench.hear(heard, 4)
    assert data_of([event for event in events if event != REFUSED]) == [b"0", b"1", b"2"]
    assert f"'{V4} port {dead}'" in str(endpoint.error)


def test_more_errors_than_a_turn_takes_are_all_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MAX_BATCH", 2)
    endpoint, heard = bench.endpoint(None)
    port = bench.dead_port()
    for _ in range(5):
        endpoint.send(b"x", V4, port)
    assert bench.hear(heard, 5) == [REFUSED] * 5
    assert_quiet(bench)


@pytest.mark.parametrize(
    ("bound", "level"),
    [pytest.param(V4, logging.INFO, id="bound"), pytest.param(None, logging.WARNING, id="not")],
)
def test_error_that_nobody_listens_to_is_logged(
    bench: Bench, expected_logs: Any, bound: str | None, level: int
) -> None:
    endpoint, _ = bench.endpoint(bound)
    endpoint.remove_listeners()
    endpoint.send(b"x", V4, bench.dead_port())
    bench.run(lambda: endpoint.error)
    [record] = expected_logs.records
    assert (record.levelno, record.name) == (level, "thor.udp")
    assert "Connection refused: '127.0.0.1 port" in record.getMessage()


@pytest.mark.parametrize("receives", [False, True])
def test_error_without_the_datagram_it_is_about_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, receives: bool
) -> None:
    """As on systems that have no queue of errors, or when it was full."""
    monkeypatch.setattr(udp_sockets, "LINUX", False)
    endpoint, heard = bench.endpoint()
    dead = bench.dead_port()
    peer = bench.peer()
    peer.sendto(b"x", (V4, port_of(endpoint)))
    if receives:
        endpoint.once("datagram", lambda *_: send_to_the_dead())
    else:
        bench.hear(heard)

    def send_to_the_dead() -> None:
        endpoint.sockets[0].connect((V4, dead))
        endpoint.send(b"x", V4, dead)

    if receives:
        assert bench.hear(heard, 2) == [("datagram", b"x", V4, port_of(peer)), REFUSED]
    else:
        send_to_the_dead()
        assert bench.hear(heard) == [REFUSED]
    assert_quiet(bench)

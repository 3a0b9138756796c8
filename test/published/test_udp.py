"""What the published documentation says of UDP."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from published_support import documents

import thor
from thor.testing import Recorder
from thor_support import run_loop

HOST = "127.0.0.1"


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """Somebody on the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind((HOST, 0))
        yield sock


@pytest.fixture
def endpoint() -> Iterator[thor.UdpEndpoint]:
    endpoint = thor.UdpEndpoint()
    yield endpoint
    endpoint.shutdown()
    thor.loop.run_once()


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@documents("thor.UdpEndpoint ( loop )")
@pytest.mark.parametrize("given", [False, True])
def test_an_endpoint_is_on_the_loop_that_is_given_or_on_the_default_one(given: bool) -> None:
    loop = thor.loop.make() if given else thor.loop._loop
    endpoint = thor.UdpEndpoint(loop) if given else thor.UdpEndpoint()
    endpoint.bind(HOST, 0)
    assert loop.fd_count() == 1
    loop.stop()


def test_an_endpoint_emits_no_datagrams_until_it_is_unpaused(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    heard = Recorder(endpoint, "datagram")
    endpoint.bind(HOST, 0)
    assert endpoint.address is not None
    peer.sendto(b"hello", endpoint.address)
    for _ in range(3):
        thor.loop.run_once()
    assert heard.take() == []
    endpoint.pause(False)
    run_loop(thor.loop, lambda: heard.events)
    assert heard.take() == [("datagram", b"hello", HOST, port_of(peer))]


@documents("thor.UdpEndpoint.max_dgram")
def test_max_dgram_bytes_can_be_sent(endpoint: thor.UdpEndpoint, peer: socket.socket) -> None:
    endpoint.send(b"x" * endpoint.max_dgram, HOST, port_of(peer))
    assert peer.recv(1 << 20) == b"x" * endpoint.max_dgram


@documents("thor.UdpEndpoint.bind ( host, port )")
def test_a_bound_endpoint_sends_from_its_port(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        free = port_of(probe)
    endpoint.bind(HOST, free)
    endpoint.send(b"hello", HOST, port_of(peer))
    assert peer.recvfrom(100) == (b"hello", (HOST, free))


def test_an_endpoint_that_is_not_bound_is_given_a_port(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    endpoint.send(b"hello", HOST, port_of(peer))
    data, (host, port) = peer.recvfrom(100)
    assert (data, host, port > 0) == (b"hello", HOST, True)


@documents("thor.UdpEndpoint.send ( datagram, host, port )")
def test_send_sends_a_datagram_to_a_host_and_port(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    endpoint.send(b"one", HOST, port_of(peer))
    endpoint.send(b"two", HOST, port_of(peer))
    assert [peer.recv(100), peer.recv(100)] == [b"one", b"two"]


def test_send_takes_names(endpoint: thor.UdpEndpoint) -> None:
    receiver = thor.UdpEndpoint()
    heard = Recorder(receiver, "datagram")
    receiver.bind("", 0)
    receiver.pause(False)
    assert receiver.address is not None
    endpoint.send(b"hello", "localhost", receiver.address[1])
    run_loop(thor.loop, lambda: heard.events)
    assert heard.take()[0][:2] == ("datagram", b"hello")
    receiver.shutdown()


@documents("thor.UdpEndpoint.pause ( paused )")
def test_pause_stops_datagrams_and_resumes_them(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    heard = Recorder(endpoint, "datagram")
    endpoint.bind(HOST, 0)
    endpoint.pause(False)
    endpoint.once("datagram", lambda *_: endpoint.pause(True))
    assert endpoint.address is not None
    for data in (b"one", b"two"):
        peer.sendto(data, endpoint.address)
    for _ in range(3):
        thor.loop.run_once()
    assert heard.take() == [("datagram", b"one", HOST, port_of(peer))]
    endpoint.pause(False)
    run_loop(thor.loop, lambda: heard.events)
    assert heard.take() == [("datagram", b"two", HOST, port_of(peer))]


@documents("thor.UdpEndpoint.shutdown ()")
def test_shutdown_stops_the_endpoint(endpoint: thor.UdpEndpoint, peer: socket.socket) -> None:
    heard = Recorder(endpoint, "datagram")
    endpoint.bind(HOST, 0)
    endpoint.pause(False)
    assert endpoint.address is not None
    peer.sendto(b"hello", endpoint.address)
    endpoint.shutdown()
    for _ in range(3):
        thor.loop.run_once()
    assert heard.take() == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
        another.bind(endpoint.address)


@documents("event 'datagram' ( datagram, host, port )")
def test_a_datagram_comes_with_its_senders_host_and_port(
    endpoint: thor.UdpEndpoint, peer: socket.socket
) -> None:
    @thor.on(endpoint)
    def datagram(data: bytes, host: str, port: int) -> None:
        endpoint.send(data.upper(), host, port)
        thor.stop()

    endpoint.bind(HOST, 0)
    endpoint.pause(False)
    assert endpoint.address is not None
    peer.sendto(b"hello", endpoint.address)
    run_loop(thor.loop)
    assert peer.recv(100) == b"HELLO"

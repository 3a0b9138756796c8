"""An endpoint: binding, receiving, pausing, ending."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from udp_support import EVENTS, V4, V6, Bench, Names, data_of, port_of

from thor import UdpEndpoint
from thor.loop import LoopBase
from thor.testing import Recorder
from thor.udp import channel

# -- as documented -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [V4, V6])
def test_datagrams_come_and_go(bench: Bench, host: str) -> None:
    endpoint, heard = bench.endpoint(host)
    peer = bench.peer(host)
    peer.sendto(b"hello", (host, port_of(endpoint)))
    assert bench.hear(heard) == [("datagram", b"hello", host, port_of(peer))]
    assert endpoint.send(b"welcome", host, port_of(peer)) is True
    data, address = peer.recvfrom(100)
    assert (data, address[:2]) == (b"welcome", (host, port_of(endpoint)))


def test_endpoint_starts_paused(bench: Bench) -> None:
    endpoint = UdpEndpoint(bench.loop)
    bench.stack.callback(endpoint.shutdown)
    heard = Recorder(endpoint, *EVENTS)
    endpoint.bind(V4, 0)
    bench.peer().sendto(b"hello", (V4, port_of(endpoint)))
    bench.turns()
    assert heard.take() == [("start",)]
    endpoint.pause(False)
    assert data_of(bench.hear(heard)) == [b"hello"]


def test_endpoint_that_is_not_bound_gets_a_port_and_answers(bench: Bench) -> None:
    endpoint, heard = bench.endpoint(None)
    for host in (V4, V6):
        peer = bench.peer(host)
        endpoint.send(b"hello", host, port_of(peer))
        _, address = peer.recvfrom(100)
        peer.sendto(b"welcome", address)
        assert bench.hear(heard) == [("datagram", b"welcome", host, port_of(peer))]
    assert endpoint.address is None
    assert {sock.family for sock in endpoint.sockets} == {socket.AF_INET, socket.AF_INET6}


def test_default_loop_is_used_if_none_is_given(default_loop: LoopBase) -> None:
    endpoint = UdpEndpoint()
    endpoint.bind(V4, 0)
    endpoint.on("start", default_loop.stop)
    default_loop.run()
    assert default_loop.fd_count() == 0


@pytest.mark.parametrize(
    ("host", "most"),
    [
        pytest.param(None, 65507, id="not bound"),
        pytest.param(V4, 65507, id="IPv4"),
        pytest.param(V6, 65527, id="IPv6"),
        pytest.param("", 65507, id="both"),
    ],
)
def test_max_dgram_is_what_the_family_has_room_for(
    bench: Bench, host: str | None, most: int
) -> None:
    assert bench.endpoint(host)[0].max_dgram == most


@pytest.mark.parametrize("host", [V4, V6])
def test_largest_datagram_arrives_whole(bench: Bench, host: str) -> None:
    receiver, heard = bench.endpoint(host)
    sender, _ = bench.endpoint(host)
    data = bytes(range(256)) * 256
    sender.send(data[: sender.max_dgram], host, port_of(receiver))
    sender.send(b"", host, port_of(receiver))
    assert data_of(bench.hear(heard, 2)) == [data[: sender.max_dgram], b""]


# -- binding -------------------------------------------------------------------------------------


def test_bind_is_done_when_it_returns_and_start_follows(bench: Bench) -> None:
    endpoint = UdpEndpoint(bench.loop)
    bench.stack.callback(endpoint.shutdown)
    heard = Recorder(endpoint, *EVENTS)
    endpoint.bind(V4, "0")
    assert endpoint.address == endpoint.sockets[0].getsockname()
    assert port_of(endpoint)
    assert heard.take() == []
    bench.turns()
    assert heard.take() == [("start",)]


def test_start_comes_before_what_has_arrived_meanwhile(bench: Bench) -> None:
    endpoint = UdpEndpoint(bench.loop)
    bench.stack.callback(endpoint.shutdown)
    heard = Recorder(endpoint, "start", "datagram")
    endpoint.bind(V4, 0)
    endpoint.pause(False)
    peer = bench.peer()
    peer.sendto(b"x", (V4, port_of(endpoint)))
    assert bench.hear(heard, 2) == [("start",), ("datagram", b"x", V4, port_of(peer))]


@pytest.mark.parametrize("host", ["", b"", None])
def test_every_interface_reports_no_mapped_address(bench: Bench, host: Any) -> None:
    endpoint = UdpEndpoint(bench.loop)
    bench.stack.callback(endpoint.shutdown)
    heard = Recorder(endpoint, "datagram")
    endpoint.bind(host, 0)
    endpoint.pause(False)
    for peer_host in (V4, V6):
        peer = bench.peer(peer_host)
        peer.sendto(b"x", (peer_host, port_of(endpoint)))
        assert bench.hear(heard) == [("datagram", b"x", peer_host, port_of(peer))]


def test_port_in_use_is_an_error_and_another_can_be_bound(bench: Bench) -> None:
    endpoint, _ = bench.endpoint(None)
    port = port_of(bench.peer())
    with pytest.raises(OSError, match=f"in use: '{V4} port {port}'"):
        endpoint.bind(V4, port)
    with pytest.raises(TypeError, match="a host is str or bytes, not int"):
        endpoint.bind(5, 0)  # type: ignore[arg-type]
    endpoint.bind(V4, 0)
    assert port_of(endpoint)


def test_bind_comes_once_and_before_anything_is_sent(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V4]
    bound, _ = bench.endpoint()
    sender, _ = bench.endpoint(None)
    sender.send(b"x", V4, port_of(bound))
    asker, _ = bench.endpoint(None)
    asker.send(b"x", "here.test", port_of(bound))
    binder, _ = bench.endpoint(None)
    binder.bind("here.test", 0)
    for endpoint in (bound, sender, asker, binder):
        with pytest.raises(RuntimeError, match="bind comes once"):
            endpoint.bind(V4, 0)
    bench.run(lambda: binder.address and not asker._lookups)


def test_bind_to_a_name_is_done_when_start_comes(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V6, V4, V4]
    endpoint, heard = bench.endpoint(None)
    endpoint.bind("here.test", 0)
    assert endpoint.address is None
    assert bench.hear(heard) == [("start",)]
    assert [sock.getsockname()[:2] for sock in endpoint.sockets] == [
        (V6, port_of(endpoint)),
        (V4, port_of(endpoint)),
    ]


def test_what_is_sent_before_a_name_is_found_leaves_from_the_bound_port(
    bench: Bench, names: Names
) -> None:
    names.known[b"here.test"] = [V4]
    endpoint, _ = bench.endpoint(None)
    endpoint.max_queued = 2
    peer = bench.peer()
    endpoint.bind("here.test", 0)
    assert [endpoint.send(b"%d" % n, V4, port_of(peer)) for n in range(3)] == [True, True, False]
    bench.run(lambda: endpoint.address)
    assert [peer.recvfrom(100) for _ in range(2)] == [
        (b"0", endpoint.address),
        (b"1", endpoint.address),
    ]
    assert endpoint.dropped == 1


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param("unknown.test", (socket.gaierror, socket.EAI_NONAME), id="unknown"),
        pytest.param("away.test", (socket.error, errno.EADDRNOTAVAIL), id="another machine"),
    ],
)
def test_name_that_cannot_be_bound_to_is_told(
    bench: Bench, names: Names, name: str, error: Any
) -> None:
    names.known[b"away.test"] = ["192.0.2.1"]
    endpoint, heard = bench.endpoint(None)
    endpoint.bind(name, 53)
    endpoint.send(b"x", V4, 53)
    assert bench.hear(heard) == [("socket_error", *error)]
    assert f"{name} port 53" in str(endpoint.error)
    assert (endpoint.address, endpoint.dropped) == (None, 1)
    endpoint.bind(V4, 0)
    assert bench.hear(heard) == [("start",)]


def test_interface_that_there_is_not_is_an_error_at_once(bench: Bench) -> None:
    endpoint, _ = bench.endpoint(None)
    with pytest.raises(OSError):
        endpoint.bind("fe80::1%nonesuch", 0)


@pytest.mark.parametrize("option", ["reuse_address", "reuse_port"])
def test_port_can_be_shared_by_those_who_ask_for_it(bench: Bench, option: str) -> None:
    first, _ = bench.endpoint(V4, **{option: True})
    second, _ = bench.endpoint(None, **{option: True})
    second.bind(V4, port_of(first))
    assert first.address == second.address


# -- receiving -----------------------------------------------------------------------------------


def test_pause_from_inside_a_listener_holds_at_once(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    peer = bench.peer()
    for number in range(5):
        peer.sendto(b"%d" % number, (V4, port_of(endpoint)))
    endpoint.on("datagram", lambda data, *_: endpoint.pause(data == b"1"))
    bench.turns(5)
    assert data_of(heard.take()) == [b"0", b"1"]
    endpoint.pause(False)
    assert data_of(bench.hear(heard, 3)) == [b"2", b"3", b"4"]


def test_pausing_inside_a_listener_and_resuming_there_loses_nothing(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    peer = bench.peer()
    for number in range(3):
        peer.sendto(b"%d" % number, (V4, port_of(endpoint)))

    def blink(*_: Any) -> None:
        endpoint.pause(True)
        endpoint.pause(False)

    endpoint.on("datagram", blink)
    assert data_of(bench.hear(heard, 3)) == [b"0", b"1", b"2"]


def test_paused_endpoint_does_not_wake_the_loop(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.pause(True)
    bench.peer().sendto(b"x", (V4, port_of(endpoint)))
    assert bench.loop.fds.poller is not None
    assert bench.loop.fds.poller.poll(0) == []
    assert heard.events == []


def test_turn_takes_so_many_datagrams_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MAX_BATCH", 4)
    endpoint, heard = bench.endpoint()
    other, heard_other = bench.endpoint()
    peer = bench.peer()
    for _ in range(10):
        peer.sendto(b"flood", (V4, port_of(endpoint)))
    peer.sendto(b"x", (V4, port_of(other)))
    bench.turns(1)
    assert (len(heard.events), len(heard_other.events)) == (4, 1)
    bench.turns(2)
    assert len(heard.events) == 10


def test_datagrams_that_nobody_listens_for_are_dropped(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.remove_listeners()
    bench.peer().sendto(b"lost", (V4, port_of(endpoint)))
    bench.turns()
    endpoint.on("datagram", lambda *args: heard.events.append(args))
    peer = bench.peer()
    peer.sendto(b"found", (V4, port_of(endpoint)))
    assert bench.hear(heard) == [(b"found", V4, port_of(peer))]


def test_listener_that_raises_loses_its_datagram_only(bench: Bench, expected_logs: Any) -> None:
    bench.loop.on_exception = "log"
    endpoint, heard = bench.endpoint()

    def fail(data: bytes, *_: Any) -> None:
        if data == b"1":
            raise RuntimeError("oops")

    endpoint.prepend_listener("datagram", fail)
    peer = bench.peer()
    for number in range(3):
        peer.sendto(b"%d" % number, (V4, port_of(endpoint)))
    assert data_of(bench.hear(heard, 2)) == [b"0", b"2"]
    assert [line for line in expected_logs.messages if "oops" in line]


def test_interface_of_a_link_local_sender_is_part_of_its_host(bench: Bench) -> None:
    endpoint, heard = bench.endpoint(V6)

    class Socket:
        def __init__(self) -> None:
            self.answers = [(b"x", ("fe80::1", 53, 0, 2))]

        def recvfrom(self, size: int) -> Any:
            if not self.answers:
                raise BlockingIOError
            return self.answers.pop()

    endpoint._channels[0].recvfrom = Socket().recvfrom  # type: ignore[assignment]
    bench.peer(V6).sendto(b"wake", (V6, port_of(endpoint)))
    bench.turns(1)
    assert heard.take() == [("datagram", b"x", "fe80::1%2", 53)]


# -- ending --------------------------------------------------------------------------------------


def test_shutdown_from_inside_a_listener_holds_at_once(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    [sock] = endpoint.sockets
    peer = bench.peer()
    endpoint.send(b"x", V4, port_of(peer))
    for number in range(3):
        peer.sendto(b"%d" % number, (V4, port_of(endpoint)))

    def end(*_: Any) -> None:
        endpoint.shutdown()
        endpoint.shutdown()
        with pytest.raises(ValueError, match="closed"):
            endpoint.send(b"x", V4, port_of(peer))
        assert "stop" not in [event[0] for event in heard.events]

    endpoint.on("datagram", end)
    bench.turns()
    assert [event[:2] for event in heard.take()] == [("datagram", b"0"), ("stop",)]
    assert (sock.fileno(), endpoint.sockets, bench.loop.fd_count()) == (-1, [], 0)


def test_start_is_not_told_of_an_endpoint_that_was_shut_down(bench: Bench) -> None:
    endpoint = UdpEndpoint(bench.loop)
    heard = Recorder(endpoint, *EVENTS)
    endpoint.bind(V4, 0)
    endpoint.shutdown()
    bench.turns()
    assert heard.take() == [("stop",)]


def test_error_that_came_before_shutdown_is_told_before_stop(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.send(bytes(endpoint.max_dgram + 1), V4, 53)
    endpoint.shutdown()
    bench.turns()
    assert heard.take() == [("socket_error", socket.error, errno.EMSGSIZE), ("stop",)]


def test_nothing_can_be_done_with_an_endpoint_that_was_shut_down(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.send(b"x", V4, port_of(bench.peer()))
    endpoint.shutdown()
    endpoint.pause(False)
    for call in (
        lambda: endpoint.send(b"x", V4, 53),
        lambda: endpoint.bind(V4, 0),
        lambda: endpoint.join("239.1.2.3"),
        lambda: endpoint.leave("239.1.2.3"),
    ):
        with pytest.raises(ValueError, match="on an endpoint that is closed"):
            call()
    assert "closed" in repr(endpoint)
    bench.turns()
    assert heard.take() == [("stop",)]


def test_loops_stop_closes_an_endpoint_without_a_word(bench: Bench) -> None:
    endpoint, heard = bench.endpoint("")
    sockets = endpoint.sockets
    bench.loop.stop()
    bench.turns()
    assert [sock.fileno() for sock in sockets] == [-1, -1]
    assert heard.take() == []
    with pytest.raises(ValueError, match="closed"):
        endpoint.send(b"x", V4, 53)


def test_stop_from_inside_a_listener_closes_the_endpoint(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.on("datagram", lambda *_: bench.loop.stop())
    bench.peer().sendto(b"x", (V4, port_of(endpoint)))
    bench.turns(1)
    assert data_of(heard.take()) == [b"x"]
    assert (endpoint.sockets, bench.loop.fd_count()) == ([], 0)


def test_endpoint_that_waited_for_a_name_when_the_loop_stopped_is_closed(
    bench: Bench, names: Names
) -> None:
    endpoint, heard = bench.endpoint(None)
    endpoint.send(b"x", "here.test", 53)
    bench.loop.stop()
    bench.turns()
    with pytest.raises(ValueError, match="closed"):
        endpoint.send(b"x", V4, 53)
    assert heard.take() == []


def test_endpoint_that_was_not_used_outlives_the_loops_stop(bench: Bench) -> None:
    endpoint, heard = bench.endpoint(None)
    bench.loop.stop()
    endpoint.bind(V4, 0)
    assert bench.hear(heard) == [("start",)]


def test_socket_that_somebody_else_shut_down_ends_the_endpoint(
    bench: Bench, expected_logs: Any
) -> None:
    endpoint, heard = bench.endpoint()
    with pytest.raises(OSError):  # which does not keep it from being done
        endpoint.sockets[0].shutdown(socket.SHUT_RDWR)
    assert bench.hear(heard) == [("stop",)]
    assert "shut down by somebody else" in expected_logs.messages[0]

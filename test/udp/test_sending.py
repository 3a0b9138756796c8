"""What `send` takes, where it goes, and what becomes of it where the kernel has no room."""

from __future__ import annotations

import errno
import socket
from array import array
from typing import Any

import pytest
from udp_support import V4, V6, Bench, Names, data_of, port_of

from thor import UdpEndpoint
from thor.udp import endpoint as endpoint_module
from thor.udp import sockets as udp_sockets


@pytest.mark.parametrize(
    ("datagram", "sent"),
    [
        pytest.param("stra\u00dfe", "stra\u00dfe".encode(), id="str"),
        pytest.param(bytearray(b"abc"), b"abc", id="bytearray"),
        pytest.param(memoryview(b"abcd")[1:3], b"bc", id="memoryview"),
        pytest.param(b"", b"", id="empty"),
    ],
)
def test_data_is_str_or_bytes(bench: Bench, datagram: Any, sent: bytes) -> None:
    endpoint, _ = bench.endpoint(None)
    peer = bench.peer()
    for _ in range(2):  # the second time, the way is known
        endpoint.send(datagram, V4, port_of(peer))
        assert peer.recv(100) == sent


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "::1", b"::1", "127.1", "0:0::1"])
def test_hosts_are_str_or_bytes_and_ports_numbers_or_digits(bench: Bench, host: Any) -> None:
    endpoint, _ = bench.endpoint(None)
    peer = bench.peer(V6 if ":" in str(host) else V4)
    ports: list[Any] = [port_of(peer), str(port_of(peer)), str(port_of(peer)).encode()]
    for port in ports:
        endpoint.send(b"x", host, port)
        bench.turns()
        assert peer.recv(100) == b"x"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        pytest.param((None, V4, 53), TypeError, id="no data"),
        pytest.param((5, V4, 53), TypeError, id="a number"),
        pytest.param((array("i", [1]), V4, 53), TypeError, id="an array"),
        pytest.param((b"x", None, 53), TypeError, id="no host"),
        pytest.param((b"x", 1, 53), TypeError, id="a number for a host"),
        pytest.param((b"x", V4, None), TypeError, id="no port"),
        pytest.param((b"x", V4, 5.0), TypeError, id="a float for a port"),
        pytest.param((b"x", V4, 65536), ValueError, id="too large a port"),
        pytest.param((b"x", V4, -1), ValueError, id="a negative port"),
        pytest.param((b"x", V4, "http"), ValueError, id="a name for a port"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_misuse_raises_at_the_call(
    bench: Bench, args: Any, error: type[Exception], known: bool
) -> None:
    endpoint, heard = bench.endpoint()
    if known:
        endpoint.send(b"x", V4, port_of(bench.peer()))
    with pytest.raises(error):
        endpoint.send(*args)
    bench.turns()
    assert heard.take() == []


def test_hosts_that_are_remembered_are_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "MAX_LITERAL_HOSTS", 2)
    endpoint, _ = bench.endpoint(None)
    peer = bench.peer("0.0.0.0")
    for last in range(1, 6):
        endpoint.send(b"x", f"127.0.0.{last}", port_of(peer))
        assert peer.recv(100) == b"x"
        assert len(endpoint._routes) <= 2


# -- what cannot be sent -------------------------------------------------------------------------


@pytest.mark.parametrize("host", [V4, V6])
@pytest.mark.parametrize("more", [1, 29, 1000])
def test_datagram_that_is_too_large_is_told_once(bench: Bench, host: str, more: int) -> None:
    endpoint, heard = bench.endpoint(host)
    peer = bench.peer(host)
    for known in range(2):
        endpoint.send(bytes(endpoint.max_dgram + more), host, port_of(peer))
        assert heard.events == []  # a method never emits
        told = bench.hear(heard)
        assert told == [("socket_error", socket.error, errno.EMSGSIZE)], known
        text = f"[Errno 90] Message too long: '{host} port {port_of(peer)}'"
        assert str(told[0][2]) == str(endpoint.error) == text
        bench.turns()
        assert heard.take() == []
    endpoint.send(b"x", host, port_of(peer))
    assert peer.recv(100) == b"x"


@pytest.mark.parametrize(("bound", "to"), [(V4, V6), (V6, V4)])
def test_address_of_another_family_than_the_bound_one_is_an_error(
    bench: Bench, bound: str, to: str
) -> None:
    endpoint, heard = bench.endpoint(bound)
    endpoint.send(b"x", to, port_of(bench.peer(to)))
    assert bench.hear(heard) == [("socket_error", socket.error, errno.EAFNOSUPPORT)]
    assert f"bound to {bound}" in str(endpoint.error)


def test_no_socket_can_be_opened(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(udp_sockets, "open_socket", fail)
    endpoint, heard = bench.endpoint(None)
    endpoint.send(b"x", V4, 53)
    assert bench.hear(heard) == [("socket_error", socket.error, errno.EMFILE)]


def test_error_that_nobody_listens_to_is_logged(bench: Bench, expected_logs: Any) -> None:
    endpoint, _ = bench.endpoint()
    endpoint.remove_listeners()
    endpoint.send(bytes(70_000), V4, 53)
    bench.turns()
    [line] = expected_logs.at_least(30)
    assert "Message too long: '127.0.0.1 port 53'" in line


# -- names ---------------------------------------------------------------------------------------


def test_name_is_looked_up_off_the_thread(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V4]
    endpoint, _ = bench.endpoint(None)
    peer = bench.peer()
    assert endpoint.send("hello", "here.test", port_of(peer)) is True
    assert endpoint.sockets == []
    bench.run(lambda: not endpoint._lookups)
    assert peer.recv(100) == b"hello"


def test_datagrams_to_a_name_keep_their_order(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V4]
    endpoint, _ = bench.endpoint(None)
    peer = bench.peer()
    for number in range(5):
        endpoint.send(b"%d" % number, "here.test", port_of(peer))
    bench.run(lambda: not endpoint._lookups)
    assert [peer.recv(100) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert names.asked == [b"here.test"]


def test_first_address_that_can_be_sent_to_is_taken(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V6, V4]
    endpoint, _ = bench.endpoint(V4)
    peer = bench.peer(V4)
    endpoint.send(b"x", "here.test", port_of(peer))
    bench.run(lambda: not endpoint._lookups)
    assert peer.recv(100) == b"x"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("unknown.test", (socket.gaierror, socket.EAI_NONAME)),
        ("six.test", (socket.error, errno.EAFNOSUPPORT)),
    ],
)
def test_name_that_cannot_be_sent_to_is_told(
    bench: Bench, names: Names, name: str, error: Any
) -> None:
    names.known[b"six.test"] = [V6]
    endpoint, heard = bench.endpoint(V4)
    endpoint.send(b"x", name, 53)
    assert bench.hear(heard) == [("socket_error", *error)]
    assert str(endpoint.error).endswith(f": '{name} port 53'")


def test_what_waits_for_names_is_bounded_and_the_rest_is_dropped_and_counted(
    bench: Bench, names: Names
) -> None:
    names.known[b"here.test"] = [V4]
    endpoint, _ = bench.endpoint(None)
    endpoint.max_queued = 3
    peer = bench.peer()
    taken = [endpoint.send(b"x", "here.test", port_of(peer)) for _ in range(5)]
    assert (taken, endpoint.dropped) == ([True, True, True, False, False], 2)
    bench.run(lambda: not endpoint._lookups)
    assert endpoint.send(b"x", "here.test", port_of(peer)) is True
    bench.run(lambda: not endpoint._lookups)


def test_shutdown_drops_what_waits_for_a_name(bench: Bench, names: Names) -> None:
    names.known[b"here.test"] = [V4]
    peer = bench.peer()
    peer.setblocking(False)
    sender, _ = bench.endpoint(None)
    sender.send(b"x", "here.test", port_of(peer))
    binder, heard = bench.endpoint(None)
    binder.bind("here.test", 0)
    binder.send(b"x", V4, port_of(peer))
    for endpoint in (sender, binder):
        endpoint.shutdown()
        assert endpoint.dropped == 1
    probe, _ = bench.endpoint(None)
    probe.send(b"probe", "here.test", port_of(peer))
    bench.run(lambda: not probe._lookups)
    assert peer.recv(100) == b"probe"
    assert heard.take() == [("stop",)]


# -- where the kernel has no room ----------------------------------------------------------------


class Narrow:
    """A `sendto` that fails while `failure` is set."""

    def __init__(self, endpoint: UdpEndpoint) -> None:
        [self.channel] = endpoint._channels
        self.real = self.channel.sendto
        self.channel.sendto = self
        self.failure: OSError | None = BlockingIOError(errno.EAGAIN, "no room")

    def __call__(self, data: Any, address: Any) -> int:
        if self.failure is not None:
            raise self.failure
        return int(self.real(data, address))


def test_what_the_kernel_has_no_room_for_waits_in_order(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    narrow = Narrow(endpoint)
    peer = bench.peer()
    data = bytearray(b"0")
    assert endpoint.send(data, V4, port_of(peer)) is True
    data[:] = b"?"  # it was copied
    endpoint.send(b"1", V4, port_of(peer))
    bench.turns()
    narrow.failure = None
    endpoint.send(b"2", V4, port_of(peer))
    bench.turns()
    assert [peer.recv(100) for _ in range(3)] == [b"0", b"1", b"2"]
    assert endpoint.dropped == 0
    peer.sendto(b"x", (V4, port_of(endpoint)))
    assert data_of(bench.hear(heard)) == [b"x"]


def test_socket_is_watched_for_writing_only_while_something_waits(bench: Bench) -> None:
    endpoint, _ = bench.endpoint()
    narrow = Narrow(endpoint)
    peer = bench.peer()
    endpoint.send(b"x", V4, port_of(peer))
    narrow.failure = None
    bench.turns(1)
    assert bench.loop.fds.poller is not None
    assert bench.loop.fds.poller.poll(0) == []
    assert peer.recv(100) == b"x"


def test_what_waits_is_bounded_and_the_rest_is_dropped_and_counted(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    endpoint.max_queued = 3
    narrow = Narrow(endpoint)
    peer = bench.peer()
    taken = [endpoint.send(b"%d" % n, V4, port_of(peer)) for n in range(5)]
    assert (taken, endpoint.dropped) == ([True, True, True, False, False], 2)
    narrow.failure = None
    bench.turns()
    endpoint.send(b"5", V4, port_of(peer))
    assert [peer.recv(100) for _ in range(4)] == [b"0", b"1", b"2", b"5"]
    assert heard.take() == []


def test_what_fails_after_it_has_waited_is_told_and_the_next_is_sent(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    narrow = Narrow(endpoint)
    peer = bench.peer()
    endpoint.send(bytes(65535), V4, port_of(peer))
    endpoint.send(b"x", V4, port_of(peer))
    narrow.failure = None
    assert bench.hear(heard) == [("socket_error", socket.error, errno.EMSGSIZE)]
    assert peer.recv(100) == b"x"


def test_shutdown_drops_what_waits_for_the_kernel(bench: Bench) -> None:
    endpoint, _ = bench.endpoint()
    Narrow(endpoint)
    for _ in range(3):
        endpoint.send(b"x", V4, 53)
    endpoint.shutdown()
    assert endpoint.dropped == 3


def test_shutdown_from_inside_a_listener_drops_what_waits_at_once(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    narrow = Narrow(endpoint)
    peer = bench.peer()
    endpoint.send(b"x", V4, port_of(peer))
    narrow.failure = None
    endpoint.on("datagram", lambda *_: endpoint.shutdown())
    peer.sendto(b"end", (V4, port_of(endpoint)))
    assert [event[0] for event in bench.hear(heard, 2)] == ["datagram", "stop"]
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)


def test_what_the_interface_has_no_room_for_is_dropped_and_counted(bench: Bench) -> None:
    endpoint, heard = bench.endpoint()
    Narrow(endpoint).failure = OSError(errno.ENOBUFS, "No buffer space available")
    assert endpoint.send(b"x", V4, 53) is False
    bench.turns()
    assert (endpoint.dropped, heard.take()) == (1, [])

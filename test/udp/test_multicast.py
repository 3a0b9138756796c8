"""Groups, and broadcast: one datagram for many."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from udp_support import V4, V6, Bench, data_of, port_of

from thor import UdpEndpoint
from thor.testing import Recorder

#: An address that is for local use (RFC 2365), and one that never leaves its interface (RFC 4291).
GROUP_V4, GROUP_V6 = "239.255.77.77", "ff01::7777"


def interface_for(group: str) -> str:
    """An interface on which the group reaches this machine, and nobody else: the time to live is
    0. For IPv6, the loopback interface often has no route for it."""
    exchange = exchange_v6 if ":" in group else exchange_v4
    for index, name in socket.if_nameindex():
        try:
            exchange(group, index)
        except OSError:
            continue
        return name
    pytest.skip(f"no interface of this machine takes datagrams for {group}")


def exchange_v4(group: str, index: int) -> None:
    """Raises: OSError if raw sockets cannot do it"""
    interface = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)
    receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with receiver, sender:
        receiver.settimeout(1)
        receiver.bind(("", 0))
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(4) + interface[4:])
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sender.sendto(b"x", (group, receiver.getsockname()[1]))
        receiver.recv(1)


def exchange_v6(group: str, index: int) -> None:
    """Raises: OSError if raw sockets cannot do it"""
    member = struct.pack("@16sI", socket.inet_pton(socket.AF_INET6, group), index)
    receiver, sender = (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2))
    with receiver, sender:
        receiver.settimeout(1)
        receiver.bind(("::", 0))
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 0)
        sender.sendto(b"x", (group, receiver.getsockname()[1]))
        receiver.recv(1)


@pytest.fixture(scope="module", params=[GROUP_V4, GROUP_V6], ids=["IPv4", "IPv6"])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A group, and the interface that takes it."""
    return request.param, interface_for(request.param)


def sharing(bench: Bench, group: str, port: int = 0) -> tuple[UdpEndpoint, Recorder]:
    """An endpoint on every interface, on a port that is shared."""
    endpoint, heard = bench.endpoint(None, reuse_address=True)
    endpoint.bind("::" if ":" in group else "0.0.0.0", port)
    assert bench.hear(heard) == [("start",)]
    return endpoint, heard


def sender_on(bench: Bench, interface: str | int) -> UdpEndpoint:
    return bench.endpoint(None, multicast_ttl=0, multicast_interface=interface)[0]


def test_members_of_a_group_get_what_is_sent_to_it(bench: Bench, place: tuple[str, str]) -> None:
    group, interface = place
    one, heard_one = sharing(bench, group)
    two, heard_two = sharing(bench, group, port_of(one))
    for member in (one, two):
        member.join(group, interface)
    sender = sender_on(bench, interface)
    sender.send(b"all", group, port_of(one))
    assert data_of(bench.hear(heard_one)) == [b"all"]
    assert data_of(bench.hear(heard_two)) == [b"all"]


def test_who_has_left_gets_no_more_though_others_are_members(
    bench: Bench, place: tuple[str, str]
) -> None:
    group, interface = place
    stays, heard_stays = sharing(bench, group)
    leaves, heard_leaves = sharing(bench, group, port_of(stays))
    for member in (stays, leaves):
        member.join(group, socket.if_nametoindex(interface))
    sender = sender_on(bench, socket.if_nametoindex(interface))
    sender.send(b"1", group, port_of(stays))
    bench.hear(heard_leaves)
    leaves.leave(group, interface)
    sender.send(b"2", group, port_of(stays))
    assert data_of(bench.hear(heard_stays, 2)) == [b"1", b"2"]
    bench.turns()
    assert heard_leaves.take() == []


@pytest.mark.parametrize("host", [V4, V6])
@pytest.mark.parametrize("loops", [False, True])
def test_members_on_the_senders_machine_can_be_left_out(
    bench: Bench, host: str, loops: bool
) -> None:
    """The option is looked at: the loopback interface gives everything back in any case."""
    option = (
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
        if host == V6
        else (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
    )
    endpoint, _ = bench.endpoint(host, multicast_loop=loops)
    assert bool(endpoint.sockets[0].getsockopt(*option)) is loops


@pytest.mark.parametrize("host", [V4, V6])
def test_time_to_live_is_what_was_asked_for(bench: Bench, host: str) -> None:
    option = (
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS)
        if host == V6
        else (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL)
    )
    for ttl in (0, 32, 255):
        endpoint, _ = bench.endpoint(host, multicast_ttl=ttl)
        assert endpoint.sockets[0].getsockopt(*option) == ttl
    assert bench.endpoint(host)[0].sockets[0].getsockopt(*option) == 1


@pytest.mark.parametrize("ttl", [-1, 256])
def test_time_to_live_that_is_none_is_refused(bench: Bench, ttl: int) -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        UdpEndpoint(bench.loop, multicast_ttl=ttl)


def test_interface_that_there_is_not_is_an_error(bench: Bench) -> None:
    with pytest.raises(OSError, match="no interface has this name: 'nonesuch'"):
        UdpEndpoint(bench.loop, multicast_interface="nonesuch")
    endpoint, _ = bench.endpoint()
    with pytest.raises(OSError, match="nonesuch"):
        endpoint.join(GROUP_V4, "nonesuch")


@pytest.mark.parametrize("group", ["192.0.2.1", "2001:db8::1", "localhost", ""])
def test_what_is_no_group_cannot_be_joined(bench: Bench, group: str) -> None:
    endpoint, _ = bench.endpoint()
    with pytest.raises(ValueError):
        endpoint.join(group)


def test_group_is_joined_on_a_port_that_is_bound(bench: Bench) -> None:
    endpoint, _ = bench.endpoint(None)
    with pytest.raises(RuntimeError, match="bind comes first"):
        endpoint.join(GROUP_V4)


def test_group_of_another_family_cannot_be_joined(bench: Bench) -> None:
    endpoint, _ = bench.endpoint(V4)
    with pytest.raises(OSError) as caught:
        endpoint.join(GROUP_V6)
    assert caught.value.errno == errno.EAFNOSUPPORT


def test_what_was_not_joined_cannot_be_left(bench: Bench) -> None:
    endpoint, _ = bench.endpoint("0.0.0.0")
    with pytest.raises(OSError, match=GROUP_V4):
        endpoint.leave(GROUP_V4)


# -- broadcast -----------------------------------------------------------------------------------


def test_broadcast_has_to_be_asked_for(bench: Bench) -> None:
    receiver, heard = bench.endpoint("0.0.0.0")
    strict, errors = bench.endpoint(None)
    strict.send(b"x", "127.255.255.255", port_of(receiver))
    assert bench.hear(errors) == [("socket_error", socket.error, errno.EACCES)]
    sender, _ = bench.endpoint(None, broadcast=True)
    sender.send(b"all", "127.255.255.255", port_of(receiver))
    assert data_of(bench.hear(heard)) == [b"all"]


def test_broadcast_reaches_all_who_share_the_port(bench: Bench) -> None:
    one, heard_one = sharing(bench, GROUP_V4)
    _, heard_two = sharing(bench, GROUP_V4, port_of(one))
    sender, _ = bench.endpoint(None, broadcast=True)
    sender.send(b"all", "127.255.255.255", port_of(one))
    assert data_of(bench.hear(heard_one)) == [b"all"]
    assert data_of(bench.hear(heard_two)) == [b"all"]

"""The sockets of an endpoint: opening them, their options, and multicast groups.

Owns: socket options, membership of groups, sizes of datagrams. Must not know loops or endpoints,
nor which addresses are bound (`thor.binding` finds them).

Some facts about kernels, and what they mean for us:

- Linux reports ICMP errors of a datagram only to sockets that ask for them (`IP_RECVERR`). The BSDs
  and macOS report them only to connected sockets, which these are not.
- On Linux a multicast datagram reaches each socket that is bound to its port on every interface,
  if any process of the machine has joined the group. With `IP_MULTICAST_ALL` off, ours get only
  the groups that they have joined; otherwise `leave` would have no effect.
- The BSDs and macOS send no datagram that is larger than the socket's send buffer; Linux sends
  whatever the length fields can express.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET
from typing import NamedTuple

from thor.types import Address

LINUX: bool = sys.platform.startswith("linux")
#: The most data of a datagram: 65,535 bytes less the headers of UDP and IPv4 (RFC 768, RFC 791);
#: IPv6 does not count its own (RFC 8200 section 3).
MAX_DATAGRAM_BYTES = {AF_INET: 65535 - 8 - 20, AF_INET6: 65535 - 8}
#: Options of Linux that Python has no names for: IP_RECVERR on, IP_MULTICAST_ALL off; IPv6's.
_LINUX_OPTIONS = {
    AF_INET: [(IPPROTO_IP, 11, 1), (IPPROTO_IP, 49, 0)],
    AF_INET6: [(IPPROTO_IPV6, 25, 1), (IPPROTO_IPV6, 29, 0)],
}


class Options(NamedTuple):
    """The options of sockets; `UdpEndpoint` documents each."""

    broadcast: bool
    reuse_address: bool
    reuse_port: bool
    multicast_ttl: int | None
    multicast_loop: bool
    multicast_interface: int


def open_socket(family: int, options: Options, address: Address | None = None) -> socket.socket:
    """Open one socket, bound to `address` if there is one. Raises: OSError"""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        _set_options(sock, options)
        if address is not None:
            sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket, options: Options) -> None:
    family = AF_INET6 if sock.family == AF_INET6 else AF_INET
    if family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if options.broadcast:
        sock.setsockopt(SOL_SOCKET, socket.SO_BROADCAST, 1)
    if options.reuse_address:
        sock.setsockopt(SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.reuse_port:
        sock.setsockopt(SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for option, value in _multicast_options(family, options):
        sock.setsockopt(IPPROTO_IPV6 if family == AF_INET6 else IPPROTO_IP, option, value)
    for level, option, number in _LINUX_OPTIONS[family] if LINUX else ():
        try:
            sock.setsockopt(level, option, number)
        except OSError:
            pass  # an old kernel, or an emulation of Linux: it behaves like other systems


def _multicast_options(family: int, options: Options) -> list[tuple[int, bytes]]:
    """Return the requested options, packed: IPv4 takes bytes, IPv6 integers."""
    found = []
    ttl, index = options.multicast_ttl, options.multicast_interface
    if ttl is not None:
        found.append(
            (socket.IPV6_MULTICAST_HOPS, struct.pack("@i", ttl))
            if family == AF_INET6
            else (socket.IP_MULTICAST_TTL, bytes([ttl]))
        )
    if not options.multicast_loop:
        found.append(
            (socket.IPV6_MULTICAST_LOOP, struct.pack("@I", 0))
            if family == AF_INET6
            else (socket.IP_MULTICAST_LOOP, bytes([0]))
        )
    if index:
        found.append(
            (socket.IPV6_MULTICAST_IF, struct.pack("@I", index))
            if family == AF_INET6
            else (socket.IP_MULTICAST_IF, _ip_mreqn(bytes(4), index))
        )
    return found


def _ip_mreqn(group: bytes, index: int) -> bytes:
    """Return a `struct ip_mreqn` of ip(7), which names an interface by its index."""
    return struct.pack("@4s4si", group, bytes(4), index)


# -- multicast -----------------------------------------------------------------------------------


def interface_index(interface: str | int | None) -> int:
    """Return the index of an interface, by its name or index; 0 for None.

    Raises: OSError if there is none of that name
    """
    if isinstance(interface, str):
        try:
            return socket.if_nametoindex(interface)
        except OSError as exc:
            raise OSError(errno.ENODEV, "no interface has this name", interface) from exc
    return interface or 0


def group_family(group: str) -> int:
    """Return the family of a multicast group. Raises: ValueError if it is not one"""
    address = ip_address(group)
    if not address.is_multicast:
        raise ValueError(f"{group!r} is not a multicast address")
    return AF_INET if address.version == 4 else AF_INET6


def set_membership(sock: socket.socket, group: str, index: int, *, joins: bool) -> None:
    """Join or leave `group` on the interface `index` (0: the kernel's choice). Raises: OSError"""
    packed = ip_address(group).packed
    if sock.family == AF_INET:
        option = socket.IP_ADD_MEMBERSHIP if joins else socket.IP_DROP_MEMBERSHIP
        sock.setsockopt(IPPROTO_IP, option, _ip_mreqn(packed, index))
    else:
        option = socket.IPV6_JOIN_GROUP if joins else socket.IPV6_LEAVE_GROUP
        sock.setsockopt(IPPROTO_IPV6, option, struct.pack("@16sI", packed, index))


# -- sizes and addresses -------------------------------------------------------------------------


def max_datagram_bytes(family: int) -> int:
    """Return the size limit of a datagram of `family` on this system, in bytes."""
    limit = MAX_DATAGRAM_BYTES[socket.AddressFamily(family)]
    if LINUX:
        return limit
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        return min(limit, probe.getsockopt(SOL_SOCKET, socket.SO_SNDBUF))


def literal_family(host: str | bytes) -> int | None:
    """Return the family of a literal address; None for a name.

    None too for an address with an interface (`fe80::1%eth0`), whose index has to be resolved.
    Raises: TypeError
    """
    text = _text(host)
    for family in (AF_INET, AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return family
    return None


def is_literal(host: str | bytes) -> bool:
    """Return whether `host` is a literal address, with or without an interface.

    Raises: TypeError
    """
    return literal_family(_text(host).partition("%")[0]) is not None


def _text(host: str | bytes) -> str:
    if isinstance(host, str):
        return host
    if isinstance(host, bytes):
        return host.decode("latin-1")
    raise TypeError(f"a host is str or bytes, not {type(host).__name__}")

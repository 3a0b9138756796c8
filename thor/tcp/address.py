"""What can be derived from a host or an address alone.

Owns: the `unix:` form of a host, the forms in which an IPv6 address contains an IPv4 one, and
membership in networks. Must not know how sockets are opened.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING

from thor.cache import BoundedCache
from thor.types import Address

if TYPE_CHECKING:
    import socket

    from thor.tcp.proxy_protocol import ProxyHeader

#: RFC 6052 section 2.1: the well-known prefix of addresses that a NAT64 turns into IPv4 ones.
NAT64 = IPv6Address("64:ff9b::").packed[:12]
#: How the system writes the prefix of an IPv4-mapped address (RFC 4291 section 2.5.5.2).
_MAPPED = "::ffff:"
#: Most hosts of which a list of networks keeps whether it holds them.
MAX_KNOWN_HOSTS = 1024


def unix_path(host: str | bytes | None) -> str | bytes | None:
    """Return the address of the Unix socket that `unix:PATH` or `unix:@NAME` means.

    Returns: a path, `str`; the `bytes` of an abstract name (Linux), which begin with a NUL; None
        if the host is of another kind
    Raises: ValueError for a path that is none (empty, with a NUL, that cannot be encoded), an empty
        name, or one on a system without abstract names
    """
    text = os.fsdecode(host) if host is not None else ""
    if not text.startswith("unix:"):
        return None
    if text in ("unix:", "unix:@"):
        raise ValueError(f"{text} without a {'name' if text.endswith('@') else 'path'}")
    if text[5] != "@":
        # The kernel would take what is before a NUL for the path: another one than was meant.
        if b"\0" in os.fsencode(text):
            raise ValueError(f"{text!r} is no path: a NUL is in it")
        return text[5:]
    if sys.platform != "linux":
        raise ValueError(f"{text}: only Linux has abstract socket names")
    return b"\0" + os.fsencode(text[6:])


def join_host_port(host: str, port: int) -> str:
    """Return `host:port` as it stands in a URI: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_ip(ip: str) -> str:
    """Return the address that packets to `ip` finally reach, in its canonical form.

    That is the IPv4 address inside an IPv4-mapped (RFC 4291 section 2.5.5.2) or a NAT64 one
    (RFC 6052): otherwise `::ffff:127.0.0.1` would pass a check that refuses `127.0.0.1`. An
    interface (`%eth0`) is left out.
    """
    try:
        address = IPv6Address(ip.partition("%")[0])
    except AddressValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.packed.startswith(NAT64):
        return str(IPv4Address(address.packed[12:]))
    return str(address)


def unmapped(address: Address) -> Address:
    """Return an IPv4-mapped address of an IPv6 socket as an IPv4 address; others unchanged.

    A socket that takes both families reports IPv4 peers so, and no list of addresses expects it.
    address: as the system, or `inet_ntop`, writes it
    """
    if isinstance(address, tuple) and address[0].startswith(_MAPPED) and "." in address[0]:
        return (address[0][len(_MAPPED) :], address[1])
    return address


def local_address(sock: socket.socket, header: ProxyHeader | None) -> Address:
    """Return the address of this side, that of the PROXY header if there is one. Raises: OSError"""
    destination = header.destination if header is not None else None
    return unmapped(sock.getsockname() if destination is None else destination)


class Networks:
    """The peers that are trusted: `address in networks`."""

    def __init__(self, networks: Iterable[str | IPv4Network | IPv6Network]) -> None:
        """networks: as `ipaddress.ip_network` takes them; "unix:" is every Unix socket's peer

        Raises: ValueError for what is no network, TypeError for a single string
        """
        if isinstance(networks, (str, bytes)):  # its letters would be taken for networks
            raise TypeError(f"a list of networks is needed, not {networks!r}")
        given = list(networks)
        self._unix = "unix:" in given
        self._networks = [ip_network(n, strict=False) for n in given if n != "unix:"]
        self._known: BoundedCache[str, bool] = BoundedCache(MAX_KNOWN_HOSTS)

    def __contains__(self, address: Address) -> bool:
        if not isinstance(address, tuple):
            return self._unix
        if not self._networks:
            return False
        host = str(unmapped(address)[0])
        known = self._known.get(host)
        if known is None:
            try:
                ip = ip_address(host)
            except ValueError:  # no IP address: nobody that could be trusted
                return False
            known = self._known[host] = any(ip in network for network in self._networks)
        return known

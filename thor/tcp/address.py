"""What a host and an address say, without asking anybody.

Owns: the `unix:` form of a host, and the forms in which an IPv4 address hides in an IPv6 one. Must
not know sockets.
"""

from __future__ import annotations

import os
from ipaddress import AddressValueError, IPv4Address, IPv6Address

#: RFC 6052 section 2.1: the well-known prefix of addresses that a NAT64 turns into IPv4 ones.
NAT64 = IPv6Address("64:ff9b::").packed[:12]


def unix_path(host: str | bytes | None) -> str | None:
    """The path of `unix:PATH`; None if the host is of another kind.

    Raises: ValueError if the path is empty
    """
    text = os.fsdecode(host) if host is not None else ""
    if not text.startswith("unix:"):
        return None
    if text == "unix:":
        raise ValueError("unix: without a path")
    return text[5:]


def plain_ip(ip: str) -> str:
    """The address that packets to `ip` reach in the end, in its canonical form.

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

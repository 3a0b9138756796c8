"""Sockets bound to the addresses of a host, all on one port.

Owns: which addresses a host has on this machine, and that their sockets have one port. Must not
know what the sockets are for: the caller opens them.

Theory of operation: a host can have several addresses ("" is every interface, "localhost" is two);
each gets a socket of its own, all on one port. An IPv6 one accepts IPv6 alone (`V6ONLY`): one that
accepted both would report IPv4 peers as mapped addresses, which no list of addresses expects. Where
a port that the kernel chose (0) is free for one of them and not for the next, another one is tried.
An address whose family the machine does not have is left out.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from thor import dns
from thor.types import Address, DnsResultList


class BindAddress(NamedTuple):
    """Where to bind a socket."""

    family: int
    address: Address  # its port is ignored


#: Opens and binds one socket of a family. Raises: OSError
Opener = Callable[[int, Address], socket.socket]

#: Every interface.
WILDCARD: list[BindAddress] = [
    BindAddress(socket.AF_INET, ("0.0.0.0", 0)),
    BindAddress(socket.AF_INET6, ("::", 0)),
]
#: How many ports of the kernel's choice are tried.
MAX_PORT_TRIES = 16
#: Errors of an address that this machine does not have, or whose family it does not have.
_UNAVAILABLE_ERRNOS = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def resolve_bind_addresses(host: str | bytes | None, socktype: int) -> list[BindAddress]:
    """Return where to bind for `host`; a name is looked up at once, which blocks.

    host: a literal address, a name, "" or None for every interface
    Raises: OSError (a `socket.gaierror`, most often), TypeError
    """
    if not host:
        return WILDCARD
    try:
        return parse_bind_addresses(dns.lookup_now(host, 0, socktype))
    except OSError as exc:
        raise with_address(exc, host) from None


def parse_bind_addresses(rows: DnsResultList) -> list[BindAddress]:
    """Return what the resolver found, each address once."""
    return list(dict.fromkeys(BindAddress(int(row[0]), row[4]) for row in rows))


def open_all(addresses: list[BindAddress], port: int, opener: Opener) -> list[socket.socket]:
    """Open a socket for each of `addresses`, all bound to `port`.

    port: 0: the kernel chooses one, the same for all
    Raises: OSError, if the port is in use for example; it names the address
    """
    for _ in range(MAX_PORT_TRIES if port == 0 else 0):
        try:
            return _open_all(addresses, 0, opener)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
    return _open_all(addresses, port, opener)


def _open_all(addresses: list[BindAddress], port: int, opener: Opener) -> list[socket.socket]:
    opened: list[socket.socket] = []
    unavailable: OSError | None = None
    try:
        for family, address in addresses:
            try:
                opened.append(opener(family, (address[0], port, *address[2:])))
            except OSError as exc:
                named = with_address(exc, str(address[0]), port)
                if exc.errno not in _UNAVAILABLE_ERRNOS:
                    raise named from None
                unavailable = unavailable or named
            else:
                port = opened[0].getsockname()[1]
        if unavailable is not None and not opened:
            raise unavailable
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def with_address(exc: OSError, host: str | bytes, port: int | None = None) -> OSError:
    """Return the same exception, with the host and port that it is about."""
    name = os.fsdecode(host)
    return type(exc)(exc.errno, exc.strerror, name if port is None else f"{name} port {port}")

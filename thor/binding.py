"""Sockets bound to a host and port as a program names them.

Owns: which addresses a host stands for on this machine, and that their sockets have one port. Must
not know what the sockets are for: who binds says how one of them is opened.

Theory of operation: a host can stand for several addresses ("" for every interface, "localhost"
for two); each gets a socket of its own, all on one port. An IPv6 one is to take IPv6 alone
(`V6ONLY`): one that took both would report IPv4 peers as mapped addresses, which no list of
addresses expects. Where a port of the kernel's choice (0) is free for one of them and not for the
next, another one is tried. An address whose family the machine does not have is left out.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from thor import dns
from thor.types import Address, DnsResultList

#: Where to bind: the socket's family and address; the port in it says nothing.
BindAddress = tuple[int, Address]
#: Opens and binds one socket of a family. Raises: OSError
Opener = Callable[[int, Address], socket.socket]

#: Every interface.
WILDCARD: list[BindAddress] = [(socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_INET6, ("::", 0))]
#: How often a port of the kernel's choice is chosen anew.
PORT_TRIES = 16
#: Errors of an address whose family, or which itself, this machine does not have.
_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def resolve_bind_addresses(host: str | bytes | None, socktype: int) -> list[BindAddress]:
    """Where to bind for `host`; a name is looked up at once, which blocks.

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
    """What the resolver found, each place once."""
    return list(dict.fromkeys((int(row[0]), row[4]) for row in rows))


def open_all(places: list[BindAddress], port: int, opener: Opener) -> list[socket.socket]:
    """Open a socket for each of `places`, all bound to `port`.

    port: 0 is one of the kernel's choice, the same for all
    Raises: OSError, if the port is in use for example; it names the address
    """
    for _ in range(PORT_TRIES if port == 0 else 0):
        try:
            return _open_all(places, 0, opener)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
    return _open_all(places, port, opener)


def _open_all(places: list[BindAddress], port: int, opener: Opener) -> list[socket.socket]:
    opened: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in places:
            try:
                opened.append(opener(family, (address[0], port, *address[2:])))
            except OSError as exc:
                named = with_address(exc, str(address[0]), port)
                if exc.errno not in _ABSENT:
                    raise named from None
                absent = absent or named
            else:
                port = opened[0].getsockname()[1]
        if absent is not None and not opened:
            raise absent
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def with_address(exc: OSError, host: str | bytes, port: int | None = None) -> OSError:
    """The same exception, with the name of what it is with_address."""
    name = os.fsdecode(host)
    return type(exc)(exc.errno, exc.strerror, name if port is None else f"{name} port {port}")

"""Opening listening sockets.

Owns: binding, for a host and port as a program names them. Must not know loops or servers.

Theory of operation: a host can stand for several addresses ("" for every interface, "localhost"
for two); each gets a socket of its own, all on one port. An IPv6 socket takes IPv6 alone
(`V6ONLY`): one that took both would report IPv4 peers as mapped addresses, which no list of
addresses expects. Where a port of the kernel's choice (0) is free for one of them and not for the
next, another one is tried. A family that the machine does not have is left out.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from thor import dns
from thor.tcp.address import unix_path
from thor.types import Address

#: Connections that may wait to be accepted; the kernel takes the lesser of this and its own
#: `somaxconn`, which on Linux is 4,096 since 5.4.
BACKLOG = 4096
#: How often a port is chosen anew.
PORT_TRIES = 16
#: Errors of an address whose family, or which itself, this machine does not have.
_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
#: Every interface.
_EVERYWHERE: list[tuple[int, Address]] = [
    (socket.AF_INET, ("0.0.0.0", 0)),
    (socket.AF_INET6, ("::", 0)),
]


def open_listening(
    host: str | bytes | None,
    port: int | str | None,
    *,
    backlog: int | None = None,
    reuse_port: bool = False,
) -> list[socket.socket]:
    """Open the sockets to listen on; they are non-blocking.

    host: a literal address, a name (looked up at once), "" or None for every interface, or
        `unix:PATH` (then the port says nothing). A socket file that nobody listens on is replaced.
    port: a number, or its decimal digits; 0 is one of the kernel's choice, the same for all
    backlog: most connections that wait to be accepted
    reuse_port: share the port with other processes that ask for it too
    Raises: OSError, if the port is in use for example; ValueError, TypeError
    """
    path = unix_path(host)
    if path is not None:
        return [_open_unix(path, backlog)]
    number = dns.port_number(0 if port is None else port)
    places = _EVERYWHERE
    if host:
        rows = dns.lookup_now(host, number, socket.SOCK_STREAM)
        places = list(dict.fromkeys((row[0], row[4]) for row in rows))
    for _ in range(PORT_TRIES if number == 0 else 0):
        try:
            return _open_all(places, 0, backlog, reuse_port)
        except OSError as why:
            if why.errno != errno.EADDRINUSE:
                raise
    return _open_all(places, number, backlog, reuse_port)


def _open_all(
    places: list[tuple[int, Address]], port: int, backlog: int | None, reuse_port: bool
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in places:
            try:
                opened.append(_open(family, (address[0], port, *address[2:]), reuse_port))
            except OSError as why:
                if why.errno not in _ABSENT:
                    raise
                absent = why
                continue
            port = opened[0].getsockname()[1]
        if absent is not None and not opened:
            raise absent
        for sock in opened:
            sock.listen(BACKLOG if backlog is None else backlog)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def _open(family: int, address: Address, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


# -- socket files --------------------------------------------------------------------------------


def _open_unix(path: str, backlog: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.bind(path)
        except OSError as why:
            if why.errno != errno.EADDRINUSE or not _is_abandoned(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(BACKLOG if backlog is None else backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_abandoned(path: str) -> bool:
    """Whether this is the file of a socket that nobody listens on."""
    if not Path(path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def file_identity(path: str) -> tuple[int, int, int] | None:
    """Which file `path` is, and for which process; None if it is none (the abstract namespace)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, os.getpid())


def remove_file(path: str, identity: tuple[int, int, int] | None) -> None:
    """Remove a socket's file, if it is still the one: not that of a successor, nor a parent's."""
    if identity is not None and file_identity(path) == identity:
        try:
            os.unlink(path)
        except OSError:
            pass  # no longer ours to remove; whoever listens there next replaces it

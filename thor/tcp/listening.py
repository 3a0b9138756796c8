"""Opening listening sockets.

Owns: binding, for a host and port as a program names them (`socketfile.py` does it for Unix
sockets). Must not know loops or servers.

Theory of operation: a host can stand for several addresses ("" for every interface, "localhost"
for two); each gets a socket of its own, all on one port. An IPv6 socket takes IPv6 alone
(`V6ONLY`): one that took both would report IPv4 peers as mapped addresses, which no list of
addresses expects. Where a port of the kernel's choice (0) is free for one of them and not for the
next, another one is tried. A family that the machine does not have is left out.
"""

from __future__ import annotations

import errno
import socket

from thor import dns
from thor.tcp.address import unix_path
from thor.tcp.socketfile import open_unix
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
    mode: int | None = None,
) -> list[socket.socket]:
    """Open the sockets to listen on; they are non-blocking.

    host: a literal address, a name (looked up at once), "" or None for every interface, or
        `unix:PATH` or `unix:@NAME` (then the port says nothing). A socket file that nobody
        listens on is replaced.
    port: a number, or its decimal digits; 0 is one of the kernel's choice, the same for all
    backlog: most connections that wait to be accepted; None is 4,096
    reuse_port: share the port with other processes that ask for it too
    mode: the permissions of a socket file, such as 0o660; None leaves them to the umask
    Raises: OSError, if the port is in use for example; ValueError, TypeError
    """
    if backlog is None:
        backlog = BACKLOG
    path = unix_path(host)
    if path is not None:
        if reuse_port:
            raise ValueError("reuse_port is for ports: a Unix socket has none")
        return [open_unix(path, backlog, mode)]
    if mode is not None:
        raise ValueError("mode is for socket files: a port has no permissions")
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


def open_beside(sock: socket.socket, backlog: int) -> socket.socket:
    """Open another socket on the address of `sock`; both have SO_REUSEPORT, and `sock` listens.

    Raises: OSError
    """
    beside = _open(sock.family, sock.getsockname(), reuse_port=True)
    try:
        beside.listen(backlog)
    except BaseException:
        beside.close()
        raise
    return beside


def _open_all(
    places: list[tuple[int, Address]], port: int, backlog: int, reuse_port: bool
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
            sock.listen(backlog)
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

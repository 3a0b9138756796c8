"""Opening listening sockets.

Owns: the options of a listening socket, and which of them apply to which kind (`thor.binding`
resolves and binds the addresses of a host, `socketfile.py` binds a Unix socket). Must not know
loops or servers.
"""

from __future__ import annotations

import socket

from thor import binding, dns
from thor.tcp.address import unix_path
from thor.tcp.socketfile import open_unix
from thor.types import Address

#: Connections that may wait to be accepted; the kernel takes the lesser of this and its own
#: `somaxconn`, which on Linux is 4,096 since 5.4.
BACKLOG = 4096


def open_listening(
    host: str | bytes | None,
    port: int | str | None,
    *,
    backlog: int | None = None,
    reuse_port: bool = False,
    mode: int | None = None,
) -> list[socket.socket]:
    """Open non-blocking listening sockets.

    host: a literal address, a name (looked up at once), "" or None for every interface, or
        `unix:PATH` or `unix:@NAME` (then the port is ignored). A socket file that nobody
        listens on is replaced.
    port: a number, or its decimal digits; 0: the kernel chooses one, the same for all
    backlog: most connections that wait to be accepted; None is 4,096
    reuse_port: share the port with other processes that do the same
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
    if port is None:
        raise TypeError("a port is needed; 0 is one of the kernel's choice")
    number = dns.port_number(port)
    return binding.open_all(
        binding.resolve_bind_addresses(host, socket.SOCK_STREAM),
        number,
        lambda family, address: _open(family, address, backlog, reuse_port),
    )


def open_beside(sock: socket.socket, backlog: int) -> socket.socket:
    """Open another socket on the address of `sock`; both have SO_REUSEPORT, and `sock` listens.

    Raises: OSError
    """
    return _open(sock.family, sock.getsockname(), backlog, reuse_port=True)


def _open(family: int, address: Address, backlog: int, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock

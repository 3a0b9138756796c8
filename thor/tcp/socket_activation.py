"""Listening sockets that another process has opened.

Owns: the environment variables of socket activation, as systemd sets them (sd_listen_fds(3)). Must
not know loops or servers.
"""

from __future__ import annotations

import os
import socket

#: The first fd that is passed (SD_LISTEN_FDS_START).
LISTEN_FDS_START = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ListenSocket(socket.socket):
    """A socket from `listen_fds`. name: its name in the unit; "unknown" if it has none"""

    name = "unknown"


def listen_fds() -> list[ListenSocket]:
    """Return the sockets that a service manager has passed to this process, for a server's `sock=`.

    The caller owns them from now on: the environment variables are removed, so that a second call
    returns none, and programs that this one starts do not inherit the sockets.
    Returns: in the order of the unit's; an empty list where nothing was passed, or to another
        process
    Raises: ValueError for invalid variables, OSError for an fd that is not a socket
    """
    values = [os.environ.get(name) for name in _VARIABLES]
    if values[0] is None or values[1] is None or _number("LISTEN_PID", values[0]) != os.getpid():
        return []
    for variable in _VARIABLES:
        os.environ.pop(variable, None)
    count = _number("LISTEN_FDS", values[1])
    names = values[2].split(":") if values[2] else ["unknown"] * count
    if len(names) != count:
        raise ValueError(f"LISTEN_FDNAMES has {len(names)} names for {count} sockets")
    sockets: list[ListenSocket] = []
    try:
        for fd, name in enumerate(names, LISTEN_FDS_START):
            os.set_inheritable(fd, False)
            sock = ListenSocket(fileno=fd)
            sock.name = name
            sockets.append(sock)
    except OSError as exc:
        for sock in sockets:
            sock.detach()  # the caller decides what to do: nothing is closed
        raise OSError(exc.errno, f"fd {fd} of LISTEN_FDS: {exc.strerror}") from None
    return sockets


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{name} is {text!r}, which is not a number")
    return int(text)


def listen_on(sock: socket.socket, backlog: int) -> socket.socket:
    """Listen on a bound socket of another process. It may listen already.

    Raises: ValueError if it is not a stream socket, OSError
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"a server needs a stream socket, not {sock!r}")
    sock.setblocking(False)
    sock.listen(backlog)
    return sock

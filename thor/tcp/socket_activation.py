"""Sockets to listen on that another process has opened.

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
    """A socket from `listen_fds`. name: what the unit calls it; "unknown" if it does not say"""

    name = "unknown"


def listen_fds() -> list[ListenSocket]:
    """The sockets that a service manager has passed to this process, for a server's `sock=`.

    They are the caller's from now on: the variables that tell of them are removed, so that a
    second call gives none, and they are not inherited by programs that this one starts.
    Returns: in the order of the unit's; an empty list where nothing is passed, or to another
        process
    Raises: ValueError for variables that make no sense, OSError for an fd that is not a socket
    """
    said = [os.environ.get(name) for name in _VARIABLES]
    if said[0] is None or said[1] is None or _number("LISTEN_PID", said[0]) != os.getpid():
        return []
    for variable in _VARIABLES:
        os.environ.pop(variable, None)
    count = _number("LISTEN_FDS", said[1])
    names = said[2].split(":") if said[2] else ["unknown"] * count
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
            sock.detach()  # what is wrong is the caller's to judge: nothing is closed
        raise OSError(exc.errno, f"fd {fd} of LISTEN_FDS: {exc.strerror}") from None
    return sockets


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{name} is {text!r}, which is not a number")
    return int(text)


def listen_on(sock: socket.socket, backlog: int) -> socket.socket:
    """Listen on a socket that somebody else has bound. It may listen already.

    Raises: ValueError if it is no stream socket, OSError
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"a server needs a stream socket, not {sock!r}")
    sock.setblocking(False)
    sock.listen(backlog)
    return sock

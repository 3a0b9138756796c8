"""Operations on sockets that several modules need.

Owns: socket options with a meaning of their own. Must not know connections, clients or servers.
"""

from __future__ import annotations

import os
import socket as socket_module
import struct

#: Bytes of one `recv`: more is seldom available, and it is below malloc's mmap threshold.
RECV_BYTES = 64 * 1024


def reset_on_close(sock: socket_module.socket) -> None:
    """Have `close` drop what is queued and reset the connection (RST): no TIME_WAIT is left."""
    try:
        sock.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # the kernel has ended it already


def pending_error(sock: socket_module.socket) -> OSError | None:
    """Return the error that the kernel has for a socket (SO_ERROR), and clear it."""
    code = sock.getsockopt(socket_module.SOL_SOCKET, socket_module.SO_ERROR)
    return OSError(code, os.strerror(code)) if code else None


def has_unread(sock: socket_module.socket) -> bool:
    """Return whether there is something to read now: bytes, the end, an error. Read nothing."""
    try:
        sock.recv(1, socket_module.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        pass
    return True

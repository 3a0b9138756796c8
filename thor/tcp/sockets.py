"""What is done to sockets in more than one place.

Owns: socket options with a meaning of their own. Must not know connections, clients or servers.
"""

from __future__ import annotations

import socket as socket_module
import struct


def reset_on_close(sock: socket_module.socket) -> None:
    """Have `close` drop what is queued and reset the connection (RST): no TIME_WAIT is left."""
    try:
        sock.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # the kernel has ended it already


def has_unread(sock: socket_module.socket) -> bool:
    """Whether there is something to read now: bytes, the end, an error. Nothing is read."""
    try:
        sock.recv(1, socket_module.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        pass
    return True

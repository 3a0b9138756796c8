"""Idle connections, which a program keeps for later use.

Owns: the question whether such a connection is still good. Must not know what it is kept for.
"""

from __future__ import annotations

from thor.tcp.sockets import RECV_BYTES
from thor.tcp.transport import Transport


def has_ended(conn: Transport) -> bool:
    """Return whether an idle connection has ended, or has received data that nobody expects.

    What the next turn of the loop would read is read now, and bytes are dropped: the caller has to
    close the connection then. TLS records without data, such as the tickets of TLS 1.3 (RFC 8446
    section 4.6.1), are processed and end nothing.
    """
    try:
        conn.stream.recv(RECV_BYTES)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        pass
    return True

"""Bytes that were read from a connection and pushed back.

Owns: their order, and when they are delivered. Must not know why they were pushed back.

Theory of operation: a protocol that hands a connection on to another one may have read bytes that
belong to the other. They are delivered before what arrives later, so the connection is not watched
for reading until they are. Bytes can also be pushed back after the peer has finished sending: the
end is then delivered again, after them.
"""

from __future__ import annotations

from thor.tcp.state import CLOSED, ENDED
from thor.tcp.transport import Transport


def push_back(conn: Transport, data: bytes) -> None:
    """Have `data` delivered before what arrives later: see `TcpConnection.unread`."""
    if not isinstance(data, bytes):
        raise TypeError(f"what is given back is bytes, not {type(data).__name__}")
    if data and conn.read_state is not CLOSED:
        conn.pushed_back = data + conn.pushed_back
        conn.poll_reading(False)
        if not conn.read_paused:
            conn.loop.call_soon(conn.resume_reading)


def deliver_pushed_back(conn: Transport) -> None:
    """Deliver what was pushed back, and read on."""
    data, conn.pushed_back = conn.pushed_back, b""
    ended = conn.read_state is ENDED
    if not ended:
        conn.poll_reading(True)
    if data:
        conn.deliver(data)
        if ended and not conn.pushed_back:
            conn.eof_received()

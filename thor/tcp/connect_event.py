"""The `connect` event of clients and servers.

Owns: what becomes of a connection that nobody takes. Must not know where it comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor.events import EventEmitter
    from thor.tcp.connection import TcpConnection


def emit_connect(emitter: EventEmitter, conn: TcpConnection) -> None:
    """Emit `connect(conn)`; abort the connection if nobody listens, or a listener raises."""
    try:
        taken = emitter.emit("connect", conn)
    except BaseException:
        conn.abort()
        raise
    if not taken:
        conn.abort()

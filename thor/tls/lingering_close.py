"""Closing a failed connection after its peer has received the alert.

Owns: a socket from the failure of its connection until the peer has the alert. Must not know TLS.

Theory of operation: a kernel that closes a socket with unread bytes resets the connection, and a
reset can overtake the alert. So the alert is sent, then a FIN, and what the peer sends is read and
dropped until it closes too; within limits of time and bytes.
"""

from __future__ import annotations

import socket as socket_module
from typing import TYPE_CHECKING

from thor.loop import EventSource
from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.sockets import RECV_BYTES

if TYPE_CHECKING:
    from thor.loop import EventLoop

#: How long the peer has to read the alert and close, in seconds.
MAX_LINGER_S = 2.0
#: How many bytes are read and dropped meanwhile.
MAX_LINGER_BYTES = 1024 * 1024


class LingeringClose(EventSource):
    """Sends the last bytes on a socket, and closes it when the peer has closed."""

    def __init__(self, loop: EventLoop, sock: socket_module.socket, pending: bytes) -> None:
        """pending: the bytes that were not sent yet; may be empty"""
        EventSource.__init__(self, loop)
        self._socket = sock
        self._pending = pending
        self._bytes_left = MAX_LINGER_BYTES
        try:
            self.watch_fd(sock.fileno(), READABLE)
        except OSError:  # the loop can watch no more fds: the peer is not told
            loop.close_later(sock)
            return
        self._timer = loop.call_later(MAX_LINGER_S, self._end)
        self.on_ready(WRITABLE)

    def on_ready(self, bits: int) -> None:
        """Send what is pending, and drop what arrives."""
        try:
            if bits & WRITABLE:
                self._send_pending()
            if bits & ~WRITABLE:
                self._drain()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._end()

    def _send_pending(self) -> None:
        if self._pending:
            self.set_interest(READABLE | WRITABLE)
            self._pending = self._pending[self._socket.send(self._pending) :]
        if not self._pending:
            self.set_interest(READABLE)
            self._socket.shutdown(socket_module.SHUT_WR)

    def _drain(self) -> None:
        size = len(self._socket.recv(RECV_BYTES))
        self._bytes_left -= size
        if not size or self._bytes_left < 0:
            self._end()

    def _end(self) -> None:
        self._timer.delete()
        self.unregister_fd()
        self.loop.close_later(self._socket)

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped."""
        EventSource.on_loop_stopped(self)
        self._socket.close()

"""The end of a connection whose peer still has to be told why.

Owns: a socket from the moment its connection has failed, until the peer has the alert. Must not
know TLS.

Theory of operation: a kernel that closes a socket with bytes that nobody has read resets the
connection, and a reset can overtake the alert. So the alert is sent, then a FIN, and what the peer
sends is read and dropped until it closes too; within limits of time and bytes.
"""

from __future__ import annotations

import socket as socket_module
from typing import TYPE_CHECKING

from thor.loop import EventSource
from thor.loop.poller import READABLE, WRITABLE

if TYPE_CHECKING:
    from thor.loop import LoopBase

#: How long the peer has to read the alert and close, in seconds.
LINGER_S = 2.0
#: How much is read and dropped meanwhile, in bytes.
LINGER_BYTES = 1024 * 1024
#: Bytes of one `recv`.
RECV_BYTES = 64 * 1024


class Farewell(EventSource):
    """Sends last words on a socket, and closes it when they have been heard."""

    def __init__(self, loop: LoopBase, sock: socket_module.socket, words: bytes) -> None:
        """words: what has not been sent yet; may be empty"""
        EventSource.__init__(self, loop)
        self._socket = sock
        self._words = words
        self._left = LINGER_BYTES
        try:
            self._register(sock.fileno(), READABLE)
        except OSError:  # the loop can watch no more fds: the peer is not told
            loop._close_later(sock)
            return
        self._timer = loop._schedule(LINGER_S, self._end)
        self._ready(WRITABLE)

    def _ready(self, bits: int) -> None:
        try:
            if bits & WRITABLE:
                self._speak()
            if bits & ~WRITABLE:
                self._hear()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._end()

    def _speak(self) -> None:
        if self._words:
            self._set_interest(READABLE | WRITABLE)
            self._words = self._words[self._socket.send(self._words) :]
        if not self._words:
            self._set_interest(READABLE)
            self._socket.shutdown(socket_module.SHUT_WR)

    def _hear(self) -> None:
        size = len(self._socket.recv(RECV_BYTES))
        self._left -= size
        if not size or self._left < 0:
            self._end()

    def _end(self) -> None:
        self._timer.delete()
        self.unregister_fd()
        self._loop._close_later(self._socket)

    def _forgotten(self) -> None:
        EventSource._forgotten(self)
        self._socket.close()

"""Accepting.

Owns: listening sockets, and the set of the connections that came from them. Must not know what the
connections are for.

Theory of operation. Each listening socket is a source of the loop. When one is ready, connections
are accepted until there are no more, but only so many a turn, so that a storm of them does not
starve those that are there. A connection that was gone before it was accepted is passed over.

Out of descriptors or memory, accepting pauses: the listening sockets are not watched, or the loop
would spin, and connections wait in the kernel's queue. Accepting is tried again when a connection
of this server has closed, and from time to time; it has resumed when an accept did not fail.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as socket_module
from typing import TYPE_CHECKING

from thor.events import EventEmitter
from thor.loop import EventSource
from thor.loop.poller import ERROR, HANGUP, READABLE
from thor.loop.source import default_loop
from thor.tcp.address import unix_path
from thor.tcp.connection import TcpConnection, hand_over
from thor.tcp.listening import BACKLOG, file_identity, open_listening, remove_file
from thor.types import Address

if TYPE_CHECKING:
    from thor.loop import LoopBase, ScheduledEvent

log = logging.getLogger("thor.tcp")

#: Most connections that are accepted from one socket in one turn.
ACCEPT_BATCH = 64
#: How long accepting pauses before it is tried again, in seconds; nginx waits as long.
RETRY_S = 0.5
#: Errors of a connection that is gone before it was accepted: on Linux, `accept` tells the
#: network's errors of the new socket as its own (accept(2)). All other errors pause accepting.
_PASSING = {
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPROTO",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
}


class TcpServer(EventEmitter):
    """A TCP server. It listens from the moment it is made, and accepts when its loop runs.

    address: where it listens (the first of its addresses), with the port that it got; the path
        of a `unix:` server
    active_connections: how many of its connections are open

    Emits:
        start(): the loop runs, and connections can come. Once, unless it was closed before.
        connect(conn: TcpConnection): a connection was accepted; it is paused. If nobody listens,
            or a listener raises, it is aborted.
        accept_paused(errno: int): no connection can be accepted: the process is out of
            descriptors (EMFILE), say. Those that come wait.
        accept_resumed(): they can again.
        stop(): the server has stopped, once: after `close()` or `shutdown()`; after
            `graceful_shutdown()` when its last connection has closed. Not when the loop was
            stopped, which closes and forgets the server without a word.
    """

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        loop: LoopBase | None = None,
        *,
        sock: socket_module.socket | None = None,
        backlog: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """Listen on `port` of `host`.

        host: a literal address, a name (looked up at once), "" or None for every interface (IPv4
            and IPv6, on one port), or `unix:PATH`
        port: a number or its decimal digits; 0 is one of the kernel's choice
        sock: a bound stream socket to listen on instead; the server owns it from now on
        backlog: most connections that wait to be accepted; None is 4,096
        reuse_port: share the port with other processes that ask for it too
        Raises: OSError, if the port is in use for example; ValueError, TypeError
        """
        self._loop: LoopBase = loop or default_loop()
        self._connections: set[TcpConnection] = set()
        self._draining = False
        self._accept_error = 0
        self._retry: ScheduledEvent | None = None
        self._path: str | None = None
        if sock is not None:
            sockets = [_inherited(sock, backlog)]
        else:
            sockets = open_listening(host, port, backlog=backlog, reuse_port=reuse_port)
            self._path = unix_path(host)
        if self._path is not None:
            self._file = file_identity(self._path)
        self.address: Address = sockets[0].getsockname()
        self._doors: list[_Door] = []
        for each in sockets:
            self._doors.append(_Door(self, each))
        self._loop._soon(self._started)

    @property
    def active_connections(self) -> int:
        return len(self._connections)

    def __repr__(self) -> str:
        state = "listening" if self._doors else "draining" if self._draining else "closed"
        return f"<{type(self).__name__} {self.address!r} {state}>"

    def _started(self) -> None:
        """The loop runs. Connections are accepted from now on: not before `start`."""
        for door in self._doors:
            door._set_interest(READABLE)
        if self._doors:
            self.emit("start")

    # -- accepting -----------------------------------------------------------------------------

    def _accept_some(self, door: _Door) -> None:
        accept = door.socket.accept
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = accept()
            except BlockingIOError:
                break
            except OSError as why:
                if why.errno in _PASSING:
                    continue
                self._pause_accepting(why.errno or errno.EINVAL)
                return
            if self._accept_error:
                self._resume_accepting()
            self._loop._call(self._accepted, (sock, address), None)
            if not self._doors:
                return
        if self._accept_error:
            self._resume_accepting()

    def _accepted(self, sock: socket_module.socket, address: Address) -> None:
        """A connection was accepted. A subclass can put a step in here, before `_introduce`."""
        try:
            sock.setblocking(False)
            conn = TcpConnection(sock, address, self._loop)
        except BaseException:
            sock.close()
            raise
        self._adopt(conn)
        self._introduce(conn)

    def _adopt(self, conn: TcpConnection) -> None:
        """Count `conn` as one of this server's, until it has closed."""
        conn._server = self
        self._connections.add(conn)

    def _introduce(self, conn: TcpConnection) -> None:
        """Hand `conn` to the program."""
        hand_over(self, conn)

    def _gone(self, conn: TcpConnection) -> None:
        """One of the connections has closed."""
        self._connections.discard(conn)
        if self._retry is not None:
            # Its fd is closed at the end of this turn.
            self._retry.delete()
            self._retry = self._loop._schedule(0, self._try_again)
        if self._draining and not self._connections:
            self._draining = False
            self._loop._soon(self._stopped)

    # -- out of descriptors --------------------------------------------------------------------

    def _pause_accepting(self, code: int) -> None:
        if self._retry is not None:
            self._retry.delete()
        self._retry = self._loop._schedule(RETRY_S, self._try_again)
        if self._accept_error:
            return  # told already
        self._accept_error = code
        for door in self._doors:
            door._set_interest(0)
        if not self.emit("accept_paused", code):
            log.warning("%r cannot accept for the time being: %s", self, os.strerror(code))

    def _try_again(self) -> None:
        self._retry = None
        for door in list(self._doors):
            if self._accept_error and self._retry is None:
                self._accept_some(door)

    def _resume_accepting(self) -> None:
        self._accept_error = 0
        if self._retry is not None:
            self._retry.delete()
            self._retry = None
        for door in self._doors:
            door._set_interest(READABLE)
        self.emit("accept_resumed")

    # -- stopping ------------------------------------------------------------------------------

    def close(self) -> None:
        """Accept no more; `stop` follows. The connections that are open go on."""
        if self._doors:
            self._close_doors()
            self._loop._soon(self._stopped)

    def shutdown(self) -> None:
        """Accept no more, and abort the connections that are open; `stop` follows."""
        for conn in list(self._connections):
            conn.abort()
        self.close()

    def graceful_shutdown(self) -> None:
        """Accept no more; `stop` follows when the last connection has closed.

        Nothing is done to the connections: what is to be said on them only the program knows.
        `shutdown()` puts an end to the wait.
        """
        if self._doors and self._connections:
            self._close_doors()
            self._draining = True
        else:
            self.close()

    def _close_doors(self) -> None:
        doors, self._doors = self._doors, []
        for door in doors:
            door.close()
        self._end_listening()

    def _end_listening(self) -> None:
        self._accept_error = 0
        if self._retry is not None:
            self._retry.delete()
            self._retry = None
        if self._path is not None:
            remove_file(self._path, self._file)

    def _stopped(self) -> None:
        self.emit("stop")

    def _forgotten(self) -> None:
        """The loop was stopped; it has closed the connections too."""
        self._doors = []
        self._draining = False
        self._end_listening()


class _Door(EventSource):
    """One listening socket."""

    def __init__(self, server: TcpServer, sock: socket_module.socket) -> None:
        EventSource.__init__(self, server._loop)
        self.socket = sock
        self._server = server
        if sock.family in (socket_module.AF_INET, socket_module.AF_INET6):
            # Accepted sockets inherit it: one system call less for each.
            sock.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        self._register(sock.fileno(), 0)

    def _ready(self, bits: int) -> None:
        if bits & (ERROR | HANGUP):
            # Somebody else who has it has shut it down: it will never be ready again.
            log.error("a listening socket of %r has failed", self._server)
            self._server.close()
        else:
            self._server._accept_some(self)

    def close(self) -> None:
        """Listen no more."""
        self.unregister_fd()
        self._loop._close_later(self.socket)

    def _forgotten(self) -> None:
        EventSource._forgotten(self)
        self.socket.close()
        self._server._forgotten()


def _inherited(sock: socket_module.socket, backlog: int | None) -> socket_module.socket:
    """Listen on a socket that somebody else has bound. It may listen already."""
    if sock.type != socket_module.SOCK_STREAM:
        raise ValueError(f"a server needs a stream socket, not {sock!r}")
    sock.setblocking(False)
    sock.listen(BACKLOG if backlog is None else backlog)
    return sock

"""Accepting.

Owns: listening sockets, and the set of the connections that came from them. Must not know what the
connections are for, nor read them (`proxy_header_reader.py` reads their PROXY headers).

Theory of operation. Each listening socket is a source of the loop. When one is ready, connections
are accepted until there are no more, but only so many a turn, so that a storm of them does not
starve those that are there. A connection that was gone before it was accepted is passed over.

Out of descriptors, memory or fds that a loop can watch, accepting pauses: the listening sockets
are not watched, or the loop would spin, and connections wait in the kernel's queue. Accepting is
tried again when a connection of this server has closed, and from time to time; it has resumed when
an accept did not fail. It pauses already when the descriptors would not be enough for all that the
connections may need (`descriptors.py`). Then each that closes makes room for another one, and
accepting has resumed when nobody waits any more.

A graceful end accepts what waits before the listening sockets are closed: who is in the kernel's
queue is connected, for all it knows, and has mostly sent its request, and a close would reset it.
So a socket is closed the moment that `accept` says that nobody waits, not at the end of the turn.
One that another process has, too (a worker's supervisor), is treated alike: nobody can tell who
is the last to close it, and who was accepted is served in any case.

An accepted socket goes through `_accepted`, `_open`, `_emit_connect`. Between them there are steps
that take time: the PROXY header before `_open`, and TLS's handshake, which a subclass puts before
`_emit_connect`. What is in one of them is in `handshaking`, and in `_connections` already: it
counts as
active, a graceful shutdown waits for it and hands it over, all else that ends the server ends it.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as socket_module
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from thor.events import EventEmitter
from thor.loop import EventSource
from thor.loop.poller import ERROR, HANGUP, READABLE
from thor.loop.source import default_loop
from thor.tcp.address import Networks, unix_path, unmapped
from thor.tcp.connection import TcpConnection, hand_over
from thor.tcp.descriptors import has_room
from thor.tcp.listening import BACKLOG, open_listening
from thor.tcp.socket_activation import listen_on
from thor.tcp.socketfile import file_identity, remove_file
from thor.tcp.sockets import reset_on_close
from thor.types import Address

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from thor.loop import EventLoop, ScheduledEvent
    from thor.tcp.proxy_header_reader import ProxyHeaderReader
    from thor.tcp.proxy_protocol import ProxyHeader

log = logging.getLogger("thor.tcp")

C = TypeVar("C", bound=TcpConnection)

#: Most connections that are accepted from one socket in one turn.
ACCEPT_BATCH = 64
#: Hosts that are remembered, to be shared by the connections from them.
MAX_HOSTS = 1024
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
        of a `unix:` server, `bytes` for an abstract name
    active_connections: how many of its connections are open
    fds_per_connection: how many descriptors a connection may need in all, with those that the
        program opens for it, such as a connection to an upstream, or a file. Accepting pauses
        before there are too few
    proxy_header_timeout: how long the PROXY header of a connection may take, in seconds; not below
        3, the specification says, for the sake of a packet that is sent again; None or 0: no limit

    Emits:
        start(): the loop runs, and connections can come. Once, unless it was closed before.
        connect(conn: TcpConnection): a connection was accepted; it is paused. If nobody listens,
            or a listener raises, it is aborted.
        accept_paused(errno: int): no connection can be accepted: the process is out of
            descriptors, or would soon be (EMFILE), say. Those that come wait.
        accept_resumed(): they can again.
        proxy_refused(address: Address, reason: str): a connection was closed unseen, since it did
            not begin with a valid PROXY header, or its peer is not trusted. It is logged too.
        stop(): the server has stopped, once: after `close()` or `shutdown()`; after
            `graceful_shutdown()` when its last connection has closed. Not when the loop was
            stopped, which closes and forgets the server without a word.
    """

    emits = frozenset(
        ("start", "connect", "accept_paused", "accept_resumed", "proxy_refused", "stop")
    )

    fds_per_connection = 1
    proxy_header_timeout: float | None = 5.0

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        loop: EventLoop | None = None,
        *,
        sock: socket_module.socket | None = None,
        backlog: int | None = None,
        reuse_port: bool = False,
        mode: int | None = None,
        proxy_protocol: Iterable[str | IPv4Network | IPv6Network] | None = None,
    ) -> None:
        """Listen on `port` of `host`.

        host: a literal address, a name (looked up at once), "" or None for every interface (IPv4
            and IPv6, on one port), `unix:PATH`, or `unix:@NAME` for an abstract name (Linux)
        port: a number or its decimal digits; 0 is one of the kernel's choice; None where there is
            none, with `unix:` and `sock`
        sock: a bound stream socket to listen on instead; the server owns it from now on
        backlog: most connections that wait to be accepted; None is 4,096
        reuse_port: share the port with other processes that ask for it too
        mode: the permissions of a `unix:` server's file, such as 0o660; None: as the umask says
        proxy_protocol: the networks, as `ipaddress.ip_network` takes them ("unix:" for the peers
            of a Unix socket), of the proxies that connect here, each connection beginning with a
            PROXY header; any other connection is closed. None: there are no such headers
        Raises: OSError, if the port is in use for example; ValueError, TypeError
        """
        self.loop: EventLoop = loop or default_loop()
        #: In the order in which they came; as a set, which would take twice the memory.
        self._connections: dict[TcpConnection | ProxyHeaderReader, None] = {}
        self.handshaking: set[TcpConnection | ProxyHeaderReader] = set()
        self._hosts: dict[str, str] = {}
        #: Those of a loop that was stopped, whose owners have still to tell their programs.
        self.closed_by_stop: list[TcpConnection] = []
        self._draining = False
        self._accept_error = 0
        self._crowded = False  # accepting pauses for want of room
        self._retry: ScheduledEvent | None = None
        #: Called when the last listening socket was closed: for the layer above.
        self.on_listening_ended: Callable[[], Any] | None = None
        self._path: str | bytes | None = None
        self._trusted: Networks | None = None
        if proxy_protocol is not None:
            from thor.tcp.proxy_header_reader import ProxyHeaderReader  # few servers need it

            self._trusted = Networks(proxy_protocol)
            self._header_reader_class = ProxyHeaderReader
        backlog = BACKLOG if backlog is None else backlog
        self._backlog = max(backlog, 0)
        self._rest = 0  # how many more are accepted; counts in a graceful end
        if sock is not None:
            if reuse_port or mode is not None:
                raise ValueError("reuse_port and mode are for a socket that the server opens")
            sockets = [listen_on(sock, backlog)]
        else:
            sockets = open_listening(host, port, backlog=backlog, reuse_port=reuse_port, mode=mode)
            self._path = unix_path(host)
        if self._path is not None:
            self._file = file_identity(self._path)
        self.listen_sockets: list[_Listener] = []
        self._open_listeners(sockets, own=sock is None)
        self.loop.call_soon(self._started)

    def _open_listeners(self, sockets: list[socket_module.socket], own: bool) -> None:
        """Watch the listening sockets. Where that fails they are closed, if they are our `own`."""
        try:
            self.address: Address = sockets[0].getsockname()
            for each in sockets:
                self.listen_sockets.append(_Listener(self, each))
        except BaseException:
            self._close_listeners()
            self._remove_file()
            for each in sockets if own else ():
                each.close()
            raise

    @property
    def active_connections(self) -> int:
        return len(self._connections)

    def __repr__(self) -> str:
        state = "draining" if self._draining else "listening" if self.listen_sockets else "closed"
        return f"<{type(self).__name__} {self.address!r} {state}>"

    def _started(self) -> None:
        """The loop runs. Connections are accepted from now on: not before `start`."""
        for listener in self.listen_sockets:
            listener.set_interest(READABLE)
        if self.listen_sockets:
            self.emit("start")

    # -- accepting -----------------------------------------------------------------------------

    def _accept_some(self, listener: _Listener) -> None:
        accept = listener.socket.accept
        for _ in range(ACCEPT_BATCH):
            if not self._has_room(listener):
                self._await_room()
                return
            try:
                sock, address = accept()
            except BlockingIOError:
                if self._draining:
                    self._close_listener(listener)
                break
            except OSError as exc:
                if exc.errno in _PASSING:
                    self._rest -= 1
                    continue
                self._pause_accepting(exc.errno or errno.EINVAL)
                return
            if self._accept_error and not self._crowded:
                try:
                    self.loop.run_callback(self._resume_accepting)
                except BaseException:
                    sock.close()
                    raise
            self._rest -= 1
            if listener.both_families:
                address = unmapped(address)
            self.loop.run_callback(self._accepted, sock, address)
            if (self._accept_error and not self._crowded) or not self.listen_sockets:
                return
        if self._accept_error:
            self._resume_accepting()

    def _accepted(self, sock: socket_module.socket, address: Address) -> None:
        """A connection was accepted. If a PROXY header is due, that comes first."""
        sock.setblocking(False)
        if self._trusted is None:
            self._open(sock, address, None)
        elif address in self._trusted:
            self._header_reader_class(self, sock, address).begin(self.proxy_header_timeout)
        else:
            self._refuse(sock, address, "the peer is not one of the trusted proxies")

    def _refuse(self, sock: socket_module.socket, address: Address, reason: str) -> None:
        """Close a connection that does not begin as it has to."""
        reset_on_close(sock)
        self.loop.close_later(sock)
        log.info("%r refused a connection from %r: %s", self, address, reason)
        self.emit("proxy_refused", address, reason)

    def _open(
        self, sock: socket_module.socket, address: Address, header: ProxyHeader | None
    ) -> None:
        """Make the connection. A subclass can put a step in here, before `_emit_connect`.

        address: of the one that the connection is for: the client's, where a PROXY header has it
        header: the PROXY header that came before; None if none was due
        """
        conn = self._take(TcpConnection, sock, address, header)
        if conn is not None:
            self._emit_connect(conn)

    def _take(
        self,
        kind: type[C],
        sock: socket_module.socket,
        address: Address,
        header: ProxyHeader | None,
    ) -> C | None:
        """Make a connection of an accepted socket; None if it was turned away."""
        try:
            conn = kind(sock, self._shared(address), self.loop)
        except OSError as exc:
            self._reject(sock, exc)
            return None
        if header is not None:
            conn.proxy_header = header
        self._track(conn)
        return conn

    def _shared(self, address: Address) -> Address:
        """The address with its host as an earlier one had it: most clients have more connections
        than one, and an idle one is not much larger than its host's text."""
        if not isinstance(address, tuple):
            return address
        if len(self._hosts) >= MAX_HOSTS:
            self._hosts.clear()
        host = self._hosts.setdefault(address[0], address[0])
        return (host, *address[1:])

    def _reject(self, sock: socket_module.socket, exc: OSError) -> None:
        """The loop can watch no more fds: close this connection, and let the others wait."""
        self.loop.close_later(sock)
        if self.listen_sockets:
            self._pause_accepting(exc.errno or errno.EINVAL)

    def _track(self, conn: TcpConnection) -> None:
        """Count `conn` as one of this server's, until it has closed."""
        conn.server = self
        self._connections[conn] = None

    def _emit_connect(self, conn: TcpConnection) -> None:
        """Hand `conn` to the program; but if the server was closed meanwhile, it is reset."""
        if self.listen_sockets or self._draining:
            hand_over(self, conn)
        else:
            conn.abort()

    def _on_closed(self, conn: TcpConnection | ProxyHeaderReader) -> None:
        """One of the connections has closed."""
        if self._retry is not None:
            # Its fd is closed at the end of this turn.
            self._retry.delete()
            self._retry = self.loop.call_later(0, self._try_again)
        self._untrack(conn)

    def _untrack(self, conn: TcpConnection | ProxyHeaderReader) -> None:
        """It is none of the server's connections any more."""
        self._connections.pop(conn, None)
        self._stop_if_drained()

    # -- out of descriptors --------------------------------------------------------------------

    @property
    def awaits_room(self) -> bool:
        """Whether accepting pauses until a connection closes, since descriptors would run out."""
        return self._crowded

    def _has_room(self, listener: _Listener) -> bool:
        """Return whether the descriptors are enough for another connection."""
        if listener.socket.__class__ is not socket_module.socket:
            return True  # it is in memory, and so is what it accepts
        return has_room(self.loop, len(self._connections), self.fds_per_connection)

    def _await_room(self) -> None:
        """Accept no more until a connection has closed. Also at the end: room there will be."""
        self._crowded = True
        self._stop_accepting(errno.EMFILE)

    def _pause_accepting(self, code: int) -> None:
        crowded, self._crowded = self._crowded, False
        if not self._stop_accepting(code) and self._draining and not crowded:
            self._close_listeners()  # a shutdown retries once: who is not accepted yet is lost

    def _stop_accepting(self, code: int) -> bool:
        """Accept no more for now, and tell so. Returns: False if that was told before"""
        self._stop_retrying()
        self._retry = self.loop.call_later(RETRY_S, self._try_again)
        told, self._accept_error = self._accept_error, code
        if told:
            return False
        for listener in self.listen_sockets:
            listener.set_interest(0)
        if not self.emit("accept_paused", code):
            log.warning("%r cannot accept for the time being: %s", self, os.strerror(code))
        return True

    def _try_again(self) -> None:
        self._retry = None
        if self._draining:
            self._accept_rest()
            return
        for listener in list(self.listen_sockets):
            if self._accept_error and self._retry is None:
                self._accept_some(listener)

    def _stop_retrying(self) -> None:
        if self._retry is not None:
            self._retry.delete()
            self._retry = None

    def _resume_accepting(self) -> None:
        self._accept_error = 0
        self._crowded = False
        self._stop_retrying()
        for listener in self.listen_sockets:
            listener.set_interest(READABLE)
        self.emit("accept_resumed")

    # -- stopping ------------------------------------------------------------------------------

    def close(self) -> None:
        """Accept no more; `stop` follows. The connections that the program has go on."""
        if self._draining:
            self._close_listeners()  # `stop` follows as it would have
        elif self.listen_sockets:
            self._close_listeners()
            self.abort_handshaking()
            self.loop.call_soon(self._stopped)

    def shutdown(self) -> None:
        """Accept no more, and abort the connections that are open; `stop` follows."""
        for conn in list(self._connections):
            conn.abort()
        self.close()

    def graceful_shutdown(self) -> None:
        """Accept those that wait already, and no more; `stop` follows when the last connection has
        closed.

        Nothing is done to the connections: what is to be said on them only the program knows.
        Where no more can be accepted (EMFILE, say), not even on a second try, those that still wait
        are reset.
        `shutdown()` puts an end to the wait.
        """
        if self.listen_sockets and not self._draining:
            self._draining = True
            self._remove_file()  # nobody can come any more, while those that have are accepted
            # As many as can wait now: an end is not put off by those that come after it has begun.
            self._rest = (self._backlog + 1) * len(self.listen_sockets)
            self._stop_retrying()
            self.loop.call_soon(self._accept_rest)

    def _accept_rest(self) -> None:
        """Accept who waits, a batch a turn; listeners close when none waits."""
        try:
            for listener in list(self.listen_sockets):
                if (
                    self._retry is None and listener in self.listen_sockets
                ):  # which a listener may have closed
                    self._accept_some(listener)
        finally:  # an interrupt leaves the loop, which may run again
            if self._rest <= 0:
                self._close_listeners()
            elif (
                self.listen_sockets and self._retry is None
            ):  # else this goes on when it is tried again
                self.loop.call_later(0, self._accept_rest)

    def _stop_if_drained(self) -> None:
        if self._draining and not self.listen_sockets and not self._connections:
            self._draining = False
            self.loop.call_soon(self._stopped)

    def abort_handshaking(self) -> None:
        """Reset what the program has not been given yet."""
        for conn in list(self.handshaking):
            conn.abort()

    def _close_listeners(self) -> None:
        for listener in list(self.listen_sockets):
            self._close_listener(listener)

    def _close_listener(self, listener: _Listener) -> None:
        self.listen_sockets.remove(listener)
        listener.close()
        if not self.listen_sockets:
            self._end_listening()
            self._stop_if_drained()
            if self.on_listening_ended is not None:
                self.loop.call_soon(self.on_listening_ended)

    def _end_listening(self) -> None:
        self._accept_error = 0
        self._stop_retrying()
        self._remove_file()

    def _remove_file(self) -> None:
        if self._path is not None:
            remove_file(self._path, self._file)

    def _closed_by_stop(self, conn: TcpConnection) -> None:
        """The loop was stopped, and has closed `conn`."""
        self._connections.pop(conn, None)
        if conn.owner is not None:
            self.closed_by_stop.append(conn)

    def _stopped(self) -> None:
        self.emit("stop")

    def on_loop_stopped(self) -> None:
        """The loop was stopped; it has closed the connections too."""
        self.listen_sockets = []
        self._draining = False
        self.handshaking.clear()
        self._end_listening()


class _Listener(EventSource):
    """One listening socket."""

    def __init__(self, server: TcpServer, sock: socket_module.socket) -> None:
        EventSource.__init__(self, server.loop)
        self.socket = sock
        self._server = server
        #: An inherited IPv6 socket that takes IPv4 as well: no program expects mapped addresses.
        self.both_families = sock.family == socket_module.AF_INET6 and not sock.getsockopt(
            socket_module.IPPROTO_IPV6, socket_module.IPV6_V6ONLY
        )
        if sock.family in (socket_module.AF_INET, socket_module.AF_INET6):
            # Accepted sockets inherit it: one system call less for each.
            sock.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        self.watch_fd(sock.fileno(), 0)

    def on_ready(self, bits: int) -> None:
        if bits & (ERROR | HANGUP):
            # Somebody else who has it has shut it down: it will never be ready again.
            log.error("a listening socket of %r has failed", self._server)
            self._server.close()
        else:
            self._server._accept_some(self)

    def failed(self, exc: BaseException) -> None:
        """Something raised; if it is that the socket cannot be watched, try again later."""
        if isinstance(exc, OSError) and exc.errno == errno.ENOMEM and self._fd >= 0:
            self._server._pause_accepting(errno.ENOMEM)

    def close(self) -> None:
        """Listen no more."""
        self.unregister_fd()
        self.socket.close()  # at once: who comes in between is not accepted any more

    def on_loop_stopped(self) -> None:
        EventSource.on_loop_stopped(self)
        self.socket.close()
        self._server.on_loop_stopped()

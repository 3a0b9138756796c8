"""TCP servers.

Owns: the events of a server, and the set of its connections. Must not know what the connections
are for, how they are accepted (`acceptor.py`), nor how their PROXY headers are read
(`proxy_header_reader.py`).

Theory of operation. An accepted socket goes through `on_accepted`, `open_connection` and
`_emit_connect`. Between them there are steps that take time: the PROXY header before
`open_connection`, and TLS's handshake, which a subclass puts before `_emit_connect`. A connection
in one of them is in `handshaking`, and in `open_connections` already: it counts as active, a
graceful shutdown waits for it and emits it, all else that ends the server ends it.
"""

from __future__ import annotations

import errno
import logging
import socket as socket_module
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypedDict, TypeVar

from thor.cache import BoundedCache
from thor.events import EventEmitter
from thor.loop.source import default_loop
from thor.tcp.acceptor import Acceptor, Listener
from thor.tcp.address import Networks, unix_path
from thor.tcp.connect_event import emit_connect
from thor.tcp.connection import TcpConnection
from thor.tcp.descriptors import has_room
from thor.tcp.listening import BACKLOG, open_listening
from thor.tcp.socket_activation import listen_on
from thor.tcp.socketfile import SocketFile
from thor.tcp.sockets import reset_on_close
from thor.types import Address

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from thor.loop import EventLoop
    from thor.tcp.proxy_protocol import ProxyHeader
    from thor.tcp.transport import TrackedConnection

log = logging.getLogger("thor.tcp")

C = TypeVar("C", bound=TcpConnection)

#: Most host names that are shared by the connections from them.
MAX_HOSTS = 1024


class ListenSettings(TypedDict, total=False):
    """The keyword arguments of a `TcpServer`."""

    sock: socket_module.socket | None
    backlog: int | None
    reuse_port: bool
    mode: int | None
    proxy_protocol: Iterable[str | IPv4Network | IPv6Network] | None


class TcpServer(EventEmitter):
    """A TCP server. It listens from the moment it is made, and accepts when its loop runs.

    address: where it listens (the first of its addresses), with the port that it got; the path
        of a `unix:` server, `bytes` for an abstract name
    active_connections: how many of its connections are open
    fds_per_connection: how many descriptors a connection may need in all, with those that the
        program opens for it, such as a connection to an upstream, or a file. Accepting pauses
        before they run out
    proxy_header_timeout: how long the PROXY header of a connection may take, in seconds; not below
        3, the specification says, for the sake of a packet that is sent again; None or 0: no limit

    Emits:
        start(): the loop runs, and accepting begins. Once, unless it was closed before.
        connect(conn: TcpConnection): a connection was accepted; it is paused. If nobody listens,
            or a listener raises, it is aborted.
        accept_paused(errno: int): no connection can be accepted: the process is out of
            descriptors, or would soon be (EMFILE), say. Those that come wait.
        accept_resumed(): accepting has resumed.
        proxy_refused(address: Address, reason: str): a connection was closed, since it did not
            begin with a valid PROXY header, or its peer is not trusted. It is logged too.
        stop(): the server has stopped, once: after `close()` or `shutdown()`; after
            `graceful_shutdown()` when its last connection has closed. Not when the loop was
            stopped, which closes and forgets the server silently.
    """

    emits = frozenset(
        ("start", "connect", "accept_paused", "accept_resumed", "proxy_refused", "stop")
    )

    fds_per_connection = 1
    proxy_header_timeout: float | None = 5.0

    #: Called when the last listening socket was closed: for the layer above.
    on_listening_ended: Callable[[], object] | None = None
    _file: SocketFile | None = None

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
        port: a number or its decimal digits; 0: the kernel chooses one; None with `unix:` and
            `sock`
        sock: a bound stream socket to listen on instead; the server owns it from now on
        backlog: most connections that wait to be accepted; None is 4,096
        reuse_port: share the port with other processes that do the same
        mode: the permissions of a `unix:` server's file, such as 0o660; None: the umask applies
        proxy_protocol: the networks, as `ipaddress.ip_network` takes them ("unix:" for the peers
            of a Unix socket), of the proxies that connect here, each connection beginning with a
            PROXY header; any other connection is closed. None: there are no such headers
        Raises: OSError, if the port is in use for example; ValueError, TypeError
        """
        self.loop: EventLoop = loop or default_loop()
        #: In the order in which they came; as a set, which would take twice the memory.
        self.open_connections: dict[TrackedConnection, None] = {}
        #: Those that the program was not given yet.
        self.handshaking: set[TrackedConnection] = set()
        #: Those that the stop of the loop closed, whose owners have still to tell their programs.
        self.closed_by_stop: list[TcpConnection] = []
        self._hosts: BoundedCache[str, str] = BoundedCache(MAX_HOSTS)
        self._trusted = Networks(proxy_protocol) if proxy_protocol is not None else None
        self._backlog = BACKLOG if backlog is None else backlog
        self._acceptor = Acceptor(self)
        if sock is None:
            self._open_sockets(host, port, reuse_port, mode)
        elif reuse_port or mode is not None:
            raise ValueError("reuse_port and mode are for a socket that the server opens")
        else:
            self._listen([listen_on(sock, self._backlog)], close_on_failure=False)
        self.loop.call_soon(self._start)

    def _open_sockets(
        self, host: str | bytes | None, port: int | str | None, reuse_port: bool, mode: int | None
    ) -> None:
        """Listen on `port` of `host`. Raises: OSError, ValueError, TypeError"""
        sockets = open_listening(
            host, port, backlog=self._backlog, reuse_port=reuse_port, mode=mode
        )
        path = unix_path(host)
        if path is not None:
            self._file = SocketFile(path)
        self._listen(sockets, close_on_failure=True)

    def _listen(self, sockets: list[socket_module.socket], *, close_on_failure: bool) -> None:
        """Watch the listening sockets. Raises: OSError"""
        try:
            self.address: Address = sockets[0].getsockname()
            for sock in sockets:
                self._acceptor.add(sock)
        except BaseException:
            self._acceptor.close_listeners()
            self._remove_file()
            for sock in sockets if close_on_failure else ():
                sock.close()
            raise

    @property
    def listen_sockets(self) -> list[Listener]:
        """The listening sockets, as sources of the loop; empty when it accepts no more."""
        return self._acceptor.listeners

    @property
    def active_connections(self) -> int:
        """How many of its connections are open."""
        return len(self.open_connections)

    def __repr__(self) -> str:
        draining, listening = self._acceptor.draining, self._acceptor.listeners
        state = "draining" if draining else "listening" if listening else "closed"
        return f"<{type(self).__name__} {self.address!r} {state}>"

    def _start(self) -> None:
        """Begin to accept: the loop runs. No connection is accepted before `start`."""
        if self._acceptor.listeners:
            self._acceptor.start()
            self.emit("start")

    # -- connections ---------------------------------------------------------------------------

    @property
    def awaits_room(self) -> bool:
        """Whether accepting pauses until a connection closes, since descriptors would run out."""
        return self._acceptor.awaits_room

    def has_room(self) -> bool:
        """Return whether the descriptors suffice for another connection."""
        return has_room(self.loop, len(self.open_connections), self.fds_per_connection)

    def on_accepted(self, sock: socket_module.socket, address: Address) -> None:
        """Take an accepted socket. If a PROXY header is expected, that comes first."""
        sock.setblocking(False)
        if self._trusted is None:
            self.open_connection(sock, address, None)
        elif address in self._trusted:
            from thor.tcp.proxy_header_reader import ProxyHeaderReader  # few servers need it

            ProxyHeaderReader(self, sock, address).begin(self.proxy_header_timeout)
        else:
            self.refuse(sock, address, "the peer is not one of the trusted proxies")

    def refuse(self, sock: socket_module.socket, address: Address, reason: str) -> None:
        """Close a connection that does not begin with a valid PROXY header."""
        reset_on_close(sock)
        self.loop.close_later(sock)
        log.info("%r refused a connection from %r: %s", self, address, reason)
        self.emit("proxy_refused", address, reason)

    def open_connection(
        self, sock: socket_module.socket, address: Address, header: ProxyHeader | None
    ) -> None:
        """Make the connection. A subclass can put a step in here, before `_emit_connect`.

        address: of the client, as the PROXY header has it if there is one
        header: the PROXY header that came before; None if none was expected
        """
        conn = self._make_connection(TcpConnection, sock, address, header)
        if conn is not None:
            self._emit_connect(conn)

    def _make_connection(
        self,
        connection_class: type[C],
        sock: socket_module.socket,
        address: Address,
        header: ProxyHeader | None,
    ) -> C | None:
        """Make a connection of an accepted socket; None if the loop cannot watch it."""
        try:
            conn = connection_class(sock, self._share_host(address), self.loop)
        except OSError as exc:
            self.reject(sock, exc)
            return None
        if header is not None:
            conn.proxy_header = header
        self._track(conn)
        return conn

    def _share_host(self, address: Address) -> Address:
        """Return the address with its host as an earlier one had it.

        Most clients have several connections, and an idle one is not much larger than the text of
        its host.
        """
        if not isinstance(address, tuple):
            return address
        host = self._hosts.get(address[0])
        if host is None:
            host = self._hosts[address[0]] = address[0]
        return (host, *address[1:])

    def reject(self, sock: socket_module.socket, exc: OSError) -> None:
        """Close an accepted socket that the loop cannot watch, and pause accepting."""
        self.loop.close_later(sock)
        if self._acceptor.listeners:
            self._acceptor.pause(exc.errno or errno.EINVAL)

    def _track(self, conn: TcpConnection) -> None:
        """Count `conn` as one of this server's, until it has closed."""
        conn.server = self
        self.open_connections[conn] = None

    def replace_connection(self, old: TrackedConnection, new: TrackedConnection) -> None:
        """Count `new`, which has taken over the socket, in place of `old`."""
        self.open_connections.pop(old, None)
        self.open_connections[new] = None

    def _emit_connect(self, conn: TcpConnection) -> None:
        """Emit `connect`; if the server was closed meanwhile, reset the connection instead."""
        if self._acceptor.listeners or self._acceptor.draining:
            emit_connect(self, conn)
        else:
            conn.abort()

    def on_connection_closed(self, conn: TrackedConnection) -> None:
        """Count `conn` no longer: it has closed, and its descriptor is free."""
        self._acceptor.on_connection_closed()
        self.untrack(conn)

    def untrack(self, conn: TrackedConnection) -> None:
        """Count `conn` no longer."""
        self.handshaking.discard(conn)
        self.open_connections.pop(conn, None)
        self._stop_if_drained()

    def on_connection_stopped(self, conn: TrackedConnection) -> None:
        """Count `conn` no longer: its loop was stopped, and has closed it."""
        self.handshaking.discard(conn)
        self.open_connections.pop(conn, None)
        if isinstance(conn, TcpConnection) and conn.owner is not None:
            self.closed_by_stop.append(conn)

    # -- stopping ------------------------------------------------------------------------------

    def close(self) -> None:
        """Accept no more; `stop` follows. The connections that the program has go on."""
        if self._acceptor.draining:
            self._acceptor.close_listeners()  # `stop` follows as it would have
        elif self._acceptor.listeners:
            self._acceptor.close_listeners()
            self.abort_handshaking()
            self.loop.call_soon(self._stopped)

    def shutdown(self) -> None:
        """Accept no more, and abort the connections that are open; `stop` follows."""
        for conn in list(self.open_connections):
            conn.abort()
        self.close()

    def graceful_shutdown(self) -> None:
        """Accept what is in the kernel's queue, and then no more; `stop` follows the last close.

        Nothing is done to the connections: only the program knows how to end them. Where no more
        can be accepted (EMFILE, say), not even on a second try, those that still wait are reset.
        `shutdown()` ends the wait.
        """
        if self._acceptor.listeners and not self._acceptor.draining:
            self._remove_file()  # nobody can connect any more; those who have are accepted
            self._acceptor.drain(max(self._backlog, 0))

    def abort_handshaking(self) -> None:
        """Reset the connections that the program was not given yet."""
        for conn in list(self.handshaking):
            conn.abort()

    def on_listening_failed(self) -> None:
        """Close the server: a listening socket has failed."""
        self.close()

    def on_last_listener_closed(self) -> None:
        """Handle that no more connections will come."""
        self._remove_file()
        self._stop_if_drained()
        if self.on_listening_ended is not None:
            self.loop.call_soon(self.on_listening_ended)

    def _stop_if_drained(self) -> None:
        acceptor = self._acceptor
        if acceptor.draining and not acceptor.listeners and not self.open_connections:
            acceptor.draining = False
            self.loop.call_soon(self._stopped)

    def _remove_file(self) -> None:
        if self._file is not None:
            self._file.remove()

    def _stopped(self) -> None:
        self.emit("stop")

    def on_loop_stopped(self) -> None:
        """Forget the connections in a handshake: the loop was stopped, and has closed all."""
        self.handshaking.clear()
        self._remove_file()

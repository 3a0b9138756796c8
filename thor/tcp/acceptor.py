"""Accepting: the listening sockets of a server, and when they are read.

Owns: the listening sockets, the pauses of accepting, and the end of listening. Must not know what
an accepted socket is for, nor the connections of the server.

Theory of operation. Each listening socket is a source of the loop. When one is ready, connections
are accepted until there are no more, but only so many a turn, so that a burst of them does not
starve the existing ones. A connection that ended before it was accepted is skipped.

Out of descriptors, memory or fds that a loop can watch, accepting pauses: the listening sockets are
not watched, or the loop would spin, and connections wait in the kernel's queue. Accepting is tried
again when a connection of the server has closed, and at intervals; it has resumed when an accept
did not fail. It pauses before the descriptors are too few for all that the connections may need
(`descriptors.py`). Then each connection that closes makes room for another one, and accepting has
resumed when the kernel's queue is empty.

A graceful end accepts what is in the kernel's queue before the listening sockets are closed: those
clients are connected, as far as they know, and have mostly sent their request, and a close would
reset them. So a socket is closed at the moment that `accept` finds the queue empty, not at the end
of the turn. A socket that another process shares (a worker's supervisor) is treated alike: nobody
can tell which process is the last to close it, and what was accepted is served in any case.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as socket_module
from typing import TYPE_CHECKING, Protocol

from thor.loop import EventSource
from thor.loop.poller import ERROR, HANGUP, READABLE
from thor.tcp.address import unmapped
from thor.types import Address

if TYPE_CHECKING:
    from thor.loop import EventLoop, ScheduledEvent

log = logging.getLogger("thor.tcp")

#: Most connections that are accepted from one socket in one turn.
ACCEPT_BATCH = 64
#: How long accepting pauses before it is tried again, in seconds; nginx waits as long.
RETRY_S = 0.5
#: Errors of a connection that ended before it was accepted: on Linux, `accept` reports the
#: network's errors of the new socket as its own (accept(2)). All other errors pause accepting.
_TRANSIENT_ERRNOS = {
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


class AcceptingServer(Protocol):
    """The server that accepted sockets are for."""

    loop: EventLoop

    def on_accepted(self, sock: socket_module.socket, address: Address, /) -> None:
        """Take an accepted socket."""

    def has_room(self) -> bool:
        """Return whether the descriptors suffice for another connection."""

    def on_listening_failed(self) -> None:
        """Close the server: a listening socket has failed."""

    def on_last_listener_closed(self) -> None:
        """Handle that no more connections will come."""

    def on_loop_stopped(self) -> None:
        """Forget everything: the loop was stopped, and has closed the sockets."""

    def emit(self, event: str, /, *args: object) -> bool:
        """Emit `accept_paused(errno)` or `accept_resumed()`."""


class Acceptor:
    """Accepts the connections of one server.

    listeners: the listening sockets; empty when the server accepts no more
    awaits_room: whether accepting pauses until a connection closes
    draining: whether what is in the kernel's queue is accepted for the last time
    """

    def __init__(self, server: AcceptingServer) -> None:
        self.listeners: list[Listener] = []
        self.awaits_room = False
        self.draining = False
        self._server = server
        self._loop = server.loop
        self._pause_errno = 0  # why accepting pauses; 0 if it does not
        self._retry: ScheduledEvent | None = None
        self._drain_limit = 0  # how many more are accepted while draining

    def add(self, sock: socket_module.socket) -> None:
        """Add a listening socket; it is not read before `start`. Raises: OSError"""
        self.listeners.append(Listener(self, self._loop, sock))

    def start(self) -> None:
        """Begin to accept."""
        for listener in self.listeners:
            listener.set_interest(READABLE)

    # -- accepting -----------------------------------------------------------------------------

    def accept_from(self, listener: Listener) -> None:
        """Accept a batch of connections."""
        accept = listener.socket.accept
        for _ in range(ACCEPT_BATCH):
            if not listener.in_memory and not self._server.has_room():
                self._await_room()
                return
            try:
                sock, address = accept()
            except BlockingIOError:
                if self.draining:
                    self._close_listener(listener)
                break
            except OSError as exc:
                if exc.errno in _TRANSIENT_ERRNOS:
                    self._drain_limit -= 1
                    continue
                self.pause(exc.errno or errno.EINVAL)
                return
            self._on_accepted(listener, sock, address)
            if (self._pause_errno and not self.awaits_room) or not self.listeners:
                return
        if self._pause_errno:
            self._resume()

    def _on_accepted(
        self, listener: Listener, sock: socket_module.socket, address: Address
    ) -> None:
        if self._pause_errno and not self.awaits_room:
            try:
                self._loop.run_callback(self._resume)
            except BaseException:
                sock.close()
                raise
        self._drain_limit -= 1
        if listener.both_families:
            address = unmapped(address)
        self._loop.run_callback(self._server.on_accepted, sock, address)

    # -- pauses --------------------------------------------------------------------------------

    def _await_room(self) -> None:
        """Pause until a connection has closed. Also while draining: there will be room."""
        self.awaits_room = True
        self._stop_accepting(errno.EMFILE)

    def pause(self, code: int) -> None:
        """Pause: no connection can be accepted for the time being. code: an errno"""
        awaited_room, self.awaits_room = self.awaits_room, False
        if not self._stop_accepting(code) and self.draining and not awaited_room:
            self.close_listeners()  # only one retry while draining: the others are reset

    def _stop_accepting(self, code: int) -> bool:
        """Accept no more for now. Return False if that was the state already."""
        self._cancel_retry()
        self._retry = self._loop.call_later(RETRY_S, self._try_again)
        was_paused, self._pause_errno = self._pause_errno, code
        if was_paused:
            return False
        for listener in self.listeners:
            listener.set_interest(0)
        if not self._server.emit("accept_paused", code):
            log.warning("%r cannot accept for the time being: %s", self._server, os.strerror(code))
        return True

    def on_connection_closed(self) -> None:
        """Try again at the end of this turn, when the fd of the connection is closed."""
        if self._retry is not None:
            self._retry.delete()
            self._retry = self._loop.call_later(0, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self.draining:
            self._accept_queued()
            return
        for listener in list(self.listeners):
            if self._pause_errno and self._retry is None:
                self.accept_from(listener)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.delete()
            self._retry = None

    def _resume(self) -> None:
        self._pause_errno = 0
        self.awaits_room = False
        self._cancel_retry()
        self.start()
        self._server.emit("accept_resumed")

    # -- ending --------------------------------------------------------------------------------

    def drain(self, backlog: int) -> None:
        """Accept what is in the kernel's queues, and then no more.

        backlog: of each socket. No more are accepted than can wait now: clients that connect later
            do not delay the end.
        """
        self.draining = True
        self._drain_limit = (backlog + 1) * len(self.listeners)
        self._cancel_retry()
        self._loop.call_soon(self._accept_queued)

    def _accept_queued(self) -> None:
        """Accept a batch a turn; a listener closes when its queue is empty."""
        try:
            for listener in list(self.listeners):
                # A callback may have closed the listener meanwhile.
                if self._retry is None and listener in self.listeners:
                    self.accept_from(listener)
        finally:  # an interrupt leaves the loop, which may run again
            if self._drain_limit <= 0:
                self.close_listeners()
            elif self.listeners and self._retry is None:  # else the retry continues
                self._loop.call_later(0, self._accept_queued)

    def close_listeners(self) -> None:
        """Listen no more."""
        for listener in list(self.listeners):
            self._close_listener(listener)

    def _close_listener(self, listener: Listener) -> None:
        self.listeners.remove(listener)
        listener.close()
        if not self.listeners:
            self.reset()
            self._server.on_last_listener_closed()

    def on_listener_failed(self) -> None:
        """Close the server: somebody else who has a listening socket has shut it down."""
        log.error("a listening socket of %r has failed", self._server)
        self._server.on_listening_failed()

    def on_loop_stopped(self) -> None:
        """Forget the listeners: the loop was stopped, and has closed them."""
        self.listeners.clear()
        self.draining = False
        self.reset()
        self._server.on_loop_stopped()

    def reset(self) -> None:
        """Forget the pause: there is nothing to accept from any more."""
        self._pause_errno = 0
        self._cancel_retry()


class Listener(EventSource):
    """One listening socket."""

    def __init__(self, acceptor: Acceptor, loop: EventLoop, sock: socket_module.socket) -> None:
        EventSource.__init__(self, loop)
        self.socket = sock
        self._acceptor = acceptor
        #: Whether what it accepts takes no descriptors.
        self.in_memory = sock.__class__ is not socket_module.socket
        #: An inherited IPv6 socket that takes IPv4 too: programs do not expect mapped addresses.
        self.both_families = sock.family == socket_module.AF_INET6 and not sock.getsockopt(
            socket_module.IPPROTO_IPV6, socket_module.IPV6_V6ONLY
        )
        if sock.family in (socket_module.AF_INET, socket_module.AF_INET6):
            # Accepted sockets inherit it: one system call less for each.
            sock.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        self.watch_fd(sock.fileno(), 0)

    def on_ready(self, bits: int) -> None:
        """Accept connections."""
        if bits & (ERROR | HANGUP):
            self._acceptor.on_listener_failed()
        else:
            self._acceptor.accept_from(self)

    def failed(self, exc: BaseException) -> None:
        """Pause accepting if the kernel cannot watch the socket; else go on."""
        if isinstance(exc, OSError) and exc.errno == errno.ENOMEM and self._fd >= 0:
            self._acceptor.pause(errno.ENOMEM)

    def close(self) -> None:
        """Listen no more."""
        self.unregister_fd()
        self.socket.close()  # at once: connections that come now are not accepted any more

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped."""
        EventSource.on_loop_stopped(self)
        self.socket.close()
        self._acceptor.on_loop_stopped()

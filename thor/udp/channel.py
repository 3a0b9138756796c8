"""One socket of an endpoint.

Owns: the socket, and the datagrams that wait for room in the kernel. Must not know host names.

Theory of operation. *Receiving*: a readable socket is read until it is empty, but at most
`MAX_BATCH` datagrams a turn, so that a flood of them does not starve other sockets. The endpoint
may be paused between any two.

*Sending*: the kernel is called at once, since datagrams cannot be sent together. If it has no room,
they are queued, a bounded number of them, until the socket is writable.

Some facts about the errors of Linux, and what they mean for us:

- An ICMP error waits in the socket's error queue, with the destination of the datagram. The next
  call on the socket fails with it too, whatever that call does: therefore a send that fails is
  repeated if the queue had an error.
- While the queue has an error, the poller reports ERROR, whatever it is asked to watch for; so the
  queue is always emptied, even while the endpoint is paused.
- A datagram that is too large fails its send, and is in that queue too: it is reported once.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as socket_module
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from thor.binding import with_address
from thor.loop import EventSource
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE
from thor.types import Address

if TYPE_CHECKING:
    from thor.loop import EventLoop

log = logging.getLogger("thor.udp")

#: Most datagrams, or errors, that are read from one socket in one turn.
MAX_BATCH = 64
#: The buffer of a receive call: no datagram is longer, so none is truncated.
RECV_BYTES = 64 * 1024
#: How often a send is tried that fails with the errors of other datagrams.
MAX_SEND_TRIES = 4
#: The errors of a call that would block.
_BLOCKED = (BlockingIOError, InterruptedError)
#: Reads the error queue; 0 where there is none.
_ERROR_QUEUE: int = getattr(socket_module, "MSG_ERRQUEUE", 0)
#: The messages in it that are errors: IP_RECVERR and IPV6_RECVERR, which Python has no names for.
_ERROR_MESSAGES = {(socket_module.IPPROTO_IP, 11), (socket_module.IPPROTO_IPV6, 25)}
#: `ee_origin` of linux/errqueue.h: ICMP, ICMPv6.
_ICMP_ORIGINS = {2, 3}


class ChannelHost(Protocol):
    """The endpoint that a channel belongs to."""

    loop: EventLoop
    max_queued: int

    @property
    def is_bound(self) -> bool:
        """Whether it has an address of its own."""

    @property
    def is_receiving(self) -> bool:
        """Whether datagrams are received: it has started, and is not paused."""

    def emit(self, event: str, /, *args: object) -> bool:
        """Emit `datagram(data, host, port)`."""

    def count_dropped(self) -> None:
        """Count a datagram that was dropped because a queue is full."""

    def report_error(self, exc: OSError, level: int = logging.WARNING, /) -> None:
        """Emit `socket_error` after the current callback, or log it at `level`."""

    def shutdown(self) -> None:
        """Stop sending and receiving."""

    def on_loop_stopped(self) -> None:
        """Discard the channels: the loop was stopped."""


class Channel(EventSource):
    """A non-blocking socket of an endpoint; the channel owns it from now on."""

    def __init__(self, endpoint: ChannelHost, sock: socket_module.socket) -> None:
        EventSource.__init__(self, endpoint.loop)
        self.socket = sock
        self.queue: deque[tuple[bytes, Address]] = deque()
        self.sendto: Callable[[bytes, Address], int] = sock.sendto
        self.recvfrom = sock.recvfrom
        self._endpoint = endpoint
        try:
            self.watch_fd(sock.fileno(), 0)
        except BaseException:
            sock.close()
            raise
        self.update_interest()

    def update_interest(self) -> None:
        """Watch the socket for reading while datagrams are received, for writing while any wait."""
        readable = READABLE if self._endpoint.is_receiving else 0
        self.set_interest(readable | (WRITABLE if self.queue else 0))

    def close(self) -> None:
        """Drop the queue, and close the socket at the end of the turn."""
        self.queue.clear()
        self.unregister_fd()
        self.loop.close_later(self.socket)

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped."""
        EventSource.on_loop_stopped(self)
        self.socket.close()
        self._endpoint.on_loop_stopped()

    def on_ready(self, bits: int) -> None:
        """Receive, send what is queued, and report errors."""
        if bits & (ERROR | HANGUP):
            self._handle_error(bits)
        if bits & READABLE:
            self._receive()
        if bits & WRITABLE and self.queue:
            self._send_queued()

    def _receive(self) -> None:
        endpoint = self._endpoint
        recvfrom = self.recvfrom
        for _ in range(MAX_BATCH):
            if not endpoint.is_receiving:
                return
            try:
                data, address = recvfrom(RECV_BYTES)
            except _BLOCKED:
                return
            except OSError as exc:
                if not self._read_errors():
                    endpoint.report_error(exc)
                return
            if len(address) == 4 and address[3]:
                # A link-local address means nothing without its interface.
                endpoint.emit("datagram", data, f"{address[0]}%{address[3]}", address[1])
            else:
                endpoint.emit("datagram", data, address[0], address[1])

    # -- sending -------------------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> bool:
        """Send or queue a datagram. Return False if it was dropped because the queue is full."""
        if not self.queue:
            failure = self._try_send(data, address)
            if not isinstance(failure, _BLOCKED):
                return failure is None or self._report_unsent(failure, address)
        endpoint = self._endpoint
        if len(self.queue) >= endpoint.max_queued:
            endpoint.count_dropped()
            return False
        self.queue.append((data, address))
        self.update_interest()
        return True

    def _try_send(self, data: bytes, address: Address) -> OSError | None:
        """Send. Return the error of this datagram, not of an earlier one; None if it was sent."""
        failure = None
        for _ in range(MAX_SEND_TRIES):
            try:
                self.sendto(data, address)
                return None
            except OSError as exc:
                failure = exc
            if isinstance(failure, _BLOCKED) or not self._read_errors():
                break
        return failure

    def _report_unsent(self, failure: OSError, address: Address) -> bool:
        """Report or count a datagram that could not be sent. Return False if it was dropped."""
        if failure.errno == errno.ENOBUFS:
            # The queue of the interface is full, and no event reports when it is not.
            self._endpoint.count_dropped()
            return False
        self._endpoint.report_error(with_address(failure, *address[:2]))
        return True

    def _send_queued(self) -> None:
        queue = self.queue
        while queue:
            data, address = queue[0]
            failure = self._try_send(data, address)
            if isinstance(failure, _BLOCKED):
                break
            queue.popleft()
            if failure is not None:
                self._report_unsent(failure, address)
        self.update_interest()

    # -- errors --------------------------------------------------------------------------------

    def _handle_error(self, bits: int) -> None:
        """Handle an error, which the poller reports until it is cleared."""
        if bits & HANGUP:
            log.error("a socket of %r was shut down by somebody else", self._endpoint)
            self._endpoint.shutdown()
        elif not self._read_errors():
            code = self.socket.getsockopt(socket_module.SOL_SOCKET, socket_module.SO_ERROR)
            if code:
                self._endpoint.report_error(OSError(code, os.strerror(code)))

    def _read_errors(self) -> bool:
        """Report the ICMP errors of datagrams that were sent. Return whether there were any."""
        found = False
        for _ in range(MAX_BATCH if _ERROR_QUEUE else 0):
            try:
                _, ancillary, _, address = self.socket.recvmsg(0, 512, _ERROR_QUEUE)
            except OSError:  # there is nothing more
                break
            for level, kind, data in ancillary:
                if (level, kind) not in _ERROR_MESSAGES:
                    continue
                code, origin = struct.unpack_from("@IB", data)
                if origin in _ICMP_ORIGINS:
                    found = True
                    exc = with_address(OSError(code, os.strerror(code)), *address[:2])
                    # Clients of a server often go away: that is not worth a warning.
                    bound = self._endpoint.is_bound
                    self._endpoint.report_error(exc, logging.INFO if bound else logging.WARNING)
        return found

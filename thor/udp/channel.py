"""One socket of an endpoint.

Owns: the socket, and the datagrams that wait until the kernel has room. Must not know names.

Theory of operation. *Receiving*: a socket that is readable is read until it is empty, but only so
many datagrams a turn, so that a flood of them does not starve the rest. Whether the endpoint is
paused is looked at before each.

*Sending*: the kernel is called at once, since datagrams cannot leave together. Where it has no room
they queue, a bounded number of them, until the socket is writable.

Some facts with_address the errors of Linux, and what they mean for us:

- What ICMP says of a datagram waits in the socket's error queue, with the address that the
  datagram was for. It is also what the next call on the socket fails with, whatever that call is
  for: a send that fails is therefore tried again when there was something in that queue.
- While there is something in it the poller reports ERROR, asked for or not, so it is always
  emptied, paused or not.
- A datagram that is too large is in that queue too, besides the failure of its send: it is told
  once.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as socket_module
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from thor.binding import with_address
from thor.loop import EventSource
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE
from thor.types import Address

if TYPE_CHECKING:
    from thor.udp.endpoint import UdpEndpoint

log = logging.getLogger("thor.udp")

#: Most datagrams, or errors, that are taken from one socket in one turn.
BATCH = 64
#: No datagram is longer, so none is cut off.
RECV_BYTES = 64 * 1024
#: How often a send is tried while what stands in its way are the errors of others.
SEND_TRIES = 4
#: The call is to be made again, when the poller says so.
_LATER = (BlockingIOError, InterruptedError)
#: Reads the error queue; 0 where there is none.
_ERROR_QUEUE: int = getattr(socket_module, "MSG_ERRQUEUE", 0)
#: What is in it beside what a program asked the kernel to tell of each datagram: IP_RECVERR and
#: IPV6_RECVERR, which Python has no names for.
_ERRORS = {(socket_module.IPPROTO_IP, 11), (socket_module.IPPROTO_IPV6, 25)}
#: Which of the errors are ICMP's: `ee_origin` of linux/errqueue.h, for IPv4 and IPv6.
_ICMP = {2, 3}


class Channel(EventSource):
    """A non-blocking socket that `endpoint` sends and receives with; it owns it from now on."""

    def __init__(self, endpoint: UdpEndpoint, sock: socket_module.socket) -> None:
        EventSource.__init__(self, endpoint.loop)
        self.socket = sock
        self.queue: deque[tuple[bytes, Address]] = deque()
        self.sendto: Any = sock.sendto
        self._recvfrom = sock.recvfrom
        self._endpoint = endpoint
        try:
            self.watch_fd(sock.fileno(), 0)
        except BaseException:
            sock.close()
            raise
        self.watch()

    def watch(self) -> None:
        """Have the loop watch for what there is something to do with_address."""
        endpoint = self._endpoint
        readable = 0 if endpoint._paused or endpoint._starting else READABLE
        self.set_interest(readable | (WRITABLE if self.queue else 0))

    def close(self) -> None:
        """Send and receive no more."""
        self.queue.clear()
        self.unregister_fd()
        self.loop.close_later(self.socket)

    def on_loop_stopped(self) -> None:
        EventSource.on_loop_stopped(self)
        self.socket.close()
        self._endpoint.on_loop_stopped()

    def on_ready(self, bits: int) -> None:
        if bits & (ERROR | HANGUP):
            self._look_after(bits)
        if bits & READABLE:
            self._receive()
        if bits & WRITABLE and self.queue:
            self._send_queued()

    def _receive(self) -> None:
        endpoint = self._endpoint
        recvfrom = self._recvfrom
        for _ in range(BATCH):
            if endpoint._paused:
                return
            try:
                data, address = recvfrom(RECV_BYTES)
            except _LATER:
                return
            except OSError as exc:
                if not self._take_errors():
                    endpoint._fail(exc)
                return
            if len(address) == 4 and address[3]:
                # A link-local address means nothing without its interface.
                endpoint.emit("datagram", data, f"{address[0]}%{address[3]}", address[1])
            else:
                endpoint.emit("datagram", data, address[0], address[1])

    # -- sending -------------------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> bool:
        """Send, or queue. Returns: False if there was no room"""
        if not self.queue:
            failure = self._try(data, address)
            if not isinstance(failure, _LATER):
                return failure is None or self._lose(failure, address)
        endpoint = self._endpoint
        if len(self.queue) >= endpoint.max_queued:
            return endpoint._refuse()
        self.queue.append((data, address))
        self.watch()
        return True

    def _try(self, data: bytes, address: Address) -> OSError | None:
        """Send. Returns: what was wrong with this datagram, not with earlier ones"""
        failure = None
        for _ in range(SEND_TRIES):
            try:
                self.sendto(data, address)
                return None
            except OSError as exc:
                failure = exc
            if isinstance(failure, _LATER) or not self._take_errors():
                break
        return failure

    def _lose(self, failure: OSError, address: Address) -> bool:
        """A datagram could not be sent. Returns: False if it was for want of room"""
        if failure.errno == errno.ENOBUFS:
            # The network interface has none. Nothing says when it has: to wait would be to guess.
            return self._endpoint._refuse()
        self._endpoint._fail(with_address(failure, *address[:2]))
        return True

    def _send_queued(self) -> None:
        queue = self.queue
        while queue:
            data, address = queue[0]
            failure = self._try(data, address)
            if isinstance(failure, _LATER):
                break
            queue.popleft()
            if failure is not None:
                self._lose(failure, address)
        self.watch()

    # -- errors --------------------------------------------------------------------------------

    def _look_after(self, bits: int) -> None:
        """The poller reports an error, and would for ever."""
        if bits & HANGUP:
            log.error("a socket of %r was shut down by somebody else", self._endpoint)
            self._endpoint.shutdown()
        elif not self._take_errors():
            code = self.socket.getsockopt(socket_module.SOL_SOCKET, socket_module.SO_ERROR)
            if code:
                self._endpoint._fail(OSError(code, os.strerror(code)))

    def _take_errors(self) -> bool:
        """Report what the network says of datagrams that were sent. Returns: whether it did"""
        found = False
        for _ in range(BATCH if _ERROR_QUEUE else 0):
            try:
                _, ancillary, _, address = self.socket.recvmsg(0, 512, _ERROR_QUEUE)
            except OSError:  # there is nothing more
                break
            for level, kind, data in ancillary:
                if (level, kind) not in _ERRORS:
                    continue
                code, origin = struct.unpack_from("@IB", data)
                if origin in _ICMP:
                    found = True
                    exc = with_address(OSError(code, os.strerror(code)), *address[:2])
                    # Who answers others will find some of them gone: not worth a warning.
                    bound = self._endpoint.address is not None
                    self._endpoint._fail(exc, logging.INFO if bound else logging.WARNING)
        return found

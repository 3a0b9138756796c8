"""UDP endpoints, with which a program sends and receives datagrams.

Owns: an endpoint's sockets, one or more for each address family that it uses, and the datagrams
that wait for a name. Must not know what the datagrams mean.

Theory of operation. `bind` opens the sockets. An endpoint that is not bound opens one when it first
sends to an address of that family. `channel.py` has a socket's work, `sockets.py` its options.

`send` calls the kernel at once if the host is a literal address; such hosts are cached. A name is
looked up each time, off the loop's thread, which is cheap while `thor.dns` has it cached. The
datagrams that wait for a name are bounded in number, like those that wait for the kernel: the
others are dropped and counted.
"""

from __future__ import annotations

import errno
import logging
import socket as socket_module
from socket import AF_INET, SOCK_DGRAM
from typing import TYPE_CHECKING

from thor import binding, dns
from thor.binding import with_address
from thor.cache import BoundedCache
from thor.events import EventEmitter
from thor.loop.source import default_loop
from thor.types import Address, Data, DnsResultList, ErrorNumber, to_bytes
from thor.udp import sockets as udp_sockets
from thor.udp.channel import Channel

if TYPE_CHECKING:
    from thor.loop import EventLoop

log = logging.getLogger("thor.udp")

#: Most datagrams that wait for the kernel, for each socket, and most that wait for a name: 16 MiB
#: of the largest ones.
MAX_QUEUED = 256
#: Most literal addresses that are cached.
MAX_LITERAL_HOSTS = 1024


class UdpEndpoint(EventEmitter):
    """Sends and receives datagrams. It starts paused: `pause(False)` begins receiving.

    address: where it is bound (the first of its addresses), with its port; None before `bind`
    dropped: how many datagrams were not sent because a queue was full, or because of `shutdown`
    error: the exception of the last `socket_error`, None without one; its `filename` has the host
        and port

    Emits:
        start(): it is bound. Once after `bind`, unless `socket_error` says why it is not.
        datagram(data: bytes, host: str, port: int): a datagram came from `port` on `host`. Not
            while paused, nor after `shutdown()`.
        socket_error(errtype: type, error: int): a datagram could not be sent, or `bind` to a name
            failed; the endpoint goes on. `socket.gaierror` and an EAI_* code if a name was not
            found; otherwise `socket.error` and an errno: `errno.EMSGSIZE` for a datagram that is
            too large, `errno.ECONNREFUSED` for a port that nothing receives on. `str(error)`
            describes the error, with host and port.
        stop(): it has stopped, once, last: after `shutdown()`. Not when the loop was stopped, which
            closes the endpoint silently.
    """

    emits = frozenset(("start", "datagram", "socket_error", "stop"))

    #: Most datagrams that wait for the kernel, for each socket, and most that wait for a name.
    max_queued = MAX_QUEUED

    address: Address | None = None
    error: OSError | None = None

    def __init__(
        self,
        loop: EventLoop | None = None,
        *,
        broadcast: bool = False,
        reuse_address: bool = False,
        reuse_port: bool = False,
        multicast_ttl: int | None = None,
        multicast_loop: bool = True,
        multicast_interface: str | int | None = None,
    ) -> None:
        """Open nothing yet.

        broadcast: allow sending to broadcast addresses
        reuse_address: share the port with sockets that do the same: multicast and broadcast
            datagrams reach all of them, a unicast datagram reaches one
        reuse_port: share the port with other processes of the same user; the kernel distributes the
            datagrams
        multicast_ttl: how many networks multicast datagrams may cross, 0 to 255; None is one
        multicast_loop: whether members on this machine receive them too
        multicast_interface: the interface that sends them, by name or index; None is the kernel's
            choice
        Raises: ValueError; OSError if there is no such interface
        """
        if multicast_ttl is not None and not 0 <= multicast_ttl <= 255:
            raise ValueError(f"a multicast_ttl of {multicast_ttl!r}; it must be 0 to 255")
        self.loop: EventLoop = loop or default_loop()
        self._options = udp_sockets.Options(
            broadcast,
            reuse_address,
            reuse_port,
            multicast_ttl,
            multicast_loop,
            udp_sockets.interface_index(multicast_interface),
        )
        self.dropped = 0
        self._paused = True
        self._closed = False
        # Bound, but `start` was not emitted yet: datagrams wait in the kernel.
        self._starting = False
        self.epoch: int | None = None
        self._channels: list[Channel] = []
        # The channel that sends to each literal address.
        self._routes: BoundedCache[str | bytes, Channel] = BoundedCache(MAX_LITERAL_HOSTS)
        self._lookups: set[dns.Lookup] = set()
        self._binding: dns.Lookup | None = None
        self._awaiting_bind: list[tuple[bytes, str | bytes, int]] = []

    def __repr__(self) -> str:
        state = "closed" if self._closed else "paused" if self._paused else "receiving"
        return f"<{type(self).__name__} {self.address!r} {state}>"

    @property
    def is_bound(self) -> bool:
        """Whether the endpoint has an address of its own."""
        return self.address is not None

    @property
    def is_receiving(self) -> bool:
        """Whether datagrams are received: it has started, and is not paused."""
        return not (self._paused or self._starting)

    @property
    def sockets(self) -> list[socket_module.socket]:
        """Its sockets, for options that have no argument here; none before `bind` or `send`."""
        return [channel.socket for channel in self._channels]

    @property
    def max_dgram(self) -> int:
        """The largest datagram, in bytes: IPv4's limit, unless it is bound to IPv6 only.

        A large datagram is sent in fragments, and is lost if one of them is.
        """
        families = {sock.family for sock in self.sockets if self.address is not None}
        return min(udp_sockets.max_datagram_bytes(family) for family in families or {AF_INET})

    # -- binding -------------------------------------------------------------------------------

    def bind(self, host: str | bytes | None, port: int | str) -> None:
        """Receive on `port` of `host`, which is this machine; `start` follows.

        Call it before the first `send`. A literal address is bound when this returns; a datagram
        that is sent before a name is resolved waits for that.
        host: a literal address, a name, "" or None for every interface (IPv4 and IPv6, on one port)
        port: a number or its decimal digits; 0: the kernel chooses one
        Raises: OSError, if the port is in use for example; RuntimeError if the endpoint is bound,
        or has sent something, already; ValueError, TypeError
        """
        self._check_usable("bind")
        if self._channels or self._lookups or self._binding is not None:
            raise RuntimeError("bind comes once, and before anything is sent")
        number = dns.port_number(port)
        if not host or udp_sockets.is_literal(host):
            self._bind(binding.resolve_bind_addresses(host, SOCK_DGRAM), number)
        else:
            self._bind_to_name(host, number)

    def _bind(self, addresses: list[binding.BindAddress], number: int) -> None:
        def open_bound(family: int, address: Address) -> socket_module.socket:
            return udp_sockets.open_socket(family, self._options, address)

        sockets = binding.open_all(addresses, number, open_bound)
        try:
            self.address = sockets[0].getsockname()
            self._starting = True
            for sock in sockets:
                self._channels.append(Channel(self, sock))
        except BaseException:
            self.address = None
            self._starting = False
            channels, self._channels = self._channels, []
            for channel in channels:
                channel.close()
            for sock in sockets:
                sock.close()
            raise
        self.loop.call_soon(self._emit_start)

    def _bind_to_name(self, host: str | bytes, number: int) -> None:
        def on_answer(answer: dns.Answer) -> None:
            self._binding = None
            try:
                if isinstance(answer, OSError):
                    raise answer
                self._bind(binding.parse_bind_addresses(answer), number)
            except OSError as exc:
                self._drop_waiting()
                self._emit_error(with_address(exc, host, number))
            else:
                waiting, self._awaiting_bind = self._awaiting_bind, []
                for datagram in waiting:
                    self._send(*datagram)

        self._binding = dns.lookup(self.loop, host, number, SOCK_DGRAM, on_answer)

    def _emit_start(self) -> None:
        if not self._closed:
            self._starting = False
            for channel in self._channels:
                channel.update_interest()
            self.emit("start")

    # -- receiving -----------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `datagram` events. It takes effect at once.

        Meanwhile the kernel keeps the datagrams that it has room for; the others are lost.
        """
        if paused != self._paused and not self._closed:
            self._paused = paused
            for channel in self._channels:
                channel.update_interest()

    def join(self, group: str, interface: str | int | None = None) -> None:
        """Receive the datagrams to the multicast address `group` and the port that is bound.

        interface: the interface to receive on, by name or index; None is the kernel's choice
        Raises: ValueError if it is not a multicast address, RuntimeError before `bind`; OSError if
        there is no such interface, or the endpoint is bound to another family, for example
        """
        self._check_usable("join")
        self._set_membership(group, interface, joins=True)

    def leave(self, group: str, interface: str | int | None = None) -> None:
        """Undo a `join` that had the same arguments. Raises: what `join` raises"""
        self._check_usable("leave")
        self._set_membership(group, interface, joins=False)

    def _set_membership(self, group: str, interface: str | int | None, *, joins: bool) -> None:
        family = udp_sockets.group_family(group)
        index = udp_sockets.interface_index(interface)
        if self.address is None:
            raise RuntimeError("bind comes first: a group has no port of its own")
        sock = self._channel_for(family).socket
        try:
            udp_sockets.set_membership(sock, group, index, joins=joins)
        except OSError as exc:
            raise with_address(exc, group) from None

    # -- sending -------------------------------------------------------------------------------

    def send(self, datagram: Data, host: str | bytes, port: int | str) -> bool:
        """Send `datagram` to `port` on `host`. Errors of sending are emitted.

        datagram: `str` is sent as UTF-8
        host: a literal address, or a name
        Returns: False if it was dropped because a queue is full
        Raises: ValueError after `shutdown()`, and for an invalid port; TypeError
        """
        channel = self._routes.get(host)
        if channel is not None and datagram.__class__ is bytes and not channel.queue:
            try:
                channel.sendto(datagram, (host, port))
                return True
            except (OSError, OverflowError, TypeError):
                pass  # `_send` tries again, and reports the error
        return self._send(to_bytes(datagram), host, dns.port_number(port))

    def _send(self, data: bytes, host: str | bytes, number: int) -> bool:
        self._check_usable("send")
        if self._binding is not None:
            if len(self._awaiting_bind) >= self.max_queued:
                return self._drop_datagram()
            self._awaiting_bind.append((data, host, number))
            return True
        family = udp_sockets.literal_family(host)
        if family is None:
            return self._send_to_name(data, host, number)
        try:
            channel = self._channel_for(family)
        except OSError as exc:
            self.report_error(with_address(exc, host, number))
            return True
        self._routes[host] = channel
        return channel.send(data, (host, number))

    def _send_to_name(self, data: bytes, host: str | bytes, number: int) -> bool:
        if len(self._lookups) >= self.max_queued:
            return self._drop_datagram()

        def on_answer(answer: dns.Answer) -> None:
            self._lookups.discard(lookup)
            try:
                if isinstance(answer, OSError):
                    raise answer
                channel, address = self._first_reachable(answer)
            except OSError as exc:
                self._emit_error(with_address(exc, host, number))
            else:
                channel.send(data, address)

        lookup = dns.lookup(self.loop, host, number, SOCK_DGRAM, on_answer)
        self._lookups.add(lookup)
        return True

    def _first_reachable(self, rows: DnsResultList) -> tuple[Channel, Address]:
        """Return the first address that a channel can send to. Raises: OSError if there is none"""
        failure: OSError | None = None
        for family, _, _, _, address in rows:
            try:
                return self._channel_for(family), address
            except OSError as exc:
                failure = failure or exc
        assert failure is not None
        raise failure

    def _channel_for(self, family: int) -> Channel:
        """Return the channel for addresses of `family`. Raises: OSError if there can be none"""
        for channel in self._channels:
            if channel.socket.family == family:
                return channel
        if self.address is not None:
            raise OSError(errno.EAFNOSUPPORT, f"the endpoint is bound to {self.address[0]}")
        channel = Channel(self, udp_sockets.open_socket(family, self._options))
        self._channels.append(channel)
        return channel

    def count_dropped(self) -> None:
        """Count a datagram that was dropped because a queue is full."""
        self.dropped += 1

    def _drop_datagram(self) -> bool:
        self.count_dropped()
        return False

    def _drop_waiting(self) -> None:
        self.dropped += len(self._awaiting_bind)
        self._awaiting_bind.clear()

    # -- errors --------------------------------------------------------------------------------

    def report_error(self, exc: OSError, level: int = logging.WARNING) -> None:
        """Emit `socket_error` after the current callback."""
        self.loop.call_soon(self._emit_error, exc, level)

    def _emit_error(self, exc: OSError, level: int = logging.WARNING) -> None:
        self.error = exc
        is_lookup = isinstance(exc, socket_module.gaierror)
        errtype = socket_module.gaierror if is_lookup else socket_module.error
        if not self.emit("socket_error", errtype, ErrorNumber(exc.errno or errno.EINVAL, str(exc))):
            log.log(level, "%r: %s", self, exc)

    # -- ending --------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Stop sending and receiving at once; `stop` follows.

        Datagrams that still wait for a name or the kernel are dropped.
        """
        if self._closed:
            return
        self._closed = self._paused = True
        self._drop_waiting()
        self.dropped += len(self._lookups)
        for lookup in self._lookups:
            lookup.cancel()
        self._lookups.clear()
        if self._binding is not None:
            self._binding.cancel()
        channels, self._channels = self._channels, []
        for channel in channels:
            self.dropped += len(channel.queue)
            channel.close()
        self._routes.clear()
        self.loop.call_soon(self._emit_stop)

    def _emit_stop(self) -> None:
        try:
            self.emit("stop")
        finally:
            self._forget()

    def on_loop_stopped(self) -> None:
        """Discard the sockets, which the stopped loop has closed."""
        self._closed = self._paused = True
        self._channels = []
        self._routes.clear()

    def _check_usable(self, call: str) -> None:
        """Raise ValueError if it was shut down, or its loop stopped since it was first used."""
        epoch = self.loop.epoch
        if self._closed or self.epoch not in (None, epoch):
            raise ValueError(f"{call} on an endpoint that is closed")
        self.epoch = epoch

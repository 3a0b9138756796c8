"""Connecting.

Owns: the way from a host and port to one connected socket. Must not know what the connection is
for.

Theory of operation: RFC 8305, "happy eyeballs". The name is looked up off the loop's thread; the
addresses are tried in the resolver's order, IPv6 and IPv4 in turn. When an address has not answered
after 250 ms the next one is tried beside it, and at once when one fails. The first that connects
wins, the others are closed. Each `connect` is one `ConnectAttempt`, so that what is left of an
earlier one cannot affect a later one.

Between the TCP connection and the `connect` event there is one step, `_on_tcp_connected`, for
subclasses: TLS has its handshake there. A PROXY header is sent before it.

A fact about TCP: a connect to a port of this machine that nobody listens on, from which the kernel
happens to choose the very same port, connects to itself (simultaneous open, RFC 9293 section 3.5).
It would echo what is written, and keep a server from listening there: it counts as refused.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

from thor import dns
from thor.events import EventEmitter, require_callback
from thor.loop import EventSource
from thor.loop.poller import WRITABLE
from thor.loop.source import default_loop
from thor.tcp.address import plain_ip, unix_path
from thor.tcp.connect_event import emit_connect
from thor.tcp.connection import TcpConnection
from thor.tcp.sockets import pending_error, reset_on_close
from thor.types import Address, DnsResultList

if TYPE_CHECKING:
    from thor.loop import EventLoop, ScheduledEvent
    from thor.tcp.proxy_protocol import ProxyHeader

log = logging.getLogger("thor.tcp")

C = TypeVar("C", bound=TcpConnection)

#: RFC 8305 section 5, "Connection Attempt Delay", in seconds.
ATTEMPT_DELAY_S = 0.25
#: Most addresses of one name that are tried: each may hold a socket until the kernel gives up.
MAX_ADDRESSES = 32
#: What `connect` returns on a non-blocking socket that is connecting.
_IN_PROGRESS = {0, errno.EINPROGRESS, errno.EINTR}
#: Errors that say more about this host than about the remote one.
_LOCAL_ERRNOS = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

#: Where to connect to: the socket's family and address.
_Target = tuple[int, Address]


class AddressRefused(PermissionError):
    """The exception of an address that `check_ip` refused."""


class TcpClient(EventEmitter):
    """Makes TCP connections, one at a time; it can be used again and again.

    check_ip: a function that is given each IP address (`str`) before it is tried, and says
        whether it may be; IPv4-mapped and NAT64 addresses are given as the IPv4 address inside.
        An address that is refused is an attempt that failed, with EACCES, and so is a Unix socket:
        it has no address that could be checked. None: all may be.
    proxy_header: the `ProxyHeader` that each connection begins with, or a function that is asked
        for it when a connection is there. None: there is none.
    error: the exception behind the last `connect_error`, None without one; `AddressRefused` if
        `check_ip` left no address
    errors: [(address, exception)] of the attempts of the last `connect` that failed, or had not
        succeeded when the time was up

    Emits, for each `connect()` one of these, unless `cancel()` is called or the loop stopped:
        connect(conn: TcpConnection): the connection is made, and paused. If nobody listens, or
            a listener raises, it is aborted.
        connect_error(errtype: type, error: int): it failed. `socket.gaierror` and an EAI_*
            code if the name was not found; otherwise `socket.error` and an errno:
            `errno.ETIMEDOUT` when the timeout has passed.
    """

    emits = frozenset(("connect", "connect_error"))

    check_ip: Callable[[str], bool] | None = None
    proxy_header: ProxyHeader | Callable[[], ProxyHeader] | None = None
    error: OSError | None = None

    def __init__(self, loop: EventLoop | None = None) -> None:
        self.loop: EventLoop = loop or default_loop()
        self.errors: list[tuple[Address, OSError]] = []
        self._attempt: ConnectAttempt | None = None
        self._lookup: dns.Lookup | None = None
        self._timer: ScheduledEvent | None = None

    def connect(
        self, host: str | bytes, port: int | str | None, timeout: float | None = None
    ) -> None:
        """Connect to `port` on `host`; what comes of it is emitted.

        host: a name, a literal address, `unix:PATH`, or `unix:@NAME` for an abstract name (then
            the port says nothing)
        timeout: how long it may take in all, in seconds; None is as long as the kernel tries
        Raises: RuntimeError if this client is connecting already; ValueError, TypeError
        """
        self._check_free(timeout)
        attempt = ConnectAttempt(self, f"{host!r} port {port!r}")
        path = unix_path(host)
        if path is not None:
            self.loop.call_soon(attempt.start, [(socket.AF_UNIX, path)])
        elif port is None:
            raise TypeError("a port is needed")
        else:
            kind = socket.SOCK_STREAM
            self._lookup = dns.lookup(self.loop, host, port, kind, attempt.on_resolved)
        self._begin(attempt, timeout)

    def cancel(self) -> None:
        """Cancel the connection that is being made: nothing is emitted for it."""
        self._end()

    # -- the steps -----------------------------------------------------------------------------

    def _check_free(self, timeout: float | None) -> None:
        """Raise RuntimeError if this client is connecting already; ValueError, TypeError."""
        if self._attempt is not None and self._attempt.epoch == self.loop.epoch:
            raise RuntimeError("this client is connecting already")
        if self.check_ip is not None:
            require_callback(self.check_ip, "check_ip")  # a coroutine would be true: all may be
        if timeout is None:
            return
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
        if not timeout >= 0:
            raise ValueError(f"a timeout of {timeout!r} seconds")

    def _begin(self, attempt: ConnectAttempt, timeout: float | None) -> None:
        if timeout is not None:
            self._timer = self.loop.call_later(timeout, self._on_timeout)
        self.error = None
        self.errors = attempt.errors
        self._attempt = attempt

    def _send_header(self, sock: socket.socket) -> None:
        """Send the PROXY header, if there is one, on a new connection. Raises: OSError"""
        header = self.proxy_header
        if header is None:
            return
        try:
            data = (header() if callable(header) else header).to_bytes()
        except Exception as exc:
            self.loop.report_exception(self._send_header, exc)
            raise OSError(errno.EINVAL, "there is no valid PROXY header") from exc
        if sock.send(data) != len(data):  # a new connection has room for it
            raise OSError(errno.ENOBUFS, "the PROXY header could not be sent at once")

    def _on_tcp_connected(self, sock: socket.socket, address: Address) -> None:
        """Make the connection of a connected socket.

        A subclass can put a step in here. It has to end with `_succeed` or `_fail`, and to stop
        when `_end` is called; the timeout applies until then.
        """
        conn = self._make_connection(TcpConnection, sock, address)
        if conn is not None:
            self._succeed(conn)

    def _make_connection(
        self, connection_class: type[C], sock: socket.socket, address: Address
    ) -> C | None:
        """Make a connection of a connected socket; None, and a failure, if it cannot be watched."""
        try:
            return connection_class(sock, address, self.loop)
        except OSError as exc:
            self.loop.close_later(sock)
            self._fail(exc)
            return None

    def _succeed(self, conn: TcpConnection) -> None:
        self._end()
        emit_connect(self, conn)

    def _fail(self, exc: OSError) -> None:
        where = self._attempt.name if self._attempt is not None else ""
        self._end()
        self.error = exc
        if not self.emit("connect_error", *self._error_args(exc)):
            log.warning("no connection to %s: %s%s", where, exc, describe_attempts(self.errors))

    def _error_args(self, exc: OSError) -> tuple[type[Exception], int | str | None]:
        """Return the arguments of `connect_error`."""
        if isinstance(exc, socket.gaierror):
            return socket.gaierror, exc.errno
        return socket.error, exc.errno or errno.EINVAL

    def _on_timeout(self) -> None:
        exc = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if self._attempt is not None:
            self._attempt.time_out(exc)
        self._fail(exc)

    def _end(self) -> None:
        """Stop everything that is under way for the present `connect`."""
        if self._lookup is not None:
            self._lookup.cancel()
        if self._timer is not None:
            self._timer.delete()
        if self._attempt is not None:
            self._attempt.stop()
        self._lookup = self._timer = self._attempt = None


class ConnectAttempt:
    """One `connect`: the attempts at its addresses."""

    def __init__(self, client: TcpClient, name: str) -> None:
        self.name = name
        self.epoch = client.loop.epoch
        self.errors: list[tuple[Address, OSError]] = []
        self._client = client
        self.loop = client.loop
        self._targets: deque[_Target] = deque()
        self._attempts: list[_AddressAttempt] = []
        self._timer: ScheduledEvent | None = None
        self._is_over = False

    def on_resolved(self, answer: dns.Answer) -> None:
        """Try the addresses that the resolver has found."""
        if isinstance(answer, OSError):
            self._client._fail(answer)
        else:
            self.start(interleave(answer)[:MAX_ADDRESSES])

    def start(self, targets: list[_Target]) -> None:
        """Try these addresses, in order."""
        if not self._is_over:
            self._targets.extend(targets)
            self._next()

    def _next(self) -> None:
        """Try the next address that is allowed."""
        self._timer = None
        while self._targets:
            target = self._targets.popleft()
            try:
                self._check(target[1])
                if not self._is_over:
                    self._attempts.append(_AddressAttempt(self, self.loop, *target))
            except OSError as exc:
                self.errors.append((target[1], exc))
                continue
            if self._targets:
                self._timer = self.loop.call_later(ATTEMPT_DELAY_S, self._next)
            return
        if not self._attempts and not self._is_over:
            self._client._fail(pick_error([exc for _, exc in self.errors]))

    def _check(self, address: Address) -> None:
        check = self._client.check_ip
        if check is None:
            return
        if not isinstance(address, tuple):
            text = "a Unix socket has no address that could be checked"
            raise AddressRefused(errno.EACCES, text, os.fsdecode(address))
        ip = plain_ip(str(address[0]))
        try:
            allowed = check(ip)
        except Exception as exc:
            self.loop.report_exception(check, exc)
            allowed = False
        if not allowed:
            raise AddressRefused(errno.EACCES, "refused by check_ip", ip)

    def on_connected(self, attempt: _AddressAttempt) -> None:
        """Use the connection of an attempt, and stop the others."""
        try:
            attempt.check_peer()
            self._client._send_header(attempt.socket)
        except OSError as exc:
            self.on_failed(attempt, exc)
            return
        if self._is_over:  # cancelled by the function that makes the header
            return
        self._attempts.remove(attempt)
        self.stop()
        self._client._on_tcp_connected(attempt.socket, attempt.address)

    def on_failed(self, attempt: _AddressAttempt, exc: OSError) -> None:
        """Try the next address at once: an attempt has failed."""
        if self._is_over:
            return
        self._attempts.remove(attempt)
        attempt.close()
        self.errors.append((attempt.address, exc))
        if self._timer is not None:
            self._timer.delete()
        self._next()

    def time_out(self, exc: OSError) -> None:
        """Record the attempts that are under way as failed: the time is up."""
        self.errors.extend((attempt.address, exc) for attempt in self._attempts)

    def stop(self) -> None:
        """Try no more, and close the sockets of the attempts."""
        self._is_over = True
        self._targets.clear()
        if self._timer is not None:
            self._timer.delete()
        for attempt in self._attempts:
            attempt.close()
        self._attempts.clear()


class _AddressAttempt(EventSource):
    """The attempt to connect to one address."""

    def __init__(
        self, connect_attempt: ConnectAttempt, loop: EventLoop, family: int, address: Address
    ) -> None:
        """Begin to connect. Raises: OSError if that has failed already"""
        EventSource.__init__(self, loop)
        self.address = address
        self._connect_attempt = connect_attempt
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            if family != socket.AF_UNIX:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = _begin_to_connect(self.socket, address)
            if code not in _IN_PROGRESS:
                raise OSError(code, os.strerror(code))
            self.watch_fd(self.socket.fileno(), WRITABLE)
        except BaseException:
            self.socket.close()
            raise

    def on_ready(self, bits: int) -> None:
        """Handle that the kernel has connected, or failed to."""
        exc = pending_error(self.socket)
        self.unregister_fd()
        if exc is not None:
            self._connect_attempt.on_failed(self, exc)
        else:
            self._connect_attempt.on_connected(self)

    def check_peer(self) -> None:
        """Raise OSError if the socket is connected to itself."""
        sock = self.socket
        if sock.family == socket.AF_UNIX:
            return
        own = sock.getsockname()
        if own[1] == self.address[1] and own == sock.getpeername():
            reset_on_close(sock)  # or TIME_WAIT would hold the port
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    def close(self) -> None:
        """Close the socket."""
        self.unregister_fd()
        self.loop.close_later(self.socket)

    def on_loop_stopped(self) -> None:
        EventSource.on_loop_stopped(self)
        self.socket.close()


def _begin_to_connect(sock: socket.socket, address: Address) -> int:
    """Return an errno, as `connect_ex` does, also where that raises."""
    try:
        return sock.connect_ex(address)
    except OSError as exc:  # Python says itself, and without an errno, that a path is too long
        return exc.errno or errno.ENAMETOOLONG


def interleave(rows: DnsResultList) -> list[_Target]:
    """Return the addresses in the order in which to try them (RFC 8305 section 4).

    rows: of `getaddrinfo`, sorted by the resolver (RFC 6724)
    Returns: [(family, address)], families in turn, beginning with the first row's; each once
    """
    targets: list[_Target] = [(row[0], row[4]) for row in rows]
    first = [target for target in targets if target[0] == targets[0][0]]
    others = [target for target in targets if target[0] != targets[0][0]]
    turns = zip_longest(first, others)
    return list(dict.fromkeys(target for turn in turns for target in turn if target is not None))


def pick_error(errors: list[OSError]) -> OSError:
    """Return the error to report: that of a host, rather than that there is no route to another.

    errors: of all attempts, in order
    Returns: the first of the most specific ones
    """
    return min(errors, key=_rank)


def _rank(exc: OSError) -> int:
    if isinstance(exc, AddressRefused):
        return 2
    return 1 if exc.errno in _LOCAL_ERRNOS else 0


def describe_attempts(errors: list[tuple[Address, OSError]]) -> str:
    """Return a text about the failed attempts, to follow the error; "" if there was only one."""
    if len(errors) < 2:
        return ""
    return f" ({'; '.join(f'{address[0]}: {exc.strerror}' for address, exc in errors)})"

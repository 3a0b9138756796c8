"""One handshake.

Owns: the way of a connection from its first byte to its first data, and how long it may take. Must
not know contexts, nor who waits for the connection.

Theory of operation: each time the socket is ready, what is there is read, once; OpenSSL is asked to
go on; what it has written is sent. It is over when it says so and its last byte has left, or when
something fails; then `done(conn, exc)` is called, once, unless the connection was aborted or the
loop stopped before. Who gives up a handshake cancels it, and then aborts its connection.

A server's handshake begins with the client's first byte: until then a connection costs next to
nothing. Whoever limits how many there are at a time is asked then (`on_first_byte`).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.connection import RECV_BYTES
from thor.tls.client_hello import ServerNameCheck
from thor.tls.errors import handshake_eof_error, not_ascii, reason_of

if TYPE_CHECKING:
    from thor.loop import ScheduledEvent
    from thor.tls.connection import TlsConnection

#: How long a handshake may take, in seconds, where nothing else is said. HAProxy's examples and
#: Apache (mod_reqtimeout) have 5 to 10; a packet that is sent again twice takes 3.
HANDSHAKE_TIMEOUT_S = 10.0

#: The record of a fatal alert, illegal_parameter (RFC 8446 section 6.2).
ILLEGAL_PARAMETER = b"\x15\x03\x03\x00\x02\x02\x2f"

#: Makes OpenSSL's object for the buffers that it reads and writes.
Make = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]
#: Told what comes of it: the connection, and why it failed, if it did.
Done = Callable[["TlsConnection", OSError | None], None]


class Handshake:
    """The handshake of `conn`; it answers for the connection's readiness meanwhile."""

    def __init__(
        self,
        conn: TlsConnection,
        make: Make,
        timeout_s: float | None,
        done: Done,
        on_first_byte: Callable[[Handshake], None] | None = None,
        aborted: Callable[[OSError], None] | None = None,
    ) -> None:
        """timeout_s: None or 0 is no limit.

        aborted: told, later, if somebody else aborts the connection meanwhile
        on_first_byte: called when the client's first byte is there; it calls `start` or `hold`.
            None: this side is the client, and begins
        """
        self.conn = conn
        self._make = make
        self._timeout_s = timeout_s
        self._done = done
        self._on_first_byte = on_first_byte
        self._aborted = aborted
        self._started = False
        self._reads = False  # whether it begins with a read: the server's does
        self._over = False
        self._names: ServerNameCheck | None = None  # a server's alone
        self._timer: ScheduledEvent | None = None

    def begin(self, at_once: bool = True) -> None:
        """Begin, or wait for the client to begin. at_once: False waits until `start` is called"""
        conn = self.conn
        conn._handshake = self
        if self._timeout_s:
            self._timer = conn.loop.call_later(self._timeout_s, self._late)
        if self._on_first_byte is not None:
            conn.set_interest(READABLE)
        elif at_once:
            self.start()

    def start(self) -> None:
        """Begin, after `hold` too."""
        self._started = True
        try:
            self._reads = self.conn._wrap(self._make).server_side
            self._names = ServerNameCheck() if self._reads else None
        except (ssl.SSLError, ValueError, TypeError) as exc:
            self.fail(ssl.SSLError(ssl.SSL_ERROR_SSL, reason_of(exc)))
            return
        self._step()

    def hold(self) -> None:
        """Wait until `start` is called."""
        self.conn.set_interest(0)

    def ready(self, bits: int) -> None:
        """The connection's socket is ready."""
        if self._started:
            self._step()
        elif self._on_first_byte is not None and bits & self.conn._interest:
            self._on_first_byte(self)
        else:
            self.fail(ConnectionResetError(errno.ECONNRESET, "the peer is gone"))

    def _step(self) -> None:
        below = self.conn._below
        try:
            wanted = self._advance()
            while wanted == READABLE and below is not None and below._more:
                wanted = self._advance()  # it has read what no poller tells of
        except OSError as exc:
            self.fail(exc)
            return
        if wanted:
            self.conn.set_interest(wanted)
        else:
            self._succeed()

    def _advance(self) -> int:
        """Do what can be done now. Returns: what to wait for; 0 if it is done. Raises: OSError"""
        conn = self.conn
        assert conn._object is not None
        if not conn._rest:  # else what was written last has still to leave
            if self._reads:
                try:
                    raw = conn._raw_recv(RECV_BYTES)
                except (BlockingIOError, InterruptedError):
                    return READABLE
                if not raw:
                    raise handshake_eof_error()
                if self._names is not None and not self._names.feed(raw):
                    conn._outgoing.write(ILLEGAL_PARAMETER)
                    raise not_ascii()
                conn._feed(raw)
            self._reads = True
            try:
                conn._object.do_handshake()
                self._over = True
            except ssl.SSLWantReadError:
                pass
        if not conn._push() and not (self._over and self._only_tickets()):
            return WRITABLE
        return 0 if self._over else READABLE

    def _only_tickets(self) -> bool:
        """Whether what is left to send can wait for the first data: no peer waits for tickets."""
        secure = self.conn._object
        assert secure is not None
        return secure.server_side and secure.version() == "TLSv1.3"

    def _succeed(self) -> None:
        conn = self.conn
        self.cancel()
        conn.set_interest(0)
        conn._more = conn._incoming.pending > 0  # data that came along
        if conn._keep is not None and conn.tls_version != "TLSv1.3":
            conn._keep_session(*conn._keep)
        self._done(conn, None)

    def fail(self, exc: OSError) -> None:
        """Close the connection; but the peer gets the alert first, if OpenSSL has written one."""
        conn = self.conn
        if conn._handshake is not self:
            return
        self.cancel()
        if conn._keep is not None:
            sessions, key = conn._keep
            sessions.drop(key)
        if conn._object is not None and conn._outgoing.pending:
            conn._alert = isinstance(exc, ssl.SSLError)
            try:
                conn._push()
            except OSError:
                conn._alert = False
        try:
            conn._on_connection_lost(exc)
        finally:
            self._done(conn, exc)

    def _late(self) -> None:
        limit = f"the TLS handshake took more than {self._timeout_s:g} s"
        self.fail(TimeoutError(errno.ETIMEDOUT, limit))

    def abandoned(self) -> None:
        """Somebody has aborted the connection."""
        self.cancel()
        if self._aborted is not None:
            exc = ConnectionAbortedError(errno.ECONNABORTED, "aborted during the TLS handshake")
            self.conn.loop.call_soon(self._aborted, exc)

    def cancel(self) -> None:
        """Be over: the connection goes on without."""
        self.conn._handshake = None
        self._names = None  # what it keeps may be large, and an error's traceback may keep us
        if self._timer is not None:
            self._timer.delete()
            self._timer = None

"""One handshake.

Owns: a connection from its first byte to its first data, and how long that may take. Must not know
contexts, nor who waits for the connection.

Theory of operation: each time the socket is ready, what is there is read, once; OpenSSL continues;
what it has written is sent. The handshake is done when OpenSSL says so and its last byte was sent,
or when something fails; then `done(conn, exc)` is called, once, unless the connection was aborted
or the loop stopped before. To give up a handshake, cancel it, and then abort its connection.

A server's handshake begins with the client's first byte: until then a connection costs almost
nothing. Whoever limits the number of handshakes is asked then (`on_first_byte`).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.sockets import RECV_BYTES
from thor.tls.client_hello import ServerNameCheck
from thor.tls.connection import TlsConnection
from thor.tls.errors import handshake_eof_error, non_ascii_name_error, reason_of
from thor.tls.stream import MakeObject

if TYPE_CHECKING:
    from thor.loop import ScheduledEvent

#: How long a handshake may take by default, in seconds. HAProxy's examples and Apache
#: (mod_reqtimeout) have 5 to 10; a packet that is sent again twice takes 3.
HANDSHAKE_TIMEOUT_S = 10.0

#: The record of a fatal alert, illegal_parameter (RFC 8446 section 6.2).
ILLEGAL_PARAMETER = b"\x15\x03\x03\x00\x02\x02\x2f"

#: Called with the connection, and with why the handshake failed, if it did.
Done = Callable[[TlsConnection, OSError | None], None]


class Handshake:
    """The handshake of `conn`, which passes its readiness to it meanwhile."""

    def __init__(
        self,
        conn: TlsConnection,
        make: MakeObject,
        timeout_s: float | None,
        done: Done,
        on_first_byte: Callable[[Handshake], None] | None = None,
        on_aborted: Callable[[OSError], None] | None = None,
    ) -> None:
        """timeout_s: None or 0 is no limit.

        on_first_byte: called when the client's first byte is there; it calls `start` or `hold`.
            None: this side is the client, and begins
        on_aborted: called later, if somebody else aborts the connection meanwhile
        """
        self.conn = conn
        self._make = make
        self._timeout_s = timeout_s
        self._done = done
        self._on_first_byte = on_first_byte
        self._on_aborted = on_aborted
        self._started = False
        self._held = False
        self._reads_first = False  # in the next step; a server does from the beginning
        self._complete = False
        self._names: ServerNameCheck | None = None  # a server's alone
        self._timer: ScheduledEvent | None = None

    def begin(self, at_once: bool = True) -> None:
        """Begin, or wait for the client to begin. at_once: False waits until `start` is called"""
        conn = self.conn
        conn.handshake = self
        if self._timeout_s:
            self._timer = conn.loop.call_later(self._timeout_s, self._on_timeout)
        if self._on_first_byte is not None:
            conn.set_interest(READABLE)
        elif at_once:
            self.start()

    def start(self) -> None:
        """Begin, after `hold` too."""
        self._started = True
        try:
            self._reads_first = self.conn.tls.start(self._make).server_side
            self._names = ServerNameCheck() if self._reads_first else None
        except (ssl.SSLError, ValueError, TypeError) as exc:
            self.fail(ssl.SSLError(ssl.SSL_ERROR_SSL, reason_of(exc)))
            return
        self._step()

    def hold(self) -> None:
        """Wait until `start` is called."""
        self._held = True
        self.conn.set_interest(0)

    def is_pending(self) -> bool:
        """Return whether the handshake was neither completed nor cancelled."""
        return self.conn.handshake is self

    def on_ready(self, bits: int) -> None:
        """Handle what the poller reports about the connection's socket."""
        if self._started:
            self._step()
        elif self._on_first_byte is not None and bits & READABLE and not self._held:
            self._on_first_byte(self)
        else:
            self.fail(ConnectionResetError(errno.ECONNRESET, "the peer is gone"))

    def _step(self) -> None:
        lower = self.conn.tls.lower_tls
        try:
            wanted = self._advance()
            while wanted == READABLE and lower is not None and lower.has_buffered:
                wanted = self._advance()  # the poller does not report what is buffered below
        except OSError as exc:
            self.fail(exc)
            return
        if wanted:
            self.conn.set_interest(wanted)
        else:
            self._succeed()

    def _advance(self) -> int:
        """Do what can be done now. Return what to wait for; 0 if it is done. Raises: OSError"""
        tls = self.conn.tls
        assert tls.ssl_object is not None
        if not tls.unsent:  # else what was written last has to be sent first
            if self._reads_first:
                try:
                    encrypted = tls.lower.recv(RECV_BYTES)
                except (BlockingIOError, InterruptedError):
                    return READABLE
                if not encrypted:
                    raise handshake_eof_error()
                if self._names is not None and not self._names.feed(encrypted):
                    tls.outgoing.write(ILLEGAL_PARAMETER)
                    raise non_ascii_name_error()
                tls.feed(encrypted)
            self._reads_first = True
            try:
                tls.ssl_object.do_handshake()
                self._complete = True
            except ssl.SSLWantReadError:
                pass
        if not tls.flush() and not (self._complete and self._only_tickets_left()):
            return WRITABLE
        return 0 if self._complete else READABLE

    def _only_tickets_left(self) -> bool:
        """Return whether what is unsent can wait for the first data: no peer waits for tickets."""
        ssl_object = self.conn.tls.ssl_object
        assert ssl_object is not None
        return ssl_object.server_side and ssl_object.version() == "TLSv1.3"

    def _succeed(self) -> None:
        conn, tls = self.conn, self.conn.tls
        self.cancel()
        conn.set_interest(0)
        tls.has_buffered = tls.incoming.pending > 0  # data that came along
        if conn.tls_version != "TLSv1.3":
            tls.store_session()
        self._done(conn, None)

    def fail(self, exc: OSError) -> None:
        """Close the connection, after the alert to the peer if OpenSSL has written one."""
        conn, tls = self.conn, self.conn.tls
        if not self.is_pending():
            return
        self.cancel()
        if tls.session_entry is not None:
            tls.session_entry.drop()
        if tls.ssl_object is not None and tls.outgoing.pending:
            tls.has_alert = isinstance(exc, ssl.SSLError)
            try:
                tls.flush()
            except OSError:
                tls.has_alert = False
        try:
            conn.connection_lost(exc)
        finally:
            self._done(conn, exc)

    def _on_timeout(self) -> None:
        text = f"the TLS handshake took more than {self._timeout_s:g} s"
        self.fail(TimeoutError(errno.ETIMEDOUT, text))

    def on_abort(self) -> None:
        """Handle that somebody has aborted the connection."""
        self.cancel()
        if self._on_aborted is not None:
            exc = ConnectionAbortedError(errno.ECONNABORTED, "aborted during the TLS handshake")
            self.conn.loop.call_soon(self._on_aborted, exc)

    def cancel(self) -> None:
        """End the handshake: the connection goes on without it."""
        self.conn.handshake = None
        self._names = None  # it may be large, and an error's traceback may keep this object
        if self._timer is not None:
            self._timer.delete()
            self._timer = None

"""One TLS connection.

Owns: the events of an encrypted connection, either side of it. Must not know certificates,
contexts, how bytes are encrypted (`stream.py`), or how it is connected.

Theory of operation. A `TlsConnection` is a `TcpConnection` whose stream is a `TlsStream`: the
states, the queue and its marks hold for plain bytes. What differs is that something can be ready
which no poller reports (`has_unpolled`), that close_notify precedes the FIN, and that an error may
come with an alert for the peer.

OpenSSL may have to read before it can write (a renegotiation, which only a context of the
program's own allows). Then the connection reads although it is paused, and pushes what comes back:
waiting for the socket to be writable would spin, and waiting for the program could be for ever.
"""

from __future__ import annotations

import errno
import socket as socket_module
from typing import Protocol

from thor.loop import EventLoop
from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.connection import TcpConnection
from thor.tcp.sockets import RECV_BYTES
from thor.tcp.state import CLOSED, OPEN
from thor.tls.errors import flooded_error, put_in_words, truncated_error
from thor.tls.lingering_close import LingeringClose
from thor.tls.stream import TlsStream
from thor.types import Address


class ActiveHandshake(Protocol):
    """The handshake of a connection, while it is under way."""

    def on_ready(self, bits: int, /) -> None:
        """Handle what the poller reports about the connection's socket."""

    def on_abort(self) -> None:
        """Handle that the connection was aborted."""

    def fail(self, exc: OSError, /) -> None:
        """Close the connection: the handshake has failed."""


class TlsConnection(TcpConnection):
    """A TLS connection: a `TcpConnection`, with the results of the handshake.

    `write`, `pause`, `close` and all else count and mean plain bytes. `end_writing()` sends
    close_notify, and so does `close()`. `abort()` does not.

    server_name: the name that the client asked for (SNI); at a server, with a context made by
        `server_context` alone. None without one
    error: the exception that ended the connection: `ssl.SSLEOFError` if it was truncated,
        `ssl.SSLError` for a bad record or an alert, `OSError` of the network; else None. Its text
        says what happened

    Emits:
        what a TcpConnection emits; `end` only when the peer said that it has finished (its
            close_notify). Without it, there is only `close`: something may be missing.
    """

    server_name: str | None = None
    error: OSError | None = None

    is_encrypted = True

    def __init__(
        self,
        sock: socket_module.socket,
        address: Address,
        loop: EventLoop | None = None,
        lower: TlsStream | None = None,
    ) -> None:
        """sock: connected and non-blocking; the connection owns it from now on.

        lower: what this one is sent through, for TLS inside TLS; its socket is `sock`
        """
        self.tls = TlsStream(sock if lower is None else lower)
        self.handshake: ActiveHandshake | None = None
        TcpConnection.__init__(self, sock, address, loop)
        self.stream = self.tls

    # -- results of the handshake --------------------------------------------------------------

    @property
    def alpn(self) -> str | None:
        """The protocol that was negotiated (RFC 7301); None without one."""
        ssl_object = self.tls.ssl_object
        return ssl_object.selected_alpn_protocol() if ssl_object is not None else None

    @property
    def tls_version(self) -> str | None:
        """`"TLSv1.3"` or `"TLSv1.2"`."""
        ssl_object = self.tls.ssl_object
        return ssl_object.version() if ssl_object is not None else None

    @property
    def cipher(self) -> str | None:
        """The cipher suite, as OpenSSL names it."""
        ssl_object = self.tls.ssl_object
        suite = ssl_object.cipher() if ssl_object is not None else None
        return suite[0] if suite is not None else None

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        ssl_object = self.tls.ssl_object
        return ssl_object is not None and bool(ssl_object.session_reused)

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER); None if it sent none. Verified if the context says so."""
        ssl_object = self.tls.ssl_object
        return ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None

    @property
    def verified_chain(self) -> list[bytes] | None:
        """The peer's certificates (DER), its own first, up to a trusted one.

        None where Python does not have them (before 3.13), or nothing was verified.
        """
        get_verified_chain = getattr(self.tls.ssl_object, "get_verified_chain", None)
        if get_verified_chain is None:
            return None
        chain: list[bytes] = get_verified_chain()
        return chain or None

    # -- reading -------------------------------------------------------------------------------

    def on_ready(self, bits: int) -> None:
        """Handle what the poller reports. Called by the loop."""
        if self.handshake is not None:
            self.handshake.on_ready(bits)
        elif self.tls.needs_read:
            self._read_before_write()
        else:
            TcpConnection.on_ready(self, bits)
            if self.tls.has_buffered or self.tls.lower_tls is not None:
                self._read_unpolled()

    def _read_unpolled(self) -> None:
        """Read what the poller does not report."""
        while self.tls.has_unpolled() and self._interest & READABLE:
            TcpConnection.on_ready(self, READABLE)

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `data` events. It holds at once, in any listener."""
        TcpConnection.pause(self, paused)
        if not paused and (self.tls.has_buffered or self.tls.lower_tls is not None):
            self.loop.call_soon(self._read_unpolled)

    def resume_reading(self) -> None:
        """Deliver what was pushed back, then read on, unless reading was paused meanwhile."""
        TcpConnection.resume_reading(self)
        self._read_unpolled()

    # -- writing -------------------------------------------------------------------------------

    def set_interest(self, bits: int) -> None:
        """Watch the socket for these bits; for reading alone while OpenSSL has to read first."""
        TcpConnection.set_interest(self, READABLE if self.tls.needs_read else bits)

    def fail_writing(self, exc: OSError | None) -> None:
        """Send nothing any more; the connection is lost when what has arrived was read."""
        self.tls.reads_to_end = True
        TcpConnection.fail_writing(self, exc)

    def _read_before_write(self) -> None:
        """Read, since OpenSSL has to do so before it can write; data that comes is pushed back."""
        try:
            data = self.tls.recv(RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            data = b""
        except OSError as exc:
            self.connection_lost(exc)
            return
        if self.tls.has_ended and not data:
            self.connection_lost(truncated_error())  # what is queued can never be sent
            return
        self.bytes_read += len(data)
        self.pushed_back += data
        if len(self.pushed_back) > self.high_water:
            self.connection_lost(flooded_error())
            return
        self.tls.needs_read = False
        waits = self.read_paused or self.pushed_back or self.read_state is not OPEN
        self.set_interest(0 if waits else READABLE)
        if self.pushed_back and not self.read_paused:
            self.loop.call_soon(self.resume_reading)
        self.flush()

    # -- ending --------------------------------------------------------------------------------

    def on_flushed(self) -> None:
        """Send close_notify, then end as a TCP connection does."""
        if not self.tls.close_notify_sent:
            self._push_back_buffered()
        try:
            if not self.tls.send_close_notify():
                self._flush_due = True
                self.set_interest(self._interest | WRITABLE)
                return
        except BrokenPipeError:
            # All data was sent. Whether the peer has closed properly is in what is read next.
            self.fail_writing(None)
            return
        except OSError as exc:
            self.fail_writing(exc)
            return
        TcpConnection.on_flushed(self)

    def _push_back_buffered(self) -> None:
        """Take data out of OpenSSL, which would look for a close_notify in its place."""
        if self.tls.has_buffered and not self.tls.has_ended and self.read_state is OPEN:
            try:
                data = self.tls.recv(RECV_BYTES)
            except OSError:
                return
            self.bytes_read += len(data)
            earlier, self.pushed_back = self.pushed_back, b""
            self.unread(earlier + data)

    def connection_lost(self, exc: OSError | None) -> None:
        """End the connection: the peer or the network has ended it, or a record was bad."""
        # An alert says more than the reset that a send met because of it.
        exc = self.tls.error or exc
        put_in_words(exc)
        if self.write_state is not CLOSED:
            self.error = exc
        TcpConnection.connection_lost(self, exc)

    def _release(self) -> None:
        if self.handshake is not None:
            self.handshake.on_abort()
        TcpConnection._release(self)

    def _close_socket(self) -> None:
        lowest = self.tls.lower_tls or self.tls
        if self.tls.has_alert or lowest.has_alert:
            LingeringClose(self.loop, self.socket, lowest.unsent)
            return
        if self.tls.close_notify_sent and self.read_state is CLOSED:
            # Bytes that nobody has read, mostly tickets, make the kernel reset the connection, and
            # what has just been sent could be lost.
            try:
                self.socket.recv(RECV_BYTES)
            except OSError:
                pass
        TcpConnection._close_socket(self)

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped, and nothing is emitted any more."""
        self.handshake = None
        TcpConnection.on_loop_stopped(self)

    def failed(self, exc: BaseException) -> None:
        """Reset the connection: something raised `exc`."""
        if self.handshake is not None:
            self.handshake.fail(OSError(errno.EPROTO, f"the handshake raised {exc!r}"))
        else:
            TcpConnection.failed(self, exc)

"""One TLS connection.

Owns: the encryption of one connection, either side of it. Must not know certificates, contexts, or
how it is connected.

Theory of operation. A `TlsConnection` is a `TcpConnection` that reads and writes through `_recv`,
`_send` and `_sendmsg` of its own. They stand between the connection's states, queue and marks,
which hold for plain bytes, and two functions like a socket's, `_raw_recv` and `_raw_send`, for
encrypted ones. These are a socket's, or, for TLS inside TLS, those of the connection that is
`_below`. OpenSSL works on two buffers in memory, never on the socket, which has these reasons:

- It always has room to write. What the kernel does not take is held here: `_rest` are encrypted
  bytes, `_held` says how many plain ones they stand for. Those stay in the queue until the last
  byte has left, so that marks, `bytes_written` and `close()` mean what they say.
- close_notify can be sent without reading, which OpenSSL does along with it: on a socket, data
  that has just arrived would be lost.
- All that one read takes from the kernel is decrypted and delivered at once: nothing waits in
  OpenSSL where no poller sees it. Where something does (data that came along with the last bytes
  of the handshake, an end or an error behind data), `_more` says so, and `on_ready` goes on.
- The alert for a bad record is in a buffer, and can be sent when the connection is given up.

A peer that closes without close_notify has cut the stream off, or somebody else has: that is
`truncated_error()`, an error, and never `end`. Data before a bad record is delivered first.

OpenSSL may have to read before it can write (a renegotiation, which only a context of the
program's own allows). Then it is read although reading is paused, and what comes is held for when
it resumes: waiting for the socket to be writable would spin, and waiting for the program could be
for ever.
"""

from __future__ import annotations

import errno
import socket as socket_module
import ssl
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from thor.loop import EventLoop
from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.connection import RECV_BYTES, TcpConnection
from thor.tcp.state import CLOSED, OPEN
from thor.tls.errors import flooded_error, put_in_words, truncated_error
from thor.tls.lingering_close import LingeringClose
from thor.tls.records import PIECE_BYTES, RECORD_BYTES, pieces
from thor.types import Address

if TYPE_CHECKING:
    from thor.tls.handshake import Handshake
    from thor.tls.sessions import Sessions

#: Most encrypted bytes that wait to be sent: a piece, and answers to what the peer asks for.
MAX_REST_BYTES = 4 * PIECE_BYTES


class TlsConnection(TcpConnection):
    """A TLS connection: a `TcpConnection`, with what was agreed on in the handshake.

    `write`, `pause`, `close` and all else count and mean plain bytes. `end_writing()` sends
    close_notify, and so does `close()`. `abort()` does not.

    server_name: the name that the client asked for (SNI); at a server, with a context made by
        `server_context` alone. None without one
    error: the exception that ended the connection: `ssl.SSLEOFError` if it was cut off,
        `ssl.SSLError` for a bad record or an alert, `OSError` of the network; else None. Its text
        says what happened

    Emits:
        what a TcpConnection emits; `end` only when the peer said that it has finished (its
            close_notify). Without it, there is only `close`: something may be missing.
    """

    server_name: str | None = None
    error: OSError | None = None

    is_encrypted = True
    _object: ssl.SSLObject | None = None
    _starved = False
    _over = False
    _fault: OSError | None = None
    _alert = False
    _notified = False
    _held = 0

    def __init__(
        self,
        sock: socket_module.socket,
        address: Address,
        loop: EventLoop | None = None,
        below: TlsConnection | None = None,
    ) -> None:
        """sock: connected and non-blocking; the connection owns it from now on.

        below: the connection that this one goes through, for TLS inside TLS; its socket is `sock`
        """
        self._below = below
        self._more = False
        self._rest: bytes = b""
        self._handshake: Handshake | None = None
        self._keep: tuple[Sessions, Hashable] | None = None
        TcpConnection.__init__(self, sock, address, loop)
        self._raw_recv: Callable[[int], bytes] = sock.recv if below is None else below._recv
        self._raw_send: Callable[[Any], int] = sock.send if below is None else below._send

    def _wrap(self, make: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]) -> ssl.SSLObject:
        """Begin TLS. make: gives OpenSSL's object for the buffers it reads and writes"""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = secure = make(self._incoming, self._outgoing)
        self._feed = self._incoming.write
        self._take = self._outgoing.read
        self._decrypt: Callable[[int], bytes] = secure.read
        self._encrypt: Callable[[Any], int] = secure.write
        return secure

    # -- what was agreed on --------------------------------------------------------------------

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on (RFC 7301); None without one."""
        return self._object.selected_alpn_protocol() if self._object is not None else None

    @property
    def tls_version(self) -> str | None:
        """`"TLSv1.3"` or `"TLSv1.2"`."""
        return self._object.version() if self._object is not None else None

    @property
    def cipher(self) -> str | None:
        """The cipher suite, as OpenSSL names it."""
        found = self._object.cipher() if self._object is not None else None
        return found[0] if found is not None else None

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        return self._object is not None and bool(self._object.session_reused)

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER); None if it sent none. Verified if the context says so."""
        return self._object.getpeercert(binary_form=True) if self._object is not None else None

    @property
    def verified_chain(self) -> list[bytes] | None:
        """The peer's certificates (DER), its own first, up to one that is trusted.

        None where Python cannot tell (before 3.13), or nothing was verified.
        """
        ask = getattr(self._object, "get_verified_chain", None)
        if ask is None:
            return None
        chain: list[bytes] = ask()
        return chain or None

    # -- reading -------------------------------------------------------------------------------

    def on_ready(self, bits: int) -> None:
        if self._handshake is not None:
            self._handshake.ready(bits)
        elif self._starved:
            self._read_to_write()
        else:
            TcpConnection.on_ready(self, bits)
            if self._more or self._below is not None:
                self._read_on()

    def _read_on(self) -> None:
        """Read what the kernel knows nothing of."""
        below = self._below
        while self._more or (below is not None and below._more):
            if not self._interest & READABLE:
                break
            TcpConnection.on_ready(self, READABLE)

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `data` events. It holds at once, in any listener."""
        TcpConnection.pause(self, paused)
        if not paused and (self._more or self._below is not None):
            self.loop.call_soon(self._read_on)

    def _resume(self) -> None:
        TcpConnection._resume(self)
        self._read_on()

    def _recv(self, size: int) -> bytes:
        """Like a socket's `recv`, in plain bytes. Returns: b"" after the peer's close_notify

        Raises: BlockingIOError; ssl.SSLEOFError if the peer closed without one; OSError
        """
        if not self._more:
            raw = self._raw_recv(size)
            if not raw:
                raise truncated_error()
            self._feed(raw)
        elif self._over:
            return self._conclude()
        else:
            self._more = False
        try:
            data = self._decrypt(RECORD_BYTES)
        except ssl.SSLError as exc:
            return self._explain(exc, size)
        if not data:
            self._over = True
            return self._conclude()
        if self._incoming.pending or self._outgoing.pending or self._keep is not None:
            return self._decrypt_rest(data)
        return data

    def _decrypt_rest(self, data: bytes) -> bytes:
        """Decrypt what came together with `data`. Returns: all of it"""
        found = [data]
        while data and self._incoming.pending:
            try:
                data = self._decrypt(RECORD_BYTES)
            except ssl.SSLError as exc:
                self._note(exc)
                break
            self._over = not data
            found.append(data)
        self._answer()
        self._more = self._over
        return b"".join(found)

    def _explain(self, exc: ssl.SSLError, size: int) -> bytes:
        """There is no data: not yet, or not any more."""
        self._note(exc)
        self._answer()
        if self._over:
            return self._conclude()
        if self.write_failed:
            return self._recv(size)  # what has arrived is read to its end
        raise _blocked() from None

    def _note(self, exc: ssl.SSLError) -> None:
        """OpenSSL's verdict on what it has read."""
        if isinstance(exc, ssl.SSLWantReadError):
            return
        self._over = True
        if not isinstance(exc, ssl.SSLZeroReturnError):
            self._fault = exc
            self._alert = self._outgoing.pending > 0

    def _answer(self) -> None:
        """Send what OpenSSL has written while it read, and keep a ticket that came."""
        if self._outgoing.pending:
            try:
                self._push()
            except OSError:
                pass  # whoever reads or writes next is told
            if len(self._rest) > MAX_REST_BYTES:
                self._over = True
                self._fault = flooded_error()
        if self._keep is not None:
            self._keep_session(*self._keep)

    def _conclude(self) -> bytes:
        self._more = True
        if self._fault is not None:
            raise self._fault
        return b""

    def _keep_session(self, sessions: Sessions, key: Hashable) -> None:
        """Look for a session to resume: after the handshake, and, with TLS 1.3, after each read
        until there is one. A server sends its tickets when it likes, mostly before its data."""
        assert self._object is not None
        once = self._object.version() == "TLSv1.3"
        if (
            not sessions.wants(key, self.session_reused, once)
            or sessions.look(key, self._object.session, once)
            or not once
        ):
            self._keep = None

    # -- writing -------------------------------------------------------------------------------

    def _send(self, data: bytes | memoryview) -> int:
        """Like a socket's `send`, for plain bytes. What was refused is to be offered again first.

        Raises: BlockingIOError, OSError
        """
        if self._rest or len(data) > RECORD_BYTES:
            return self._sendmsg([data])
        try:
            size = self._encrypt(data)
        except ssl.SSLWantReadError:
            self._starved = True
            raise _blocked() from None
        if size < len(data):  # the peer wants smaller records (RFC 6066 section 4, RFC 8449)
            size += self._seal(memoryview(data)[size:])
        raw = self._take()
        try:
            sent = self._raw_send(raw)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(raw):
            self._rest = raw[sent:]
            self._held = size
            raise _blocked()
        return size

    def _sendmsg(self, chunks: list[Any]) -> int:
        """Like `_send`, for a list."""
        if not self._push():
            raise _blocked()
        taken, self._held = self._held, 0
        for piece in pieces(chunks, taken):
            sealed = self._seal(memoryview(piece))
            if not self._push():
                self._held = sealed
                break
            taken += sealed
            if sealed < len(piece):
                break
        if not taken:
            raise _blocked()
        return taken

    def _seal(self, piece: memoryview) -> int:
        """Encrypt `piece`. Returns: how much of it; the rest has to wait for a read"""
        done = 0
        while done < len(piece):
            try:
                done += self._encrypt(piece[done:])
            except ssl.SSLWantReadError:
                self._starved = True
                break
        return done

    def _push(self) -> bool:
        """Send what is encrypted. Returns: whether all of it has left. Raises: OSError"""
        if self._outgoing.pending:
            self._rest += self._take()
        if self._rest:
            try:
                self._rest = self._rest[self._raw_send(self._rest) :]
            except (BlockingIOError, InterruptedError):
                pass
        return not self._rest

    def set_interest(self, bits: int) -> None:
        if self._starved:
            bits = READABLE
        TcpConnection.set_interest(self, bits)

    def _read_to_write(self) -> None:
        """OpenSSL has to read before it can write; data that comes first is held."""
        try:
            data = self._recv(RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            data = b""
        except OSError as exc:
            self._on_connection_lost(exc)
            return
        if self._over and not data:
            self._on_connection_lost(truncated_error())  # it can never be written
            return
        self.bytes_read += len(data)
        self._unread += data
        if len(self._unread) > self.high_water:
            self._on_connection_lost(flooded_error())
            return
        self._starved = False
        waits = self.read_paused or self._unread or self.read_state is not OPEN
        self.set_interest(0 if waits else READABLE)
        if self._unread and not self.read_paused:
            self.loop.call_soon(self._resume)
        self.flush()

    # -- ending --------------------------------------------------------------------------------

    def _on_flushed(self) -> None:
        try:
            if not self._send_close_notify():
                self._flush_due = True
                self.set_interest(self._interest | WRITABLE)
                return
        except BrokenPipeError:
            # All data has left. How the peer took its leave is what it said, which is read next.
            self._on_write_error(None)
            return
        except OSError as exc:
            self._on_write_error(exc)
            return
        TcpConnection._on_flushed(self)

    def _send_close_notify(self) -> bool:
        """Send close_notify, also below. Returns: whether it has left. Raises: OSError"""
        if not self._notified:
            self._notified = True
            self._hold_data()
            try:
                assert self._object is not None
                self._object.unwrap()
            except ssl.SSLError:
                pass  # that of the peer is not there yet: it is read like all else
        return self._push() and (self._below is None or self._below._send_close_notify())

    def _hold_data(self) -> None:
        """Take data out of OpenSSL's way, which would look for a close_notify instead of it."""
        if self._more and not self._over and self.read_state is OPEN:
            try:
                data = self._recv(RECV_BYTES)
            except OSError:
                return
            self.bytes_read += len(data)
            held, self._unread = self._unread, b""
            self.unread(held + data)

    def _on_connection_lost(self, exc: OSError | None) -> None:
        # An alert says more than the reset that a send met because of it.
        exc = self._fault or exc
        put_in_words(exc)
        if self.write_state is not CLOSED:
            self.error = exc
        TcpConnection._on_connection_lost(self, exc)

    def _release(self) -> None:
        if self._handshake is not None:
            self._handshake.abandoned()
        TcpConnection._release(self)

    def _close_socket(self) -> None:
        last = self if self._below is None else self._below
        if self._alert or last._alert:
            LingeringClose(self.loop, self.socket, last._rest)
            return
        if self._notified and self.read_state is CLOSED:
            # Bytes that nobody has read, tickets most of all, make the kernel reset the connection,
            # and what has just been sent could be lost.
            try:
                self.socket.recv(RECV_BYTES)
            except OSError:
                pass
        TcpConnection._close_socket(self)

    def on_loop_stopped(self) -> None:
        self._handshake = None
        if self.server is not None:
            self.server.handshaking.discard(self)
        TcpConnection.on_loop_stopped(self)

    def failed(self, exc: BaseException) -> None:
        """Something raised `exc`: the connection is reset."""
        if self._handshake is not None:
            self._handshake.fail(OSError(errno.EPROTO, f"the handshake raised {exc!r}"))
        else:
            TcpConnection.failed(self, exc)


def _blocked() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "not now")

"""TLS as a byte stream: plain bytes on one side, encrypted ones on the other.

Owns: OpenSSL's object for one connection, its two buffers, and what is encrypted but not sent yet.
Must not know events, loops, or the states of a connection.

Theory of operation. A `TlsStream` has the methods of a socket, for plain bytes. It reads and writes
the encrypted ones through `lower`: a socket or, for TLS inside TLS, another `TlsStream`. OpenSSL
works on two buffers in memory, never on the socket, for these reasons:

- It always has room to write. What the kernel does not take is kept here: `unsent` are encrypted
  bytes, `_unsent_plain` is how many plain ones they stand for. Those stay in the connection's queue
  until the last byte was sent, so that marks, `bytes_written` and `close()` mean what they say.
- close_notify can be sent without reading, which OpenSSL does along with it: on a socket, data
  that has just arrived would be lost.
- All that one read takes from the kernel is decrypted and returned at once: nothing waits in
  OpenSSL, where no poller sees it. Where something does (data that came along with the last bytes
  of the handshake, an end or an error behind data), `has_buffered` is set, and the next `recv` does
  not read from `lower`.
- The alert for a bad record is in a buffer, and can be sent when the connection is given up.

A peer that closes without close_notify has truncated the stream, or an attacker has: that is
`truncated_error()`, an error, and never an end. Data before a bad record is returned first.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from thor.tls.errors import flooded_error, truncated_error
from thor.tls.records import MAX_PIECE_BYTES, MAX_RECORD_BYTES, iter_pieces

if TYPE_CHECKING:
    from thor.tcp.transport import ByteStream
    from thor.tls.sessions import SessionEntry

#: Most encrypted bytes that wait to be sent: a piece, and answers to what the peer asks for.
MAX_UNSENT_BYTES = 4 * MAX_PIECE_BYTES

#: Makes OpenSSL's object for the buffers that it reads and writes.
MakeObject = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]


class TlsStream:
    """The encryption of one connection.

    lower_tls: `lower`, where this is TLS inside TLS; else None
    ssl_object: None until `start`
    incoming, outgoing: the encrypted bytes that OpenSSL reads and writes
    decrypt, encrypt, feed, take: of OpenSSL's object and its two buffers, plain and encrypted bytes
    unsent: encrypted bytes that `lower` has not taken yet
    has_buffered: whether `recv` returns or raises something without reading from `lower`
    has_ended: whether the peer has sent close_notify, or `error` is set
    error: what is wrong with the stream; None as long as nothing is
    has_alert: whether `outgoing` or `unsent` end with an alert that the peer has to receive
    needs_read: whether OpenSSL has to read before it can write
    reads_to_end: `recv` reads on where a record had no data: nothing will be sent any more
    session_entry: where to store a session that the peer sends; None when none is expected
    """

    __slots__ = (
        "_unsent_plain",
        "close_notify_sent",
        "decrypt",
        "encrypt",
        "error",
        "feed",
        "has_alert",
        "has_buffered",
        "has_ended",
        "incoming",
        "lower",
        "lower_tls",
        "needs_read",
        "outgoing",
        "reads_to_end",
        "session_entry",
        "ssl_object",
        "take",
        "unsent",
    )

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    feed: Callable[[bytes], int]
    take: Callable[[], bytes]
    decrypt: Callable[[int], bytes]
    encrypt: Callable[[bytes | memoryview], int]

    def __init__(self, lower: ByteStream) -> None:
        self.lower = lower
        self.lower_tls = lower if isinstance(lower, TlsStream) else None
        self.ssl_object: ssl.SSLObject | None = None
        self.unsent: bytes = b""
        self._unsent_plain = 0
        self.has_buffered = self.has_ended = False
        self.error: OSError | None = None
        self.has_alert = self.close_notify_sent = False
        self.needs_read = self.reads_to_end = False
        self.session_entry: SessionEntry | None = None

    def start(self, make: MakeObject) -> ssl.SSLObject:
        """Begin TLS. Raises: what `make` raises"""
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ssl_object = ssl_object = make(self.incoming, self.outgoing)
        self.feed = self.incoming.write
        self.take = self.outgoing.read
        self.decrypt = ssl_object.read
        self.encrypt = ssl_object.write
        return ssl_object

    def has_unpolled(self) -> bool:
        """Return whether something can be read that no poller reports, here or below."""
        lower = self.lower_tls
        return self.has_buffered or (lower is not None and lower.has_unpolled())

    # -- reading -------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Return plain bytes, b"" after the peer's close_notify.

        Raises: BlockingIOError; ssl.SSLEOFError if the peer closed without one; OSError
        """
        if not self.has_buffered:
            encrypted = self.lower.recv(size)
            if not encrypted:
                raise truncated_error()
            self.feed(encrypted)
        elif self.has_ended:
            return self._end()
        else:
            self.has_buffered = False
        try:
            data = self.decrypt(MAX_RECORD_BYTES)
        except ssl.SSLError as exc:
            return self._recv_nothing(exc, size)
        if not data:
            self.has_ended = True
            return self._end()
        if self.incoming.pending or self.outgoing.pending or self.session_entry is not None:
            return self._decrypt_remaining(data)
        return data

    def _decrypt_remaining(self, data: bytes) -> bytes:
        """Return `data` and all that can be decrypted after it."""
        chunks = [data]
        while data and self.incoming.pending:
            try:
                data = self.decrypt(MAX_RECORD_BYTES)
            except ssl.SSLError as exc:
                self._set_error(exc)
                break
            self.has_ended = not data
            chunks.append(data)
        self._send_answers()
        self.has_buffered = self.has_ended
        return b"".join(chunks)

    def _recv_nothing(self, exc: ssl.SSLError, size: int) -> bytes:
        """Handle that there is no data: not yet, or not any more."""
        self._set_error(exc)
        self._send_answers()
        if self.has_ended:
            return self._end()
        if self.reads_to_end:
            return self.recv(size)
        raise _blocked() from None

    def _set_error(self, exc: ssl.SSLError) -> None:
        """Record what OpenSSL says of the bytes that it has read."""
        if isinstance(exc, ssl.SSLWantReadError):
            return
        self.has_ended = True
        if not isinstance(exc, ssl.SSLZeroReturnError):
            self.error = exc
            self.has_alert = self.outgoing.pending > 0

    def _send_answers(self) -> None:
        """Send what OpenSSL has written while it read, and store a session ticket that came."""
        if self.outgoing.pending:
            try:
                self.flush()
            except OSError:
                pass  # the next read or write raises it
            if len(self.unsent) > MAX_UNSENT_BYTES:
                self.has_ended = True
                self.error = flooded_error()
        if self.session_entry is not None:
            self.store_session()

    def _end(self) -> bytes:
        self.has_buffered = True
        if self.error is not None:
            raise self.error
        return b""

    def store_session(self) -> None:
        """Store the session, if it can be resumed: after the handshake and, with TLS 1.3, after
        each read until there is one. A server sends its tickets at any time, mostly before data."""
        assert self.ssl_object is not None
        if self.session_entry is not None and not self.session_entry.store(self.ssl_object):
            self.session_entry = None

    # -- writing -------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> int:
        """Send as much as fits now. What was not taken has to be offered again first.

        Raises: BlockingIOError, OSError
        """
        if self.unsent or len(data) > MAX_RECORD_BYTES:
            return self.sendmsg([data])
        try:
            size = self.encrypt(data)
        except ssl.SSLWantReadError:
            self.needs_read = True
            raise _blocked() from None
        if size < len(data):  # the peer wants smaller records (RFC 6066 section 4, RFC 8449)
            size += self._encrypt_all(memoryview(data)[size:])
        encrypted = self.take()
        try:
            sent = self.lower.send(encrypted)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(encrypted):
            self.unsent = encrypted[sent:]
            self._unsent_plain = size
            raise _blocked()
        return size

    def sendmsg(self, chunks: Sequence[bytes | memoryview]) -> int:
        """Send as much of several chunks as fits now. Raises: BlockingIOError, OSError"""
        if not self.flush():
            raise _blocked()
        taken, self._unsent_plain = self._unsent_plain, 0
        for piece in iter_pieces(chunks, taken):
            encrypted = self._encrypt_all(memoryview(piece))
            if not self.flush():
                self._unsent_plain = encrypted
                break
            taken += encrypted
            if encrypted < len(piece):
                break
        if not taken:
            raise _blocked()
        return taken

    def _encrypt_all(self, piece: memoryview) -> int:
        """Encrypt `piece`. Return how much of it; the rest has to wait for a read."""
        done = 0
        while done < len(piece):
            try:
                done += self.encrypt(piece[done:])
            except ssl.SSLWantReadError:
                self.needs_read = True
                break
        return done

    def flush(self) -> bool:
        """Send what is encrypted. Return whether all of it was sent. Raises: OSError"""
        if self.outgoing.pending:
            self.unsent += self.take()
        if self.unsent:
            try:
                self.unsent = self.unsent[self.lower.send(self.unsent) :]
            except (BlockingIOError, InterruptedError):
                pass
        return not self.unsent

    def send_close_notify(self) -> bool:
        """Send close_notify, then that of the stream below. Return whether all was sent.

        Raises: OSError
        """
        if not self.close_notify_sent:
            self.close_notify_sent = True
            try:
                assert self.ssl_object is not None
                self.ssl_object.unwrap()
            except ssl.SSLError:
                pass  # that of the peer has not arrived: it is read like everything else
        lower = self.lower_tls
        return self.flush() and (lower is None or lower.send_close_notify())


def _blocked() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "would block")

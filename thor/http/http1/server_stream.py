"""The responses of one HTTP/1.1 connection of a server, one after the other.

Owns: the framing of the response, and whether the connection persists after it. Must not know how
requests are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from thor.events import require_callback
from thor.http.error import ConnectError, OutputStateError, OutputSyntaxError
from thor.http.headers import field_list
from thor.http.streams import ServerConnection
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY
from thor.http.wire.state import ServerWriting
from thor.http.wire.writer import (
    OutgoingHead,
    encode_chunk,
    informational_head,
    last_chunk,
    response_head,
    switching_head,
)
from thor.tcp.abort import abort_when_sent
from thor.tcp.sendfile import can_send_files
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.http1.server_timeouts import ServerTimeouts
    from thor.http.streams import ServerStreamHandler
    from thor.http.wire.reader import RequestReader
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection
    from thor.tcp.sendfile import File
    from thor.types import HeadersIn

#: A chunk from this size on is written in pieces: copying it to join them costs more.
MIN_SPLIT_CHUNK_BYTES = 16 * 1024

IDLE, BODY, DONE, FAILED = (
    ServerWriting.IDLE,
    ServerWriting.BODY,
    ServerWriting.DONE,
    ServerWriting.FAILED,
)


class StreamServer(Protocol):
    """What the stream of a connection knows of its server."""

    send_timeout: float | None
    #: Whether responses get a Date field.
    send_date: bool
    #: The field line, CRLF before it, and until when it holds, in monotonic seconds.
    date_line: bytes
    date_valid_until: float

    def current_date_line(self) -> bytes:
        """Return the Date field line of responses; empty if none is sent."""


class StreamRequests(Protocol):
    """What a stream knows of the requests of its connection."""

    #: The present one.
    exchange: ServerStreamHandler | None
    reader: RequestReader
    #: Whether they look for the end of a response themselves, when the present callback returns.
    running: bool

    def can_persist(self) -> bool:
        """Return whether what arrives next is a request, or can be one."""

    def can_discard_body(self, framing: int) -> bool:
        """Return whether the rest of the request will be read, or is little enough to be dropped.

        framing: of the response
        """

    def on_continue_sent(self) -> None:
        """Take note that a 100 was sent."""

    def on_response_end(self) -> None:
        """Take note that the response was written whole."""

    def resume(self) -> None:
        """Deliver the present request again."""


class StreamConnection(ServerConnection, Protocol):
    """What a stream knows of its connection."""

    loop: LoopBase
    timeouts: ServerTimeouts
    #: Whether something has happened after which a connection may not persist.
    needs_check: bool

    @property
    def server(self) -> StreamServer:
        """The server, with its settings."""

    @property
    def is_client_tls(self) -> bool:
        """Whether the client came by TLS."""

    def abort(self, error: HttpError) -> None:
        """Reset the connection."""

    def upgrade(self, head: bytes) -> TcpConnection:
        """Send the head of a switch of protocols, and hand the connection over, paused."""


class Http1ServerStream:
    """The `ServerStream` of a connection's present exchange, and a `Spliceable`.

    One object serves all exchanges of a connection: there is one at a time.
    """

    __slots__ = (
        "_length_left",
        "_requests",
        "connection",
        "framing",
        "http11",
        "keep_alive",
        "persists",
    )

    def __init__(self, connection: StreamConnection, requests: StreamRequests) -> None:
        self.connection = connection
        self._requests = requests
        #: Of the request: whether it came as HTTP/1.1, and allows the connection to persist.
        self.http11 = self.keep_alive = True
        #: Of the response: whether the connection will persist, and the framing, as in
        #: `wire.framing`.
        self.persists = True
        self.framing = NO_BODY
        self._length_left = 0

    @property
    def loop(self) -> LoopBase:
        """The loop of the connection."""
        return self.connection.loop

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self._open_connection() is not None

    @property
    def secure(self) -> bool:
        """Whether the client came by TLS: to here, or to a proxy that says so in its PROXY
        header."""
        return self.connection.is_client_tls

    def _open_connection(self) -> TcpConnection | None:
        tcp_conn = self.connection.tcp_conn
        return tcp_conn if tcp_conn is not None and tcp_conn.write_state is OPEN else None

    # -- the head ------------------------------------------------------------------------------

    def send_head(self, status: int | str | bytes, phrase: str | bytes, fields: HeadersIn) -> None:
        """Send the head of the final response; see `ServerStream`."""
        conn = self.connection
        requests = self._requests
        exchange = requests.exchange
        assert exchange is not None
        method, keep_alive = exchange.method, self.keep_alive
        early = not requests.reader.complete
        if early:
            fields = field_list(fields)  # a head may be made of it twice
        if early or conn.needs_check or method == b"CONNECT":
            keep_alive = keep_alive and requests.can_persist()
        server = conn.server
        valid = server.send_date and conn.loop.now < server.date_valid_until
        date = server.date_line if valid else server.current_date_line()
        head = response_head(status, phrase, fields, method, self.http11, keep_alive, date)
        if early and head.keep_alive and not requests.can_discard_body(head.framing):
            head = response_head(status, phrase, fields, method, self.http11, False, date)
        if head.framing == NO_BODY:
            head = self._check_bodiless(head, method, date)
        self.framing = head.framing
        self._length_left = head.length
        self.persists = head.keep_alive
        tcp_conn = conn.tcp_conn
        if tcp_conn is not None and tcp_conn.write_state is OPEN:
            exchange.response_state = BODY
            tcp_conn.write(head.data)
        else:
            # The program is told when the connection has noticed.
            exchange.response_state = FAILED

    def _check_bodiless(self, head: OutgoingHead, method: bytes, date_line: bytes) -> OutgoingHead:
        """Return the head to send in place of one without a body.

        Raises: OutputSyntaxError for one that is not final
        """
        kind = head.data[9:10]
        if kind == b"1":
            raise OutputSyntaxError("not a final status: see response_nonfinal() and upgrade()")
        if kind == b"2" and method == b"CONNECT":
            # Only upgrade() opens a tunnel; a client must not believe that it has one.
            fields = [("Allow", ""), ("Content-Length", "0")]
            head = response_head(
                405, "Method Not Allowed", fields, b"CONNECT", self.http11, False, date_line
            )
            # The body of what the program meant is dropped.
            return OutgoingHead(head.data, NO_BODY, 0, False)
        return head

    def send_nonfinal(
        self, status: int | str | bytes, phrase: str | bytes, fields: HeadersIn
    ) -> None:
        """Send an informational response; a client that speaks HTTP/1.0 does not get it (RFC 9110
        section 15.2)."""
        data = informational_head(status, phrase, fields)
        if self.http11:
            self._write(data)
            if data.startswith(b"HTTP/1.1 100"):
                self._requests.on_continue_sent()

    def upgrade(self, protocol: bytes, fields: HeadersIn) -> TcpConnection:
        """Switch to another protocol; see `ServerStream`."""
        conn = self.connection
        exchange = self._requests.exchange
        if exchange is None or self._open_connection() is None:
            raise OutputStateError("upgrade of an exchange that is over")
        if exchange.method == b"CONNECT":
            date_line = conn.server.current_date_line()
            phrase = "Connection established"
            head = response_head(200, phrase, fields, b"CONNECT", self.http11, True, date_line)
            return conn.upgrade(head.data)
        if not self._requests.reader.complete:
            raise OutputStateError("upgrade before the request's body was read")
        return conn.upgrade(switching_head(protocol, fields))

    # -- the body ------------------------------------------------------------------------------

    def send_body(self, chunk: bytes) -> bool:
        """Send a piece of the body; see `ServerStream`."""
        if self.framing == LENGTH and (left := self._length_left - len(chunk)) >= 0:
            self._length_left = left
            tcp_conn = self.connection.tcp_conn
            if tcp_conn is not None and tcp_conn.write_state is OPEN:
                return tcp_conn.write(chunk)
            return self._write(chunk)
        return self._send_framed(chunk)

    def _send_framed(self, chunk: bytes) -> bool:
        framing = self.framing
        if framing == LENGTH:
            more = len(chunk) - self._length_left
            error = OutputStateError(f"{more} bytes more than the declared Content-Length")
            self.connection.abort(error)
            raise error
        if framing == NO_BODY:
            return True  # HEAD, 204, 304
        if framing != CHUNKED:
            return self._write(chunk)
        if not chunk:
            return True  # an empty chunk would end the body
        if len(chunk) < MIN_SPLIT_CHUNK_BYTES:
            return self._write(encode_chunk(chunk))
        tcp_conn = self._open_connection()
        if tcp_conn is None:
            return self._write(chunk)
        return _write_chunk(tcp_conn, chunk)

    def send_end(self, trailers: HeadersIn, close: bool) -> None:
        """End the response; see `ServerStream`."""
        requests = self._requests
        exchange = requests.exchange
        assert exchange is not None
        exchange.response_state = DONE
        if self.framing == CHUNKED:
            try:
                end = last_chunk(trailers)
            except (OutputSyntaxError, TypeError):
                exchange.response_state = BODY
                raise
            self._write(end)
        elif self.framing == LENGTH and self._length_left:
            exchange.response_state = BODY
            less = self._length_left
            error = OutputStateError(f"{less} bytes less than the declared Content-Length")
            self.connection.abort(error)
            raise error
        if close:
            self.persists = False
        if not requests.running:
            requests.on_response_end()

    def _write(self, data: bytes) -> bool:
        tcp_conn = self._open_connection()
        if tcp_conn is not None:
            return tcp_conn.write(data)
        exchange = self._requests.exchange
        if exchange is not None:
            # The program is told when the connection has noticed.
            exchange.response_state = FAILED
        return True

    # -- everything else of a ServerStream -----------------------------------------------------

    def resume(self) -> None:
        """Deliver the request again, after the exchange was paused."""
        self._requests.resume()

    def abort(self, flush: bool) -> None:
        """Reset the connection; with `flush`, what was written leaves before."""
        conn = self.connection
        tcp_conn = conn.tcp_conn
        if tcp_conn is None:
            return
        if flush:
            abort_when_sent(tcp_conn, conn.server.send_timeout)
        else:
            conn.abort(ConnectError("the program aborted the exchange"))

    def can_send_files(self) -> bool:
        """Return whether the kernel can send pieces of files to this client."""
        tcp_conn = self.connection.tcp_conn
        return tcp_conn is not None and can_send_files(tcp_conn)

    def send_file(self, file: File, offset: int, count: int) -> bool:
        """Send a piece of a file as a piece of the body. Returns: False if it has to be read"""
        tcp_conn = self.connection.tcp_conn
        if tcp_conn is None or count > self.bytes_promised():
            return False
        if not tcp_conn.write_file(file, offset, count):
            return False
        self._length_left -= count
        return True

    def when_sent(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when all that was written was handed to the kernel.

        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        tcp_conn = self._open_connection()
        if tcp_conn is not None:
            tcp_conn.when_sent(callback)

    # -- splicing ------------------------------------------------------------------------------

    def body_splice(self) -> Http1ServerStream | None:
        """Return what can move bodies in the kernel: this object, while there is a connection."""
        return self if self.connection.tcp_conn is not None else None

    @property
    def transport(self) -> TcpConnection | None:
        """The connection whose bytes are the stream's."""
        return self.connection.tcp_conn

    def bytes_expected(self) -> int:
        """Return how many bytes of the request's body are still to arrive; see `Spliceable`."""
        exchange = self._requests.exchange
        if exchange is None or exchange.request_paused:
            return 0
        return self._requests.reader.body_due

    def on_spliced_in(self, count: int) -> None:
        """Count bytes of the request's body that arrived and were moved."""
        self.connection.timeouts.note_received(count)
        self._requests.reader.skip_body(count)

    def bytes_promised(self) -> int:
        """Return how many bytes of the response's body are still to be sent."""
        exchange = self._requests.exchange
        sending = exchange is not None and exchange.response_state is BODY
        return self._length_left if sending and self.framing == LENGTH else 0

    def on_spliced_out(self, count: int) -> None:
        """Count bytes of the response's body that were moved."""
        self._length_left -= count


def _write_chunk(tcp_conn: TcpConnection, data: bytes) -> bool:
    """Write a chunk in pieces with nothing in between: no listener for `pause`, which a write may
    call, can come between its size and its data.

    Returns: False when the connection's queue is above its high-water mark
    """
    if not tcp_conn.write_failed:
        size = b"%x\r\n" % len(data)
        buffer = tcp_conn.own_buffer()
        buffer += (size, data)
        buffer.size += len(size) + len(data)
    return tcp_conn.write(b"\r\n")

"""One HTTP/1.1 connection to a server, and the exchange that has it.

Owns: the framing of requests, the reading of responses, and what ends or frees the connection. Must
not know sockets: it is the `owner` of a `TcpConnection`; nor how a request is repeated: that is the
exchange's.

Theory of operation: an exchange gets the connection through `begin`, and sends its request. Bytes
that arrive are pushed into the reader; `_pump` pulls out what was parsed and emits it on the
exchange while that is not paused, so that pausing, cancelling and the next request inside a
listener are one condition of one loop. When the response is complete the connection goes back to
its pool *before* `response_done` is emitted: a request that the listener starts can have it.

An idle connection is watched for reading all the time. Whatever arrives ends it: the server's FIN,
or bytes that nobody asked for, which are never taken for the next response (RFC 9112 section 9.3).
For the same reason what arrives before a byte of the request has left is not an answer to it. And
since the next request may begin in the same turn, before the loop has polled, the kernel is asked
for more behind a response whose last piece may not have been all that there was. A server's FIN may
also arrive later in the turn that reuses the connection. What was written into it can be repeated
on another connection, unless the request is one that must not be: that one asks the kernel just
before its head is written (`has_ended`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from thor.http.error import ConnectError, HttpError, OutputStateError, TlsError, UpgradeError
from thor.http.http1.client_timeouts import ClientTimeouts, Phase, TimeoutSettings, Wait
from thor.http.streams import ConnectionPool
from thor.http.transport_errors import connection_lost
from thor.http.wire.framing import CHUNKED, LENGTH
from thor.http.wire.reader import ResponseReader
from thor.http.wire.state import ClientReading, ClientWriting
from thor.http.wire.writer import encode_chunk, last_chunk
from thor.tcp.idle import has_ended
from thor.tcp.sockets import RECV_BYTES, has_unread
from thor.tcp.state import CLOSED, OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thor.http.streams import ClientStreamHandler, PoolWaiter, RequestParts
    from thor.http.wire.head import ResponseHead
    from thor.http.wire.limits import Limits
    from thor.tcp import TcpConnection
    from thor.types import HeadersIn, RawHeaders

#: How much of later responses is read ahead while one is paused, in bytes; then reading pauses.
READ_AHEAD_BYTES = 64 * 1024

HEAD, BODY, READ_DONE, UPGRADED = (
    ClientReading.HEAD,
    ClientReading.BODY,
    ClientReading.DONE,
    ClientReading.UPGRADED,
)
SENT = ClientWriting.DONE


class Http1Pool(ConnectionPool, Protocol):
    """What an HTTP/1.1 connection knows of its pool."""

    limits: Limits


class HttpClientConnection:
    """A connection of the pool; `tcp_conn` is None once it is gone, or handed over.

    It is the `ClientStream` of the exchange that has it, and its `Spliceable`.
    """

    capacity = 1

    def __init__(self, tcp_conn: TcpConnection, pool: Http1Pool) -> None:
        self.tcp_conn: TcpConnection | None = tcp_conn
        self.pool = pool
        #: How many exchanges have had it.
        self.uses = 0
        self._loop = tcp_conn.loop
        self._reader = ResponseReader(pool.limits)
        self._exchange: ClientStreamHandler | None = None
        self._is_chunked = False
        self._pumping = False
        self._finishing = False
        self._reusable = False
        self._ended = self._closed = False
        self._loss_error: HttpError | None = None
        # Where the present exchange began.
        self._read_before = self._wrote_before = self._head_bytes = 0
        # From which size on a piece may not be all that the kernel had, and whether the last one
        # was of that size. How much was read to be decrypted is not known here.
        self._full_bytes = 1 if tcp_conn.is_encrypted else RECV_BYTES
        self._full = False
        self.timeouts = ClientTimeouts(self, self._loop)
        tcp_conn.owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)

    def __repr__(self) -> str:
        return f"<HttpClientConnection of {self._exchange!r} on {self.tcp_conn!r}>"

    # -- called by the pool --------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether another exchange can begin on it now."""
        tcp_conn = self.tcp_conn
        return self._exchange is None and tcp_conn is not None and tcp_conn.write_state is OPEN

    def begin(self, exchange: ClientStreamHandler) -> bool:
        """Let `exchange` have this connection, unless it has ended; see `ClientConnection`."""
        tcp_conn = self.tcp_conn
        # A program may have kept the connection of its exchange, and closed it since.
        if tcp_conn is None or tcp_conn.write_state is not OPEN:
            return False
        self.uses += 1
        self._read_before = tcp_conn.bytes_read
        self._wrote_before = tcp_conn.bytes_written
        self._head_bytes = 0
        self.timeouts.deadline_at = inf
        self._exchange = exchange
        self._reader.expect(exchange.method, exchange.protocol is not None)
        exchange.attach(self)
        if exchange.expires_at != inf and self._exchange is exchange:
            self.timeouts.arm()
        return True

    def close_idle(self) -> None:
        """Close it: no exchange has it, and none is to have it."""
        tcp_conn = self._release()
        if tcp_conn is not None:
            tcp_conn.close()

    # -- called by the exchange ----------------------------------------------------------------

    def send_head(self, head: RequestParts) -> None:
        """Send the head of the request, as it was rendered when it was checked."""
        rendered = head.head
        self._is_chunked = rendered.framing == CHUNKED
        tcp_conn = self.tcp_conn
        # After the loop was stopped there is a connection in name only.
        if tcp_conn is not None and tcp_conn.write_state is OPEN:
            tcp_conn.write(rendered.data)

    def send_body(self, chunk: bytes) -> bool:
        """Send a piece of the body. Returns: False when the writer has to wait for `pause`"""
        return self._write(encode_chunk(chunk) if self._is_chunked else chunk)

    def send_end(self, trailers: HeadersIn) -> None:
        """End the request, and begin to wait for the response."""
        if self._is_chunked:
            self._write(last_chunk(trailers))
        exchange = self._exchange
        if exchange is None:
            return
        timeouts, settings = self.timeouts, exchange.client
        # Outside of a turn the loop's own reading of the clock may be old.
        loop = self._loop
        now = loop.now if loop.in_turn else loop.clock.monotonic()
        timeouts.since = timeouts.sent_at = now
        # The earliest that may have passed; which one has is found out then.
        at = exchange.expires_at
        if (timeout := settings.read_timeout) and now + timeout < at:
            at = now + timeout
        if (timeout := settings.response_timeout) and now + timeout < at:
            at = now + timeout
        timeouts.deadline_at = at
        if at < timeouts.deadline_entry:
            loop.deadlines.arm(timeouts, at)

    def _write(self, data: bytes) -> bool:
        tcp_conn = self.tcp_conn
        if tcp_conn is None or tcp_conn.write_state is not OPEN:
            return True
        return tcp_conn.write(data)

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.tcp_conn is not None and self.tcp_conn.write_state is OPEN

    @property
    def is_write_paused(self) -> bool:
        """Whether the queue to send is above its high-water mark."""
        return self.tcp_conn is not None and self.tcp_conn.write_paused

    def has_sent(self) -> bool:
        """Return whether any byte of the present request has left."""
        return self.tcp_conn is None or self.tcp_conn.bytes_written != self._wrote_before

    def has_ended(self) -> bool:
        """Return whether a reused connection has ended since its last response.

        On one that was not used before, there is no response that the server may have closed after.
        """
        return self.uses > 1 and self.tcp_conn is not None and has_ended(self.tcp_conn)

    def replace(self, exchange: PoolWaiter) -> None:
        """Close the connection, which has ended, and get `exchange` another one."""
        self.pool.replace(self, exchange)

    def await_continue(self) -> None:
        """Wait for a 100, for a second at most, before the body is sent."""
        self.timeouts.begin_continue()

    def resume(self) -> None:
        """Deliver the response again, after the exchange was paused."""
        if self._exchange is None:
            return
        self.timeouts.since = self._loop.now
        self._pump()
        if self._exchange is not None:
            self.timeouts.arm()

    def abort(self) -> None:
        """Reset the connection: its exchange has ended before its response was complete."""
        tcp_conn = self._release()
        if tcp_conn is not None:
            tcp_conn.abort()

    def bytes_received(self) -> int:
        """Return how many bytes of the response's body were transferred so far."""
        exchange = self._exchange
        if self.tcp_conn is None or exchange is None or exchange.response_state is HEAD:
            return 0
        read = self.tcp_conn.bytes_read - self._read_before
        return read - self._head_bytes - self._reader.buffered

    # -- splicing ------------------------------------------------------------------------------

    def body_splice(self) -> HttpClientConnection:
        """Return what can move bodies in the kernel: this object."""
        return self

    @property
    def transport(self) -> TcpConnection | None:
        """The connection whose bytes are the stream's."""
        return self.tcp_conn

    def bytes_expected(self) -> int:
        """Return how many bytes of the response's body are still to arrive; see `Spliceable`."""
        exchange = self._exchange
        if exchange is None or exchange.response_state is not BODY or exchange.response_paused:
            return 0
        return self._reader.body_due

    def on_spliced_in(self, count: int) -> None:
        """Count bytes of the response's body that arrived and were moved."""
        self.timeouts.since = self._loop.now
        self._reader.skip_body(count)

    def bytes_promised(self) -> int:
        """Return how many bytes of the request's body are still to be sent."""
        return self._exchange.bytes_promised() if self._exchange is not None else 0

    def on_spliced_out(self, count: int) -> None:
        """Count bytes of the request's body that were moved."""
        if self._exchange is not None:
            self._exchange.on_spliced_out(count)

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Read what has arrived."""
        exchange = self._exchange
        tcp_conn = self.tcp_conn
        if exchange is None or tcp_conn is None:
            self.close_idle()
            return
        if tcp_conn.bytes_written == self._wrote_before:
            self._fail_without_response(ConnectError("the server spoke before it was asked"))
            return
        self.timeouts.since = self._loop.now
        self._full = len(data) >= self._full_bytes
        reader = self._reader
        if reader.buffer:
            reader.feed(data)
        else:
            reader.buffer = data  # all that `feed` would do
        self._pump()
        if (
            exchange.response_paused
            and reader.buffered > READ_AHEAD_BYTES
            and exchange is self._exchange
        ):
            tcp_conn.pause(True)

    def end(self) -> None:
        """Take note that the server finished sending."""
        self._ended = True
        exchange = self._exchange
        if exchange is None:
            self.close_idle()
        elif self._has_no_response():
            self._fail_without_response(connection_lost(None, sent=self.has_sent()))
        else:
            try:
                self._reader.eof()
            except HttpError as exc:
                self.fail(exc.with_traceback(None))
            else:
                self._pump()

    def close(self, exc: OSError | None) -> None:
        """Take note that the server or the network ended the connection."""
        self._closed = True
        exchange = self._exchange
        if exchange is None:
            self._release()
        elif not self._ended:
            # TLS has its own end of stream, and servers that leave it away.
            if type(exc).__name__ == "SSLEOFError" and not exchange.client.careful:
                self.end()
                return
            unanswered = self._has_no_response()
            error = connection_lost(exc, begun=not unanswered, sent=self.has_sent())
            if unanswered and not isinstance(error, TlsError):
                self._fail_without_response(error)
            else:
                self._ended = True
                self._loss_error = error
                self._pump()

    def disconnect(self) -> None:
        """Take note that the socket is closed; what had arrived may not have been emitted yet."""
        exchange = self._exchange
        if exchange is None:
            self._release()
        else:
            self.pool.retire(self)
            if not self._closed:
                exchange.cancel()  # the program closed it

    def pause(self, paused: bool) -> None:
        """Pause (True) or resume (False) the writing of the request."""
        if self._exchange is not None:
            self._exchange.emit_pause(paused)

    def hangup(self) -> None:
        """Ignore that the server is gone while reading is paused: what it sent is read later."""

    def failed(self, exc: BaseException) -> None:
        """End the exchange, unless it was over already: a listener raised."""
        if self._finishing:
            self._finishing = False
        else:
            self.fail(OutputStateError(f"the program failed: {type(exc).__name__}"))

    # -- the response --------------------------------------------------------------------------

    def _pump(self) -> None:
        """Pull out what was parsed and emit it, until something blocks it."""
        tcp_conn = self.tcp_conn
        if self._pumping or tcp_conn is None:
            return
        reader = self._reader
        self._pumping = True
        try:
            while (exchange := self._exchange) is not None:
                if tcp_conn.read_state is CLOSED and not self._closed:
                    exchange.cancel()  # the program closed it
                elif exchange.response_state is HEAD:
                    head = reader.read_head()
                    if head is not None:
                        self._begin_response(exchange, head)
                        continue
                elif exchange.response_paused:
                    break
                else:
                    if not reader.complete:
                        chunk = reader.read_body()
                        if chunk:
                            if exchange.relay_side is None:
                                exchange.emit("response_body", chunk)
                            else:
                                exchange.relay_side.response_body(chunk)
                            continue
                    if reader.complete:
                        self._finish(exchange)
                        continue
                if self._loss_error is not None:  # and all that had arrived was emitted
                    self.fail(self._loss_error)
                break
        except HttpError as exc:
            # The reader keeps it, and its traceback would keep us.
            self.fail(exc.with_traceback(None))
        finally:
            self._pumping = False
            if (
                tcp_conn.read_paused
                and reader.buffered <= READ_AHEAD_BYTES
                and self.tcp_conn is tcp_conn
            ):
                tcp_conn.pause(False)

    def _begin_response(self, exchange: ClientStreamHandler, head: ResponseHead) -> None:
        code, status, phrase, fields = head.status_code, head.status, head.phrase, head.headers
        exchange.res_version = head.version
        size = head.head_bytes
        self._head_bytes += size
        if code < 200:
            if code == 101:
                self._check_switch(exchange, head.upgrade)
                exchange.input_header_length = size
                self._hand_over(exchange, "response_nonfinal", status, phrase, fields)
                return
            if code == 100:
                exchange.send_held_body()
            exchange.emit("response_nonfinal", status, phrase, fields)
            return
        exchange.input_header_length = size
        if code < 300 and exchange.method == b"CONNECT":
            self._hand_over(exchange, "response_start", status, phrase, fields)
            return
        if head.framing == LENGTH:
            exchange.length = head.length
        self._reusable = head.keep_alive
        if exchange.on_response(head.keep_alive):
            self._reusable = False
            self.timeouts.arm()  # from now on only the server is waited for
        if exchange.relay_side is None:
            exchange.emit("response_start", status, phrase, fields)
        else:
            exchange.relay_side.response_start(status, phrase, fields)

    def _check_switch(self, exchange: ClientStreamHandler, protocols: Sequence[bytes]) -> None:
        """Check that a request was complete, and asked for the switch (RFC 9110 section 7.8).

        Raises: UpgradeError
        """
        if exchange.request_state is not SENT:
            raise UpgradeError("before the request was complete")
        if exchange.protocol not in [protocol.lower() for protocol in protocols]:
            raise UpgradeError("to a protocol that was not asked for")

    def _hand_over(
        self,
        exchange: ClientStreamHandler,
        event: str,
        status: bytes,
        phrase: bytes,
        fields: RawHeaders,
    ) -> None:
        """Emit the response, then hand the connection over to the program."""
        exchange.emit(event, status, phrase, fields)
        tcp_conn = self.tcp_conn
        if exchange is not self._exchange or tcp_conn is None or tcp_conn.read_state is CLOSED:
            return
        self._release()
        tcp_conn.owner = None
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        tcp_conn.unread(self._reader.take_rest())
        exchange.end(UPGRADED)
        taken = False
        try:
            taken = exchange.emit("upgrade", tcp_conn)
        finally:
            if not taken:
                tcp_conn.abort()
            exchange.release()

    def _finish(self, exchange: ClientStreamHandler) -> None:
        """End the exchange: its response is complete."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        reader = self._reader
        trailers = reader.trailers
        extra = reader.buffered if reader.buffer else 0
        exchange.transfer_bytes = tcp_conn.bytes_read - self._read_before - self._head_bytes - extra
        clean = exchange.request_state is SENT and not tcp_conn.write_buffer.size
        exchange.end(READ_DONE)
        self._exchange = None
        idle_timeout = exchange.client.idle_timeout
        if (
            clean
            and idle_timeout
            and self._reusable
            and not (extra or self._ended)
            and not ((self._full or tcp_conn.read_paused) and has_unread(tcp_conn.socket))
        ):
            timeouts = self.timeouts
            timeouts.idle_until = timeouts.deadline_at = at = self._loop.now + idle_timeout
            if at < timeouts.deadline_entry:
                self._loop.deadlines.arm(timeouts, at)
            self.pool.release(self)
        elif clean:
            self.close_idle()
        else:
            self.abort()
        self._finishing = True
        try:
            if exchange.relay_side is None:
                exchange.emit("response_done", trailers)
            else:
                exchange.relay_side.response_done(trailers)
        finally:
            exchange.release()
        self._finishing = False

    # -- ending --------------------------------------------------------------------------------

    def _has_no_response(self) -> bool:
        """Return whether no byte of a response has arrived."""
        tcp_conn = self.tcp_conn
        return tcp_conn is not None and tcp_conn.bytes_read == self._read_before

    def _fail_without_response(self, error: HttpError) -> None:
        """Give up before a byte of the response: the exchange may try another connection."""
        exchange = self._exchange
        assert exchange is not None
        sent = self.has_sent()
        self.abort()
        exchange.fail_without_response(error, sent, self.uses > 1)

    def fail(self, error: HttpError) -> None:
        """End the exchange with `error`, and the connection with it."""
        exchange = self._exchange
        if exchange is not None:
            exchange.transfer_bytes = self.bytes_received()
        self.abort()
        if exchange is not None:
            exchange.stream = None
            exchange.fail(error)

    def _release(self) -> TcpConnection | None:
        """Let go of the transport; the pool has one connection less. Returns: it, if any"""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        self._exchange = None
        if tcp_conn is not None:
            self.timeouts.disarm()
            # They refer back to this object: no cycle is left to the collector, which would keep
            # the bytes that are in it.
            del self.timeouts
        self.pool.retire(self)
        return tcp_conn

    # -- for the timeouts ----------------------------------------------------------------------

    def write_blocked(self) -> None:
        """Take note of a short send: the server does not read as fast as the program writes."""
        if self.tcp_conn is not None:
            self.timeouts.begin_write_blocked(self.tcp_conn)

    def send_held_body(self) -> None:
        """Send the body that was held back for a 100."""
        if self._exchange is not None:
            self._exchange.send_held_body()

    @property
    def timeout_settings(self) -> TimeoutSettings | None:
        """The settings of the client of the present exchange; None without one."""
        return self._exchange.client if self._exchange is not None else None

    def current_wait(self) -> Wait:
        """Return what the connection waits for."""
        exchange = self._exchange
        if exchange is None:
            return Wait(Phase.IDLE)
        return Wait(_phase_of(exchange), exchange.expires_at)


def _phase_of(exchange: ClientStreamHandler) -> Phase:
    if exchange.awaits_continue:
        return Phase.CONTINUE
    if exchange.response_paused:
        return Phase.PAUSED
    if exchange.request_state is ClientWriting.BODY:
        return Phase.REQUEST
    return Phase.HEAD if exchange.response_state is HEAD else Phase.BODY

"""One connection to a server, and the exchange that has it.

Owns: the reading of responses, and what ends or frees the connection. Must not know sockets: it is
the `_owner` of a `TcpConnection`; nor how a request is framed or repeated: that is the exchange's.

Theory of operation: an exchange gets the connection through `begin`, and writes its request. Bytes
that arrive are pushed into the reader; `_pump` pulls out what has been parsed and emits it on the
exchange, while that is not paused, so that pausing, cancelling and the next request inside a
listener are one condition of one loop. When the response is complete the connection goes back to
its group *before* `response_done` is emitted: a request that the listener starts can have it.

An idle connection is watched for reading all the time. Whatever comes ends it: the server's FIN,
or bytes that nobody asked for, which are never taken for the next response (RFC 9112 section 9.3).
For the same reason what arrives before a byte of the request has left is not an answer to it. And
since the next request may begin in the same turn, before anybody has looked, the kernel is asked
for more behind a response whose last piece may not have been all that there was. A server's FIN may
also come later in the turn that reuses the connection. What was written into it can be repeated on
another connection, unless the request is one that must not be: that one asks the kernel just before
its head is written (`has_ended`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from thor.http.client.errors import connection_lost
from thor.http.client.patience import ClientPatience
from thor.http.connection import READ_AHEAD_BYTES
from thor.http.error import ConnectError, HttpError, OutputStateError, TlsError, UpgradeError
from thor.http.wire.framing import LENGTH
from thor.http.wire.reader import ResponseReader
from thor.http.wire.state import ClientReading, ClientWriting
from thor.tcp.idle import has_ended
from thor.tcp.sockets import RECV_BYTES, has_unread
from thor.tcp.state import CLOSED, OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thor.http.client.exchange import HttpClientExchange
    from thor.http.client.pool import OriginPool
    from thor.http.wire.head import ResponseParts
    from thor.tcp import TcpConnection

HEAD, BODY, READ_DONE, UPGRADED = (
    ClientReading.HEAD,
    ClientReading.BODY,
    ClientReading.DONE,
    ClientReading.UPGRADED,
)
SENT = ClientWriting.DONE


class HttpClientConnection(ClientPatience):
    """A connection of the pool; `tcp_conn` is None once it is gone, or handed on."""

    def __init__(self, tcp_conn: TcpConnection, group: OriginPool) -> None:
        self.tcp_conn = tcp_conn
        self.group = group
        #: How many exchanges have had it.
        self.uses = 0
        self._loop = tcp_conn.loop
        self._reader = ResponseReader(group.limits)
        self._exchange: HttpClientExchange | None = None
        self._pumping = False
        self._finishing = False
        self._reusable = False
        self._ended = self._gone = False
        self._lost: HttpError | None = None
        # Where the present exchange began.
        self._read_before = self._wrote_before = self._head_bytes = 0
        self._since = self._sent_at = self._idle_until = inf
        self._write_blocked = False
        self._written = 0
        # From which size on a piece may not be all that the kernel had, and whether the last one
        # was of that size. Of how much was read to be decrypted nothing is known here.
        self._full_bytes = 1 if tcp_conn.is_encrypted else RECV_BYTES
        self._full = False
        self.deadline_at = self.deadline_entry = inf
        tcp_conn.owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)

    def __repr__(self) -> str:
        return f"<HttpClientConnection of {self._exchange!r} on {self.tcp_conn!r}>"

    # -- called by the group and the exchange --------------------------------------------------

    def begin(self, exchange: HttpClientExchange) -> None:
        """From now on `exchange` has this connection; what it wrote already is sent."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        self.uses += 1
        self._read_before = tcp_conn.bytes_read
        self._wrote_before = tcp_conn.bytes_written
        self._head_bytes = 0
        self.deadline_at = inf
        self._exchange = exchange
        self._reader.expect(exchange.method, exchange._protocol is not None)
        exchange._conn = self
        if exchange._group is not None:
            exchange._stop_waiting()
        if exchange._replay_buffer:
            exchange._send_replay()
        if exchange._expires_at != inf and self._exchange is exchange:
            self._wait()

    def has_ended(self) -> bool:
        """Ask whether a reused connection has ended since its last response (`has_ended` of TCP).

        On one that was not used before, there is no response that the server may have closed after.
        """
        return self.uses > 1 and self.tcp_conn is not None and has_ended(self.tcp_conn)

    def write(self, data: bytes) -> bool:
        """Write a piece of the request. Returns: False above the mark"""
        tcp_conn = self.tcp_conn
        # After the loop was stopped there is a connection in name only.
        if tcp_conn is None or tcp_conn.write_state is not OPEN:
            return True
        return tcp_conn.write(data)

    def is_write_paused(self) -> bool:
        """Whether the queue to send is above its mark."""
        return self.tcp_conn is not None and self.tcp_conn.write_paused

    def has_sent(self) -> bool:
        """Whether some byte of the present request has left."""
        return self.tcp_conn is None or self.tcp_conn.bytes_written != self._wrote_before

    def body_bytes(self) -> int:
        """Bytes of the present response's body that have been read, as they were transferred."""
        if self.tcp_conn is None or self._exchange is None or self._exchange._reading is HEAD:
            return 0
        read = self.tcp_conn.bytes_read - self._read_before
        return read - self._head_bytes - self._reader.buffered

    def resume(self) -> None:
        """The exchange reads again."""
        self._since = self._loop.now
        self._pump()
        if self._exchange is not None:
            self._wait()

    def abandoned(self) -> None:
        """The exchange has ended before its response was complete."""
        self._abort()

    def close_idle(self) -> None:
        """The connection is not wanted any more, and nothing is under way on it."""
        tcp_conn = self._release()
        if tcp_conn is not None:
            tcp_conn.close()

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Bytes arrived."""
        exchange = self._exchange
        tcp_conn = self.tcp_conn
        if exchange is None or tcp_conn is None:
            self.close_idle()
            return
        if tcp_conn.bytes_written == self._wrote_before:
            self._fail_without_response(ConnectError("the server spoke before it was asked"))
            return
        self._since = self._loop.now
        self._full = len(data) >= self._full_bytes
        reader = self._reader
        reader.feed(data)
        self._pump()
        if exchange._paused and reader.buffered > READ_AHEAD_BYTES and exchange is self._exchange:
            tcp_conn.pause(True)

    def end(self) -> None:
        """The server finished sending."""
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
                self._fail(exc.with_traceback(None))
            else:
                self._pump()

    def close(self, exc: OSError | None) -> None:
        """The server or the network ended the connection."""
        self._gone = True
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
                self._lost = error
                self._pump()

    def disconnect(self) -> None:
        """The socket is closed; what the server said before may not have been emitted yet."""
        self.group.remove(self)
        exchange = self._exchange
        if exchange is None:
            self.tcp_conn = None
        elif not self._gone:
            exchange.cancel()  # the program closed it

    def pause(self, paused: bool) -> None:
        """The request is more than the server takes."""
        if self._exchange is not None:
            self._exchange._emit_pause(paused)

    def hangup(self) -> None:
        """The server is gone, seen while reading was paused: what it sent is read on resuming."""

    def failed(self, exc: BaseException) -> None:
        """A listener raised: its exchange is lost, unless it was the last call of that one."""
        if self._finishing:
            self._finishing = False
        else:
            self._fail(OutputStateError(f"the program failed: {type(exc).__name__}"))

    # -- the response --------------------------------------------------------------------------

    def _pump(self) -> None:
        """Pull out what was parsed and emit it, until something holds it up."""
        tcp_conn = self.tcp_conn
        if self._pumping or tcp_conn is None:
            return
        reader = self._reader
        self._pumping = True
        try:
            while (exchange := self._exchange) is not None:
                if tcp_conn.read_state is CLOSED and not self._gone:
                    exchange.cancel()  # the program closed it
                elif exchange._reading is HEAD:
                    head = reader.read_head()
                    if head is not None:
                        self._begin_response(exchange, head)
                        continue
                elif exchange._paused:
                    break
                else:
                    if not reader.complete:
                        chunk = reader.read_body()
                        if chunk:
                            if exchange._owner is None:
                                exchange.emit("response_body", chunk)
                            else:
                                exchange._owner.response_body(chunk)
                            continue
                    if reader.complete:
                        self._finish(exchange)
                        continue
                if self._lost is not None:  # and all that had arrived was emitted
                    self._fail(self._lost)
                break
        except HttpError as exc:
            # The reader keeps it, and its traceback would keep us.
            self._fail(exc.with_traceback(None))
        finally:
            self._pumping = False
            if (
                tcp_conn.read_paused
                and reader.buffered <= READ_AHEAD_BYTES
                and self.tcp_conn is tcp_conn
            ):
                tcp_conn.pause(False)

    def _begin_response(self, exchange: HttpClientExchange, head: ResponseParts) -> None:
        # fmt: off
        (
            exchange.res_version, _, status, code, phrase, fields, framing, length, keep_alive,
            size, protocols,
        ) = head
        # fmt: on
        self._head_bytes += size
        if code < 200:
            if code == 101:
                self._check_switch(exchange, protocols)
                exchange.input_header_length = size
                self._hand_over(exchange, "response_nonfinal", status, phrase, fields)
                return
            if code == 100:
                exchange._continue()
            exchange.emit("response_nonfinal", status, phrase, fields)
            return
        exchange.input_header_length = size
        if code < 300 and exchange.method == b"CONNECT":
            self._hand_over(exchange, "response_start", status, phrase, fields)
            return
        exchange._reading = BODY
        exchange._replay_buffer = None
        if framing == LENGTH:
            exchange._length = length
        self._reusable = keep_alive
        if exchange.awaits_continue or (exchange._writing is not SENT and not keep_alive):
            self._reusable = False
            exchange._abandon()
            self._wait()  # from now on only the server is due
        if exchange._owner is None:
            exchange.emit("response_start", status, phrase, fields)
        else:
            exchange._owner.response_start(status, phrase, fields)

    def _check_switch(self, exchange: HttpClientExchange, protocols: Sequence[bytes]) -> None:
        """Let a 101 pass if the request is complete, and asked for it (RFC 9110 section 7.8)."""
        if exchange._writing is not SENT:
            raise UpgradeError("before the request was complete")
        if exchange._protocol not in [protocol.lower() for protocol in protocols]:
            raise UpgradeError("to a protocol that was not asked for")

    def _hand_over(self, exchange: HttpClientExchange, event: str, *head: Any) -> None:
        """The connection is the program's, as soon as it has heard of the response."""
        exchange.emit(event, *head)
        tcp_conn = self.tcp_conn
        if exchange is not self._exchange or tcp_conn is None or tcp_conn.read_state is CLOSED:
            return
        self._release()
        tcp_conn.owner = None
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        tcp_conn.unread(self._reader.take_rest())
        exchange._end(UPGRADED)
        taken = False
        try:
            taken = exchange.emit("upgrade", tcp_conn)
        finally:
            if not taken:
                tcp_conn.abort()
            exchange._forget()

    def _finish(self, exchange: HttpClientExchange) -> None:
        """The response is complete."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        reader = self._reader
        trailers = reader.trailers
        extra = reader.buffered if reader.buffer else 0
        exchange._transfer_bytes = (
            tcp_conn.bytes_read - self._read_before - self._head_bytes - extra
        )
        clean = exchange._writing is SENT and not tcp_conn.write_buffer.size
        exchange._end(READ_DONE)
        self._exchange = None
        idle_timeout = exchange.client.idle_timeout
        if (
            clean
            and idle_timeout
            and self._reusable
            and not (extra or self._ended)
            and not ((self._full or tcp_conn.read_paused) and has_unread(tcp_conn.socket))
        ):
            self._idle_until = self.deadline_at = when = self._loop.now + idle_timeout
            if when < self.deadline_entry:
                self._loop.deadlines.arm(self, when)
            self.group.release(self)
        elif clean:
            self.close_idle()
        else:
            self._abort()
        self._finishing = True
        try:
            if exchange._owner is None:
                exchange.emit("response_done", trailers)
            else:
                exchange._owner.response_done(trailers)
        finally:
            exchange._listeners = exchange._sink = exchange._owner = None
        self._finishing = False

    # -- ending --------------------------------------------------------------------------------

    def _has_no_response(self) -> bool:
        """Whether no byte of a response has come."""
        tcp_conn = self.tcp_conn
        return tcp_conn is not None and tcp_conn.bytes_read == self._read_before

    def _fail_without_response(self, error: HttpError) -> None:
        """The connection failed before a byte of the response: the exchange may try another."""
        exchange = self._exchange
        assert exchange is not None
        sent = self.has_sent()
        self._abort()
        exchange._no_response(error, sent, self.uses > 1)

    def _fail(self, error: HttpError) -> None:
        """The exchange is lost, and the connection with it."""
        exchange = self._exchange
        if exchange is not None:
            exchange._transfer_bytes = self.body_bytes()
        self._abort()
        if exchange is not None:
            exchange._conn = None
            exchange._fail(error)

    def _abort(self) -> None:
        tcp_conn = self._release()
        if tcp_conn is not None:
            tcp_conn.abort()

    def _release(self) -> TcpConnection | None:
        """Let go of the transport; the group has one connection less. Returns: it, if any"""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        self._exchange = None
        self.deadline_at = inf
        self.group.remove(self)
        return tcp_conn

"""A request and its response, as the server's program sees them.

Owns: the order in which a response may be written. Must not know the transport's states: it hands
bytes to its connection, and the connection emits on it.

Theory of operation: the connection makes an exchange for each request whose head was accepted and
emits the request on it; the program answers with the `response_*` methods, at any time. After the
terminal event listeners are dropped, or the usual closure over the exchange would keep both alive
until the collector finds them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from thor.events import EventEmitter, require_callback
from thor.http.body_splice import SpliceableBody
from thor.http.connection import BodyWriter, write_together
from thor.http.error import ExchangeTimeoutError, OutputError, OutputStateError, OutputSyntaxError
from thor.http.headers import field_list
from thor.http.wire.framing import LENGTH, NO_BODY
from thor.http.wire.state import ServerWriting
from thor.http.wire.writer import OutgoingHead, informational_head, response_head
from thor.tcp.sendfile import can_send_files
from thor.tcp.state import OPEN
from thor.types import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.error import HttpError
    from thor.http.server.connection import HttpServerConnection
    from thor.http.wire.head import RequestHead
    from thor.tcp import TcpConnection
    from thor.tcp.sendfile import File
    from thor.types import Data, HeadersIn, RawHeaders

log = logging.getLogger("thor.http")

IDLE, BODY, DONE, UPGRADED, FAILED = (
    ServerWriting.IDLE,
    ServerWriting.BODY,
    ServerWriting.DONE,
    ServerWriting.UPGRADED,
    ServerWriting.FAILED,
)


class HttpServerExchange(EventEmitter, BodyWriter, SpliceableBody):
    """A request that was received, and the response to it.

    method, uri: as sent; req_hdrs: [(name, value)] in wire order, where the Host is that of an
        absolute `uri`; req_version: b"1.1", b"1.0"; http_conn: the connection

    Emits:
        request_start(method: bytes, uri: bytes, headers: [(bytes, bytes)]): once, first.
        expect_continue(): the client waits before it sends the body; answer with
            `response_nonfinal(100, ...)` or a final response. Without a listener the
            100 is sent when the program reads, that is, unless it has paused.
        request_body(chunk: bytes): any number of times. Not while paused.
        request_done(trailers: [(bytes, bytes)]): once; the request is complete.
        pause(paused: bool): the response is more than the client takes (True): stop calling
            `response_body` until it is emitted with False.
        error(err: HttpError): the exchange is lost; `close` and `done` follow, nothing else.
        close(): the exchange is lost; follows `error`.
        done(err: HttpError | None): exactly once, last: the last byte of the response was
            handed to the kernel (None), or the exchange is lost.
    After `response_done` nothing more of the request is emitted, and only `done` follows. An
    exchange that is lost accepts `response_*` calls and drops them.
    """

    emits = frozenset(
        (
            "request_start",
            "expect_continue",
            "request_body",
            "request_done",
            "pause",
            "error",
            "close",
            "done",
        )
    )

    method: bytes
    uri: bytes
    req_version: bytes
    req_hdrs: RawHeaders
    #: The authority that the request is for (RFC 9110 section 7.1); empty if unknown.
    host: bytes

    def __init__(self, conn: HttpServerConnection, head: RequestHead) -> None:
        self._listeners = self._sink = None
        #: The layer above, if there is one. It is called directly for what each request has:
        #: `request_body(chunk)` and `request_done(trailers)`; it is the sink as well, and its
        #: `hears_done` says whether for `done`, too.
        self._owner: Any = None
        self.http_conn = conn
        # fmt: off
        (
            self.method, self.uri, self.req_version, self._http11, self.req_hdrs, _, _,
            self._client_keep_alive, self.host, _, self.expects_continue, _,
            self._upgrade_protocols, _,
        ) = head
        # fmt: on
        self._framing = self._left = 0
        self._keep_alive = self._client_keep_alive
        self._writing = IDLE
        self._paused = False

    def __repr__(self) -> str:
        method, uri = self.method.decode("latin-1"), self.uri[:60].decode("latin-1")
        return f"<HttpServerExchange {method} {uri!r} {self._writing.name}>"

    # -- the request ---------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `request_body` and `request_done`. It holds at once."""
        if paused != self._paused:
            self._paused = paused
            if not paused:
                self.http_conn._loop.call_soon(self.http_conn._resume, self)

    @property
    def upgrade_offered(self) -> list[bytes]:
        """The protocols that the client offers to switch to, in its order."""
        return list(self._upgrade_protocols)

    # -- the response --------------------------------------------------------------------------

    def response_start(
        self, status: int | str | bytes, phrase: str | bytes, headers: HeadersIn
    ) -> None:
        """Start the response: its head.

        status: 200 to 999; phrase: may be empty; headers: [(name, value)] in wire order;
            hop-by-hop fields are dropped, the framing is chosen here (RFC 9112 section 6)
        Raises: OutputStateError if a response was started already, OutputSyntaxError for a
            field, status or phrase that cannot be written; then nothing was sent
        """
        if self._writing is not IDLE:
            self._out_of_order("response_start")
            return
        conn = self.http_conn
        keep_alive = self._keep_alive
        early = not conn._reader.complete
        if early:
            headers = field_list(headers)  # it may be made into a head twice
        if early or conn._needs_deadline_check or self.method == b"CONNECT":
            keep_alive = keep_alive and conn._can_persist(self)
        server = conn.server
        current = server.send_date and conn._loop.now < server._date_until
        date_line = server._dated if current else server._date_line()
        out = response_head(
            status, phrase, headers, self.method, self._http11, keep_alive, date_line
        )
        if early and out.keep_alive and not conn._can_discard_body(self, out.framing):
            out = response_head(
                status, phrase, headers, self.method, self._http11, False, date_line
            )
        if out.framing == NO_BODY:
            out = self._check_bodiless(out, date_line)
        data, self._framing, self._left, self._keep_alive = out
        tcp_conn = conn.tcp_conn
        if tcp_conn is not None and tcp_conn.write_state is OPEN:
            self._writing = BODY
            tcp_conn.write(data)
        else:
            self._writing = FAILED  # the program is told when the connection has noticed

    def _check_bodiless(self, out: OutgoingHead, date_line: bytes) -> OutgoingHead:
        """A head after which there is no body: for some there must not be such a response.

        Raises: OutputSyntaxError for one that is not final
        """
        kind = out.data[9:10]
        if kind == b"1":
            raise OutputSyntaxError("not a final status: see response_nonfinal() and upgrade()")
        if kind == b"2" and self.method == b"CONNECT":
            # Only upgrade() opens a tunnel; a client must not believe that it has one.
            fields = [("Allow", ""), ("Content-Length", "0")]
            data, *_ = response_head(
                405, "Method Not Allowed", fields, b"CONNECT", self._http11, False, date_line
            )
            # The body of what the program meant is dropped.
            return OutgoingHead(data, NO_BODY, 0, False)
        return out

    def response_nonfinal(
        self, status: int | str | bytes, phrase: str | bytes, headers: HeadersIn
    ) -> None:
        """Send an informational response (1xx, not 101) before the final one.

        A client that speaks HTTP/1.0 does not get it (RFC 9110 section 15.2).
        Raises: OutputStateError after `response_start`, OutputSyntaxError as `response_start`
        """
        if self._writing is not IDLE:
            self._out_of_order("response_nonfinal")
            return
        data = informational_head(status, phrase, headers)
        if self._http11:
            self._write(data)
            if data.startswith(b"HTTP/1.1 100"):
                self.http_conn._continued(self)

    def response_body(self, chunk: Data) -> bool:
        """Send a piece of the response's body.

        chunk: `str` is sent as UTF-8
        Returns: False when the connection's queue is above its mark: wait for `pause(False)`
        Raises: OutputStateError before `response_start`, after `response_done`, or for more
            bytes than the declared length; the connection is then not used again
        """
        if self._writing is not BODY:
            self._out_of_order("response_body")
            return True
        if chunk.__class__ is not bytes:
            chunk = to_bytes(chunk)
        if self._framing == LENGTH and (left := self._left - len(chunk)) >= 0:
            self._left = left
            tcp_conn = self.http_conn.tcp_conn
            if tcp_conn is not None and tcp_conn.write_state is OPEN:
                return tcp_conn.write(chunk)
            self._writing = FAILED
            return True
        try:
            return self._write_body(chunk)
        except OutputStateError as exc:
            self.http_conn._response_broken(self, exc)
            raise

    def response_done(self, trailers: HeadersIn, close: bool = False) -> None:
        """End the response.

        trailers: [(name, value)], sent if the body is chunked; fields that a trailer must not
            have (RFC 9110 section 6.5.1) are dropped
        close: close the connection after it
        Raises: OutputStateError before `response_start`, when called twice, or if bytes are
            missing of the declared length; the connection is then not used again.
            OutputSyntaxError for a trailer that cannot be written; then nothing was sent
        """
        if self._writing is not BODY:
            self._out_of_order("response_done")
            return
        self._writing = DONE
        try:
            if self._left or self._framing != LENGTH:
                self._end_body(trailers)
        except OutputStateError as exc:
            self._writing = BODY
            self.http_conn._response_broken(self, exc)
            raise
        except (OutputSyntaxError, TypeError):
            self._writing = BODY
            raise
        if close:
            self._keep_alive = False
        conn = self.http_conn
        if not conn._pumping:  # else it is looked at there
            conn._answered(self)

    def upgrade(self, protocol: str | bytes, headers: HeadersIn = ()) -> TcpConnection:
        """Switch to another protocol: 101, or 200 to CONNECT, and the connection is the program's.

        protocol: one that the client offered (compared without case); ignored for CONNECT
        Returns: the connection, paused; bytes that came with the request are its first `data`
        Raises: OutputStateError if the client did not offer it, a response was started, or the
            request's body has not been read
        """
        if self._writing is not IDLE:
            raise OutputStateError(f"upgrade when the response is {self._writing.name}")
        if isinstance(protocol, str):
            protocol = protocol.encode("latin-1")
        return self.http_conn._upgrade(self, protocol, headers)

    def _out_of_order(self, call: str) -> None:
        """A call at the wrong time; when the exchange is lost it is of no concern."""
        if self._writing is not FAILED:
            raise OutputStateError(f"{call} when the response is {self._writing.name}")

    # -- for bodies that nobody looks at -------------------------------------------------------

    def _transport(self) -> TcpConnection | None:
        return self.http_conn.tcp_conn

    def _bytes_expected(self) -> int:
        conn = self.http_conn
        return 0 if self._paused or self is not conn._exchange else conn._reader.body_due

    def _on_body_spliced_in(self, count: int) -> None:
        conn = self.http_conn
        conn._since = conn._loop.now
        conn._body_bytes += count
        conn._reader.skip_body(count)

    def _bytes_promised(self) -> int:
        return self._left if self._writing is BODY and self._framing == LENGTH else 0

    def _on_body_spliced_out(self, count: int) -> None:
        self._left -= count

    # -- for bodies that come from a file ------------------------------------------------------

    def can_send_files(self) -> bool:
        """Return whether the kernel can send pieces of files to this client."""
        tcp_conn = self.http_conn.tcp_conn
        return tcp_conn is not None and can_send_files(tcp_conn)

    def response_file(self, file: File, offset: int, count: int) -> bool:
        """Send a piece of a file as the next piece of the body, without reading it.

        To be called when all that was written before has left (`when_sent`).
        offset, count: the piece, in bytes; its pages are to be in memory
        Returns: False if it has to be read, and passed to `response_body`
        """
        tcp_conn = self.http_conn.tcp_conn
        if tcp_conn is None or count > self._bytes_promised():
            return False
        if not tcp_conn.write_file(file, offset, count):
            return False
        self._left -= count
        return True

    def when_sent(self, callback: Callable[[], Any]) -> None:
        """Call `callback()` when all that was written until now was handed to the kernel.

        It is never called if the connection is lost before.
        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        tcp_conn = self.http_conn.tcp_conn
        if tcp_conn is not None and tcp_conn.write_state is OPEN:
            tcp_conn.when_sent(callback)

    # -- for the connection --------------------------------------------------------------------

    def _write(self, data: bytes) -> bool:
        tcp_conn = self.http_conn.tcp_conn
        if tcp_conn is None or tcp_conn.write_state is not OPEN:
            self._writing = FAILED  # the program is told when the connection has noticed
            return True
        return tcp_conn.write(data)

    def _write_pieces(self, *pieces: bytes) -> bool:
        tcp_conn = self.http_conn.tcp_conn
        if tcp_conn is None or tcp_conn.write_state is not OPEN:
            self._writing = FAILED
            return True
        return write_together(tcp_conn, *pieces)

    def _hears(self, event: str) -> bool:
        """Whether somebody listens for `event`."""
        listeners = self._listeners
        if listeners is not None and event in listeners:
            return True
        return self._sink is not None and hasattr(self._sink, event)

    def _lose(self, error: HttpError) -> None:
        """Tell the program that the exchange is lost."""
        try:
            if not self.emit("error", error):
                ours = isinstance(error, (ExchangeTimeoutError, OutputError))
                level = logging.WARNING if ours else logging.INFO
                log.log(level, "%r from %r: %s", self, self.http_conn.address, error)
        finally:
            try:
                self.emit("close")
            finally:
                self._end(error)

    def _end(self, error: HttpError | None) -> None:
        """The terminal event; the listeners go with it."""
        try:
            self.emit("done", error)
        finally:
            self._forget()

    def _forget(self) -> None:
        self._listeners = self._sink = self._owner = None

"""A request and its response, as the server's program sees them.

Owns: the order in which a response may be written. Must not know the protocol version: it calls its
stream (`thor.http.streams`), and the stream emits on it.

Theory of operation: a connection makes an exchange for each request whose head was accepted and
emits the request on it; the program answers with the `response_*` methods, at any time. After the
terminal event listeners are dropped, or the usual closure over the exchange would keep both alive
until the collector finds them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from thor.events import EventEmitter
from thor.http.error import ExchangeTimeoutError, OutputError, OutputStateError
from thor.http.wire.state import ServerWriting
from thor.types import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.error import HttpError
    from thor.http.streams import RequestFacts, RequestRelaySide, ServerStream, Spliceable
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection
    from thor.tcp.sendfile import File
    from thor.types import Address, Data, HeadersIn, RawHeaders

log = logging.getLogger("thor.http")

IDLE, BODY, FAILED = ServerWriting.IDLE, ServerWriting.BODY, ServerWriting.FAILED


class HttpServerExchange(EventEmitter):
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

    def __init__(self, stream: ServerStream, head: RequestFacts) -> None:
        self._listeners = self._sink = None
        #: The layer above, if there is one: `attach_relay`.
        self.relay_side: RequestRelaySide | None = None
        self._stream = stream
        self.http_conn = stream.connection
        self.method = head.method
        self.uri = head.target
        self.req_version = head.version
        self.req_hdrs = head.headers
        self.host = head.host
        self.expects_continue = head.expect_continue
        self._upgrade_protocols = head.upgrade
        self.response_state = IDLE
        self.request_paused = False

    def __repr__(self) -> str:
        method, uri = self.method.decode("latin-1"), self.uri[:60].decode("latin-1")
        return f"<HttpServerExchange {method} {uri!r} {self.response_state.name}>"

    # -- the client ----------------------------------------------------------------------------

    @property
    def loop(self) -> LoopBase:
        """The loop of the server."""
        return self._stream.loop

    @property
    def peer(self) -> Address:
        """The client's address; "" of one that came by a Unix socket."""
        return self.http_conn.address

    @property
    def secure(self) -> bool:
        """Whether the client came by TLS: to this server, or to a proxy that says so in its PROXY
        header."""
        return self._stream.secure

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent to the client."""
        return self.response_state in (IDLE, BODY) and self._stream.is_open

    def abort(self, *, flush: bool = False) -> None:
        """End the exchange so that the client cannot take what it has for a whole response.

        `error`, `close` and `done` are emitted, unless the response was complete.
        flush: what was written before leaves first, within the server's `send_timeout`
        """
        if self.response_state in (IDLE, BODY):
            self._stream.abort(flush)

    # -- the request ---------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `request_body` and `request_done`. It holds at once."""
        if paused != self.request_paused:
            self.request_paused = paused
            if not paused and self.response_state in (IDLE, BODY):
                self._stream.resume()

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
        if self.response_state is IDLE:
            self._stream.send_head(status, phrase, headers)
        else:
            self._out_of_order("response_start")

    def response_nonfinal(
        self, status: int | str | bytes, phrase: str | bytes, headers: HeadersIn
    ) -> None:
        """Send an informational response (1xx, not 101) before the final one.

        A client that speaks HTTP/1.0 does not get it (RFC 9110 section 15.2).
        Raises: OutputStateError after `response_start`, OutputSyntaxError as `response_start`
        """
        if self.response_state is IDLE:
            self._stream.send_nonfinal(status, phrase, headers)
        else:
            self._out_of_order("response_nonfinal")

    def response_body(self, chunk: Data) -> bool:
        """Send a piece of the response's body.

        chunk: `str` is sent as UTF-8
        Returns: False when the connection's queue is above its mark: wait for `pause(False)`
        Raises: OutputStateError before `response_start`, after `response_done`, or for more
            bytes than the declared length; the connection is then not used again
        """
        if self.response_state is not BODY:
            self._out_of_order("response_body")
            return True
        if chunk.__class__ is not bytes:
            chunk = to_bytes(chunk)
        return self._stream.send_body(chunk)

    def response_done(self, trailers: HeadersIn, close: bool = False) -> None:
        """End the response.

        trailers: [(name, value)], sent if the body is chunked; fields that a trailer must not
            have (RFC 9110 section 6.5.1) are dropped
        close: close the connection after it
        Raises: OutputStateError before `response_start`, when called twice, or if bytes are
            missing of the declared length; the connection is then not used again.
            OutputSyntaxError for a trailer that cannot be written; then nothing was sent
        """
        if self.response_state is BODY:
            self._stream.send_end(trailers, close)
        else:
            self._out_of_order("response_done")

    def upgrade(self, protocol: str | bytes, headers: HeadersIn = ()) -> TcpConnection:
        """Switch to another protocol: 101, or 200 to CONNECT, and the connection is the program's.

        protocol: one that the client offered (compared without case); ignored for CONNECT
        Returns: the connection, paused; bytes that came with the request are its first `data`
        Raises: OutputStateError if the client did not offer it, a response was started, or the
            request's body has not been read
        """
        if self.response_state is not IDLE:
            raise OutputStateError(f"upgrade when the response is {self.response_state.name}")
        if isinstance(protocol, str):
            protocol = protocol.encode("latin-1")
        if not self._stream.is_open:
            raise OutputStateError("upgrade of an exchange that is over")
        offered = [name.lower() for name in self._upgrade_protocols]
        if self.method != b"CONNECT" and protocol.lower() not in offered:
            raise OutputStateError("upgrade to a protocol that the client did not offer")
        return self._stream.upgrade(protocol, headers)

    def _out_of_order(self, call: str) -> None:
        """Raise for a call at the wrong time; an exchange that is lost ignores it."""
        if self.response_state is not FAILED:
            raise OutputStateError(f"{call} when the response is {self.response_state.name}")

    # -- bodies that are moved by the kernel ---------------------------------------------------

    def body_splice(self) -> Spliceable | None:
        """Return what can move this exchange's bodies in the kernel; None where nothing can."""
        return self._stream.body_splice()

    def can_send_files(self) -> bool:
        """Return whether the kernel can send pieces of files to this client."""
        return self._stream.can_send_files()

    def response_file(self, file: File, offset: int, count: int) -> bool:
        """Send a piece of a file as the next piece of the body, without reading it.

        To be called when all that was written before has left (`when_sent`).
        offset, count: the piece, in bytes; its pages are to be in memory
        Returns: False if it has to be read, and passed to `response_body`
        """
        return self.response_state is BODY and self._stream.send_file(file, offset, count)

    def when_sent(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when all that was written until now was handed to the kernel.

        It is never called if the connection is lost before.
        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        self._stream.when_sent(callback)

    # -- for the stream and for relays ---------------------------------------------------------

    def attach_relay(self, side: RequestRelaySide) -> None:
        """Have `side` called directly for the request, and as the sink for all other events."""
        self.relay_side = self._sink = side

    def has_listener(self, event: str) -> bool:
        """Return whether anybody listens for `event`."""
        listeners = self._listeners
        if listeners is not None and event in listeners:
            return True
        return self._sink is not None and hasattr(self._sink, event)

    def release(self) -> bool:
        """Let go of the listeners of an exchange that is complete, unless one is for `done`.

        Returns: whether they are gone, and nothing is to be emitted any more
        """
        listeners = self._listeners
        if listeners is not None and "done" in listeners:
            return False
        sink = self._sink
        if sink is not None:
            relay = self.relay_side
            if relay.hears_done if relay is sink else hasattr(sink, "done"):
                return False
            self._sink = self.relay_side = None
        self._listeners = None
        return True

    def lose(self, error: HttpError) -> None:
        """Emit that the exchange cannot be completed."""
        try:
            if not self.emit("error", error):
                ours = isinstance(error, (ExchangeTimeoutError, OutputError))
                level = logging.WARNING if ours else logging.INFO
                log.log(level, "%r from %r: %s", self, self.http_conn.address, error)
        finally:
            try:
                self.emit("close")
            finally:
                self.end(error)

    def end(self, error: HttpError | None) -> None:
        """Emit `done`, and let go of the listeners."""
        try:
            self.emit("done", error)
        finally:
            self._listeners = self._sink = self.relay_side = None

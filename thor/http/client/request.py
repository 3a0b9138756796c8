"""A request on its way out.

Owns: what of a request was written and is kept, so that it can be sent when there is a connection,
or sent again. Must not know responses, nor when a request is tried again.

Theory of operation: the head is rendered, and thereby checked, at `request_start`, but written
with what comes next, since whether there is a body decides its framing; if its method or a
Content-Length says that there is one, it waits only until the present callback is over. All that
is written goes through `_put` as it will stand on the wire, and is kept in `_replay_buffer`:
everything
while there is no connection, then up to `retry_body_limit`. `_replay_sent` pieces of it were handed
to the present connection.

With `Expect: 100-continue` the head is written at once and the rest is held until the server says
100, or has said nothing for a while (RFC 9110 section 10.1.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thor.events import EventEmitter
from thor.http.connection import BodyWriter, body_bytes
from thor.http.error import HttpError, OutputStateError, OutputSyntaxError, UrlError
from thor.http.headers import FieldsIn, field_list
from thor.http.uri import show_uri
from thor.http.wire.framing import CHUNKED, NO_BODY
from thor.http.wire.state import ClientReading, ClientWriting
from thor.http.wire.writer import last_chunk, request_head
from thor.tcp.write_buffer import HIGH_WATER

if TYPE_CHECKING:
    from thor.http.client.client import HttpClient
    from thor.http.client.connection import HttpClientConnection
    from thor.http.client.pool import Route
    from thor.loop import LoopBase
    from thor.types import Data, HeadersIn, RawHeaders

IDLE, BODY, DONE, FAILED = (
    ClientWriting.IDLE,
    ClientWriting.BODY,
    ClientWriting.DONE,
    ClientWriting.FAILED,
)
RESPONSE_DUE = (ClientReading.HEAD, ClientReading.BODY)

#: Methods that may be repeated when it is not known whether they were carried out (RFC 9110
#: section 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class OutgoingRequest(EventEmitter, BodyWriter):
    """The part of a client's exchange that is the request."""

    client: HttpClient
    #: As passed.
    method: bytes
    uri: bytes
    #: Where it goes, also when it is tried again; None before `request_start`.
    _route: Route | None
    #: When the exchange has to be over, in monotonic seconds.
    _expires_at: float
    _writing: ClientWriting
    _reading: ClientReading
    _conn: HttpClientConnection | None
    #: The head, and until it is written what it was made of.
    _head: bytes
    _head_parts: tuple[Any, ...] | None
    #: The protocol that was asked for, in lower case.
    _protocol: bytes | None
    _replay_buffer: list[bytes] | None
    _replay_sent: int
    _replay_bytes: int
    awaits_continue: bool
    _pause_emitted: bool

    def _fail_soon(self, error: HttpError) -> None:
        raise AssertionError

    @property
    def loop(self) -> LoopBase:
        raise AssertionError

    # -- what the program calls ----------------------------------------------------------------

    def request_start(
        self,
        method: str | bytes,
        uri: str | bytes,
        headers: HeadersIn,
        *,
        upgrade: str | bytes | None = None,
        te_trailers: bool = False,
    ) -> None:
        """Start the request.

        uri: absolute, http or https; for CONNECT in authority form, "host:port", which is where the
            connection goes as well. OPTIONS of a URI without any path asks about the server
        headers: [(name, value)] in wire order. Fields that concern one connection are dropped;
            one Host replaces the URI's authority. A Content-Length is the body's promise, else
            a body is sent chunked
        upgrade: a protocol to ask for; `upgrade` is emitted if the server switches to it
        te_trailers: say that trailers are welcome (RFC 9110 section 10.1.4)
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        if self._writing is not IDLE:
            self._out_of_order("request_start")
            return
        try:
            if method.__class__ is not bytes:
                method = _ascii(method, "method", OutputSyntaxError)
            if uri.__class__ is not bytes:
                uri = _ascii(uri, "URI", UrlError)
            self.method = method
            self.uri = uri
            route, target = self.client._locate(method, uri)
            self._start(route, target, list(field_list(headers)), upgrade, te_trailers)
        except HttpError as exc:
            self._fail_soon(exc)

    def forward(
        self,
        method: bytes,
        origin: bytes,
        target: bytes,
        headers: RawHeaders,
        upgrade: bytes | None,
        te_trailers: bool,
    ) -> None:
        """`request_start` for who passes a request on, and knows what it is made of.

        origin: `scheme://authority`; target: the path with its query, or `*`
        headers: kept, not copied; if they are WireFields, the target is one that was parsed
        """
        self.method = method
        self.uri = origin if target == b"*" else origin + target
        try:
            route = self.client._route_to(origin)
            if route.prefix:
                target = route.prefix + target.removeprefix(b"*")
            self._start(route, target, headers, upgrade, te_trailers)
        except HttpError as exc:
            self._fail_soon(exc)

    def _start(
        self,
        route: Route,
        target: bytes,
        headers: FieldsIn,
        upgrade: str | bytes | None,
        te_trailers: bool,
    ) -> None:
        """Make the head, and get a connection. Raises: HttpError, TypeError"""
        if route.fields:
            headers = route.with_fields(headers)
        self._head_parts = (target, headers, route.authority, upgrade, te_trailers)
        self._render_head(None)
        self._route = route
        self._writing = BODY
        if upgrade is not None:
            self._protocol = _ascii(upgrade, "protocol", OutputSyntaxError).strip().lower()
        timeout = self.client.exchange_timeout
        if timeout:
            self._expires_at = self.loop.clock.monotonic() + timeout
        route.group.acquire(self)  # type: ignore[arg-type]
        if self._head.find(b"100-") > 0 and _has_expectation(self._head):
            self._expect_continue()
        elif self._framing != NO_BODY:
            self.loop.call_soon(self._start_body)

    def request_body(self, chunk: Data) -> bool:
        """Send a piece of the request's body.

        chunk: `str` is sent as UTF-8
        Returns: False when enough is held up already: wait for `pause(False)`
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        if chunk.__class__ is not bytes:
            chunk = body_bytes(chunk)
        if self._writing is not BODY:
            self._out_of_order("request_body")
            return True
        if not chunk:
            return not self._pause_emitted
        try:
            if self._framing == NO_BODY:
                self._render_head(True)
            return self._write_body(chunk)
        except HttpError as exc:
            self._fail_soon(exc)
            return True

    def request_done(self, trailers: HeadersIn) -> None:
        """End the request. Every request needs it.

        trailers: [(name, value)], sent if the body is chunked; fields that a trailer must not
            have (RFC 9110 section 6.5.1) are dropped
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        if self._writing is not BODY:
            self._out_of_order("request_done")
            return
        if self._framing != NO_BODY or trailers:
            try:
                self._finish_body(trailers)
            except HttpError as exc:
                self._fail_soon(exc)
                return
        self._writing = DONE
        if self._head_parts is not None:
            self._write_head()
        conn = self._conn
        client = self.client
        if (
            (client.read_timeout or client.response_timeout)
            and conn is not None
            and not self.awaits_continue
        ):
            conn.await_response()

    def _finish_body(self, trailers: HeadersIn) -> None:
        if self._framing == CHUNKED and (self._head_parts is None or trailers):
            self._end_body(trailers)
            return
        last_chunk(trailers)  # they are not sent, and must be right all the same
        if self._framing == CHUNKED:
            self._render_head(False)  # there was no body after all
        else:
            self._end_body(trailers)

    def _out_of_order(self, call: str) -> None:
        """A call at the wrong time; when the exchange is over it is of no concern."""
        if self._writing is not FAILED and self._reading in RESPONSE_DUE:
            self._fail_soon(OutputStateError(f"{call} when the request is {self._writing.name}"))

    # -- the head ------------------------------------------------------------------------------

    def _render_head(self, has_body: bool | None) -> None:
        """Make the head. Raises: OutputSyntaxError, TypeError"""
        assert self._head_parts is not None
        target, headers, authority, upgrade, te_trailers = self._head_parts
        self._head, self._framing, self._left, _ = request_head(
            # Not by name, which takes longer.
            self.method,
            target,
            headers,
            authority,
            has_body,
            upgrade,
            te_trailers,
            bool(self.client.idle_timeout),
        )

    def _write_head(self) -> None:
        self._head_parts = None
        head = self._head
        self._replay_buffer = [head]
        self._replay_bytes = len(head)
        conn = self._conn
        if conn is not None and (self.method in IDEMPOTENT or not self._left_ended()):
            self._replay_sent = 1
            conn.write(head)

    def _left_ended(self) -> bool:
        """Leave the connection for a new one if it has ended, before anything is written on it.

        What must not be repeated would be lost, and what can be is worth no system call.
        Returns: whether it had ended
        """
        conn = self._conn
        if conn is None or not conn.has_ended():
            return False
        self._conn = None
        conn.group.replace(conn, self)  # type: ignore[arg-type]
        return True

    def _start_body(self) -> None:
        """The callback is over in which a request with content was started: its head leaves."""
        if self._head_parts is not None and self._writing is BODY:
            self._write_head()

    def _expect_continue(self) -> None:
        """Write the head now and hold the rest: who expects a 100 has content."""
        try:
            if self._framing == NO_BODY:
                self._render_head(True)
        except HttpError as exc:
            self._fail_soon(exc)
            return
        self.awaits_continue = True
        self._write_head()
        if self._conn is not None:
            self._conn.await_continue()

    # -- writing -------------------------------------------------------------------------------

    def _write(self, data: bytes) -> bool:
        if self._head_parts is not None:
            self._write_head()
        return self._put(data)

    def _put(self, data: bytes) -> bool:
        """Write `data`, or hold it until it can be. Returns: False when too much is held up"""
        held = self._replay_buffer
        conn = self._conn
        if held is not None:
            held.append(data)
            self._replay_bytes += len(data)
            if conn is None or (self.awaits_continue and self._replay_sent):
                if self._replay_bytes > HIGH_WATER:
                    self._emit_pause(True)
                return not self._pause_emitted
            self._replay_sent += 1
            self._keep_or_drop(conn)
        return conn.write(data) if conn is not None else True

    def _keep_or_drop(self, conn: HttpClientConnection) -> None:
        """Drop what was written, if it is too much to be sent again, or must not be sent twice."""
        if self._replay_bytes - len(self._head) > self.client.retry_body_limit or (
            self.method not in IDEMPOTENT and conn.has_sent()
        ):
            self._replay_buffer = None

    def _send_replay(self) -> None:
        """There is a connection, or the wait for a 100 is over: write what is held."""
        held = self._replay_buffer
        conn = self._conn
        assert held is not None
        assert conn is not None
        if not self._replay_sent and self.method not in IDEMPOTENT and self._left_ended():
            return
        until = min(1, len(held)) if self.awaits_continue else len(held)
        for piece in held[self._replay_sent : until]:
            conn.write(piece)
        self._replay_sent = until
        if self.awaits_continue:
            conn.await_continue()
            return
        self._keep_or_drop(conn)
        if self._writing is DONE:
            conn.await_response()
        elif self._pause_emitted:
            self.loop.call_soon(self._emit_resume)

    def _continue(self) -> None:
        """The server said 100, or takes its time: send the body."""
        if self.awaits_continue:
            self.awaits_continue = False
            self._send_replay()

    def _emit_pause(self, paused: bool) -> None:
        """Tell the program that the body is more than the connection takes, or is no more."""
        if paused != self._pause_emitted and (self._writing is BODY or not paused):
            self._pause_emitted = paused
            self.emit("pause", paused)

    def _emit_resume(self) -> None:
        conn = self._conn
        if conn is not None and not conn.is_write_paused():
            self._emit_pause(False)

    def _abandon(self) -> None:
        """A response came that makes the rest of the request pointless."""
        self.awaits_continue = False
        self._head_parts = None
        if self._writing is BODY:
            self._writing = FAILED


def _has_expectation(head: bytes) -> bool:
    """Return whether a head has an Expect field that says 100-continue, in any letter case."""
    lines = head.lower().split(b"\r\n")
    return any(line.startswith(b"expect:") and b"100-continue" in line for line in lines)


def _ascii(text: Any, what: str, error: type[HttpError]) -> bytes:
    """A program's text as bytes. Raises: TypeError, or `error` if it has other characters"""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"a {what} must be str or bytes, not {type(text).__name__}")
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        shown = show_uri(text.encode("ascii", "backslashreplace"))
        raise error(f"{what} {shown} is not ASCII") from None

"""The seam between exchanges and the protocol versions that carry them.

Owns: the types on both sides of it, and nothing else: no state, no bytes. Must not know any version
of HTTP.

Theory of operation: an exchange is what a program sees of one request and its response; a stream is
what carries them on a connection. HTTP/1.1 has one stream at a time on a connection, later versions
have many. An exchange calls its stream, and the stream calls the exchange through the protocols
whose name ends in `Handler`. A layer above an exchange, such as a proxy's relay, attaches as a
`RelaySide`, and is called directly for what every message has.

All fields are `[(name, value)]` lists in the order in which they are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.headers import FieldsIn
    from thor.http.wire.state import ClientReading, ClientWriting, ServerWriting
    from thor.http.wire.writer import OutgoingHead
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection
    from thor.tcp.sendfile import File
    from thor.types import Address, HeadersIn, RawHeaders


class Spliceable(Protocol):
    """One side of a body that is moved from connection to connection in the kernel."""

    @property
    def transport(self) -> TcpConnection | None:
        """The connection whose bytes are the stream's; None once the stream has lost it."""

    def bytes_expected(self) -> int:
        """Return how many bytes are still to arrive of the body that is received; 0 if that is
        not known, if some that arrived are still to be delivered, or while it is paused."""

    def on_spliced_in(self, count: int) -> None:
        """Count bytes that arrived and were moved."""

    def bytes_promised(self) -> int:
        """Return how many bytes are still to be sent of the body that is sent; 0 if that is not
        known, or if nothing more can be sent."""

    def on_spliced_out(self, count: int) -> None:
        """Count bytes that were moved and will be sent."""


# -- the server's side --------------------------------------------------------------------------


class RequestFacts(Protocol):
    """What an exchange takes over from the head of a request, whatever its version."""

    @property
    def method(self) -> bytes:
        """The method, as sent."""

    @property
    def target(self) -> bytes:
        """The request target, as sent (RFC 9112 section 3.2)."""

    @property
    def version(self) -> bytes:
        """The version, such as b"1.1"."""

    @property
    def headers(self) -> RawHeaders:
        """The fields."""

    @property
    def host(self) -> bytes:
        """The authority that the request is for; empty if that is unknown."""

    @property
    def expect_continue(self) -> bool:
        """Whether the client waits for a 100 before it sends the body."""

    @property
    def upgrade(self) -> Sequence[bytes]:
        """The protocols that the client offers to switch to."""


class RequestRelaySide(Protocol):
    """What a server's exchange calls directly on the layer above it."""

    @property
    def hears_done(self) -> bool:
        """Whether the exchange has to emit `done` for it."""

    def request_body(self, chunk: bytes) -> None:
        """Take a piece of the request's body."""

    def request_done(self, trailers: RawHeaders) -> None:
        """Take the end of the request."""


@runtime_checkable
class ServerConnection(Protocol):
    """What a server knows of each of its connections, whatever protocol is spoken on it."""

    tcp_conn: TcpConnection | None
    #: What a layer above has found out about the client; the same for each of its requests.
    client: tuple[str, bool] | None

    @property
    def address(self) -> Address:
        """The client's address."""

    def drain(self) -> None:
        """Close when what is in progress is complete."""

    def make_room(self) -> None:
        """Close soon, since other clients wait to be accepted."""

    def shutdown(self) -> None:
        """Close now; exchanges in progress are lost."""


class ServerStreamHandler(Protocol):
    """What a stream calls: the server's exchange."""

    method: bytes
    uri: bytes
    req_hdrs: RawHeaders
    response_state: ServerWriting
    request_paused: bool
    #: Whether the client still waits for a 100; the stream clears it.
    expects_continue: bool
    relay_side: RequestRelaySide | None

    def emit(self, event: str, *args: object) -> bool:
        """Emit an event of the exchange. Returns: whether anybody listens"""

    def has_listener(self, event: str) -> bool:
        """Return whether anybody listens for `event`."""

    def release(self) -> bool:
        """Let go of the listeners of an exchange that is complete.

        Returns: False, and keeps them, if anybody listens for `done`, which is then to be emitted
            by `end` when the last byte has left
        """

    def end(self, error: HttpError | None) -> None:
        """Emit `done`, and let go of the listeners."""

    def lose(self, error: HttpError) -> None:
        """Emit that the exchange cannot be completed."""


class ServerStream(Protocol):
    """One request and its response, for the server's exchange.

    None of its methods emits. On a stream that has lost its connection they do nothing; the stream
    sets `response_state` of its handler.
    """

    @property
    def connection(self) -> ServerConnection:
        """The connection that carries the stream."""

    @property
    def loop(self) -> LoopBase:
        """The loop of the connection."""

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""

    @property
    def secure(self) -> bool:
        """Whether the client came by TLS: to here, or to a proxy that says so in its PROXY
        header."""

    def send_head(self, status: int | str | bytes, phrase: str | bytes, fields: HeadersIn) -> None:
        """Send the head of the final response.

        Raises: OutputSyntaxError, TypeError; then nothing was sent
        """

    def send_nonfinal(
        self, status: int | str | bytes, phrase: str | bytes, fields: HeadersIn
    ) -> None:
        """Send an informational response, if the client's version has them.

        Raises: OutputSyntaxError, TypeError
        """

    def send_body(self, chunk: bytes) -> bool:
        """Send a piece of the body.

        Returns: False when the writer has to wait for `pause(False)`
        Raises: OutputStateError for more bytes than were declared; the stream is aborted
        """

    def send_end(self, trailers: HeadersIn, close: bool) -> None:
        """End the response.

        close: close the connection after it
        Raises: OutputStateError if bytes are missing; the stream is aborted. OutputSyntaxError or
            TypeError for bad trailers; then nothing was sent
        """

    def resume(self) -> None:
        """Deliver the request again, after the exchange was paused."""

    def upgrade(self, protocol: bytes, fields: HeadersIn) -> TcpConnection:
        """Switch to another protocol. Returns: the connection, paused. Raises: OutputStateError"""

    def abort(self, flush: bool) -> None:
        """End the stream so that the client cannot take what it has for a whole response.

        flush: what was written before leaves first, within `send_timeout`
        """

    def body_splice(self) -> Spliceable | None:
        """Return what can move bodies in the kernel; None where nothing can."""

    def can_send_files(self) -> bool:
        """Return whether the kernel can send pieces of files."""

    def send_file(self, file: File, offset: int, count: int) -> bool:
        """Send a piece of a file as a piece of the body. Returns: False if it has to be read"""

    def when_sent(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when all that was written was handed to the kernel."""


# -- the client's side --------------------------------------------------------------------------


class ResponseRelaySide(Protocol):
    """What a client's exchange calls directly on the layer above it."""

    def response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """Take the head of the final response."""

    def response_body(self, chunk: bytes) -> None:
        """Take a piece of the response's body."""

    def response_done(self, trailers: RawHeaders) -> None:
        """Take the end of the response."""


class ClientSettings(Protocol):
    """The settings of `HttpClient` that a stream needs of the exchange's client."""

    idle_timeout: float | None
    read_timeout: float | None
    response_timeout: float | None
    careful: bool


class ClientStreamHandler(Protocol):
    """What a stream calls: the client's exchange."""

    method: bytes
    #: The protocol that the request asks for, in lower case.
    protocol: bytes | None
    request_state: ClientWriting
    response_state: ClientReading
    response_paused: bool
    relay_side: ResponseRelaySide | None
    stream: ClientStream | None
    #: When it has to be over, in monotonic seconds; `inf` for never.
    expires_at: float
    #: What the stream tells of the response, see `HttpClientExchange`.
    res_version: bytes
    input_header_length: int
    transfer_bytes: int
    length: int

    @property
    def client(self) -> ClientSettings:
        """The client, with its settings."""

    @property
    def awaits_continue(self) -> bool:
        """Whether the body is held until the server says 100."""

    def emit(self, event: str, *args: object) -> bool:
        """Emit an event of the exchange. Returns: whether anybody listens"""

    def emit_pause(self, paused: bool) -> None:
        """Emit `pause` for the request's body, if that was not the last one that was emitted."""

    def attach(self, stream: ClientStream) -> None:
        """Have `stream` carry the exchange; what there is of the request is sent."""

    def send_held_body(self) -> None:
        """Send the body: the server said 100, or takes its time."""

    def on_response(self, keep_alive: bool) -> bool:
        """Keep no request any more: the head of the final response has arrived.

        keep_alive: whether the connection may persist
        Returns: whether the rest of the request was abandoned
        """

    def bytes_promised(self) -> int:
        """Return how many bytes of the request's body are still to be sent; see `Spliceable`."""

    def on_spliced_out(self, count: int) -> None:
        """Count bytes of the request's body that were moved by the kernel."""

    def end(self, response_state: ClientReading) -> None:
        """End the exchange; nothing is emitted by that."""

    def release(self) -> None:
        """Let go of the listeners."""

    def cancel(self) -> None:
        """End the exchange silently."""

    def fail(self, error: HttpError) -> None:
        """End the exchange with `error`."""

    def fail_without_response(self, error: HttpError, sent: bool, reused: bool) -> None:
        """End the exchange, or send it again on another connection: no byte of a response came.

        sent: whether any byte of the request has left
        reused: whether an earlier exchange had the connection, which may just have timed out
        """


class ClientStream(Protocol):
    """One request and its response, for the client's exchange.

    None of its methods emits. On a stream that has lost its connection they do nothing.
    """

    @property
    def tcp_conn(self) -> TcpConnection | None:
        """The connection that carries the stream; None once it is lost."""

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""

    @property
    def is_write_paused(self) -> bool:
        """Whether the writer has to wait for `pause(False)`."""

    def send_head(self, head: RequestParts) -> None:
        """Send the head of the request, which was checked before."""

    def send_body(self, chunk: bytes) -> bool:
        """Send a piece of the body. Returns: False when the writer has to wait for `pause`"""

    def send_end(self, trailers: HeadersIn) -> None:
        """End the request, and begin to wait for the response."""

    def has_sent(self) -> bool:
        """Return whether any byte of the request has left."""

    def has_ended(self) -> bool:
        """Return whether the peer has ended a reused connection since its last response."""

    def replace(self, exchange: PoolWaiter) -> None:
        """Close the connection, which has ended, and get `exchange` another one."""

    def await_continue(self) -> None:
        """Wait for a 100, for a second at most, before the body is sent."""

    def resume(self) -> None:
        """Deliver the response again, after the exchange was paused."""

    def abort(self) -> None:
        """End the stream before its response is complete."""

    def bytes_received(self) -> int:
        """Return how many bytes of the response's body were transferred so far."""

    def body_splice(self) -> Spliceable | None:
        """Return what can move bodies in the kernel; None where nothing can."""


class RequestParts(Protocol):
    """What a request's head is made of, whatever the version: what is kept to send it again."""

    method: bytes
    target: bytes
    #: The authority, for Host, unless `fields` have one: as a field, or, if they are `WireFields`,
    #: as their `host`.
    authority: bytes
    fields: FieldsIn
    #: The protocol to ask for.
    upgrade: bytes | str | None
    te_trailers: bool
    #: Whether there is a body; None while that is not known.
    has_body: bool | None
    #: The head as HTTP/1.1 writes it, by which the parts were checked.
    head: OutgoingHead


class PoolSettings(Protocol):
    """The settings of `HttpClient` that a pool needs of the exchange's client."""

    loop: LoopBase
    connect_timeout: float | None
    max_server_conn: int | None
    max_waiting: int


class PoolWaiter(ClientStreamHandler, Protocol):
    """What a pool knows of an exchange that needs a connection."""

    @property
    def client(self) -> PoolClient:
        """The client, with its settings."""

    def on_queued(self, pool: ConnectionPool) -> None:
        """Wait for a connection: all that are allowed are in use."""

    def on_connecting(self, pool: ConnectionPool) -> None:
        """Wait for a connection that is being made."""

    def connect_failed(self, error: HttpError) -> None:
        """Try again, or fail: no connection could be made."""


class PoolClient(ClientSettings, PoolSettings, Protocol):
    """The client of an exchange, as its stream and its pool know it."""


class ClientConnection(Protocol):
    """What a pool knows of each of its connections, whatever protocol is spoken on it."""

    #: How many exchanges can have it at the same time: 1 with HTTP/1.1.
    capacity: int

    @property
    def is_usable(self) -> bool:
        """Whether another exchange can begin on it now."""

    def begin(self, exchange: ClientStreamHandler) -> bool:
        """Give an exchange a stream (`attach`); what it has ready is sent.

        Returns: False, without a stream, if the connection has ended
        """

    def close_idle(self) -> None:
        """Close it: no exchange has it, and none is to have it."""


class ConnectionPool(Protocol):
    """The connections to one target, for the exchanges and connections that use them."""

    def acquire(self, exchange: PoolWaiter, fresh: bool = False) -> None:
        """Get `exchange` a connection: now, or when there is one.

        fresh: a new one
        Raises: PoolFullError if too many wait already
        """

    def cancel(self, exchange: PoolWaiter) -> None:
        """Forget an exchange that waits."""

    def release(self, connection: ClientConnection) -> None:
        """Take note that a connection can serve another exchange."""

    def retire(self, connection: ClientConnection) -> None:
        """Give a connection to no exchange any more: it is closed, upgraded, or its server has
        said so (GOAWAY, RFC 9113 section 6.8); exchanges that have it go on."""

    def replace(self, connection: ClientConnection, exchange: PoolWaiter) -> None:
        """Close a connection that has ended; `exchange`, which had it, gets a new one instead."""

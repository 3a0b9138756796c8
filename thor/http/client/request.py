"""A request on its way out.

Owns: what was passed of a request, how much of it the present stream was handed, and what is kept
to send it again. Must not know responses, nor when a request is sent again.

Theory of operation: the head is rendered for HTTP/1.1, and thereby checked, when the request
starts, but it is sent with what comes next, since whether there is a body decides its framing; if
its method or a Content-Length says that there is one, it waits only until the present callback is
over. What is kept are the parts of the head, the chunks of the body and the trailers: everything
while there is no stream, then up to `retry_body_limit`. The rendered head is kept with them, so
that a stream of HTTP/1.1 need not render it again.

With `Expect: 100-continue` the head is sent at once and the rest is held until the server says 100,
or has said nothing for a while (RFC 9110 section 10.1.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from thor.http.error import OutputStateError
from thor.http.semantics import idempotent_methods
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY
from thor.http.wire.writer import last_chunk, request_head
from thor.tcp.write_buffer import HIGH_WATER

if TYPE_CHECKING:
    from thor.http.headers import FieldsIn
    from thor.http.streams import ClientStream
    from thor.http.wire.writer import OutgoingHead
    from thor.types import HeadersIn


class RequestOwner(Protocol):
    """What a request knows of its exchange."""

    #: What carries it, while anything does.
    stream: ClientStream | None

    @property
    def retry_body_limit(self) -> int:
        """Bytes of a body that are kept to send it again."""

    def replace_ended_stream(self) -> bool:
        """Get a new stream if the connection of the present one, which was used before, has ended.

        Returns: whether it had
        """

    def emit_pause(self, paused: bool) -> None:
        """Emit `pause`, if that was not the last one that was emitted."""


class OutgoingRequest:
    """The request of an exchange, and the `RequestParts` of its head."""

    __slots__ = (
        "_owner",
        "_replay_bytes",
        "_trailers",
        "_unsent_length",
        "authority",
        "awaits_continue",
        "chunks",
        "fields",
        "has_body",
        "has_started",
        "head",
        "method",
        "pause_emitted",
        "sent",
        "target",
        "te_trailers",
        "upgrade",
    )

    def __init__(
        self,
        owner: RequestOwner,
        method: bytes,
        target: bytes,
        authority: bytes,
        fields: FieldsIn,
        upgrade: bytes | str | None,
        te_trailers: bool,
        keep_alive: bool,
    ) -> None:
        """keep_alive: whether the connection may be used for another request

        Raises: OutputSyntaxError, TypeError
        """
        self._owner = owner
        self.method = method
        self.target = target
        self.authority = authority
        self.fields = fields
        self.upgrade = upgrade
        self.te_trailers = te_trailers
        self.has_body: bool | None = None
        self.awaits_continue = False
        self.pause_emitted = False
        #: Whether the head was sent, or is to be sent when there is a stream.
        self.has_started = False
        #: What was passed of the body; None when it is not kept any more, since it is too much, or
        #: the response has begun.
        self.chunks: list[bytes] | None = []
        #: Those of a request that is complete.
        self._trailers: HeadersIn | None = None
        #: Bytes that are kept, the head included.
        self._replay_bytes = 0
        #: How many pieces the present stream was handed: the head, then the chunks.
        self.sent = 0
        self.head: OutgoingHead = request_head(
            # Not by name, which takes longer.
            method,
            target,
            fields,
            authority,
            None,
            upgrade,
            te_trailers,
            keep_alive,
        )
        self._unsent_length = self.head.length

    def _render(self, has_body: bool) -> None:
        """Make the head again. Raises: OutputSyntaxError, TypeError"""
        self.has_body = has_body
        self.head = request_head(
            self.method,
            self.target,
            self.fields,
            self.authority,
            has_body,
            self.upgrade,
            self.te_trailers,
            self.head.keep_alive,
        )
        self._unsent_length = self.head.length

    # -- what is known of it -------------------------------------------------------------------

    @property
    def is_replayable(self) -> bool:
        """Whether all that was passed so far is kept."""
        return self.chunks is not None

    @property
    def is_idempotent(self) -> bool:
        """Whether it may be repeated when it is not known whether it was carried out."""
        return self.method in idempotent_methods

    def has_expectation(self) -> bool:
        """Return whether the head has an Expect field that says 100-continue."""
        lines = self.head.data.lower().split(b"\r\n")
        return any(line.startswith(b"expect:") and b"100-continue" in line for line in lines)

    # -- what the program passes ---------------------------------------------------------------

    def start_body(self) -> None:
        """Send the head of a request with content: the callback is over in which it was started."""
        if not self.has_started and self.chunks is not None:
            self._start()

    def expect_continue(self) -> None:
        """Send the head now and hold the rest: a request that expects a 100 has content.

        Raises: OutputSyntaxError
        """
        if self.head.framing == NO_BODY:
            self._render(True)
        self.awaits_continue = True
        self._start()
        stream = self._owner.stream
        if stream is not None:
            stream.await_continue()

    def write(self, chunk: bytes) -> bool:
        """Send a piece of the body.

        Returns: False when enough is held
        Raises: OutputStateError for more bytes than were declared; OutputSyntaxError
        """
        if self.head.framing == NO_BODY:
            self._render(True)
        if self.head.framing == LENGTH:
            left = self._unsent_length - len(chunk)
            if left < 0:
                raise OutputStateError(f"{-left} bytes more than the declared Content-Length")
            self._unsent_length = left
        if not self.has_started:
            self._start()
        chunks, stream = self.chunks, self._owner.stream
        if chunks is not None:
            chunks.append(chunk)
            self._replay_bytes += len(chunk)
            if stream is None or (self.awaits_continue and self.sent):
                if self._replay_bytes > HIGH_WATER:
                    self._owner.emit_pause(True)
                return not self.pause_emitted
            self.sent += 1
            self._keep_or_drop(stream)
        return stream.send_body(chunk) if stream is not None else True

    def end(self, trailers: HeadersIn) -> None:
        """End the request.

        Raises: OutputStateError if bytes are missing of the declared length, OutputSyntaxError for
            bad trailers, TypeError
        """
        framing = self.head.framing
        if framing != NO_BODY or trailers:
            last_chunk(trailers)  # where they are not sent, they must be right all the same
            if framing == LENGTH and self._unsent_length:
                less = self._unsent_length
                raise OutputStateError(f"{less} bytes less than the declared Content-Length")
            if framing == CHUNKED and not self.has_started and not trailers:
                self._render(False)  # there was no body after all
        self._trailers = trailers
        if not self.has_started:
            self._start()
        stream, chunks = self._owner.stream, self.chunks
        if (
            stream is not None
            and self.sent
            and not self.awaits_continue
            and (chunks is None or self.sent == 1 + len(chunks))
        ):
            stream.send_end(trailers)

    # -- sending -------------------------------------------------------------------------------

    def _start(self) -> None:
        """Send the head, now or when there is a stream."""
        self.has_started = True
        self._replay_bytes = len(self.head.data)
        stream = self._owner.stream
        if stream is not None and (
            self.method in idempotent_methods or not self._owner.replace_ended_stream()
        ):
            self.sent = 1
            stream.send_head(self)

    def _keep_or_drop(self, stream: ClientStream) -> None:
        """Keep what was passed no longer, if it is too much, or must not be sent twice."""
        if self._replay_bytes - len(self.head.data) > self._owner.retry_body_limit or (
            not self.is_idempotent and stream.has_sent()
        ):
            self.chunks = None

    def restart(self) -> None:
        """Hand everything to the next stream."""
        self.sent = 0

    def send_replay(self) -> None:
        """Send what was passed and was not handed to the present stream."""
        stream, chunks = self._owner.stream, self.chunks
        if stream is None or chunks is None:
            return
        if not self.sent:
            if not self.is_idempotent and self._owner.replace_ended_stream():
                return
            self.sent = 1
            stream.send_head(self)
        if self.awaits_continue:
            stream.await_continue()
            return
        for chunk in chunks[self.sent - 1 :]:
            stream.send_body(chunk)
        self.sent = 1 + len(chunks)
        if self._trailers is not None:
            stream.send_end(self._trailers)
        self._keep_or_drop(stream)

    def abandon(self) -> None:
        """Send nothing any more: a response makes the rest of the request pointless."""
        self.awaits_continue = False
        self.has_started = True
        self.chunks = None

    def bytes_promised(self) -> int:
        """Return how many bytes of the body are still to be sent, if that is known and none of what
        was passed is kept; else 0."""
        # What is kept may have to be sent again, and is not complete without the rest.
        free = self._owner.stream is not None and self.chunks is None and self.has_started
        return self._unsent_length if free and self.head.framing == LENGTH else 0

    def on_spliced_out(self, count: int) -> None:
        """Count bytes of the body that were moved by the kernel."""
        self._unsent_length -= count

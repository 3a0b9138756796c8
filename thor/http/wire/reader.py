"""Messages out of bytes, as they come.

Owns: the buffer, and where in a message its first byte stands. Must not know sockets, time, or
what is done about an error.

Theory of operation: push in, pull out. `feed` only keeps; `read_head` and `read_body` do the
work, each as much as its caller wants, so that a connection that is paused simply does not call,
and requests that are pipelined wait as bytes. Mostly one piece holds one head and nothing else:
then the piece itself is the buffer, and it is looked at once. A head that is not complete goes to
a `bytearray` and a `HeadScanner`, which reads each byte once and raises as soon as it can.

An error is final: bytes after a message that was misread mean nothing. What of a body had been
decoded before it is given out first, so that the cuts between the pieces change nothing.
"""

from __future__ import annotations

from math import inf
from typing import NoReturn

from thor import native
from thor.http.error import (
    ExtraDataError,
    HttpError,
    IncompleteMessageError,
    RequestLineError,
    TooManyMsgsError,
    UpgradeError,
)
from thor.http.wire.body import ChunkedDecoder
from thor.http.wire.fields import Field
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from thor.http.wire.grammar import END_OF_HEAD
from thor.http.wire.head import (
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from thor.http.wire.limits import Limits
from thor.http.wire.scan import HeadScanner, Section

#: In a buffer up to this size, what follows a head is copied rather than the place remembered.
SMALL_BYTES = 4096

#: The native codec's way with a head that is plain and complete in one piece; None without it.
_parse_request = native.parse_request
_parse_response = native.parse_response


class MessageReader:
    """What both readers share: the buffer, the body, the end.

    complete: the message whose head was read last has ended; before the first: False
    held: the buffer, for whoever wants to know at no cost whether anything is there: it is empty
        when all of it was pulled
    """

    __slots__ = (
        "_at",
        "_body",
        "_chunks",
        "_ended",
        "_error",
        "_fruitless_size",
        "_left",
        "_max_body_bytes",
        "_scanner",
        "_trailers",
        "buffer",
        "complete",
        "limits",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._max_body_bytes: int | None = None
        self.buffer: bytes | bytearray = b""
        self._at = 0  # the first byte of the buffer that was not pulled
        self._body = NO_BODY  # the framing of the body that is being read
        self._left = 0  # of a body of known length
        self._chunks: ChunkedDecoder | None = None
        self._scanner: HeadScanner | None = None  # of a head that is not complete
        self._error: HttpError | None = None
        self._ended = False
        self._fruitless_size = -1  # so many bytes are in the buffer and lead nowhere without more
        self.complete = False
        self._trailers: list[Field] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived. After an error they are dropped: nothing grows."""
        if self._error is not None:
            return
        if not self.buffer:
            self.buffer = data
            return
        buf = self.buffer
        if isinstance(buf, bytes):
            self.buffer = buf = bytearray(memoryview(buf)[self._at :])
        else:
            del buf[: self._at]
        self._at = 0
        buf += data

    @property
    def trailers(self) -> list[Field]:
        """Of the message whose head was read last, what may be passed on; complete once it is."""
        return self._trailers if self._trailers is not None else []

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not pulled."""
        return len(self.buffer) - self._at

    @property
    def started(self) -> bool:
        """Whether a head has begun, but for empty lines, and was not read."""
        held = self.buffer
        if self._body != NO_BODY or not held:
            return False
        # Mostly the first byte says it: what is there must not be copied for each that comes.
        return held[self._at] not in b"\r\n" or bool(held[self._at :].lstrip(b"\r\n"))

    def take_rest(self) -> bytes:
        """All bytes that were not pulled: what follows a switch of protocols, or a CONNECT."""
        rest = bytes(memoryview(self.buffer)[self._at :])
        self._consume(len(self.buffer))
        self._scanner = None
        return rest

    def read_body(self) -> bytes | None:
        """Return decoded bytes of the body, as many as there are; None if there are none now.

        To be called until it returns None: what is wrong after some good bytes is raised by the
        call after the one that returned them.

        Raises: a MessageError; IncompleteMessageError after `eof()`
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        body = self._body
        if body == NO_BODY:
            return None
        data: bytes | None = None
        if body == CHUNKED:
            if self.buffer:
                data = self._decode_chunks()
        elif held := self.buffer:
            at = self._at
            if body != LENGTH:
                data = self._take(len(held))
            elif held.__class__ is bytes and len(held) - at == self._left:
                # All of it, and nothing else: as below, without the calls.
                data = held[at:]
                self.buffer = b""
                self._at = self._left = 0
                self._fruitless_size = -1
                self._finish()
            else:
                data = self._take(self._left)
                self._left -= len(data)
                if not self._left:
                    self._finish()
        if data is None and self._ended and self._body != NO_BODY:
            self._end_body()
        return data

    @property
    def body_due(self) -> int:
        """Bytes that are to come of a body of known length, if all that came was pulled; else 0."""
        return self._left if self._body == LENGTH and not self.buffer else 0

    @property
    def body_left(self) -> float:
        """Bytes of the body that were not pulled; infinite if nobody knows how many there are."""
        return self._left if self._body == LENGTH else 0 if self._body == NO_BODY else inf

    def skip_body(self, count: int) -> None:
        """So many bytes of `body_due`, but not all, came and are not fed: they went elsewhere."""
        self._left -= count

    def eof(self) -> None:
        """Handle the end of the stream. What was received before can still be read.

        Raises: IncompleteMessageError where a message has begun that can no more end. If bytes
            are left that might yet complete it, the read that finds that they do not raises it.
        """
        self._ended = True
        if self._error is not None or (self.buffer and self.buffered != self._fruitless_size):
            return
        if self._body != NO_BODY:
            self._end_body()
        elif self._waits_for_head():
            self._fail(IncompleteMessageError("in the head"))

    def _waits_for_head(self) -> bool:
        """Whether the end of input in front of the next head is too early."""
        return self.started

    def _take_whole_head(self) -> bytes | None:
        """Return the next head without its final CRLF CRLF, if it arrived in one piece."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._body != NO_BODY:
            raise RuntimeError("the body of the message before was not read")
        buf = self.buffer
        at = self._at
        if not buf or self._scanner is not None or buf[at] == 0x0D:
            return None
        if buf.__class__ is bytes and not at and len(buf) <= SMALL_BYTES:
            block, found, rest = buf.partition(END_OF_HEAD)
            if not found:
                return None
            self.buffer = rest
            return block
        end = buf.find(END_OF_HEAD, at)
        if end < 0:
            return None
        block = bytes(buf[at:end])
        self._consume(end + 4)
        return block

    def _find_head(self, section: Section) -> bytes | None:
        """Return the next head, however it was divided. Raises: MessageError"""
        if self.buffer:
            if self._scanner is None:
                self._scanner = HeadScanner(section, self.limits)
            try:
                end = self._scanner.scan(self.buffer, self._at)
            except HttpError as error:
                self._fail(error)
            if end >= 0:
                block = bytes(self.buffer[self._at : end - 4])
                self._consume(end)
                self._scanner = None
                if type(self.buffer) is bytearray:  # messages that are whole are read from bytes
                    self.buffer = bytes(memoryview(self.buffer)[self._at :])
                    self._at = 0
                return block
            self._fruitless_size = self.buffered
        if self._ended and self._waits_for_head():
            self._fail(IncompleteMessageError("in the head"))
        return None

    def _begin_body(self, framing: int, length: int) -> None:
        """Prepare to read the body that follows a head."""
        self.complete = False
        self._trailers = None
        self._body = framing
        self._left = length
        self._fruitless_size = -1
        if framing == CHUNKED:
            self._chunks = ChunkedDecoder(self.limits, self._max_body_bytes)
        elif framing == LENGTH and not length:
            self._finish()

    def _decode_chunks(self) -> bytes | None:
        chunks = self._chunks
        assert chunks is not None
        parts: list[bytes] = []
        try:
            self._consume(chunks.decode(self.buffer, self._at, parts))
        except HttpError as error:
            self._set_error(error)
            if not parts:
                raise
        if chunks.done:
            self._trailers = chunks.trailers
            self._chunks = None
            self._finish()
        else:
            self._fruitless_size = self.buffered
        return b"".join(parts) if parts else None

    def _take(self, most: int) -> bytes:
        """Up to `most` bytes of the buffer; the buffer itself, if it is taken whole."""
        buf = self.buffer
        at = self._at
        end = min(at + most, len(buf))
        data = bytes(buf if end - at == len(buf) else buf[at:end])
        self._consume(end)
        return data

    def _consume(self, end: int) -> None:
        """Remove the bytes up to `end` from the buffer."""
        self._fruitless_size = (
            -1
        )  # what is left has not been looked at, even if it is as much as before
        if end == len(self.buffer):
            self.buffer = b""
            self._at = 0
        else:
            self._at = end

    def _end_body(self) -> None:
        """End the body at the end of the stream."""
        if self._body != UNTIL_CLOSE:
            self._fail(IncompleteMessageError("in the body"))
        self._finish()

    def _finish(self) -> None:
        """Mark the message as complete."""
        self._body = NO_BODY
        self.complete = True

    def _set_error(self, error: HttpError) -> None:
        """Nothing more can be read, for this reason; nothing more is kept."""
        self._error = error
        self._consume(len(self.buffer))
        self._scanner = None
        self._chunks = None

    def _fail(self, error: HttpError) -> NoReturn:
        self._set_error(error)
        raise error


class RequestReader(MessageReader):
    """Reads the requests of one connection."""

    __slots__ = ("_empty_lines",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._max_body_bytes = limits.max_body_bytes
        self._empty_lines = 0  # in front of the next request line

    def read_head(self) -> RequestHead | None:
        """Return the next request head; None if it is not complete.

        Raises: a MessageError; IncompleteMessageError after `eof()`; RuntimeError if the body of
            the message before was not read
        """
        head: RequestHead | None = None
        buf = self.buffer
        if _parse_request is not None and self._body == NO_BODY:
            at = self._at
            head = _parse_request(buf, at, self.limits.codec_limits)
            if head is not None:  # as _consume, without the call
                self._fruitless_size = -1
                at += head.head_bytes
                if at == len(buf):
                    self.buffer = b""
                    at = 0
                self._at = at
        if head is None:
            block = self._take_whole_head() or self._find_request()
            if block is None:
                return None
            try:
                head = parse_request_head(block, self.limits)
            except HttpError as error:
                self._fail(error)
        self._empty_lines = 0
        if head.framing == NO_BODY:
            self.complete = True
            self._trailers = None
        else:
            self._begin_body(head.framing, head.length)
        return head

    def _find_request(self) -> bytes | None:
        """As `_find_head`, after empty lines (RFC 9112 section 2.2)."""
        while self._scanner is None and self.buffer[self._at : self._at + 2] == b"\r\n":
            self._empty_lines += 1
            if self._empty_lines > self.limits.max_empty_lines:
                self._fail(RequestLineError("too many empty lines before it"))
            self._consume(self._at + 2)
        if self.buffered == 1 and self.buffer[self._at] == 0x0D:  # perhaps half of one more
            self._fruitless_size = 1
            return None
        return self._find_head("request")


class ResponseReader(MessageReader):
    """Reads the responses of one connection, each to the request that `expect` announced."""

    __slots__ = ("_informational", "_method", "_upgrade")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._method: bytes | None = None
        self._upgrade = False
        self._informational = 0  # in front of the next final response

    def expect(self, method: bytes, upgrade: bool = True) -> None:
        """Expect a response to a request with this method.

        upgrade: whether the request asked for another protocol, so that a 101 may answer it

        Bytes that are here already cannot be the answer: the next read raises ExtraDataError.
        """
        if self._method is not None:
            raise RuntimeError("the response before is not complete")
        if self.buffer and self._error is None:
            self._set_error(ExtraDataError("before the request"))
        self._method = method
        self._upgrade = upgrade
        self._informational = 0
        self.complete = False

    def read_head(self) -> ResponseHead | None:
        """Return the next response head; None if it is not complete.

        After an informational one (but 101) `complete` is False and the next one is due.

        Raises: a MessageError; IncompleteMessageError after `eof()`; RuntimeError if the body of
            the message before was not read
        """
        method = self._method
        if method is None and self.buffer:
            self._fail(ExtraDataError("no response is due"))
        head = None
        buf = self.buffer
        if _parse_response is not None and self._body == NO_BODY and method is not None:
            at = self._at
            head = _parse_response(buf, at, self.limits.codec_limits, method)
            if head is not None:  # as _consume, without the call
                self._fruitless_size = -1
                at += head.head_bytes
                if at == len(buf):
                    self.buffer = b""
                    at = 0
                self._at = at
        if head is None:
            block = self._take_whole_head()
            if block is None:
                block = self._find_head("response") if method is not None else None
                if block is None:
                    return None
            assert method is not None
            try:
                head = parse_response_head(block, self.limits, method)
            except HttpError as error:
                self._fail(error)
        if head.status_code < 200:
            self._read_informational(head.status_code)
        elif head.framing == NO_BODY:
            self._trailers = None
            self._finish()
        else:
            self._begin_body(head.framing, head.length)
        return head

    def _read_informational(self, status_code: int) -> None:
        """RFC 9110 section 15.2: any number of them, within reason, then the final one."""
        self._trailers = None
        if status_code == 101:
            if not self._upgrade:
                self._fail(UpgradeError())
            self._finish()
            return
        self.complete = False
        self._informational += 1
        if self._informational > self.limits.max_informational:
            self._fail(TooManyMsgsError(f"over {self.limits.max_informational}"))

    def _waits_for_head(self) -> bool:
        return self._method is not None

    def _finish(self) -> None:
        self._method = None
        self._body = NO_BODY
        self.complete = True

"""One call for a request and its whole response: `HttpClient.fetch`.

Owns: the exchanges of a request and of the redirects that follow it, and the response while it is
collected. Must not know connections, nor which redirects may be followed: that is `redirect.py`'s.

Theory of operation: a `Fetch` has one exchange at a time. It ends exactly once: with `response`,
with `error`, or silently by `cancel()`. The content of a response that redirects is not collected;
its exchange is cancelled if there is much of it.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from thor.events import EventEmitter, require_callback
from thor.http.client.redirect import RedirectedRequest, redirected_request
from thor.http.error import ContentTooLargeError, ExchangeTimeoutError, HttpError, RedirectError
from thor.http.headers import encode_text, field_list, field_pair, to_octets
from thor.http.uri import show_uri
from thor.types import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.client.exchange import HttpClientExchange
    from thor.loop import LoopBase, ScheduledEvent
    from thor.types import Data, FieldIn, HeadersIn, RawHeaders

log = logging.getLogger("thor.http")

#: Most bytes of a response's content that are collected, unless the program says otherwise.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: How much of the content of a redirect is read so that the connection can be used again.
_MAX_REDIRECT_BYTES = 64 * 1024


class FetchClient(Protocol):
    """What a fetch knows of its client."""

    loop: LoopBase

    def exchange(self) -> HttpClientExchange:
        """Return a new exchange."""


class Response(NamedTuple):
    """A whole response.

    status: 200 to 599, mostly; phrase: may be empty; headers, trailers: [(name, value)] in the
    order
        in which they were sent; body: without transfer coding, but with its content coding
    uri: what the response is from, after all redirects
    """

    status: int
    phrase: bytes
    headers: RawHeaders
    body: bytes
    trailers: RawHeaders
    uri: str

    def text(self) -> str:
        """Return the body as text, by the charset of Content-Type, else as UTF-8.

        What is not in the charset is replaced by U+FFFD.
        """
        from email.message import (
            Message,
        )  # when it is needed: it takes as long as all of `thor.tcp`

        content_type = Message()
        for name, value in self.headers:
            if name.lower() == b"content-type":
                content_type["content-type"] = value.decode("latin-1")
        try:
            return self.body.decode(content_type.get_content_charset("utf-8"), "replace")
        except LookupError:  # no charset of Python's
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return what the body says as JSON (RFC 8259). Raises: ValueError"""
        return json.loads(self.body)


class Fetch(EventEmitter):
    """A request whose response is collected; made by `HttpClient.fetch`.

    Emits:
        response(response: Response): the response is complete; terminal.
        error(err: HttpError): the request failed; terminal.
    Exactly one of the two is emitted, or none after `cancel()`.
    """

    emits = frozenset(("response", "error"))

    def __init__(
        self,
        client: FetchClient,
        uri: str | bytes,
        method: str | bytes,
        headers: HeadersIn,
        body: Data | None,
        *,
        max_body_bytes: int | None,
        redirects: int,
        timeout: float | None,
        then: Callable[[Response | None, HttpError | None], object] | None,
    ) -> None:
        """See `HttpClient.fetch`."""
        if then is not None:
            require_callback(then, "then")
            self.on("response", lambda response: then(response, None))
            self.on("error", lambda error: then(None, error))
        self._client = client
        self._method = encode_text(method, "a method", "ASCII")
        if self._method == b"CONNECT":
            raise ValueError("CONNECT opens a tunnel, which is no response: use exchange()")
        self._uri = uri if isinstance(uri, str) else uri.decode("latin-1")
        self._fields: list[FieldIn] = [field_pair(field) for field in field_list(headers)]
        self._body = None if body is None else to_bytes(body)
        if self._body is not None and not self._has_field(b"content-length"):
            self._fields.append(("Content-Length", str(len(self._body))))
        self._max_body_bytes = max_body_bytes
        self._max_redirects = redirects
        self._redirect_count = 0
        self._exchange: HttpClientExchange | None = None
        self._status, self._phrase = b"", b""
        self._headers: RawHeaders = []
        self._chunks: list[bytes] = []
        self._received = 0
        #: How much of the present response's content is read.
        self._limit = max_body_bytes
        #: The request that follows the present response.
        self._next: RedirectedRequest | None = None
        self._timer: ScheduledEvent | None = None
        if timeout:
            self._timer = client.loop.call_later(timeout, self._on_timeout)
        self._request()

    def __repr__(self) -> str:
        shown = show_uri(self._uri.encode("latin-1", "replace"))
        return f"<Fetch {self._method.decode('latin-1')} {shown}>"

    def cancel(self) -> None:
        """End it silently: nothing more is emitted. Harmless at any time."""
        self._end()
        self.remove_listeners()

    def _has_field(self, name: bytes) -> bool:
        return any(to_octets(given).lower() == name for given, _ in self._fields)

    # -- the request ---------------------------------------------------------------------------

    def _request(self) -> None:
        exchange = self._exchange = self._client.exchange()
        exchange.on("response_start", self._on_start)
        exchange.on("response_body", self._on_body)
        exchange.on("response_done", self._on_done)
        exchange.on("error", self._fail)
        exchange.request_start(self._method, self._uri, self._fields)
        if self._body:
            exchange.request_body(self._body)
        exchange.request_done([])

    def _follow(self, redirected: RedirectedRequest) -> None:
        """Make the request that a redirect asks for."""
        self._next = None
        self._received = 0
        self._redirect_count += 1
        self._method, self._uri = redirected.method, redirected.uri
        self._fields = redirected.fields
        if not redirected.keeps_body:
            self._body = None
        self._request()

    # -- the response --------------------------------------------------------------------------

    def _on_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        self._status, self._phrase, self._headers = status, phrase, headers
        try:
            if self._max_redirects:
                self._next = redirected_request(
                    status, headers, self._method, self._uri, self._fields
                )
        except HttpError as exc:
            self._fail(exc)
            return
        if self._next is None:
            self._limit = self._max_body_bytes
        elif self._redirect_count == self._max_redirects:
            self._fail(RedirectError(f"more than {self._max_redirects} redirects"))
            return
        else:
            self._limit = _MAX_REDIRECT_BYTES
        if self._exchange is not None:
            self._count(self._exchange.length)

    def _on_body(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._next is None:
            self._chunks.append(chunk)
        self._count(self._received)

    def _count(self, size: int) -> None:
        """Give up on content of this many bytes, if that is too much."""
        if self._limit is None or size <= self._limit:
            return
        if self._next is None:
            self._fail(ContentTooLargeError(f"more than {self._limit} bytes in a response"))
        else:
            assert self._exchange is not None
            self._exchange.cancel()
            self._follow(self._next)

    def _on_done(self, trailers: RawHeaders) -> None:
        if self._next is not None:
            self._follow(self._next)
            return
        body = b"".join(self._chunks)
        status, phrase, fields = int(self._status), self._phrase, self._headers
        self._end()
        try:
            self.emit("response", Response(status, phrase, fields, body, trailers, self._uri))
        finally:
            self.remove_listeners()

    # -- ending --------------------------------------------------------------------------------

    def _on_timeout(self) -> None:
        self._timer = None
        self._fail(ExchangeTimeoutError())

    def _fail(self, error: HttpError) -> None:
        self._end()
        try:
            if not self.emit("error", error):
                log.warning("%r: %s", self, error)
        finally:
            self.remove_listeners()

    def _end(self) -> None:
        """Let go of the exchange and of the timer."""
        exchange, self._exchange = self._exchange, None
        timer, self._timer = self._timer, None
        self._chunks = []
        if exchange is not None:
            exchange.cancel()
        if timer is not None:
            timer.delete()

"""An exchange that notes what an access log says of it.

Owns: `RecordedExchange`. Must not know what a log looks like. Exchanges of servers that keep no log
have none of this: a server makes them of its `exchange_class`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from thor.http.error import ConnectError, SendTimeoutError
from thor.http.headers import to_octets
from thor.http.http1.teardown import error_status
from thor.http.server.exchange import HttpServerExchange
from thor.http.wire.state import ServerWriting

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.streams import RequestFacts, ServerStream
    from thor.tcp import TcpConnection
    from thor.types import HeadersIn


class RecordedExchange(HttpServerExchange):
    """A server's exchange with what became of it, which is complete in the event `done`.

    method, path, version, request_headers: of the request, as sent
    client: the client's connection, with its `address`; endpoint: None, it went nowhere else
    status: the response's, b"200", also of one that the server made for the program; or None
    response_bytes: of its body, how many the kernel has taken; those of a chunked one with their
        framing
    started: Unix time; duration_s: seconds from then to the end, or None
    error: what went wrong, or None
    """

    def __init__(self, stream: ServerStream, head: RequestFacts) -> None:
        HttpServerExchange.__init__(self, stream, head)
        loop = self.loop
        self.path = self.uri
        self.version = self.req_version
        self.request_headers = self.req_hdrs
        tcp_conn = stream.connection.tcp_conn
        assert tcp_conn is not None
        self.client: TcpConnection = tcp_conn
        self.endpoint: None = None
        self.status: bytes | None = None
        self.response_bytes = 0
        self.started = loop.time()
        self.duration_s: float | None = None
        self.error: HttpError | None = None
        self._began = loop.clock.monotonic()
        #: Where the response's body begins and ends among the bytes of the connection.
        self._body_start = 0
        self._body_end: float = inf

    def response_start(
        self, status: int | str | bytes, phrase: str | bytes, headers: HeadersIn
    ) -> None:
        """Start the response, as `HttpServerExchange` does."""
        HttpServerExchange.response_start(self, status, phrase, headers)
        if self.response_state is ServerWriting.BODY:
            self.status = to_octets(status)
            self._body_start = self._written()

    def response_done(self, trailers: HeadersIn, close: bool = False) -> None:
        """End the response, as `HttpServerExchange` does."""
        HttpServerExchange.response_done(self, trailers, close)
        if self.response_state is ServerWriting.DONE:
            self._body_end = self._written()

    def end(self, error: HttpError | None) -> None:
        self.error = error
        self.duration_s = self.loop.clock.monotonic() - self._began
        if self.status is not None:
            sent = min(self.client.bytes_written, self._body_end)
            self.response_bytes = int(max(0, sent - self._body_start))
        elif error is not None and not isinstance(error, (ConnectError, SendTimeoutError)):
            # The client was still there: the server has answered for the program.
            self.status, body_bytes = error_status(error)
            self.response_bytes = 0 if self.method == b"HEAD" else body_bytes
        HttpServerExchange.end(self, error)

    def _written(self) -> int:
        return self.client.bytes_written + self.client.write_buffer.size

"""Two exchanges joined: the request that one received is sent by the other.

Owns: what is passed on between the two once the program has started the request. Must not know
which fields a proxy adds or drops, nor where a request goes: that is the program's, or
`thor.proxy`'s.

Theory of operation: the events of one exchange are the methods of the other, on both sides, `pause`
included. What remains is how it ends: a switch of protocols joins the two connections, and an error
of one side is told to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor.http.error import (
    MessageError,
    OutputError,
    TransferCodeError,
    UpgradeError,
    gateway_status,
)
from thor.http.headers import get_header
from thor.http.semantics import PHRASES
from thor.http.wire.state import ServerWriting
from thor.tcp import join

if TYPE_CHECKING:
    from thor.http.client import HttpClientExchange
    from thor.http.error import HttpError
    from thor.http.server import HttpServerExchange
    from thor.tcp import TcpConnection
    from thor.types import RawHeaders


def relay(server_exchange: HttpServerExchange, client_exchange: HttpClientExchange) -> None:
    """Pass the content of a request on, and the response back, both with backpressure.

    To be called when the program has started the request of `client_exchange`, and before it
    returns from the listener in which `server_exchange` arrived or emitted `request_start`. Other
    listeners of both exchanges are called as well.

    Informational responses, trailers and a switch of protocols that `client_exchange` asks for are
    passed on. If the client goes, the request is cancelled. If the request fails, the client gets
    the error's status (502 or 504), or, where the response has begun, a reset connection.

    No field is added or removed but those that concern one connection: a proxy adds Via, and limits
    what it passes on; see `thor.proxy`.
    """
    joined = _Relay(server_exchange, client_exchange)
    server_exchange.on("request_body", client_exchange.request_body)
    server_exchange.on("request_done", client_exchange.request_done)
    server_exchange.on("pause", client_exchange.pause)
    server_exchange.on("close", client_exchange.cancel)
    client_exchange.on("pause", server_exchange.pause)
    client_exchange.on("response_nonfinal", joined.response_nonfinal)
    client_exchange.on("response_start", joined.response_start)
    client_exchange.on("response_body", server_exchange.response_body)
    client_exchange.on("response_done", server_exchange.response_done)
    client_exchange.on("upgrade", joined.upgrade)
    client_exchange.on("error", joined.error)


class _Relay:
    """The listeners that are more than a method of the other exchange."""

    __slots__ = ("_downstream", "_switching_fields", "_upstream")

    def __init__(self, downstream: HttpServerExchange, upstream: HttpClientExchange) -> None:
        self._downstream = downstream
        self._upstream = upstream
        #: The fields of the response that switches protocols, which `upgrade` sends.
        self._switching_fields: RawHeaders = []

    def response_nonfinal(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        if status == b"101":
            self._switching_fields = headers
        elif status != b"100":  # the server sends its own, when the request's content is read
            self._downstream.response_nonfinal(status, phrase, headers)

    def response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        if status.startswith(b"2") and self._upstream.method == b"CONNECT":
            self._switching_fields = headers
            return
        codings = get_header(headers, "transfer-encoding")
        if any(coding.lower() != b"chunked" for coding in codings):
            # It is not decoded, and the field that says so is one of the connection.
            self._end(TransferCodeError("in a response"))
            return
        try:
            self._downstream.response_start(status, phrase, headers)
        except OutputError:
            self._end(MessageError("its head cannot be passed on"))

    def _end(self, error: HttpError) -> None:
        """Respond in the server's place: its response cannot be passed on."""
        self._upstream.cancel()
        self._respond(error)

    def upgrade(self, conn: TcpConnection) -> None:
        try:
            mine = self._downstream.upgrade(self._upstream.protocol or b"", self._switching_fields)
        except OutputError:
            conn.abort()
            self._respond(UpgradeError())
        else:
            join(mine, conn)

    def error(self, error: HttpError) -> None:
        if self._downstream.response_state is ServerWriting.IDLE:
            self._respond(error)
        else:
            self._downstream.abort(flush=True)

    def _respond(self, error: HttpError) -> None:
        """Respond with the status of a gateway's error, without content."""
        status = gateway_status(error)
        self._downstream.response_start(status, PHRASES[status], [("Content-Length", "0")])
        self._downstream.response_done([])

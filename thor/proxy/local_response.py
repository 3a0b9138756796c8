"""What a proxy answers itself: where the request ends here, and where the upstream fails.

Owns: the statuses, and Proxy-Status (RFC 9209), as pure functions. Must not know exchanges. Nothing
that a peer said is ever in such an answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from thor.http.error import (
    AccessError,
    CertificateError,
    ChunkError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    ContentTooLargeError,
    DnsError,
    ExchangeTimeoutError,
    HeadLimitError,
    HttpError,
    IncompleteMessageError,
    OutputError,
    PoolFullError,
    ReadTimeoutError,
    ResourceError,
    SendTimeoutError,
    TlsError,
    TransferCodingError,
    UpgradeError,
    UrlError,
)
from thor.http.semantics import PHRASES
from thor.types import RawHeaders


class LocalResponse(Exception):
    """The proxy itself is the one to answer: the request goes no further.

    error: the type for Proxy-Status (RFC 9209 section 2.3), empty where nothing is wrong
    body: where there is none, that of an error is its phrase
    """

    def __init__(
        self,
        status: int,
        phrase: str,
        error: str = "",
        fields: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(status, phrase, error)
        self.status = status
        self.phrase = phrase
        self.error = error
        self.fields = list(fields)
        if error and not body:
            body = f"{phrase}\n".encode("ascii")
            self.fields.append((b"Content-Type", b"text/plain; charset=utf-8"))
        self.body = body


#: What is response for an upstream that fails (RFC 9209 section 2.3); a class stands for those
#: below it in the tree that have no row of their own.
FAILURES: dict[type[HttpError], tuple[int, str]] = {
    ConnectTimeoutError: (504, "connection_timeout"),
    CertificateError: (502, "tls_certificate_error"),
    TlsError: (502, "tls_protocol_error"),
    ConnectError: (502, "connection_refused"),
    ConnectionLostError: (502, "connection_terminated"),
    PoolFullError: (503, "connection_limit_reached"),
    # Another time it may go well, and the upstream has no part in it.
    ResourceError: (503, "proxy_internal_error"),
    DnsError: (502, "dns_error"),
    AccessError: (502, "destination_ip_prohibited"),
    IncompleteMessageError: (502, "connection_terminated"),
    ReadTimeoutError: (504, "connection_read_timeout"),
    ExchangeTimeoutError: (504, "http_response_timeout"),
    SendTimeoutError: (504, "connection_write_timeout"),
    HeadLimitError: (502, "http_response_header_section_size"),
    TransferCodingError: (502, "http_response_transfer_coding"),
    ChunkError: (502, "http_response_transfer_coding"),
    ContentTooLargeError: (502, "http_response_body_size"),
    UpgradeError: (502, "http_upgrade_failed"),
    UrlError: (400, "http_request_error"),
    OutputError: (500, "proxy_internal_error"),
    HttpError: (502, "http_protocol_error"),
}


def failure_for(error: HttpError, connected: bool) -> LocalResponse:
    """What the client is told when the upstream fails: nothing of what the upstream said.

    connected: whether there was a connection to it
    """
    status, kind = next(FAILURES[row] for row in type(error).__mro__ if row in FAILURES)
    if connected and kind == "connection_refused":
        kind = "connection_terminated"
    return LocalResponse(status, PHRASES[status], kind)


def render(response: LocalResponse, pseudonym: bytes) -> tuple[RawHeaders, bytes]:
    """The fields and the body of a response that the proxy makes itself, with Proxy-Status where
    it explains an error (RFC 9209 section 2). Nothing of a peer's is in them.

    pseudonym: the proxy's name, a token
    """
    fields, body = list(response.fields), response.body
    if response.error:
        fields.append((b"Proxy-Status", proxy_status(pseudonym, response.error)))
    fields.append((b"Content-Length", b"%d" % len(body)))
    return fields, body


def proxy_status(pseudonym: bytes, error: str, details: str = "") -> bytes:
    """A member of Proxy-Status (RFC 9209 section 2).

    error: one of the types of section 2.3; details: text for people, nothing of a peer's
    Raises: ValueError for details that a structured field cannot hold (RFC 8941 section 3.3.3)
    """
    value = pseudonym + b"; error=" + error.encode("ascii")
    if details:
        if not (details.isascii() and details.isprintable()):
            raise ValueError("details must be printable ASCII")
        escaped = details.replace("\\", "\\\\").replace('"', '\\"')
        value += b'; details="' + escaped.encode("ascii") + b'"'
    return value

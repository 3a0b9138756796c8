"""Responses that a proxy makes itself: to requests that it does not forward, and to errors.

Owns: the statuses, and Proxy-Status (RFC 9209), as pure functions. Must not know exchanges. Such a
response contains nothing that the upstream has sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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
    gateway_status,
)
from thor.http.semantics import PHRASES
from thor.types import RawHeaders


class LocalResponse(Exception):
    """A response of the proxy's own. It is raised where a request turns out not to be forwarded.

    error: the type for Proxy-Status (RFC 9209 section 2.3), empty if there is no error
    body: by default, that of an error is its phrase
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


#: The response to CONNECT, and the methods that are allowed instead.
CONNECT_REFUSED = LocalResponse(
    405,
    "Method Not Allowed",
    "http_request_error",
    [(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")],
)

#: The response while the upstream has no endpoints.
NO_ENDPOINT = LocalResponse(
    503, "Service Unavailable", "destination_unavailable", [(b"Retry-After", b"5")]
)

#: The response to a target that leads out of the endpoint's prefix.
OUTSIDE_PREFIX = LocalResponse(400, "Bad Request", "http_request_error")


#: The error type of Proxy-Status for an upstream that fails (RFC 9209 section 2.3). A class stands
#: for its subclasses that have no row of their own.
FAILURES: dict[type[HttpError], str] = {
    ConnectTimeoutError: "connection_timeout",
    CertificateError: "tls_certificate_error",
    TlsError: "tls_protocol_error",
    ConnectError: "connection_refused",
    ConnectionLostError: "connection_terminated",
    PoolFullError: "connection_limit_reached",
    ResourceError: "proxy_internal_error",
    DnsError: "dns_error",
    AccessError: "destination_ip_prohibited",
    IncompleteMessageError: "connection_terminated",
    ReadTimeoutError: "connection_read_timeout",
    ExchangeTimeoutError: "http_response_timeout",
    SendTimeoutError: "connection_write_timeout",
    HeadLimitError: "http_response_header_section_size",
    TransferCodingError: "http_response_transfer_coding",
    ChunkError: "http_response_transfer_coding",
    ContentTooLargeError: "http_response_body_size",
    UpgradeError: "http_upgrade_failed",
    UrlError: "http_request_error",
    OutputError: "proxy_internal_error",
    HttpError: "http_protocol_error",
}


class RenderedResponse(NamedTuple):
    """The fields and the body of a response."""

    fields: RawHeaders
    body: bytes


def failure_for(error: HttpError, connected: bool) -> LocalResponse:
    """Return the response to the client when the upstream fails.

    connected: whether there was a connection to it
    """
    kind = next(FAILURES[row] for row in type(error).__mro__ if row in FAILURES)
    status = gateway_status(error)
    if connected and kind == "connection_refused":
        kind = "connection_terminated"
    return LocalResponse(status, PHRASES[status], kind)


def render(response: LocalResponse, pseudonym: bytes) -> RenderedResponse:
    """Return the fields and the body of a response, with Proxy-Status if it reports an error (RFC
    9209 section 2).

    pseudonym: the proxy's name, a token
    """
    fields, body = list(response.fields), response.body
    if response.error:
        fields.append((b"Proxy-Status", proxy_status(pseudonym, response.error)))
    fields.append((b"Content-Length", b"%d" % len(body)))
    return RenderedResponse(fields, body)


def proxy_status(pseudonym: bytes, error: str, details: str = "") -> bytes:
    """Return a member of Proxy-Status (RFC 9209 section 2).

    error: one of the types of section 2.3; details: text for people, which no peer has sent
    Raises: ValueError for details that a structured field cannot hold (RFC 8941 section 3.3.3)
    """
    value = pseudonym + b"; error=" + error.encode("ascii")
    if details:
        if not (details.isascii() and details.isprintable()):
            raise ValueError("details must be printable ASCII")
        escaped = details.replace("\\", "\\\\").replace('"', '\\"')
        value += b'; details="' + escaped.encode("ascii") + b'"'
    return value

"""What a proxy answers itself."""

from __future__ import annotations

import pytest

from thor.http.error import (
    CertificateError,
    ChunkExtensionError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    DnsError,
    FieldSectionTooLargeError,
    HeaderNameError,
    HttpError,
    IncompleteMessageError,
    OutputSyntaxError,
    PoolFullError,
    ProxyError,
    ReadTimeoutError,
    ResourceError,
    TlsError,
    TransferEncodingCLError,
    UrlError,
)
from thor.proxy.local_response import LocalResponse, failure_for, proxy_status, render

PSEUDONYM = b"fred"


def of(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for found, value in fields if found == name]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ConnectError, 502, "connection_refused"),
        (ConnectionLostError, 502, "connection_terminated"),
        (PoolFullError, 503, "connection_limit_reached"),
        (ConnectTimeoutError, 504, "connection_timeout"),
        (CertificateError, 502, "tls_certificate_error"),
        (TlsError, 502, "tls_protocol_error"),
        (ProxyError, 502, "connection_refused"),
        (ResourceError, 503, "proxy_internal_error"),
        (DnsError, 502, "dns_error"),
        (ReadTimeoutError, 504, "connection_read_timeout"),
        (IncompleteMessageError, 502, "connection_terminated"),
        (FieldSectionTooLargeError, 502, "http_response_header_section_size"),
        (TransferEncodingCLError, 502, "http_response_transfer_coding"),
        (ChunkExtensionError, 502, "http_response_transfer_coding"),
        (HeaderNameError, 502, "http_protocol_error"),
        (UrlError, 400, "http_request_error"),
        (OutputSyntaxError, 500, "proxy_internal_error"),
        (HttpError, 502, "http_protocol_error"),
    ],
)
def test_failures_map_to_responses(error: type[HttpError], status: int, kind: str) -> None:
    answered = failure_for(error("what the upstream said"), connected=False)
    assert (answered.status, answered.error) == (status, kind)
    fields, body = render(answered, PSEUDONYM)
    assert of(fields, b"Proxy-Status") == [b"fred; error=" + kind.encode()]
    assert of(fields, b"Content-Length") == [b"%d" % len(body)]
    assert body == answered.phrase.encode() + b"\n"


def test_lost_connection_is_not_reported_as_refused() -> None:
    assert failure_for(ConnectError(), connected=True).error == "connection_terminated"
    assert failure_for(ConnectTimeoutError(), connected=True).error == "connection_timeout"


def test_local_response_without_error_has_no_proxy_status() -> None:
    answered = LocalResponse(200, "OK", body=b"abc")
    assert render(answered, PSEUDONYM) == ([(b"Content-Length", b"3")], b"abc")


def test_details_of_proxy_status_are_escaped() -> None:
    value = proxy_status(b"fred", "dns_error", 'a "b" \\')
    assert value == b'fred; error=dns_error; details="a \\"b\\" \\\\"'
    for details in ("é", "a\r\nb", "\x7f"):
        with pytest.raises(ValueError, match="details"):
            proxy_status(b"fred", "dns_error", details)

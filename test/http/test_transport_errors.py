"""What failures of the transport mean: exceptions and codes, nothing else."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any

import pytest

from thor.http.error import (
    CertificateError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    DnsError,
    HttpError,
    IncompleteMessageError,
    ResourceError,
    TlsError,
)
from thor.http.transport_errors import connect_failure, connection_lost

EXPIRED = ssl.SSLCertVerificationError(1, "certificate verify failed")
LATE = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
LATE_TLS = TimeoutError(errno.ETIMEDOUT, "TLS took 10 s")
ALERT = ssl.SSLError(1, "alert")
CUT = ssl.SSLEOFError(8, "the peer closed without close_notify")


@pytest.mark.parametrize(
    ("errtype", "code", "exc", "kind", "text"),
    [
        (OSError, errno.ECONNREFUSED, None, ConnectError, "a port 80: Connection refused"),
        (OSError, errno.ETIMEDOUT, None, ConnectTimeoutError, "a port 80"),
        (OSError, errno.ETIMEDOUT, LATE, ConnectTimeoutError, "a port 80"),
        (OSError, errno.ETIMEDOUT, LATE_TLS, ConnectTimeoutError, "a port 80: TLS took 10 s"),
        (socket.gaierror, -2, socket.gaierror(-2, "unknown"), DnsError, "a port 80: unknown"),
        (socket.gaierror, -2, None, DnsError, "a port 80: -2"),
        (ssl.SSLError, "it has expired", EXPIRED, CertificateError, "a port 80: it has expired"),
        (ssl.SSLError, "no version", ALERT, TlsError, "a port 80: no version"),
        (ssl.SSLError, "no version", None, TlsError, "a port 80: no version"),
        (LookupError, "odd", None, ConnectError, "a port 80: odd"),
    ],
)
def test_why_there_is_no_connection(
    errtype: Any, code: Any, exc: Any, kind: type[HttpError], text: str
) -> None:
    error = connect_failure("a port 80", errtype, code, exc)
    assert error.__class__ is kind
    assert error.detail == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ECONNREFUSED, "a port 80: Connection refused (b: no; c: no)"),
        (errno.ETIMEDOUT, "a port 80 (b: no; c: no)"),
    ],
)
def test_what_became_of_each_address_is_part_of_it(code: int, text: str) -> None:
    assert connect_failure("a port 80", OSError, code, None, " (b: no; c: no)").detail == text


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_what_this_side_lacks(code: int) -> None:
    error = connect_failure("a port 80", OSError, code, None)
    assert error.__class__ is ResourceError
    assert error.detail == f"connecting to a port 80: {os.strerror(code)}"


@pytest.mark.parametrize(
    ("exc", "kind", "text"),
    [
        (None, ConnectionLostError, "the server closed it"),
        (
            ConnectionResetError(104, "reset by peer"),
            ConnectionLostError,
            "[Errno 104] reset by peer",
        ),
        (CUT, ConnectionLostError, "the peer closed without close_notify"),
        (ALERT, TlsError, "alert"),
    ],
)
def test_why_a_connection_was_lost(exc: Any, kind: type[HttpError], text: str) -> None:
    error = connection_lost(exc)
    assert error.__class__ is kind
    assert error.detail == text


@pytest.mark.parametrize("exc", [None, ConnectionResetError(104, "reset by peer"), CUT])
def test_connection_lost_before_anything_was_sent_is_a_plain_connect_error(exc: Any) -> None:
    assert connection_lost(exc, sent=False).__class__ is ConnectError


def test_a_response_that_tls_says_was_cut_off_is_incomplete() -> None:
    assert connection_lost(CUT, begun=True).__class__ is IncompleteMessageError
    assert connection_lost(ALERT, begun=True).__class__ is TlsError
    assert connection_lost(None, begun=True).__class__ is ConnectionLostError

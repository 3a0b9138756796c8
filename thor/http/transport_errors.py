"""What a failure of the transport means to an exchange.

Owns: the way from errnos and exceptions to HTTP's errors, as pure functions. Must not know who
connects, nor what is tried again.

The exceptions of sockets and of TLS are recognised by their names: this package imports neither.
"""

from __future__ import annotations

import errno
import os

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
from thor.tls import reason_of

#: Errors that say something about this process or machine, and nothing about the other one.
RESOURCE_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def connect_failure(
    where: str,
    errtype: type[Exception],
    code: int | str | None,
    exc: BaseException | None,
    attempts: str = "",
) -> HttpError:
    """Return the error of an exchange for a `connect_error`.

    where: the address or name; errtype, code: of the event; exc: its exception, if the client class
        keeps one; attempts: the result of each address, to append to the message
    """
    if errtype.__name__ == "SSLError":
        verified = type(exc).__name__ != "SSLCertVerificationError"
        return (TlsError if verified else CertificateError)(f"{where}: {code}")
    text = getattr(exc, "strerror", None)
    if errtype.__name__ == "gaierror":
        return DnsError(f"{where}: {text or code}")
    if code == errno.ETIMEDOUT:
        slow = f": {text}" if text and text != os.strerror(code) else ""  # TLS, if it was that
        return ConnectTimeoutError(f"{where}{slow}{attempts}")
    if errtype is OSError and isinstance(code, int):
        text = os.strerror(code)
        if code in RESOURCE_ERRNOS:
            return ResourceError(f"connecting to {where}: {text}")
    return ConnectError(f"{where}: {text or code}{attempts}")


def connection_lost(exc: OSError | None, begun: bool = False, sent: bool = True) -> HttpError:
    """Return the error of an exchange whose connection has ended.

    exc: None if it was closed in order; begun: whether any byte of a response has arrived;
        sent: whether any byte of the request has left
    Returns: a TlsError for an error that would recur: a bad record, or an alert, such as that of a
        server that requires a certificate (in TLS 1.3 it comes after the handshake); an
        IncompleteMessageError for a response that TLS reports as truncated
    """
    lost = ConnectionLostError if sent else ConnectError
    if exc is None:
        return lost("the server closed it")
    kind = type(exc).__name__
    if "SSL" not in kind:
        return lost(str(exc))
    if kind != "SSLEOFError":
        return TlsError(reason_of(exc))
    # Without close_notify: servers that are restarted, and some that have nothing more to say.
    return (IncompleteMessageError if begun else lost)(reason_of(exc))

"""The settings of TLS, as contexts.

Owns: how a client's and a server's `ssl.SSLContext` are made, and the defaults. Must not know
connections, loops, or which certificate is shown to whom (`reload.py`).

Theory of operation: a client verifies the server by the system's root certificates and its name.
Both sides use TLS 1.2 and 1.3, in 1.2 the cipher suites with authentication and forward secrecy
(RFC 9325 section 4.2), and no renegotiation, which TLS 1.3 no longer has. Everything else is as
Python sets it: the server's order of ciphers applies, and nothing is compressed.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterable, Sequence

from thor.events import require_callback
from thor.tls.certificates import Password, Pem, load_certificate, name_of, read_pem
from thor.tls.reload import ServerContext

#: Of TLS 1.2. Those of TLS 1.3 are OpenSSL's.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: A certificate and its key; None where it is in the same file.
CertifiedKey = tuple[Pem, Pem | None]


def client_context(
    *,
    verify: bool = True,
    ca_file: Pem | None = None,
    certificate: Pem | None = None,
    key: Pem | None = None,
    password: Password = None,
    alpn: Iterable[str] = (),
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ciphers: str = CIPHERS,
) -> ssl.SSLContext:
    """Make a context for clients. This reads the root certificates, which takes milliseconds.

    verify: False accepts any certificate: an attacker in between can read everything
    ca_file: the authorities to trust (PEM), instead of the system's
    certificate, key: what to present if the server asks; the key may be in the certificate's file
    password: of the key, if it is encrypted, or a function that returns it
    alpn: the protocols to offer, the best first (RFC 7301)
    ciphers: those of TLS 1.2, in OpenSSL's notation
    Files are paths, or `bytes` that are the PEM itself.
    Raises: OSError if a file is not there, ssl.SSLError if it cannot be used, ValueError
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        _trust(context, ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if certificate is not None:
        load_certificate(context, certificate, key, password)
    elif key is not None:
        raise ValueError("a key without a certificate")
    _configure(context, _protocols(alpn), minimum_version, maximum_version, ciphers)
    return context


def server_context(
    certificate: Pem | None = None,
    key: Pem | None = None,
    *,
    certificates: Sequence[CertifiedKey] = (),
    password: Password = None,
    client_ca: Pem | None = None,
    require_client_certificate: bool = True,
    alpn: Iterable[str] = (),
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ciphers: str = CIPHERS,
    configure: Callable[[ssl.SSLContext], object] | None = None,
) -> ServerContext:
    """Make a context for servers: before workers fork, so that all resume each other's sessions.

    certificate, key: what to present, with the intermediate certificates; the key may be in the
        certificate's file
    certificates: [(certificate, key)], more of them. A client gets the one for the name that it
        asks for, exact or `*.example.com`; the first of all if there is none. Two for the same
        names (RSA and ECDSA, say) are both offered.
    password: of the keys, if they are encrypted, or a function that returns it
    client_ca: the authorities whose certificates clients may show
    require_client_certificate: whether, with `client_ca`, they must
    alpn: the protocols that are spoken, the best first (RFC 7301)
    ciphers: those of TLS 1.2, in OpenSSL's notation
    configure: called with each context that is made, now and on each reload, for all else
    Files are paths, or `bytes` that are the PEM itself.
    Raises: OSError if a file is not there, ssl.SSLError if it cannot be used, ValueError
    """
    pairs = list(certificates)
    if certificate is not None:
        pairs.insert(0, (certificate, key))
    elif key is not None:
        raise ValueError("a key without a certificate")
    if not pairs:
        raise ValueError("a server needs a certificate")
    protocols = _protocols(alpn)
    if configure is not None:
        require_callback(configure, "configure function")

    def prepare(context: ssl.SSLContext) -> None:
        _configure(context, protocols, minimum_version, maximum_version, ciphers)
        if client_ca is not None:
            _trust(context, client_ca)
            must = require_client_certificate
            context.verify_mode = ssl.CERT_REQUIRED if must else ssl.CERT_OPTIONAL
        if configure is not None:
            configure(context)

    return ServerContext(pairs, password, prepare, [] if client_ca is None else [client_ca])


def check_context(context: object, *, server_side: bool) -> None:
    """Raise TypeError for what is not a context, ValueError for one of the other side.

    `ssl.create_default_context()`, for example, is for clients: no handshake of a server could
    ever begin.
    """
    if not isinstance(context, ssl.SSLContext):
        # Its type alone: what it holds may be a key.
        raise TypeError(f"context must be an ssl.SSLContext, not {type(context).__name__}")
    if server_side and context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("the context is one for clients; server_context() makes one for servers")
    if not server_side and context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("the context is one for servers; client_context() makes one for clients")


def _configure(
    context: ssl.SSLContext,
    protocols: list[str],
    minimum_version: ssl.TLSVersion,
    maximum_version: ssl.TLSVersion,
    ciphers: str,
) -> None:
    context.minimum_version = minimum_version
    context.maximum_version = maximum_version
    context.set_ciphers(ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if protocols:
        context.set_alpn_protocols(protocols)
    log_file = os.environ.get("SSLKEYLOGFILE")  # for Wireshark, as in Python's default contexts
    if log_file and not sys.flags.ignore_environment:
        context.keylog_filename = log_file


def _protocols(alpn: Iterable[str]) -> list[str]:
    if isinstance(alpn, (str, bytes)):
        raise TypeError(f"alpn must be a list of protocols, not {alpn!r}")
    return list(alpn)


def _trust(context: ssl.SSLContext, authorities: Pem) -> None:
    pem = read_pem(authorities)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as exc:
        text = f"{name_of(authorities)}: no certificates in PEM"
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, text) from exc

"""The errors of TLS, in words.

Owns: the translation of errors of OpenSSL and the network into one line that a person can act on.
Must not know connections or contexts.

Theory of operation: an `ssl.SSLError` has either a verification code (RFC 5280, as X509_V_ERR_*),
or a reason. Reasons with "alert" were sent by the peer (RFC 8446 section 6.2), the others were
found by this side. An error that is in no table is reported in OpenSSL's own words.
"""

from __future__ import annotations

import re
import ssl

#: X509_V_ERR_* to what is wrong with the peer's certificate.
_VERIFICATION = {
    9: "the peer's certificate is not yet valid",
    10: "the peer's certificate has expired",
    18: "the peer's certificate has an unknown issuer: it is self-signed",
    19: "the peer's certificate has an unknown issuer: a self-signed one",
    20: "the peer's certificate has an unknown issuer",
    21: "the peer's certificate has an unknown issuer",
    23: "the peer's certificate was revoked",
    24: "the peer's certificate was issued by one that is no authority",
    26: "the peer's certificate is not for this use",
    62: "the peer's certificate is for another name",
    64: "the peer's certificate is for another address",
    66: "the peer's certificate has a key that is too weak",
    67: "the peer's certificate comes from an authority whose key is too weak",
    68: "the peer's certificate is signed with a digest that is too weak",
}
#: Codes whose text from OpenSSL has a detail: the expected name.
_WITH_DETAIL = {62, 64}

#: How Python formats an error of OpenSSL's. It does not have names for all of them.
_OPENSSL = re.compile(r"((?:\[[^]]*\] )?(.*)) \(_ssl\.c:\d+\)")
#: What stands between the reason and OpenSSL's words in the text of `put_in_words`.
_DETAIL = " (OpenSSL: "

_PROTOCOL = "there is no TLS version that both sides allow"
_NOT_TLS = "the peer does not speak TLS"
_ISSUER = "the peer does not know the issuer of this side's certificate"

#: The name of a reason to what it means.
_REASONS = {
    "UNSUPPORTED_PROTOCOL": _PROTOCOL,
    "TLSV1_ALERT_PROTOCOL_VERSION": _PROTOCOL,
    "WRONG_SSL_VERSION": _PROTOCOL,
    "VERSION_TOO_LOW": _PROTOCOL,
    "NO_PROTOCOLS_AVAILABLE": _PROTOCOL,
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "UNKNOWN_PROTOCOL": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "HTTP_REQUEST": "the peer speaks HTTP without TLS",
    "HTTPS_PROXY_REQUEST": "the peer speaks HTTP without TLS",
    "NO_SHARED_CIPHER": "there is no cipher that both sides allow",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "there is no signature that both sides allow",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "the peer refused the handshake: nothing in common, or it wants a certificate"
    ),
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the peer speaks none of the protocols offered (ALPN)",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the peer wants stronger ciphers",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not serve that name",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has sent no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer requires a certificate of this side",
    "TLSV1_ALERT_UNKNOWN_CA": _ISSUER,
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused this side's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer found this side's certificate expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer found this side's certificate revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused this side's certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer cannot use this side's certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the peer denied access",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was altered on its way",
    "SSLV3_ALERT_BAD_RECORD_MAC": "the peer found a record that was altered on its way",
    "TLSV1_ALERT_INTERNAL_ERROR": "the peer has failed",
    "TLSV1_ALERT_USER_CANCELLED": "the peer gave up",
}


def reason_of(exc: BaseException) -> str:
    """Return what failed, in one line: for `connect_error` and logs.

    exc: of a handshake or a connection
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _verification_reason(exc)
    if isinstance(exc, OSError):
        text = _text_of(exc)
        found = _OPENSSL.fullmatch(text)
        if not found:
            return text.partition(_DETAIL)[0] or type(exc).__name__
        return _REASONS.get(found[2].upper().replace(" ", "_")) or found[2]
    return str(exc) or type(exc).__name__


def put_in_words(exc: OSError | None) -> None:
    """Have the text of a TLS error begin with `reason_of`, and not end with a line of C.

    It keeps OpenSSL's words, its class, and attributes such as `reason`.
    """
    if isinstance(exc, ssl.SSLError) and (found := _OPENSSL.fullmatch(_text_of(exc))):
        exc.strerror = f"{reason_of(exc)}{_DETAIL}{found[1]})"
        exc.args = (exc.errno, exc.strerror)


def _text_of(exc: OSError) -> str:
    return exc.strerror or (str(exc.args[0]) if exc.args else "")


def _verification_reason(exc: ssl.SSLCertVerificationError) -> str:
    code = getattr(exc, "verify_code", 0)
    text = str(getattr(exc, "verify_message", "")).rstrip(".")
    description = _VERIFICATION.get(code)
    if description is None:
        return f"the peer's certificate was not accepted: {text or exc}"
    return f"{description} ({text})" if code in _WITH_DETAIL else description


def truncated_error() -> ssl.SSLEOFError:
    """Return the error of a stream that ends without a close_notify (RFC 8446 section 6.1).

    Whoever can break the connection can cause it: less may have arrived than was sent.
    """
    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed without close_notify")


def handshake_eof_error() -> ssl.SSLEOFError:
    """Return the error of a handshake in which the peer closed the connection."""
    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed during the handshake")


def flooded_error() -> ssl.SSLError:
    """Return the error of a peer that makes this side answer, and never reads the answers."""
    return ssl.SSLError(ssl.SSL_ERROR_SSL, "the peer does not read the answers that it asks for")


def non_ascii_name_error() -> ssl.SSLError:
    """Return the error of a client that asks for an invalid name (RFC 6066 section 3)."""
    return ssl.SSLError(ssl.SSL_ERROR_SSL, "the peer asks for a name that is not ASCII")


def plain_bytes_error() -> ssl.SSLError:
    """Return the error of plain bytes that arrived before TLS began.

    They could be an attacker's, injected to be taken for encrypted data (CVE-2011-0411).
    """
    return ssl.SSLError(ssl.SSL_ERROR_SSL, "plain bytes were received before TLS began")

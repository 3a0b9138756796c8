"""What went wrong with TLS, in words."""

from __future__ import annotations

import errno
import ssl

import pytest

from thor.tls.errors import (
    flooded_error,
    handshake_eof_error,
    plain_bytes_error,
    put_in_words,
    reason_of,
    truncated_error,
)


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    """As OpenSSL tells it."""
    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)"
    error = ssl.SSLCertVerificationError(1, text)
    error.verify_code, error.verify_message = code, message
    return error


def failure(reason: str) -> ssl.SSLError:
    text = reason.lower().replace("_", " ")
    return ssl.SSLError(1, f"[SSL: {reason}] {text} (_ssl.c:1006)")


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        pytest.param(
            verification(10, "certificate has expired"),
            "the peer's certificate has expired",
            id="expired",
        ),
        pytest.param(
            verification(9, "certificate is not yet valid"),
            "the peer's certificate is not yet valid",
            id="not-yet-valid",
        ),
        pytest.param(
            verification(20, "unable to get local issuer certificate"),
            "the peer's certificate has an unknown issuer",
            id="unknown-issuer",
        ),
        pytest.param(
            verification(18, "self-signed certificate"),
            "the peer's certificate has an unknown issuer: it is self-signed",
            id="self-signed",
        ),
        pytest.param(
            verification(62, "Hostname mismatch, certificate is not valid for 'x'."),
            "the peer's certificate is for another name"
            " (Hostname mismatch, certificate is not valid for 'x')",
            id="name",
        ),
        pytest.param(
            verification(64, "IP address mismatch, certificate is not valid for '::1'."),
            "the peer's certificate is for another address"
            " (IP address mismatch, certificate is not valid for '::1')",
            id="address",
        ),
        pytest.param(
            verification(25, "path length constraint exceeded"),
            "the peer's certificate was not accepted: path length constraint exceeded",
            id="another-verification",
        ),
        pytest.param(
            failure("TLSV1_ALERT_PROTOCOL_VERSION"),
            "there is no TLS version that both sides allow",
            id="version-by-alert",
        ),
        pytest.param(
            failure("UNSUPPORTED_PROTOCOL"),
            "there is no TLS version that both sides allow",
            id="version",
        ),
        pytest.param(failure("WRONG_VERSION_NUMBER"), "the peer does not speak TLS", id="not-tls"),
        pytest.param(
            failure("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "the peer requires a certificate of this side",
            id="certificate-required",
        ),
        pytest.param(failure("SOMETHING_NEW"), "something new", id="another-reason"),
        pytest.param(
            ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)"),
            "the peer speaks none of the protocols offered (ALPN)",
            id="one-that-python-has-no-name-for",
        ),
        pytest.param(ssl.SSLError("no code"), "no code", id="no-code"),
        pytest.param(ssl.SSLError(), "SSLError", id="nothing"),
        pytest.param(ssl.SSLError(1, "plain text"), "plain text", id="no-reason"),
        pytest.param(
            truncated_error(), "the peer closed without close_notify", id="truncated_error"
        ),
        pytest.param(
            handshake_eof_error(), "the peer closed during the handshake", id="broken-off"
        ),
        pytest.param(
            flooded_error(),
            "the peer does not read the answers that it asks for",
            id="flooded_error",
        ),
        pytest.param(plain_bytes_error(), "plain bytes were received before TLS began", id="plain"),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "Connection reset by peer",
            id="network",
        ),
        pytest.param(ValueError("odd"), "odd", id="another-error"),
        pytest.param(ValueError(), "ValueError", id="another-without-words"),
    ],
)
def test_reason_of(exc: BaseException, told: str) -> None:
    assert reason_of(exc) == told


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        (failure("HTTP_REQUEST"), "the peer speaks HTTP without TLS", "http request"),
        (failure("SOMETHING_NEW"), "something new", "something new"),
        (verification(10, "expired"), "the peer's certificate has expired", "verify failed"),
    ],
)
def test_text_put_in_words_says_what_happened_and_no_line_of_c(
    error: ssl.SSLError, told: str, words: str
) -> None:
    for _ in range(2):  # it is told again, and put in words again
        put_in_words(error)
        assert str(error).startswith(told)
        assert words in str(error)
        assert "_ssl.c" not in f"{error} {error!r}"
        assert reason_of(error) == told


@pytest.mark.parametrize(
    "error",
    [truncated_error(), handshake_eof_error(), flooded_error(), plain_bytes_error()],
    ids=str,
)
def test_errors_of_our_own_say_what_happened(error: ssl.SSLError) -> None:
    assert isinstance(error, OSError)
    assert reason_of(error) in str(error)

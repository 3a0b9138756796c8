"""Certificates, as files or in memory.

Owns: loading a certificate with its key, and the names in it. Must not know connections, nor the
other settings of a context.

Theory of operation: Python loads certificates and keys from files only; those that a program has
in memory are written to temporary files that only this user can read. The names of a certificate
(RFC 6125: the subject alternative names, nothing else) are read by a minimal DER parser (RFC 5280
section 4.1).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

#: A PEM file's path, or the PEM itself as `bytes`.
Pem = str | os.PathLike[str] | bytes
#: What opens an encrypted key.
Password = str | bytes | Callable[[], str | bytes] | None

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

#: Tags of DER: SEQUENCE, OBJECT IDENTIFIER, OCTET STRING, [3] of a certificate, a DNS name.
_SEQUENCE, _OID, _OCTETS, _EXTENSIONS, _DNS_NAME = 0x30, 0x06, 0x04, 0xA3, 0x82
#: id-ce-subjectAltName, 2.5.29.17.
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"


def load_certificate(
    context: ssl.SSLContext, certificate: Pem, key: Pem | None, password: Password
) -> None:
    """Have `context` present `certificate`, followed by its intermediate certificates.

    key: None if it is in the same file
    Raises: OSError if there is no such file; ssl.SSLError, which names the files, if they cannot
        be used; ValueError if the key is encrypted and there is no password
    """
    parts = [certificate] if key is None else [certificate, key]
    with ExitStack() as stack:
        paths = [_path_of(part, stack) for part in parts]

        def no_password() -> str:
            # OpenSSL would ask for it on the terminal, and stop the program.
            raise ValueError(f"{name_of(parts[-1])}: the key is encrypted: a password is needed")

        try:
            context.load_cert_chain(paths[0], paths[-1], password or no_password)
        except ssl.SSLError as exc:
            named = " and ".join(map(name_of, parts))
            reason = (exc.reason or "").replace("_", " ").lower()
            usual = "not a certificate and its key, in PEM"
            if password:
                usual += ", that this password opens"
            raise ssl.SSLError(exc.errno, f"{named}: {reason or usual}") from exc


def _path_of(part: Pem, stack: ExitStack) -> str:
    if not isinstance(part, bytes):
        _check_path(part)
        with open(part, "rb"):
            return os.fspath(part)  # an error of OpenSSL's would not name the file
    import tempfile  # few certificates are given as bytes

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="thor-"))
    path = Path(folder) / "pem"
    path.write_bytes(part)
    return str(path)


def _check_path(part: object) -> None:
    """Raise ValueError for a PEM, which may be a key: as a path it would be in an error's text."""
    if _is_pem_text(part):
        raise ValueError("a PEM is given as bytes; a str is the path of a file")


def _is_pem_text(part: object) -> bool:
    return isinstance(part, str) and "-----BEGIN" in part


def name_of(part: Pem) -> str:
    """Return the name of a file in messages."""
    if isinstance(part, bytes) or _is_pem_text(part):
        return "the PEM given"
    return os.fspath(part)


def read_pem(part: Pem) -> str:
    """Return the text of a PEM file. Raises: OSError; ValueError if it is not text"""
    if isinstance(part, bytes):
        data = part
    else:
        _check_path(part)
        data = Path(part).read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{name_of(part)}: not in PEM") from None


def certificate_names(pem: str) -> list[str]:
    """Return the DNS names of the first certificate, in lower case.

    Raises: ValueError if there is no certificate, or none that can be read
    """
    _, found, remainder = pem.partition(_BEGIN)
    body, ended, _ = remainder.partition(_END)
    if not found or not ended:
        raise ValueError("no certificate in PEM")
    der = ssl.PEM_cert_to_DER_cert(_BEGIN + body + _END)
    return [name.decode("ascii").lower() for name in _dns_names(der)]


def _dns_names(der: bytes) -> Iterator[bytes]:
    [(_, certificate)] = _elements(der)
    [(_, to_be_signed), *_] = _elements(certificate)
    for tag, value in _elements(to_be_signed):
        if tag == _EXTENSIONS:
            [(_, extensions)] = _elements(value)
            for _, extension in _elements(extensions):
                parts = list(_elements(extension))
                if parts[:1] == [(_OID, _SUBJECT_ALT_NAME)] and parts[-1][0] == _OCTETS:
                    [(_, names)] = _elements(parts[-1][1])
                    yield from (name for kind, name in _elements(names) if kind == _DNS_NAME)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Parse consecutive elements of DER: the tag and content of each."""
    at = 0
    while at < len(data):
        header = data[at : at + 2]
        if len(header) < 2:
            raise ValueError("a certificate that is cut off")
        tag, length = header
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("a certificate that is cut off")
        yield tag, data[at : at + length]
        at += length

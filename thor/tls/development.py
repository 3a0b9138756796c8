"""Certificates for development and tests.

Owns: making them, with `cryptography`. Must not know contexts or connections.

What is made here is for machines of one's own: keys are not encrypted, and nothing can be revoked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    #: An extension of a certificate, and whether it is critical.
    _Extension: TypeAlias = tuple[x509.ExtensionType, bool]

#: Most days that a browser accepts a server's certificate for (CA/Browser Forum, ballot SC-63 and
#: those before it: 398).
CERTIFICATE_DAYS = 397
#: How long an authority's own certificate is valid, in days.
CA_DAYS = 3650
#: What names of hosts are made of; `_` is in some of those that are not for the public.
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
#: A clock that is a little late must not find a certificate that is not yet valid.
BACKDATED = timedelta(hours=1)


class Certified(NamedTuple):
    """A certificate, with what leads to its authority, and its key; both in PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self.certificate)} bytes and a key>"  # logs get it

    def write(self, folder: str | os.PathLike[str], name: str = "server") -> tuple[str, str]:
        """Write `NAME.pem` and `NAME.key` into `folder`; the key for this user alone.

        Returns: the paths of both
        Raises: OSError
        """
        paths = (Path(folder) / f"{name}.pem", Path(folder) / f"{name}.key")
        paths[0].write_bytes(self.certificate)
        _write_secret(paths[1], self.key)
        return str(paths[0]), str(paths[1])


def self_signed(names: str | Iterable[str], *, days: int = CERTIFICATE_DAYS) -> Certified:
    """Make a certificate that nobody has signed but itself.

    names: of hosts (`localhost`, `*.example.com`) and IP addresses
    days: how long it is valid, more than 0
    Raises: RuntimeError if `cryptography` is not installed; ValueError if there is no name, or one
        that no host can have
    """
    return _Maker().make(_listed(names), days=days)


class DevelopmentCA:
    """A small authority: what trusts `certificate` trusts what it issues.

    certificate: its certificate (PEM), for `client_context(ca_file=)` and browsers
    """

    def __init__(self, name: str = "Thor development CA", *, days: int = CA_DAYS) -> None:
        """Make a new one. Raises: RuntimeError if `cryptography` is not installed"""
        self._maker = _Maker()
        self._own = self._maker.make([name], days=days, authority=True)

    @property
    def certificate(self) -> bytes:
        return self._own.certificate

    def issue(
        self, names: str | Iterable[str], *, days: int = CERTIFICATE_DAYS, client: bool = False
    ) -> Certified:
        """Make a certificate.

        names: of hosts (`localhost`, `*.example.com`) and IP addresses; of a client, whatever it
            is called by
        days: how long it is valid, more than 0
        client: whether it is for a client to show, and not for a server
        Raises: ValueError if there is no name, or one that no host can have
        """
        return self._maker.make(_listed(names), days=days, client=client, issuer=self._own)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `ca.pem` and `ca.key` into `folder`, for `load`. Raises: OSError"""
        self._own.write(folder, "ca")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> DevelopmentCA:
        """Return the authority that was saved in `folder`. Raises: OSError, RuntimeError"""
        found = cls.__new__(cls)
        found._maker = _Maker()
        files = (Path(folder) / "ca.pem", Path(folder) / "ca.key")
        found._own = Certified(*(file.read_bytes() for file in files))
        return found


def _listed(names: str | Iterable[str]) -> list[str]:
    listed = [names] if isinstance(names, str) else list(names)
    if not listed:
        raise ValueError("a certificate needs a name")
    return listed


def _write_secret(path: Path, secret: bytes) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:
        file.write(secret)


class _Maker:
    """What `cryptography` does for us."""

    def __init__(self) -> None:
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError:
            raise RuntimeError(
                "making certificates needs cryptography: python3 -m pip install 'thor[tls]'"
            ) from None
        self._x509, self._hashes, self._serialization, self._ec = x509, hashes, serialization, ec

    def make(
        self,
        names: list[str],
        *,
        days: int,
        authority: bool = False,
        client: bool = False,
        issuer: Certified | None = None,
    ) -> Certified:
        """Make a key, and a certificate for it that `issuer` signs; None: the key itself."""
        if not days > 0:
            raise ValueError(f"a certificate that is valid for {days!r} days")
        x509 = self._x509
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        signer: Any = key
        subject = issued_by = self._subject(names[0])
        if issuer is not None:
            signer = self._serialization.load_pem_private_key(issuer.key, None)
            issued_by = x509.load_pem_x509_certificate(issuer.certificate).subject
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issued_by)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + timedelta(days=days))
        )
        extensions = self._keys(key.public_key(), signer.public_key())
        extensions += self._authority() if authority else self._use(names, client)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(signer, self._hashes.SHA256())
        pem = self._serialization.Encoding.PEM
        plain = self._serialization.NoEncryption()
        pkcs8 = self._serialization.PrivateFormat.PKCS8
        return Certified(certificate.public_bytes(pem), key.private_bytes(pem, pkcs8, plain))

    def _subject(self, name: str) -> x509.Name:
        common = self._x509.NameAttribute(self._x509.NameOID.COMMON_NAME, name[:64])
        return self._x509.Name([common])

    def _keys(
        self, own: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePublicKey
    ) -> list[_Extension]:
        x509 = self._x509
        return [
            (x509.SubjectKeyIdentifier.from_public_key(own), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), False),
        ]

    def _authority(self) -> list[_Extension]:
        return [
            (self._x509.BasicConstraints(ca=True, path_length=0), True),
            (self._key_usage("key_cert_sign", "crl_sign"), True),
        ]

    def _use(self, names: list[str], client: bool) -> list[_Extension]:
        x509 = self._x509
        uses = x509.ExtendedKeyUsageOID
        found = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (self._key_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([uses.CLIENT_AUTH if client else uses.SERVER_AUTH]), False),
        ]
        if not client:  # what a client is called by need not be the name of a host
            found.append((x509.SubjectAlternativeName([*map(self._host, names)]), False))
        return found

    def _key_usage(self, *allowed: str) -> x509.KeyUsage:
        kinds = (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        )
        return self._x509.KeyUsage(**{kind: kind in allowed for kind in kinds})

    def _host(self, name: str) -> x509.GeneralName:
        try:
            return self._x509.IPAddress(ip_address(name))
        except ValueError:
            star = "*." if name.startswith("*.") else ""
            host = name.removeprefix(star).encode("idna").decode("ascii")
            if not _HOST.fullmatch(host):
                raise ValueError(f"{name!r} is not the name of a host") from None
            return self._x509.DNSName(star + host)

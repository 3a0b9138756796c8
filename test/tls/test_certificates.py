"""Certificates as files and in memory, and the names in them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tls_support import issued

from thor.tls import DevelopmentCA, client_context, server_context
from thor.tls.certificates import certificate_names, load_certificate, read_pem


@pytest.fixture
def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return issued("localhost").write(tmp_path)


def encrypted(key: bytes, password: bytes) -> bytes:
    loaded = load_pem_private_key(key, None)
    scheme = BestAvailableEncryption(password)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme)


# -- loading -------------------------------------------------------------------------------------


def test_certificate_and_its_key_as_files(context: ssl.SSLContext, files: tuple[str, str]) -> None:
    load_certificate(context, files[0], Path(files[1]), None)


def test_both_in_one_file(context: ssl.SSLContext, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(b"".join(issued("localhost")))
    load_certificate(context, path, None, None)


def test_both_in_memory_and_nothing_is_left_of_them_on_the_disk(
    context: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load_certificate(context, *issued("localhost"), None)
    load_certificate(context, b"".join(issued("localhost")), None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "password", ["secret", b"secret", lambda: "secret"], ids=["str", "bytes", "callable"]
)
def test_encrypted_key(context: ssl.SSLContext, password: object) -> None:
    certificate, key = issued("localhost")
    load_certificate(context, certificate, encrypted(key, b"secret"), password)  # type: ignore[arg-type]


def test_encrypted_key_without_a_password_asks_nobody(context: ssl.SSLContext) -> None:
    certificate, key = issued("localhost")
    with pytest.raises(ValueError, match="the PEM given: the key is encrypted: a password is"):
        load_certificate(context, certificate, encrypted(key, b"secret"), None)


def test_password_that_is_wrong_is_told(context: ssl.SSLContext) -> None:
    certificate, key = issued("localhost")
    with pytest.raises(ssl.SSLError, match=r"the PEM given: .*, that this password opens"):
        load_certificate(context, certificate, encrypted(key, b"secret"), "other")


def test_file_that_is_missing_is_named(context: ssl.SSLContext, files: tuple[str, str]) -> None:
    for parts in ((files[0] + ".old", files[1]), (files[0], files[1] + ".old")):
        with pytest.raises(FileNotFoundError, match=r"\.old"):
            load_certificate(context, *parts, None)


def test_file_that_cannot_be_read_is_named(context: ssl.SSLContext, tmp_path: Path) -> None:
    certificate, _ = issued("localhost")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        load_certificate(context, certificate, tmp_path, None)


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        pytest.param(0, 0, "not a certificate and its key, in PEM", id="no-key"),
        pytest.param(1, 1, "not a certificate and its key, in PEM", id="no-certificate"),
        pytest.param(0, None, "not a certificate and its key, in PEM", id="no-key-with-it"),
    ],
)
def test_file_that_is_something_else_is_named(
    context: ssl.SSLContext, files: tuple[str, str], certificate: int, key: int | None, told: str
) -> None:
    parts = (files[certificate], None if key is None else files[key])
    named = " and ".join(part for part in parts if part)
    with pytest.raises(ssl.SSLError) as caught:
        load_certificate(context, *parts, None)
    assert str(caught.value) == f"{named}: {told}"


def test_key_of_another_certificate_is_told(context: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLError, match="the PEM given and the PEM given: key values mismatch"):
        load_certificate(context, issued("a").certificate, issued("b").key, None)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param(["localhost"], ["localhost"], id="one"),
        pytest.param(["A.Test", "*.b.test"], ["a.test", "*.b.test"], id="lower-case-and-wildcard"),
        pytest.param(["a.test", "127.0.0.1", "::1"], ["a.test"], id="no-addresses"),
        pytest.param(["münchen.test"], ["xn--mnchen-3ya.test"], id="as-on-the-wire"),
        pytest.param([f"{n:050}.test" for n in range(100)], None, id="more-than-64-kb-of-them"),
    ],
)
def test_names_of_a_certificate(names: list[str], found: list[str] | None) -> None:
    pem = DevelopmentCA().issue(names).certificate.decode()
    assert certificate_names(pem) == (names if found is None else found)


def test_names_that_somebody_else_has_written() -> None:
    leaf = trustme.CA().issue_cert("a.test", "*.b.test", "192.0.2.1", "user@c.test")
    pem = leaf.cert_chain_pems[0].bytes().decode()
    assert certificate_names(pem) == ["a.test", "*.b.test"]


def test_first_certificate_of_a_chain_counts_and_text_around_it_does_not() -> None:
    chain = b"Bag Attributes\n" + issued("a.test").certificate + b"\n" + issued("b").certificate
    assert certificate_names(chain.decode()) == ["a.test"]


def test_certificate_without_names_has_none() -> None:
    assert certificate_names(DevelopmentCA("only a common name").certificate.decode()) == []


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
    ],
    ids=["empty", "cut-off", "a-key"],
)
def test_what_is_no_certificate_has_no_names(pem: str) -> None:
    with pytest.raises(ValueError, match="no certificate in PEM"):
        certificate_names(pem)


def test_certificate_that_is_cut_off_anywhere_is_an_error() -> None:
    der = ssl.PEM_cert_to_DER_cert(issued("a.test").certificate.decode())
    for kept in range(len(der)):
        with pytest.raises(ValueError):
            certificate_names(ssl.DER_cert_to_PEM_cert(der[:kept]))


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "der"
    path.write_bytes(b"\x30\x82\xff\xfe")
    with pytest.raises(ValueError, match="der: not in PEM"):
        read_pem(path)


@pytest.mark.parametrize("place", ["certificate", "key", "client_ca", "ca_file"])
def test_pem_as_text_is_refused_without_being_shown(place: str) -> None:
    own = issued("a")
    pem = own.key.decode()
    given: dict[str, Any] = dict(certificate=own.certificate, key=own.key) | {place: pem}
    make: Any = server_context
    if place == "ca_file":
        make, given = client_context, {place: pem}
    with pytest.raises(ValueError, match="a PEM is given as bytes; a str is the path") as caught:
        make(**given)
    assert "-----" not in str(caught.value)

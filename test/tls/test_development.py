"""Certificates for development."""

from __future__ import annotations

import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tls_support import secure_pair

from thor.loop import LoopBase
from thor.tls import DevelopmentCA, client_context, self_signed, server_context
from thor.tls.certificates import certificate_names


def read(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def test_self_signed_certificate_is_trusted_by_those_who_have_it(memory: LoopBase) -> None:
    own = self_signed(["localhost", "127.0.0.1", "::1"])
    context = client_context(ca_file=own.certificate)
    for name in ("localhost", "127.0.0.1", "::1"):
        secure_pair(memory, client=context, server=server_context(*own), name=name).end()


def test_one_name_may_be_a_string() -> None:
    own = self_signed("*.a.test", days=3)
    assert certificate_names(own.certificate.decode()) == ["*.a.test"]
    left = read(own.certificate).not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=2) < left <= timedelta(days=3)


def test_certificate_is_valid_a_little_before_now() -> None:
    assert read(self_signed("a").certificate).not_valid_before_utc < datetime.now(UTC)


def test_certificate_needs_a_name() -> None:
    with pytest.raises(ValueError, match="a certificate needs a name"):
        self_signed([])
    with pytest.raises(ValueError, match="a certificate needs a name"):
        DevelopmentCA().issue([])


def test_authority_is_trusted_for_what_it_issues(memory: LoopBase) -> None:
    authority = DevelopmentCA()
    alice = authority.issue("Alice Smith", client=True)
    server = server_context(*authority.issue("localhost"), client_ca=authority.certificate)
    client = client_context(
        ca_file=authority.certificate, certificate=alice.certificate, key=alice.key
    )
    secure_pair(memory, client=client, server=server).end()
    with pytest.raises(AssertionError, match="unknown issuer"):
        secure_pair(
            memory, client=client_context(ca_file=DevelopmentCA().certificate), server=server
        )


def test_certificate_is_for_one_use(memory: LoopBase) -> None:
    authority = DevelopmentCA()
    wrong = authority.issue("localhost", client=True)
    with pytest.raises(AssertionError, match="not for this use"):
        secure_pair(
            memory,
            client=client_context(ca_file=authority.certificate),
            server=server_context(*wrong),
        )


def test_authority_can_be_saved_and_goes_on(tmp_path: Path, memory: LoopBase) -> None:
    made = DevelopmentCA("ours", days=5)
    made.save(tmp_path)
    found = DevelopmentCA.load(tmp_path)
    assert found.certificate == made.certificate
    pair = secure_pair(
        memory,
        client=client_context(ca_file=tmp_path / "ca.pem"),
        server=server_context(*found.issue("localhost")),
    )
    pair.end()


def test_key_on_the_disk_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = tmp_path / "server.key"
    old.write_bytes(b"an old one, for everybody")
    old.chmod(0o644)
    certificate, key = self_signed("a").write(tmp_path)
    assert (certificate, key) == (str(tmp_path / "server.pem"), str(old))
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert b"PRIVATE KEY" in old.read_bytes()


def test_without_cryptography_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for make in (lambda: self_signed("a"), DevelopmentCA):
        with pytest.raises(RuntimeError, match=r"python3 -m pip install 'thor\[tls\]'"):
            make()


def test_key_is_not_in_what_logs_show() -> None:
    own = self_signed("localhost")
    for shown in (repr(own), str(own), f"{(own,)}"):
        assert "Certified" in shown
        assert "PRIVATE" not in shown
        assert own.key.splitlines()[1].decode() not in shown


@pytest.mark.parametrize("name", ["foo bar", "", "a..b", "http://a", "a:80", "*", "a.*.b"])
def test_certificate_for_what_no_host_is_called_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        self_signed(name)


@pytest.mark.parametrize("days", [0, -1])
def test_certificate_is_valid_for_some_time(days: int) -> None:
    with pytest.raises(ValueError, match=f"valid for {days} days"):
        self_signed("a", days=days)
    with pytest.raises(ValueError, match=f"valid for {days} days"):
        DevelopmentCA().issue("a", days=days)

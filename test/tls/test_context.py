"""The settings of TLS, as contexts."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from tls_support import authority, issued, only, secure_pair, serving, stranger, trusting

from thor.loop import LoopBase
from thor.testing import advance
from thor.tls import client_context, server_context

MISSING = "/there/is/no/such/file"

# -- defaults ------------------------------------------------------------------------------------


def test_client_verifies_with_the_roots_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: LoopBase
) -> None:
    """OpenSSL reads them where SSL_CERT_FILE says."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority().certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    context = client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    secure_pair(memory, client=context).end()


def test_client_that_verifies_nothing_reads_no_roots() -> None:
    context = client_context(verify=False)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.cert_store_stats()["x509"] == 0


@pytest.mark.parametrize("context", [trusting(), serving()], ids=["client", "server"])
def test_both_sides_take_tls_1_2_and_later_without_renegotiation(context: ssl.SSLContext) -> None:
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    old = [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]
    assert old
    assert all(name.startswith("ECDHE-") for name in old)
    assert all("GCM" in name or "CHACHA20" in name for name in old)


def test_server_order_of_ciphers_counts(memory: LoopBase) -> None:
    ours, theirs = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    pair = secure_pair(
        memory,
        client=trusting(ciphers=f"{theirs}:{ours}", **only("TLSv1.2")),
        server=serving(ciphers=f"{ours}:{theirs}"),
    )
    assert pair.client.cipher == ours
    pair.end()


# -- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "server"),
    [("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.2")],
)
def test_without_a_version_in_common_both_sides_say_so(
    memory: LoopBase, client: str, server: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        secure_pair(memory, client=trusting(**only(client)), server=serving(**only(server)))
    told = "there is no TLS version that both sides allow"
    assert str(caught.value).count(told) == 2
    advance(memory, 3)


def test_highest_version_of_both_is_spoken(memory: LoopBase) -> None:
    pair = secure_pair(memory, server=serving(maximum_version=ssl.TLSVersion.TLSv1_2))
    assert pair.client.tls_version == "TLSv1.2"
    pair.end()


# -- files ---------------------------------------------------------------------------------------


def test_files_can_be_paths_of_any_kind(tmp_path: Path, memory: LoopBase) -> None:
    certificate, key = issued("localhost").write(tmp_path)
    alice = issued("alice", client=True).write(tmp_path, "alice")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority().certificate)
    pair = secure_pair(
        memory,
        client=client_context(ca_file=roots, certificate=Path(alice[0]), key=alice[1]),
        server=server_context(Path(certificate), key, client_ca=str(roots)),
    )
    assert pair.server.peer_certificate is not None
    pair.end()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(dict(ca_file=MISSING), id="roots"),
        pytest.param(dict(certificate=MISSING), id="certificate"),
    ],
)
def test_file_of_a_client_that_is_missing_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match=MISSING):
        client_context(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(dict(certificate=MISSING), id="certificate"),
        pytest.param(dict(certificate=issued("a").certificate, key=MISSING), id="key"),
        pytest.param(dict(certificates=[issued("a"), (MISSING, None)]), id="another-certificate"),
        pytest.param(
            dict(certificates=[issued("a")], client_ca=MISSING), id="authorities-of-clients"
        ),
    ],
)
def test_file_of_a_server_that_is_missing_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match=MISSING):
        server_context(**settings)


def test_authorities_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    for text in ("", "nothing of that kind"):
        path.write_text(text)
        with pytest.raises(ssl.SSLError, match=r"roots\.pem: no certificates in PEM"):
            client_context(ca_file=path)
        with pytest.raises(ssl.SSLError, match=r"roots\.pem: no certificates in PEM"):
            server_context(*issued("a"), client_ca=path)


@pytest.mark.parametrize(
    ("make", "settings", "told"),
    [
        pytest.param(client_context, dict(key=b""), "a key without a certificate", id="client-key"),
        pytest.param(server_context, dict(key=b""), "a key without a certificate", id="server-key"),
        pytest.param(server_context, {}, "a server needs a certificate", id="no-certificate"),
        pytest.param(
            server_context,
            dict(certificates=[issued("a")], alpn="h2"),
            "alpn must be a list of protocols, not 'h2'",
            id="one-protocol",
        ),
        pytest.param(
            client_context,
            dict(verify=False, alpn=[""]),
            "ALPN protocols must be 1 to 255",
            id="empty",
        ),
        pytest.param(
            client_context,
            dict(verify=False, ciphers="none"),
            "No cipher can be selected",
            id="ciphers",
        ),
    ],
)
def test_settings_that_cannot_be_are_errors_at_once(
    make: Any, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises((ValueError, TypeError, ssl.SSLError), match=told):
        make(**settings)


def test_stranger_among_the_clients_is_refused(memory: LoopBase) -> None:
    mallory = stranger().issue("mallory", client=True)
    with pytest.raises(AssertionError, match="the peer's certificate has an unknown issuer"):
        secure_pair(
            memory,
            client=trusting(certificate=mallory.certificate, key=mallory.key),
            server=serving(client_ca=authority().certificate),
        )
    advance(memory, 3)


def test_what_has_no_name_is_configured_by_a_function(memory: LoopBase) -> None:
    seen: list[ssl.SSLContext] = []
    context = server_context(
        certificates=[issued("a.test"), issued("b.test")], configure=seen.append
    )
    assert len(seen) == 2
    assert seen[0] is context
    context.reload()
    assert len(seen) == 4


def test_context_refuses_coroutine_function_that_would_configure_nothing() -> None:
    async def wrong(context: ssl.SSLContext) -> None: ...

    with pytest.raises(TypeError, match="needs asyncio hosting"):
        server_context(certificates=[issued("a.test")], configure=wrong)


def test_keys_are_logged_where_the_environment_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: LoopBase
) -> None:
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    pair = secure_pair(memory, client=trusting())
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()
    pair.end()

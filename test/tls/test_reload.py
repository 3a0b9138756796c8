"""A server's context: which certificate a client gets, and how it is renewed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tls_support import (
    Bytes,
    Meeting,
    authority,
    blocking,
    issued,
    only,
    secure_pair,
    serving,
    stranger,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Recorder
from thor.tls import ServerContext, client_context, server_context
from thor.tls.certificates import certificate_names
from thor.tls.reload import CHECK_S, TICKET_KEYS_S

# -- the certificate for a name ------------------------------------------------------------------


@pytest.fixture(scope="module")
def several() -> ServerContext:
    return server_context(
        *issued("first.test", "localhost"),
        certificates=[
            issued("exact.test", "also.test"),
            issued("*.wild.test"),
            issued("one.wild.test"),
            issued("also.test"),
        ],
    )


def names_shown(memory: LoopBase, context: ssl.SSLContext, name: str) -> tuple[list[str], Any]:
    """The names in the certificate that a client gets who asks for `name`, and what was asked."""
    unverified = client_context(verify=False)
    pair = secure_pair(memory, client=unverified, server=context, name=name)
    der = pair.client.peer_certificate
    assert der is not None
    pair.end()
    return certificate_names(ssl.DER_cert_to_PEM_cert(der)), pair.server.server_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("first.test", ["first.test", "localhost"], id="the-first"),
        pytest.param("exact.test", ["exact.test", "also.test"], id="exact"),
        pytest.param("EXACT.Test", ["exact.test", "also.test"], id="in-any-case"),
        pytest.param("also.test", ["exact.test", "also.test"], id="the-first-that-has-it"),
        pytest.param("any.wild.test", ["*.wild.test"], id="wildcard"),
        pytest.param("one.wild.test", ["one.wild.test"], id="exact-before-wildcard"),
        pytest.param("a.b.wild.test", ["first.test", "localhost"], id="a-wildcard-is-one-label"),
        pytest.param("wild.test", ["first.test", "localhost"], id="and-not-none"),
        pytest.param("unknown.test", ["first.test", "localhost"], id="unknown"),
        pytest.param("127.0.0.1", ["first.test", "localhost"], id="an-address-is-no-name"),
    ],
)
def test_client_gets_the_certificate_for_the_name_that_it_asks_for(
    memory: LoopBase, several: ServerContext, name: str, shown: list[str]
) -> None:
    asked = None if name == "127.0.0.1" else name.lower()
    assert names_shown(memory, several, name) == (shown, asked)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_name_is_known_and_its_certificate_shown_when_a_session_is_resumed(
    memory: LoopBase, several: ServerContext, version: str
) -> None:
    client = trusting(**only(version))
    for reused in (False, True):
        pair = secure_pair(memory, client=client, server=several, name="exact.test")
        assert pair.server.server_name == "exact.test"
        assert pair.client.session_reused is reused
        der = pair.client.peer_certificate
        assert der is not None
        assert "exact.test" in certificate_names(ssl.DER_cert_to_PEM_cert(der))
        pair.client.pause(False)
        pair.server.write(b"x")
        pair.settle()
        pair.end()


def test_two_certificates_for_the_same_names_are_both_offered(memory: LoopBase) -> None:
    ca = trustme.CA()
    leaves = [ca.issue_cert("localhost", key_type=kind) for kind in trustme.KeyType]
    pems = [(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()) for leaf in leaves]
    context = server_context(certificates=[issued("first.test"), *pems])
    for algorithm in ("ECDSA", "RSA"):
        client = client_context(
            ca_file=ca.cert_pem.bytes(), ciphers=f"ECDHE+AESGCM+a{algorithm}", **only("TLSv1.2")
        )
        pair = secure_pair(memory, client=client, server=context)
        assert algorithm in str(pair.client.cipher)
        pair.end()


def test_other_contexts_have_the_same_settings(memory: LoopBase) -> None:
    context = server_context(
        certificates=[issued("a.test"), issued("b.test")],
        alpn=["x"],
        client_ca=authority().certificate,
        **only("TLSv1.2"),
    )
    alice = issued("alice", client=True)
    client = trusting(alpn=["x"], certificate=alice.certificate, key=alice.key)
    pair = secure_pair(memory, client=client, server=context, name="b.test")
    assert (pair.server.alpn, pair.server.tls_version) == ("x", "TLSv1.2")
    assert pair.server.peer_certificate is not None
    pair.end()
    with pytest.raises(AssertionError, match="the peer has sent no certificate"):
        secure_pair(memory, server=context, name="b.test")


def test_without_a_context_of_ours_the_name_is_not_known(memory: LoopBase, tmp_path: Path) -> None:
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain.load_cert_chain(*issued("localhost").write(tmp_path))
    pair = secure_pair(memory, server=plain)
    assert pair.server.server_name is None
    pair.end()


def test_certificate_that_has_no_names_to_choose_by_is_an_error() -> None:
    with pytest.raises(ValueError, match="the PEM given: no certificate in PEM"):
        server_context(certificates=[issued("a"), (issued("b").key, None)])


# -- reload --------------------------------------------------------------------------------------


class Files:
    """A server's files, which can be changed, and its context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put(issued("old.test", "localhost"))
        self.context = server_context(folder / "server.pem", folder / "server.key")

    def put(self, certified: Any) -> None:
        """Change both files, so that it can be seen."""
        for path in map(Path, certified.write(self.folder)):
            self.age = getattr(self, "age", 0) + 1
            os.utime(path, ns=(0, self.age))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


NEW = ("new.test", "localhost")


def test_reload_shows_the_new_certificate_to_new_clients_only(
    memory: LoopBase, files: Files
) -> None:
    before = secure_pair(memory, server=files.context)
    files.put(issued(*NEW))
    assert names_shown(memory, files.context, "localhost")[0][0] == "old.test"
    files.context.reload()
    assert names_shown(memory, files.context, "localhost")[0][0] == "new.test"
    heard = Recorder(before.server, "data")
    before.server.pause(False)
    before.client.write(b"still here")
    before.settle()
    assert heard.take() == [("data", b"still here")]
    before.end()


def test_handshake_under_way_is_not_disturbed(files: Files) -> None:
    client = Bytes(trusting(), "localhost")
    server = Bytes(files.context)
    flight = server.shake(client.shake())
    files.put(stranger().issue("localhost"))
    files.context.reload()
    server.shake(client.shake(flight))
    assert server.hear(client.say(b"hello")) == b"hello"


def test_reload_that_fails_changes_nothing(memory: LoopBase, files: Files) -> None:
    (files.folder / "server.key").write_bytes(issued("another").key)
    with pytest.raises(ssl.SSLError, match=r"server\.pem and .*server\.key: key values mismatch"):
        files.context.reload()
    assert names_shown(memory, files.context, "localhost")[0][0] == "old.test"
    (files.folder / "server.pem").unlink()
    with pytest.raises(FileNotFoundError, match=r"server\.pem"):
        files.context.reload()
    assert names_shown(memory, files.context, "localhost")[0][0] == "old.test"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_reload_makes_new_ticket_keys(memory: LoopBase, files: Files, version: str) -> None:
    client = trusting(**only(version))
    reused = []
    for turn in range(4):
        if turn == 2:
            files.context.reload()
        pair = secure_pair(memory, client=client, server=files.context)
        pair.client.pause(False)
        pair.server.write(b"x")
        pair.settle()
        reused.append(pair.server.session_reused)
        pair.end()
    assert reused == [False, True, False, True]


def test_authorities_of_clients_are_reloaded_too(tmp_path: Path, memory: LoopBase) -> None:
    path = tmp_path / "clients.pem"
    path.write_bytes(authority().certificate)
    context = serving(client_ca=path, **only("TLSv1.2"))
    alice = issued("alice", client=True)
    client = trusting(certificate=alice.certificate, key=alice.key)
    secure_pair(memory, client=client, server=context).end()
    path.write_bytes(stranger().certificate)
    context.reload()
    with pytest.raises(AssertionError, match="the peer's certificate has an unknown issuer"):
        secure_pair(memory, client=client, server=context)


# -- by itself -----------------------------------------------------------------------------------


def test_files_are_looked_at_from_time_to_time(files: Files) -> None:
    due = [now for now in range(100, 120) if files.context.reload_due(float(now))]
    assert due == [105, 110, 115]
    assert CHECK_S == 5


def test_files_that_have_not_changed_are_not_loaded(files: Files) -> None:
    files.context.reload_due(0.0)
    assert files.context.refresh(5.0) is False


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_file_that_has_changed_is_noticed(files: Files, name: str) -> None:
    files.context.reload_due(0.0)
    os.utime(files.folder / name, ns=(0, 1000))
    assert files.context.refresh(5.0) is True
    assert files.context.refresh(10.0) is False


def test_file_that_is_exchanged_for_one_as_old_and_as_long_is_noticed(files: Files) -> None:
    path = files.folder / "server.pem"
    files.context.reload_due(0.0)
    found = path.stat()
    copy = files.folder / "copy"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    copy.rename(path)
    assert files.context.refresh(5.0) is True


def test_keys_are_renewed_after_12_hours(files: Files) -> None:
    assert TICKET_KEYS_S == 12 * 3600
    files.context.reload_due(100.0)
    assert files.context.refresh(100 + TICKET_KEYS_S - 1) is False
    assert files.context.refresh(100 + TICKET_KEYS_S) is True
    files.context.reload_due(100 + TICKET_KEYS_S)
    assert files.context.refresh(100 + TICKET_KEYS_S + 5) is False
    assert files.context.refresh(100 + 2 * TICKET_KEYS_S) is True


def test_certificates_in_memory_get_new_keys_as_well() -> None:
    context = serving()
    context.reload_due(0.0)
    assert context.refresh(TICKET_KEYS_S - 1) is False
    assert context.refresh(TICKET_KEYS_S) is True


def test_file_that_is_broken_is_told_once_and_looked_at_again(
    files: Files, expected_logs: Any
) -> None:
    files.context.reload_due(0.0)
    path = files.folder / "server.pem"
    good = path.read_bytes()
    path.write_bytes(good[:100])
    assert [files.context.refresh(now) for now in (5.0, 10.0)] == [False, False]
    [told] = expected_logs.messages
    assert told.startswith("the certificates stay as they are: ")
    assert "server.pem" in told
    path.write_bytes(good)
    assert files.context.refresh(15.0) is True
    path.unlink()
    assert files.context.refresh(20.0) is False
    assert len(expected_logs.messages) == 2


def test_server_notices_a_changed_file_and_drops_nobody(
    served: Meeting, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.server.context = files.context
    monkeypatch.setattr("thor.tls.reload.CHECK_S", 0.0)
    before, peer = served.meet()
    files.put(issued(*NEW))
    seen: list[list[str]] = []

    def shown() -> str:
        conn, _ = served.meet()
        seen.append(certificate_names(ssl.DER_cert_to_PEM_cert(conn.peer_certificate)))
        return seen[-1][0]

    # It is looked at in a thread: the client after the next, at the latest, gets what is new.
    found = shown()
    while found != "new.test":
        served.loop.run_once(0.1)
        found = shown()
    heard = Recorder(peer, "data")
    peer.pause(False)
    before.write(b"still here")
    served.until(lambda: heard.events)
    assert heard.take() == [("data", b"still here")]


# -- with other libraries ------------------------------------------------------------------------


@pytest.mark.parametrize("reloads", [0, 1])
def test_context_serves_blocking_sockets(files: Files, reloads: int) -> None:
    for _ in range(reloads):
        files.put(issued(*NEW))
        files.context.reload()
    ours, theirs = socket.socketpair()
    server = blocking(ours, files.context)
    shaking = threading.Thread(target=server.do_handshake)
    shaking.start()
    with blocking(theirs, trusting(), "localhost") as client:
        client.do_handshake()
        der = client.getpeercert(True)
        shaking.join()
    server.close()
    assert der is not None
    names = certificate_names(ssl.DER_cert_to_PEM_cert(der))
    assert names[0] == ("new.test" if reloads else "old.test")


@pytest.mark.parametrize("reloads", [0, 1])
def test_context_serves_asyncio(files: Files, reloads: int) -> None:
    for _ in range(reloads):
        files.context.reload()

    async def talk() -> bytes:
        async def answer(reader: Any, writer: Any) -> None:
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=files.context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting(), server_hostname="localhost"
            )
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return bytes(line)

    assert asyncio.run(talk()) == b"hello\n"


def test_workers_that_were_forked_resume_each_others_sessions(files: Files) -> None:
    """The keys are made with the context, before the fork."""
    client = trusting()
    first = Bytes(client, "localhost")
    server = Bytes(files.context)
    _exchange(first, server)
    session = first.secure.session

    def resume() -> bytes:
        second = Bytes(client, "localhost")
        second.secure.session = session
        _exchange(second, Bytes(files.context))
        return str(second.secure.session_reused).encode()

    assert _in_a_child(resume) == b"True"


def _exchange(client: Bytes, server: Bytes) -> None:
    flight = client.shake()
    for _ in range(3):
        flight = client.shake(server.shake(flight))
    client.hear(server.say(b"x"))


def _in_a_child(f: Callable[[], bytes]) -> bytes:
    """What `f` returns in a forked child."""
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writable, f())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said

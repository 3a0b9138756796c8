"""Sessions that a client can resume: what is kept, and for how long."""

from __future__ import annotations

import gc
import ssl
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from tls_support import Meeting, SecurePair, only, secure_pair, serving, trusting

from thor.loop import LoopBase
from thor.tls.sessions import MAX_ATTEMPTS, MAX_KEYS, MAX_SESSIONS, Sessions, sessions_of


def session(number: int) -> Any:
    """Something that stands for one."""
    return number


def test_ticket_is_used_once_the_newest_first() -> None:
    sessions: Any = Sessions()
    for number in range(3):
        sessions.put("key", session(number), once=True)
    assert [sessions.take("key") for _ in range(4)] == [2, 1, 0, None]


def test_session_of_tls_1_2_is_used_again_until_there_is_another_one() -> None:
    sessions: Any = Sessions()
    sessions.put("key", session(1), once=False)
    assert [sessions.take("key"), sessions.take("key")] == [1, 1]
    sessions.put("key", session(2), once=False)
    assert [sessions.take("key"), sessions.take("key")] == [2, 2]


@pytest.mark.parametrize(
    ("free", "reused", "once", "wanted"),
    [
        pytest.param(True, False, False, True, id="tls-1.2-new"),
        pytest.param(True, True, False, False, id="tls-1.2-resumed"),
        pytest.param(True, False, True, True, id="tls-1.3-new"),
        pytest.param(True, True, True, True, id="tls-1.3-resumed"),
        pytest.param(False, False, False, True, id="tls-1.2-new-where-looks-cost"),
        pytest.param(False, True, False, False, id="tls-1.2-resumed-where-looks-cost"),
        pytest.param(False, False, True, True, id="tls-1.3-new-where-looks-cost"),
        pytest.param(False, True, True, False, id="tls-1.3-resumed-where-looks-cost"),
    ],
)
def test_which_connections_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, free: bool, reused: bool, once: bool, wanted: bool
) -> None:
    monkeypatch.setattr("thor.tls.sessions.ACCESS_IS_FREE", free)
    assert Sessions().wants("key", reused, once) is wanted


@pytest.mark.parametrize("free", [True, False])
def test_ticket_is_used_again_where_each_look_costs_memory(
    monkeypatch: pytest.MonkeyPatch, free: bool
) -> None:
    monkeypatch.setattr("thor.tls.sessions.ACCESS_IS_FREE", free)
    sessions: Any = Sessions()
    ticket = SimpleNamespace(has_ticket=True, id=b"")
    assert sessions.offer("key", ticket, once=True) is True
    assert sessions.take("key") is ticket
    assert sessions.take("key") is (None if free else ticket)


@pytest.mark.parametrize(
    ("found", "once", "kept"),
    [
        pytest.param(None, True, False, id="none"),
        pytest.param((True, b""), True, True, id="a-ticket"),
        pytest.param((False, b"id"), True, False, id="tls-1.3-before-its-ticket"),
        pytest.param((False, b"id"), False, True, id="tls-1.2-with-an-id"),
        pytest.param((False, b""), False, False, id="tls-1.2-with-nothing"),
    ],
)
def test_which_sessions_can_be_resumed(found: Any, once: bool, kept: bool) -> None:
    sessions: Any = Sessions()
    if found is not None:
        found = SimpleNamespace(has_ticket=found[0], id=found[1])
    assert sessions.offer("key", found, once) is kept
    assert (sessions.take("key") is not None) is kept


def test_server_that_sends_no_tickets_is_not_looked_at_for_ever() -> None:
    sessions: Any = Sessions()
    for _ in range(MAX_ATTEMPTS):
        assert sessions.wants("key", False, True)
        sessions.offer("key", None, once=True)
    assert not sessions.wants("key", False, True)
    assert sessions.wants("another", False, True)
    ticket: Any = SimpleNamespace(has_ticket=True, id=b"")
    sessions.offer("key", ticket, once=True)
    assert sessions.wants("key", False, True)


def test_keys_do_not_share() -> None:
    sessions: Any = Sessions()
    sessions.put(("a", 443), session(1), once=True)
    assert sessions.take(("b", 443)) is None
    sessions.drop(("a", 443))
    sessions.drop(("a", 443))
    assert sessions.take(("a", 443)) is None


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    sessions: Any = Sessions()
    for number in range(MAX_SESSIONS + 5):
        sessions.put("first", session(number), once=True)
    assert len([*iter(lambda: sessions.take("first"), None)]) == MAX_SESSIONS
    for number in range(MAX_KEYS):
        sessions.put(number, session(number), once=False)
    assert sessions.take(0) == 0  # it has been used now
    sessions.put("another", session(1), once=False)
    assert sessions.take(0) == 0
    assert sessions.take(1) is None


def test_sessions_go_with_their_context(memory: LoopBase) -> None:
    context = trusting()
    pair = secure_pair(memory, client=context)
    pair.server.write(b"x")
    pair.client.pause(False)
    pair.settle()
    assert sessions_of(context) is sessions_of(context)
    assert sessions_of(context)._stored
    pair.end()
    gone = weakref.ref(context)
    del context, pair
    gc.collect()
    assert gone() is None


# -- resuming ------------------------------------------------------------------------------------


def exchange(pair: SecurePair) -> SecurePair:
    """A word each way, and the end."""
    for end in pair:
        end.pause(False)
    pair.client.write(b"question")
    pair.server.write(b"answer")
    pair.settle()
    pair.client.close()
    pair.settle()
    return pair


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_later_connections_resume_the_session_of_the_first(
    memory: LoopBase, monkeypatch: pytest.MonkeyPatch, version: str, free: bool
) -> None:
    monkeypatch.setattr("thor.tls.sessions.ACCESS_IS_FREE", free)
    client, server = trusting(**only(version)), serving()
    looks: list[Any] = []
    look = Sessions.offer

    def offer(*args: Any) -> bool:
        looks.append(args)
        return look(*args)

    monkeypatch.setattr(Sessions, "offer", offer)
    reused = []
    for _ in range(4):
        pair = exchange(secure_pair(memory, client=client, server=server))
        assert pair.client.session_reused == pair.server.session_reused
        reused.append(pair.client.session_reused)
        assert pair.client.peer_certificate is not None
    assert reused == [False, True, True, True]
    assert len(looks) == (4 if free and version == "TLSv1.3" else 1)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_connection_over_real_sockets_resumes(served: Meeting, version: str) -> None:
    context = trusting(**only(version))
    reused = []
    for _ in range(3):
        conn, peer = served.meet(context)
        peer.write(b"hello")
        conn.pause(False)
        served.until(lambda conn=conn: conn.bytes_read)
        reused.append((conn.session_reused, peer.session_reused))
        conn.close()
        peer.close()
    assert reused == [(False, False), (True, True), (True, True)]


def is_awaiting_ticket(pair: SecurePair) -> bool:
    """Return whether the client still expects a session."""
    return pair.client.tls.session_entry is not None


def test_ticket_that_comes_after_data_is_kept(memory: LoopBase) -> None:
    """As from a server that speaks first."""
    client, server = trusting(), serving()
    server.num_tickets = 0
    pair = secure_pair(memory, client=client, server=server)
    for end in pair:
        end.pause(False)
    pair.server.write(b"welcome")
    pair.settle()
    assert sessions_of(client)._stored == {}
    assert is_awaiting_ticket(pair)
    for number in range(MAX_ATTEMPTS):
        pair.server.write(b"line %d" % number)
        pair.settle()
    assert not is_awaiting_ticket(pair)
    pair.end()


@pytest.mark.parametrize(
    ("name", "setting"),
    [("verify_mode", ssl.CERT_NONE), ("check_hostname", False)],
)
def test_session_made_without_verification_is_not_resumed_with_it(
    memory: LoopBase, name: str, setting: Any
) -> None:
    client, server = trusting(), serving()
    client.check_hostname = False
    setattr(client, name, setting)
    exchange(secure_pair(memory, client=client, server=server))
    client.verify_mode = ssl.CERT_REQUIRED
    client.check_hostname = True
    pair = secure_pair(memory, client=client, server=server)
    assert not pair.client.session_reused
    pair.end()


def test_another_name_does_not_resume(memory: LoopBase) -> None:
    client, server = trusting(), serving("a.test", "b.test")
    exchange(secure_pair(memory, client=client, server=server, name="a.test"))
    pair = secure_pair(memory, client=client, server=server, name="b.test")
    assert not pair.client.session_reused
    pair.end()


def test_session_with_which_a_handshake_failed_is_forgotten(served: Meeting) -> None:
    context = trusting(**only("TLSv1.2"))
    conn, peer = served.meet(context)
    conn.abort()
    peer.abort()
    assert sessions_of(context)._stored
    served.server.context = serving("other.test", **only("TLSv1.3"))
    assert served.connect(context)[0] is ssl.SSLError
    assert not sessions_of(context)._stored
    served.refusal()

"""Sessions that a client can resume: what is kept, and for how long."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any

import pytest
from tls_support import Meeting, SecurePair, only, secure_pair, serving, trusting

from thor.loop import LoopBase
from thor.tls.sessions import MAX_KEYS, MAX_SESSIONS, Sessions, sessions_of


def session(number: int) -> Any:
    """Something that stands for one."""
    return number


def test_a_ticket_is_used_once_the_newest_first() -> None:
    sessions = Sessions()
    for number in range(3):
        sessions.put("key", session(number), once=True)
    assert [sessions.take("key") for _ in range(4)] == [2, 1, 0, None]


def test_a_session_of_tls_1_2_is_used_again_until_there_is_another_one() -> None:
    sessions = Sessions()
    sessions.put("key", session(1), once=False)
    assert [sessions.take("key"), sessions.take("key")] == [1, 1]
    sessions.put("key", session(2), once=False)
    assert [sessions.take("key"), sessions.take("key")] == [2, 2]


def test_keys_do_not_share() -> None:
    sessions = Sessions()
    sessions.put(("a", 443), session(1), once=True)
    assert sessions.take(("b", 443)) is None
    sessions.drop(("a", 443))
    sessions.drop(("a", 443))
    assert sessions.take(("a", 443)) is None


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    sessions = Sessions()
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
    assert sessions_of(context)._kept
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


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_second_connection_resumes_the_session_of_the_first(
    memory: LoopBase, version: str
) -> None:
    client, server = trusting(**only(version)), serving()
    reused = []
    for _ in range(4):
        pair = exchange(secure_pair(memory, client=client, server=server))
        assert pair.client.session_reused == pair.server.session_reused
        reused.append(pair.client.session_reused)
        assert pair.client.peer_certificate is not None
    assert reused == [False, True, True, True]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_connection_over_real_sockets_resumes(served: Meeting, version: str) -> None:
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


def test_a_ticket_is_kept_when_it_comes_after_data(memory: LoopBase) -> None:
    """As a server may that speaks first."""
    client, server = trusting(), serving()
    server.num_tickets = 0
    first = secure_pair(memory, client=client, server=server)
    assert first.client._keep is not None
    exchange(first)
    assert sessions_of(client)._kept == {}
    for _ in range(10):
        first.client._answer() if first.client._keep else None
    assert first.client._keep is None  # it is looked for no longer


@pytest.mark.parametrize(
    ("name", "setting"),
    [("verify_mode", ssl.CERT_NONE), ("check_hostname", False)],
)
def test_a_session_made_without_verification_is_not_resumed_with_it(
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


def test_a_session_with_which_a_hand_shake_failed_is_forgotten(served: Meeting) -> None:
    context = trusting(**only("TLSv1.2"))
    conn, peer = served.meet(context)
    conn.abort()
    peer.abort()
    assert sessions_of(context)._kept
    served.server.context = serving("other.test", **only("TLSv1.3"))
    assert served.connect(context)[0] is ssl.SSLError
    assert not sessions_of(context)._kept
    served.refusal()

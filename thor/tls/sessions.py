"""Sessions that a client can resume: a handshake without certificates, at half its cost.

Owns: the sessions of one context, and how many of them are kept. Must not know connections.

Theory of operation: OpenSSL accepts a session only with the context that it was made with, so the
sessions are stored with the context: every client that uses the context shares them, and they are
freed with it. The key of a session holds everything that could make a new handshake end
differently.

A ticket of TLS 1.3 is used once: whoever sees it twice knows that it is the same client (RFC 8446
appendix C.4). Each connection receives new ones. A session of TLS 1.2 is used repeatedly.

A fact about Python: each access to the session of a connection leaks some kilobytes of memory,
before 3.12.8 and in 3.13.0 (python/cpython#116810). There, tickets of TLS 1.3 are used repeatedly
too, so that there is one access for each session, and not one for each connection. And no version
asks repeatedly for the sessions of a server that sends no tickets.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Hashable
from typing import NamedTuple

from thor.cache import BoundedCache

#: Most keys that are kept for a context; the least recently used one is dropped first.
MAX_KEYS = 1024
#: Most sessions that are kept for a key: about as many connections as are opened at once.
MAX_SESSIONS = 8
#: A server without a ticket after so many attempts is one that sends none.
MAX_ATTEMPTS = 4
#: Whether accessing a session leaks nothing.
ACCESS_IS_FREE = sys.version_info >= (3, 13, 1) or (3, 12, 8) <= sys.version_info < (3, 13)

#: The attribute of a context that holds its sessions.
_ATTRIBUTE = "_thor_sessions"


class _Stored(NamedTuple):
    session: ssl.SSLSession
    once: bool  # it may be used for one connection only


class Sessions:
    """The sessions of one context."""

    def __init__(self) -> None:
        # The order of each is that of use: an entry is removed before it is set again.
        self._stored: BoundedCache[Hashable, list[_Stored]] = BoundedCache(
            MAX_KEYS, evict_oldest=True
        )
        self._failed_attempts: BoundedCache[Hashable, int] = BoundedCache(
            MAX_KEYS, evict_oldest=True
        )

    def take(self, key: Hashable) -> ssl.SSLSession | None:
        """Return the newest session for `key`, and remove it if it may be used only once."""
        stored = self._stored.pop(key, None)
        if not stored:
            return None
        newest = stored[-1]
        if newest.once:
            stored.pop()
        if stored:
            self._stored[key] = stored  # as the most recently used one
        return newest.session

    def wants(self, key: Hashable, reused: bool, once: bool) -> bool:
        """Return whether the session of a connection is of use.

        reused: the connection has resumed one; once: the new one could be used once (TLS 1.3)
        """
        if reused and not (once and ACCESS_IS_FREE):
            return False  # the one that it has resumed can be used again
        return self._failed_attempts.get(key, 0) < MAX_ATTEMPTS

    def offer(self, key: Hashable, session: ssl.SSLSession | None, once: bool) -> bool:
        """Store the session of a connection. Return whether it can be resumed."""
        if session is None or not (session.has_ticket or (session.id and not once)):
            self._failed_attempts[key] = self._failed_attempts.pop(key, 0) + 1
            return False
        self._failed_attempts.pop(key, None)
        self.put(key, session, once and ACCESS_IS_FREE)
        return True

    def put(self, key: Hashable, session: ssl.SSLSession, once: bool) -> None:
        """Store a session. once: it may be used for one connection only"""
        stored = self._stored.pop(key, [])
        stored.append(_Stored(session, once))
        del stored[:-MAX_SESSIONS]
        self._stored[key] = stored

    def drop(self, key: Hashable) -> None:
        """Forget the sessions for `key`: a handshake with one of them has failed."""
        self._stored.pop(key, None)


class SessionEntry:
    """Where one connection stores its session."""

    __slots__ = ("_key", "_sessions")

    def __init__(self, sessions: Sessions, key: Hashable) -> None:
        self._sessions = sessions
        self._key = key

    def store(self, ssl_object: ssl.SSLObject) -> bool:
        """Store the session of a connection, if there is one to resume.

        Returns: whether to try again after the next read
        """
        once = ssl_object.version() == "TLSv1.3"
        if not self._sessions.wants(self._key, bool(ssl_object.session_reused), once):
            return False
        return not self._sessions.offer(self._key, ssl_object.session, once) and once

    def drop(self) -> None:
        """Forget the sessions of the key: a handshake with one of them has failed."""
        self._sessions.drop(self._key)


def sessions_of(context: ssl.SSLContext) -> Sessions:
    """Return the sessions of `context`, which are kept as long as it is."""
    sessions = getattr(context, _ATTRIBUTE, None)
    if not isinstance(sessions, Sessions):
        sessions = Sessions()
        setattr(context, _ATTRIBUTE, sessions)
    return sessions

"""Sessions that a client can resume: a handshake without certificates, at half its cost.

Owns: the sessions of one context, and how many of them are kept. Must not know connections.

Theory of operation: OpenSSL takes a session only with the context that it was made with, so the
sessions hang on the context: every client that uses the context shares them, and they go with it.
They are looked up by a key that holds whatever would make a new handshake end differently.

A ticket of TLS 1.3 is used once: whoever sees it twice knows that it is the same client (RFC 8446
appendix C.4). Each connection gets new ones. A session of TLS 1.2 is used again and again.

A fact about Python: each look at a connection's session loses some kilobytes of memory for ever,
before 3.12.8 and in 3.13.0 (python/cpython#116810). There, tickets of TLS 1.3 are used again and
again too, so that there is one look for each time that a session begins, and not one for each
connection. And nowhere is a server looked at again and again that sends no tickets.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Hashable

from thor.cache import BoundedCache

#: Most keys that are kept for a context; the one that was not used for longest goes first.
MAX_KEYS = 1024
#: Most sessions that are kept for a key: as many connections as are opened at once, more or less.
MAX_SESSIONS = 8
#: After how many looks in vain a server is one that sends no tickets.
MAX_LOOKS = 4
#: Whether looking at a session is free.
LOOKS_ARE_FREE = sys.version_info >= (3, 13, 1) or (3, 12, 8) <= sys.version_info < (3, 13)

#: The attribute of a context that holds its sessions.
_ATTRIBUTE = "_thor_sessions"


class Sessions:
    """The sessions of one context."""

    def __init__(self) -> None:
        # The order of each is that of use: an entry is removed before it is set again.
        self._kept: BoundedCache[Hashable, list[tuple[ssl.SSLSession, bool]]] = BoundedCache(
            MAX_KEYS, evict_oldest=True
        )
        self._in_vain: BoundedCache[Hashable, int] = BoundedCache(MAX_KEYS, evict_oldest=True)

    def take(self, key: Hashable) -> ssl.SSLSession | None:
        """The newest session for `key`; one that may be used once is gone with it."""
        kept = self._kept.pop(key, None)
        if not kept:
            return None
        session, once = kept[-1]
        if once:
            kept.pop()
        if kept:
            self._kept[key] = kept  # the one that was used last is now the last to go
        return session

    def wants(self, key: Hashable, reused: bool, once: bool) -> bool:
        """Whether to look at the session of a connection.

        reused: the connection resumed one; once: the new one could be used once (TLS 1.3)
        """
        if reused and not (once and LOOKS_ARE_FREE):
            return False  # the one that it has resumed is good for more
        return self._in_vain.get(key, 0) < MAX_LOOKS

    def look(self, key: Hashable, session: ssl.SSLSession | None, once: bool) -> bool:
        """Keep the session of a connection. Returns: whether it was one that can be resumed"""
        if session is None or not (session.has_ticket or (session.id and not once)):
            self._in_vain[key] = self._in_vain.pop(key, 0) + 1
            return False
        self._in_vain.pop(key, None)
        self.put(key, session, once and LOOKS_ARE_FREE)
        return True

    def put(self, key: Hashable, session: ssl.SSLSession, once: bool) -> None:
        """Keep a session. once: it may be used for one connection only"""
        kept = self._kept.pop(key, [])
        kept.append((session, once))
        del kept[:-MAX_SESSIONS]
        self._kept[key] = kept

    def drop(self, key: Hashable) -> None:
        """Forget those for `key`: a handshake with one of them has failed."""
        self._kept.pop(key, None)


def sessions_of(context: ssl.SSLContext) -> Sessions:
    """The sessions of `context`, which are kept as long as it is."""
    found = getattr(context, _ATTRIBUTE, None)
    if not isinstance(found, Sessions):
        found = Sessions()
        setattr(context, _ATTRIBUTE, found)
    return found

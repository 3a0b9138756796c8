"""Sessions that a client can resume: a hand-shake without certificates, at half its cost.

Owns: the sessions of one context, and how many of them are kept. Must not know connections.

Theory of operation: OpenSSL takes a session only with the context that it was made with, so the
sessions hang on the context: every client that uses the context shares them, and they go with it.
They are looked up by a key that holds whatever would make a new hand-shake end differently.

A ticket of TLS 1.3 is used once: whoever sees it twice knows that it is the same client (RFC 8446
appendix C.4). Each connection gets new ones. A session of TLS 1.2 is used again and again.
"""

from __future__ import annotations

import ssl
from collections.abc import Hashable

#: Most keys that are kept for a context; the one that was not used for longest goes first.
MAX_KEYS = 1024
#: Most sessions that are kept for a key: as many connections as are opened at once, more or less.
MAX_SESSIONS = 8

#: The attribute of a context that holds its sessions.
_ATTRIBUTE = "_thor_sessions"


class Sessions:
    """The sessions of one context."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[tuple[ssl.SSLSession, bool]]] = {}

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

    def put(self, key: Hashable, session: ssl.SSLSession, once: bool) -> None:
        """Keep a session. once: it may be used for one connection only"""
        kept = self._kept.pop(key, [])
        if not once:
            kept.clear()
        kept.append((session, once))
        del kept[:-MAX_SESSIONS]
        self._kept[key] = kept
        if len(self._kept) > MAX_KEYS:
            del self._kept[next(iter(self._kept))]

    def drop(self, key: Hashable) -> None:
        """Forget those for `key`: a hand-shake with one of them has failed."""
        self._kept.pop(key, None)


def sessions_of(context: ssl.SSLContext) -> Sessions:
    """The sessions of `context`, which are kept as long as it is."""
    found = getattr(context, _ATTRIBUTE, None)
    if not isinstance(found, Sessions):
        found = Sessions()
        setattr(context, _ATTRIBUTE, found)
    return found

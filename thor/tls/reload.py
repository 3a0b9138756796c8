"""A server's context that can be renewed while connections use it.

Owns: the certificates of a server, which of them a client gets, and when they are loaded anew. Must
not know connections or loops, nor what else a context is set to.

Theory of operation. OpenSSL's contexts can be added to, but nothing can be taken away, and the keys
of session tickets are made with the context. So there are *generations*: sets of contexts, one for
each set of names. The first generation's default one is the `ServerContext` itself; a reload makes
new ones, and when all has gone well, handshakes begin with those. Connections keep what they have.

Ticket keys: who has them reads every session that was resumed with them, later too, so they live
for 12 hours. A generation made before a fork has the same keys in all workers; after that each
worker's are its own, and a ticket is good for the worker that made it.

Files are looked at from time to time, when handshakes begin; whoever runs a loop asks `reload_due`,
and then calls `refresh` in a thread. A file that is broken, or not yet complete, changes nothing.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from thor.tls.certificates import (
    Password,
    Pem,
    certificate_names,
    load_certificate,
    name_of,
    read_pem,
)

log = logging.getLogger("thor.tls")

#: How often files are looked at, in seconds.
CHECK_S = 5.0
#: How long the keys of session tickets are used, in seconds.
KEYS_S = 12 * 3600.0

#: Which file it was, and in what state.
_Seen = list[tuple[int, int, int, int] | None]


class NamedObject(ssl.SSLObject):
    """OpenSSL's object for one connection, and the name that the client asked for."""

    requested_name: str | None = None


class ServerContext(ssl.SSLContext):
    """A server's context, made by `server_context`.

    It is changed by `reload()` alone: what is set on it otherwise is lost with the next one. What
    `server_context` has no name for is for its `configure`.
    """

    def __new__(cls, *args: Any) -> ServerContext:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(
        self,
        certificates: Sequence[tuple[Pem, Pem | None]],
        password: Password,
        prepare: Callable[[ssl.SSLContext], object],
        more_files: Sequence[Pem],
    ) -> None:
        """prepare: sets all that is the same for each certificate, on each context that is made.

        more_files: what else it reads
        Raises: OSError, ssl.SSLError, ValueError
        """
        self._certificates = list(certificates)
        self._password = password
        self._prepare = prepare
        parts = [part for pair in certificates for part in pair if part is not None]
        self._files = [p for p in (*parts, *more_files) if not isinstance(p, bytes)]
        self._check_at: float | None = None
        self._renew_at = 0.0
        self._complaint = ""
        self._seen = self._look()
        self._generation = _ContextSet(self, self._certificates, password, prepare)

    def reload(self) -> None:
        """Load the files anew, with new keys for session tickets; connections go on as they are.

        Raises: OSError, ssl.SSLError, ValueError; then all stays as it was
        """
        seen = self._look()
        default = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = _ContextSet(default, self._certificates, self._password, self._prepare)
        self._generation, self._seen, self._check_at = made, seen, None

    def reload_due(self, now: float) -> bool:
        """Whether it is time for `refresh`. now: in seconds, of a clock that never goes back"""
        if self._check_at is None:  # asked for the first time, or the first after a reload
            self._renew_at = now + KEYS_S
        elif now < self._check_at:
            return False
        first = self._check_at is None
        self._check_at = now + CHECK_S
        return not first

    def refresh(self, now: float) -> bool:
        """Reload if a file has changed, or the keys are old. It blocks.

        now: as of `reload_due`
        Returns: whether it has. What fails is logged, and all stays as it was.
        """
        if self._look() == self._seen and now < self._renew_at:
            return False
        try:
            self.reload()
        except (OSError, ValueError) as exc:
            complaint = str(exc)
            if complaint != self._complaint:
                log.warning("the certificates stay as they are: %s", complaint)
            self._complaint = complaint
            return False
        self._complaint = ""
        return True

    def _look(self) -> _Seen:
        return [_state_of(file) for file in self._files]

    # -- what is done with a context -------------------------------------------------------------

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As of `ssl.SSLContext`, with the present certificates."""
        context = self._generation.default
        if context is self:
            return ssl.SSLContext.wrap_bio(self, *args, **kwargs)
        return context.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As of `ssl.SSLContext`, with the present certificates."""
        context = self._generation.default
        if context is self:
            return ssl.SSLContext.wrap_socket(self, *args, **kwargs)
        return context.wrap_socket(*args, **kwargs)


class _ContextSet:
    """The contexts made at one time: `default`, and those for other names."""

    def __init__(
        self,
        default: ssl.SSLContext,
        certificates: Sequence[tuple[Pem, Pem | None]],
        password: Password,
        prepare: Callable[[ssl.SSLContext], object],
    ) -> None:
        self.default = default
        self._by_name: dict[str, ssl.SSLContext] = {}
        groups: dict[frozenset[str], ssl.SSLContext] = {}
        for index, (certificate, key) in enumerate(certificates):
            names = frozenset(_names_in(certificate))
            context = groups.get(names) if names or not index else None
            if context is None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if index else default
                prepare(context)
                groups[names] = context
            load_certificate(context, certificate, key, password)
            for name in names:
                self._by_name.setdefault(name, context)
        default.sslobject_class = NamedObject
        default.sni_callback = self._choose

    def _choose(
        self, secure: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        """OpenSSL's call: the client asks for `name`. An exception would end the handshake."""
        if name is None:
            return
        name = name.lower()
        if isinstance(secure, NamedObject):
            secure.requested_name = name
        by_name = self._by_name
        context = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if context is not None and context is not self.default:
            secure.context = context


def _names_in(certificate: Pem) -> list[str]:
    try:
        return certificate_names(read_pem(certificate))
    except ValueError as exc:
        raise ValueError(f"{name_of(certificate)}: {exc}") from None


def _state_of(file: str | os.PathLike[str]) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

"""A server's context that can be reloaded while connections use it.

Owns: the certificates of a server, which of them a client gets, and when they are reloaded. Must
not know connections or loops, nor the other settings of a context.

Theory of operation. Certificates can be added to OpenSSL's contexts, but not removed, and the keys
of session tickets are made with the context. So a reload makes a new *set* of contexts, one for
each set of names. The default context of the first set is the `ServerContext` itself; when a reload
has succeeded, new handshakes use the new set. Connections keep their context.

Ticket keys: whoever has them can decrypt every session that was resumed with them, later too, so
they are used for 12 hours. A set made before a fork has the same keys in all workers; after that
each worker has its own, and a ticket is valid for the worker that made it.

Files are checked at intervals, when handshakes begin: the server asks `reload_due`, and then calls
`refresh` in a thread. A file that is broken, or incomplete, changes nothing.
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

#: The interval at which files are checked, in seconds.
CHECK_S = 5.0
#: How long the keys of session tickets are used, in seconds.
TICKET_KEYS_S = 12 * 3600.0

#: For each file its device, inode, size and time of modification; None if it cannot be read.
_FileStates = list[tuple[int, int, int, int] | None]


class NamedObject(ssl.SSLObject):
    """OpenSSL's object for one connection, with the name that the client requested."""

    requested_name: str | None = None


class ServerContext(ssl.SSLContext):
    """A server's context, made by `server_context`.

    Only `reload()` changes it: other changes are lost with the next one. Settings that
    `server_context` has no parameter for are for its `configure`.
    """

    def __new__(cls, *args: object) -> ServerContext:
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
        self._reload_at = 0.0
        self._last_failure = ""
        self._loaded_states = self._file_states()
        self._context_set = _ContextSet(self, self._certificates, password, prepare)

    def reload(self) -> None:
        """Load the files again, with new keys for session tickets; existing connections go on.

        Raises: OSError, ssl.SSLError, ValueError; then nothing has changed
        """
        states = self._file_states()
        default = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = _ContextSet(default, self._certificates, self._password, self._prepare)
        self._context_set, self._loaded_states, self._check_at = made, states, None

    def reload_due(self, now: float) -> bool:
        """Return whether `refresh` should be called. now: monotonic seconds"""
        if self._check_at is None:  # asked for the first time, or the first after a reload
            self._reload_at = now + TICKET_KEYS_S
        elif now < self._check_at:
            return False
        first = self._check_at is None
        self._check_at = now + CHECK_S
        return not first

    def refresh(self, now: float) -> bool:
        """Reload if a file has changed, or the keys are old. This blocks.

        now: that of `reload_due`
        Returns: whether it has reloaded. A failure is logged, and changes nothing.
        """
        if self._file_states() == self._loaded_states and now < self._reload_at:
            return False
        try:
            self.reload()
        except (OSError, ValueError) as exc:
            failure = str(exc)
            if failure != self._last_failure:
                log.warning("the certificates stay as they are: %s", failure)
            self._last_failure = failure
            return False
        self._last_failure = ""
        return True

    def _file_states(self) -> _FileStates:
        return [_file_state(file) for file in self._files]

    # -- what is done with a context -------------------------------------------------------------

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Wrap as `ssl.SSLContext` does, with the present certificates."""
        context = self._context_set.default
        if context is self:
            return super().wrap_bio(*args, **kwargs)
        return context.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Wrap as `ssl.SSLContext` does, with the present certificates."""
        context = self._context_set.default
        if context is self:
            return ssl.SSLContext.wrap_socket(self, *args, **kwargs)
        return context.wrap_socket(*args, **kwargs)


class _ContextSet:
    """The contexts of one load: `default`, and those for other names."""

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
        """Choose the context for `name`. OpenSSL calls this; it must not raise."""
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


def _file_state(file: str | os.PathLike[str]) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

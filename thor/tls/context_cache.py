"""Contexts that the clients of a loop share.

Owns: the contexts that were made, and those that are being made. Must not know clients.

Theory of operation: a context that verifies reads all the system's root certificates: tens of
milliseconds, in a thread, once for each loop and set of settings. It is kept as long as the loop,
and so are the sessions that are stored with it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from thor.tls.context import client_context

if TYPE_CHECKING:
    from thor.loop import EventLoop


class ContextKey(NamedTuple):
    """The settings of a context."""

    verify: bool
    alpn: tuple[str, ...]
    minimum_version: ssl.TLSVersion | None


#: Called with the context, or with the reason why there is none.
Then = Callable[[ssl.SSLContext | Exception], object]


class _Contexts(dict[ContextKey, ssl.SSLContext]):
    """The contexts of one loop."""


class _Pending(dict[ContextKey, list[Then]]):
    """The contexts that are being made for one loop: what is called when they are."""

    def close(self) -> None:
        """Forget them: the loop was stopped, and with it the threads that make them."""
        self.clear()


def shared_context(loop: EventLoop, key: ContextKey, then: Then) -> None:
    """Call `then` with the context for `key`: now if there is one, else when it is made."""
    context = loop.local.get(_Contexts, _Contexts).get(key)
    if context is not None:
        then(context)
        return
    waiting = loop.local.get(_Pending, _Pending).setdefault(key, [])
    waiting.append(then)
    if len(waiting) == 1:
        loop.run_in_thread(_make, key, then=partial(_on_made, loop, key))


def _on_made(
    loop: EventLoop, key: ContextKey, context: ssl.SSLContext | None, failure: Exception | None
) -> None:
    waiting = loop.local.get(_Pending, _Pending).pop(key, [])
    if context is not None:
        loop.local.get(_Contexts, _Contexts)[key] = context
    for then in waiting:
        then(context or failure or RuntimeError("nothing was made"))


def _make(key: ContextKey) -> ssl.SSLContext:
    minimum_version = key.minimum_version or ssl.TLSVersion.TLSv1_2
    return client_context(verify=key.verify, alpn=key.alpn, minimum_version=minimum_version)

"""Contexts that the clients of a loop share.

Owns: those that are made, and those that are being made. Must not know clients.

Theory of operation: a context that verifies reads all the system's roots: tens of milliseconds, in
a thread, once for each loop and set of settings. It is kept as long as the loop, and so are the
sessions that hang on it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from thor.tls.context import client_context

if TYPE_CHECKING:
    from thor.loop import LoopBase

#: Whether to verify, the protocols to offer, the lowest version.
ContextKey = tuple[bool, tuple[str, ...], ssl.TLSVersion | None]
#: Told the context, or why there is none.
Then = Callable[[ssl.SSLContext | Exception], None]


class _Contexts:
    """Those of one loop. It does not hold the loop."""

    def __init__(self) -> None:
        self.made: dict[ContextKey, ssl.SSLContext] = {}
        self.waiting: dict[ContextKey, list[Then]] = {}
        self.epoch = -1

    def finish(
        self, settings: ContextKey, made: ssl.SSLContext | None, failure: Exception | None
    ) -> None:
        """The thread is done."""
        waiting = self.waiting.pop(settings, [])
        if made is not None:
            self.made[settings] = made
        for then in waiting:
            then(made or failure or RuntimeError("nothing was made"))


_of_loops: WeakKeyDictionary[LoopBase, _Contexts] = WeakKeyDictionary()


def shared_context(loop: LoopBase, settings: ContextKey, then: Then) -> None:
    """Call `then` with the context for `settings`: now if there is one, else when it is made."""
    contexts = _of_loops.setdefault(loop, _Contexts())
    made = contexts.made.get(settings)
    if made is not None:
        then(made)
        return
    if contexts.epoch != loop.epoch:  # `stop()` has forgotten those that were being made
        contexts.epoch = loop.epoch
        contexts.waiting.clear()
    waiting = contexts.waiting.setdefault(settings, [])
    waiting.append(then)
    if len(waiting) == 1:
        loop.run_in_thread(_make, settings, then=partial(contexts.finish, settings))


def _make(settings: ContextKey) -> ssl.SSLContext:
    verify, alpn, minimum_version = settings
    return client_context(
        verify=verify, alpn=alpn, minimum_version=minimum_version or ssl.TLSVersion.TLSv1_2
    )

"""Names to addresses.

Owns: the calls of the system's resolver, the lookups under way and the answers that are still
fresh, for each loop. Must not know what the addresses are for.

Theory of operation. `socket.getaddrinfo` is what honours /etc/hosts, nsswitch and the resolver's
configuration, and it blocks: it runs in the loop's threads. Lookups of a name that is being
looked up already wait for the same answer, and an answer is kept for a while; the port is put in
afterwards, so that one answer serves every port. A literal address needs no resolver and is
answered without a thread, though not before `lookup` has returned: a callback is never called
from inside the call.

A lookup under way is not cut short when nobody waits for it any more: its answer goes into the
cache, and those who ask again meanwhile do not occupy another thread with a name that hangs.
Failures are not kept: a resolver that was briefly away must not stay so.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from thor.cache import BoundedCache
from thor.events import require_callback
from thor.types import DnsResultList

if TYPE_CHECKING:
    from thor.loop import LoopBase

#: How long an answer is used, in seconds: getaddrinfo does not tell the record's own time to
#: live. Java's cache has the same default.
FRESH_S = 30.0
#: Most answers that are kept for a loop; the oldest goes first.
MAX_ANSWERS = 1024
#: Most names being looked up for a loop; who asks for one more is told to try again later.
MAX_PENDING = 1024

#: What a callback gets.
Answer = DnsResultList | OSError
#: What is looked up: the name in lower case, and the socket type.
_Key = tuple[bytes, int]


class Lookup:
    """One call of `lookup`, while it waits for its answer."""

    __slots__ = ("_callback", "_port", "_waiting")

    def __init__(self, port: int, callback: Callable[[Answer], Any]) -> None:
        self._port = port
        self._callback: Callable[[Answer], Any] | None = callback
        #: All that wait for the same answer, this one among them.
        self._waiting: dict[Lookup, None] = {}

    def cancel(self) -> None:
        """Do not call the callback. Harmless when it was called, or cancelled, already."""
        self._callback = None
        self._waiting.pop(self, None)

    def _answer(self, answer: Answer) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(answer if isinstance(answer, OSError) else _with_port(answer, self._port))


class _Resolver:
    """What one loop has under way, and what it knows. It does not hold the loop."""

    def __init__(self) -> None:
        self.epoch = -1
        self._queries: dict[_Key, dict[Lookup, None]] = {}
        self._answers: BoundedCache[_Key, tuple[float, DnsResultList]] = BoundedCache(
            MAX_ANSWERS, evict_oldest=True
        )

    def fresh(self, key: _Key, now: float) -> DnsResultList | None:
        kept = self._answers.get(key)
        if kept is None:
            return None
        if kept[0] <= now:
            del self._answers[key]
            return None
        return kept[1]

    def ask(self, loop: LoopBase, key: _Key, lookup: Lookup) -> None:
        """Have `lookup` answered by a thread: one that is at it, or a new one."""
        if self.epoch != loop.epoch:  # the loop was stopped, and has forgotten its threads
            self._queries.clear()
            self.epoch = loop.epoch
        waiting = self._queries.get(key)
        if waiting is None:
            if len(self._queries) >= MAX_PENDING:
                busy = socket.gaierror(socket.EAI_AGAIN, "too many names are being looked up")
                loop.call_soon(lookup._answer, busy)
                return

            def answered(rows: DnsResultList, failure: BaseException | None) -> None:
                self._answered(loop, key, rows if failure is None else _no_name(failure))

            loop._submit(loop._resolvers, _resolve, (*key, 0), answered)
            waiting = self._queries[key] = {}
        waiting[lookup] = None
        lookup._waiting = waiting

    def _answered(self, loop: LoopBase, key: _Key, answer: Answer) -> None:
        if not isinstance(answer, OSError):
            self._answers[key] = (loop.clock.monotonic() + FRESH_S, answer)
        for lookup in self._queries.pop(key):
            # Each in a call of its own: one that raises keeps nobody else from its answer.
            loop.call_soon(lookup._answer, answer)


_resolvers: WeakKeyDictionary[LoopBase, _Resolver] = WeakKeyDictionary()


def lookup(
    loop: LoopBase,
    host: str | bytes,
    port: int | str,
    socktype: int,
    callback: Callable[[Answer], Any],
) -> Lookup:
    """Look up the addresses of `host`.

    host: a name, as the system's resolver knows it, or a literal IPv4 or IPv6 address
    port: a number (or its decimal digits), which is put into each address
    socktype: `socket.SOCK_STREAM` or `socket.SOCK_DGRAM`
    callback: called once, on the loop, never from inside this call. It gets a list of its own of
        the rows of `socket.getaddrinfo`, best first (RFC 6724) and never empty; or the exception:
        a `socket.gaierror` with an EAI_* code as `errno`, or another `OSError` where the system
        failed. Nothing is called after the loop was stopped.
    Returns: an object whose `cancel()` keeps `callback` from being called
    Raises: ValueError for a port that is none, TypeError for a wrong type
    """
    if not isinstance(host, (str, bytes)):
        raise TypeError(f"a host is str or bytes, not {type(host).__name__}")
    require_callback(callback)
    request = Lookup(port_number(port), callback)
    resolver = _resolvers.get(loop)
    if resolver is None:
        resolver = _resolvers[loop] = _Resolver()
    try:
        key = (_to_ascii(host), int(socktype))
    except ValueError as exc:
        loop.call_soon(request._answer, _no_name(exc))
        return request
    answer = resolver.fresh(key, loop.clock.monotonic()) or _literal(*key)
    if answer is not None:
        loop.call_soon(request._answer, answer)
    else:
        resolver.ask(loop, key, request)
    return request


def lookup_now(host: str | bytes, port: int | str, socktype: int) -> DnsResultList:
    """Look up what to listen on: like `lookup`, but it blocks. For a program that starts.

    Raises: OSError (a `socket.gaierror`, most often), ValueError, TypeError
    """
    number = port_number(port)
    try:
        return _with_port(_resolve(_to_ascii(host), socktype, 0), number)
    except ValueError as exc:
        raise _no_name(exc) from exc


def port_number(port: int | str | bytes) -> int:
    """A port as a program passes it, as a number.

    Raises: ValueError unless it is 0 to 65535 (ASCII decimal digits, where text); TypeError
    """
    if isinstance(port, (str, bytes)):
        # int() would take signs, spaces, underscores and other scripts' digits as well.
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    elif isinstance(port, int):
        number = port
    else:
        raise TypeError(f"a port is int or str, not {type(port).__name__}")
    if not 0 <= number <= 65535:
        raise ValueError(f"{port!r} is not a port")
    return number


def _to_ascii(host: str | bytes) -> bytes:
    """The name as the resolver gets it, in lower case. Raises: ValueError if it can be none"""
    if isinstance(host, bytes):
        host = host.decode("utf-8")
    name = host.encode("ascii" if host.isascii() else "idna").lower()
    if not name or b"\0" in name:
        raise ValueError("empty" if not name else "a NUL is in it")
    return name


def _resolve(name: bytes, socktype: int, flags: int) -> DnsResultList:
    """One call of the resolver; it blocks. The rows' ports are 0."""
    rows: Any = socket.getaddrinfo(name, 0, 0, socktype, 0, flags)
    if not rows:
        raise socket.gaierror(socket.EAI_NONAME, "no addresses")
    return list(rows)


def _literal(name: bytes, socktype: int) -> DnsResultList | None:
    """The rows of a literal address; None if it is not one. It does not block."""
    try:
        return _resolve(name, socktype, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return None


def _with_port(rows: DnsResultList, port: int) -> DnsResultList:
    return [
        (family, kind, proto, canonical, (address[0], port, *address[2:]))
        for family, kind, proto, canonical, address in rows
    ]


def _no_name(exc: BaseException) -> OSError:
    """What a lookup failed with, as a callback gets it."""
    if isinstance(exc, OSError):
        return exc
    if isinstance(exc, ValueError):
        return socket.gaierror(socket.EAI_NONAME, f"not a name: {exc}")
    return socket.gaierror(socket.EAI_AGAIN, f"it could not be looked up: {exc!r}")

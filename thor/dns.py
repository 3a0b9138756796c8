"""Name resolution.

Owns: the calls of the system's resolver, the queries in progress and the cache of answers, for each
loop. Must not know what the addresses are for.

Theory of operation. `socket.getaddrinfo` follows /etc/hosts, nsswitch and the resolver's
configuration, but blocks, so it runs in threads. Lookups of the same name share one query, and its
answer is cached for a while; the port is inserted afterwards, so that one answer serves every port.
A literal address needs neither resolver nor thread, but its callback too is called after `lookup`
has returned.

A query goes on when all its lookups are cancelled: its answer is cached, and later lookups of a
name that hangs do not occupy another thread. Failures are not cached, so that a resolver that was
unavailable for a moment is asked again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from thor.cache import BoundedCache
from thor.events import require_callback
from thor.types import DnsResultList

if TYPE_CHECKING:
    from thor.loop import EventLoop

#: How long an answer is used, in seconds: getaddrinfo does not return the record's time to live.
#: Java's cache has the same default.
CACHE_TTL_S = 30.0
#: Most answers that are cached for a loop; the oldest is dropped first.
MAX_ANSWERS = 1024
#: Most queries of a loop at a time; a further lookup fails with EAI_AGAIN.
MAX_PENDING = 1024

#: What a callback is called with.
Answer = DnsResultList | OSError


class _Question(NamedTuple):
    """A name and the type of socket that its addresses are for."""

    name: bytes  # in lower case
    socktype: int


class _CachedAnswer(NamedTuple):
    expires_at: float  # monotonic seconds
    rows: DnsResultList


class Lookup:
    """One call of `lookup`, while it waits for its answer."""

    __slots__ = ("_callback", "_port", "query")

    def __init__(self, port: int, callback: Callable[[Answer], object]) -> None:
        self._port = port
        self._callback: Callable[[Answer], object] | None = callback
        #: The lookups that wait for the same answer, including this one.
        self.query: dict[Lookup, None] = {}

    def cancel(self) -> None:
        """Do not call the callback; without effect if it was called or cancelled before."""
        self._callback = None
        self.query.pop(self, None)

    def answer(self, answer: Answer) -> None:
        """Call the callback, unless the lookup was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(answer if isinstance(answer, OSError) else _with_port(answer, self._port))


class _Cache:
    """The cached answers of one loop."""

    def __init__(self) -> None:
        self._answers: BoundedCache[_Question, _CachedAnswer] = BoundedCache(
            MAX_ANSWERS, evict_oldest=True
        )

    def get(self, question: _Question, now: float) -> DnsResultList | None:
        cached = self._answers.get(question)
        if cached is None:
            return None
        if cached.expires_at <= now:
            del self._answers[question]
            return None
        return cached.rows

    def put(self, question: _Question, answer: _CachedAnswer) -> None:
        self._answers[question] = answer


class _Queries:
    """The queries of one loop that are in progress, and the lookups that wait for each."""

    def __init__(self) -> None:
        self._queries: dict[_Question, dict[Lookup, None]] = {}

    def __len__(self) -> int:
        return len(self._queries)

    def add(self, loop: EventLoop, question: _Question, lookup: Lookup) -> None:
        """Have `lookup` wait for the query in progress, or for a new one in a thread."""
        query = self._queries.get(question)
        if query is None:
            if len(self._queries) >= MAX_PENDING:
                busy = socket.gaierror(socket.EAI_AGAIN, "too many names are being looked up")
                loop.call_soon(lookup.answer, busy)
                return

            def answered(rows: DnsResultList, failure: BaseException | None) -> None:
                self._answered(loop, question, rows if failure is None else _lookup_error(failure))

            loop.submit_job(loop.resolver_threads, _resolve, (*question, 0), answered)
            query = self._queries[question] = {}
        query[lookup] = None
        lookup.query = query

    def _answered(self, loop: EventLoop, question: _Question, answer: Answer) -> None:
        if not isinstance(answer, OSError):
            cached = _CachedAnswer(loop.clock.monotonic() + CACHE_TTL_S, answer)
            loop.local.get(_Cache, _Cache).put(question, cached)
        for lookup in self._queries.pop(question):
            # Separate calls: a callback that raises does not affect the others.
            loop.call_soon(lookup.answer, answer)

    def close(self) -> None:
        """Discard the queries: the loop was stopped, and with it their threads."""
        self._queries.clear()


def lookup(
    loop: EventLoop,
    host: str | bytes,
    port: int | str,
    socktype: int,
    callback: Callable[[Answer], object],
) -> Lookup:
    """Look up the addresses of `host`.

    host: a name, as the system's resolver knows it, or a literal IPv4 or IPv6 address
    port: a number (or its decimal digits), which is inserted into each address
    socktype: `socket.SOCK_STREAM` or `socket.SOCK_DGRAM`
    callback: called once, on the loop, after this call has returned. Its argument is a new list of
        the rows of `socket.getaddrinfo`, best first (RFC 6724) and never empty; or the exception:
        a `socket.gaierror` with an EAI_* code as `errno`, or another `OSError` of the system. It is
        not called after the loop was stopped.
    Returns: the lookup, whose `cancel()` keeps `callback` from being called
    Raises: ValueError for an invalid port, TypeError for a wrong type
    """
    if not isinstance(host, (str, bytes)):
        raise TypeError(f"a host is str or bytes, not {type(host).__name__}")
    require_callback(callback)
    request = Lookup(port_number(port), callback)
    try:
        question = _Question(_to_ascii(host), int(socktype))
    except ValueError as exc:
        loop.call_soon(request.answer, _lookup_error(exc))
        return request
    cached = loop.local.get(_Cache, _Cache).get(question, loop.clock.monotonic())
    answer = cached or _parse_literal(question)
    if answer is not None:
        loop.call_soon(request.answer, answer)
    else:
        loop.local.get(_Queries, _Queries).add(loop, question, request)
    return request


def lookup_now(host: str | bytes, port: int | str, socktype: int) -> DnsResultList:
    """Look up addresses to listen on, and block meanwhile: for use at startup.

    Returns: the rows, as `lookup` passes them

    Raises: OSError (a `socket.gaierror`, most often), ValueError, TypeError
    """
    number = port_number(port)
    try:
        return _with_port(_resolve(_to_ascii(host), socktype, 0), number)
    except ValueError as exc:
        raise _lookup_error(exc) from exc


def port_number(port: int | str | bytes) -> int:
    """Return the number of a port that a program passed.

    Raises: ValueError unless it is 0 to 65535 (ASCII decimal digits, if it is text); TypeError
    """
    if isinstance(port, (str, bytes)):
        # int() would accept signs, spaces, underscores and other scripts' digits too.
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    elif isinstance(port, int):
        number = port
    else:
        raise TypeError(f"a port is int or str, not {type(port).__name__}")
    if not 0 <= number <= 65535:
        raise ValueError(f"{port!r} is not a port")
    return number


def _to_ascii(host: str | bytes) -> bytes:
    """Return a name in ASCII and lower case (IDNA). Raises: ValueError if it is invalid"""
    if isinstance(host, bytes):
        host = host.decode("utf-8")
    name = host.encode("ascii" if host.isascii() else "idna").lower()
    if not name or b"\0" in name:
        raise ValueError("empty" if not name else "a NUL is in it")
    return name


def _resolve(name: bytes, socktype: int, flags: int) -> DnsResultList:
    """Call the resolver, which blocks. Returns: rows with port 0. Raises: OSError"""
    rows = socket.getaddrinfo(name, 0, 0, socktype, 0, flags)
    if not rows:
        raise socket.gaierror(socket.EAI_NONAME, "no addresses")
    return list(rows)


def _parse_literal(question: _Question) -> DnsResultList | None:
    """Return the rows of a literal address; None for a name. Does not block."""
    try:
        return _resolve(*question, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return None


def _with_port(rows: DnsResultList, port: int) -> DnsResultList:
    return [
        (family, kind, proto, canonical, (address[0], port, *address[2:]))
        for family, kind, proto, canonical, address in rows
    ]


def _lookup_error(exc: BaseException) -> OSError:
    """Return the exception that the callback is passed."""
    if isinstance(exc, OSError):
        return exc
    if isinstance(exc, ValueError):
        return socket.gaierror(socket.EAI_NONAME, f"not a name: {exc}")
    return socket.gaierror(socket.EAI_AGAIN, f"it could not be looked up: {exc!r}")

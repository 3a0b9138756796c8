"""What crosses a hop: the fields of requests and responses, as pure functions.

Owns: which fields stay behind, what a proxy adds of its own, loops, the limit of forwards. Must
not know exchanges or connections.

Theory of operation: fields are taken as they came and copied once. A bounded table says for each
spelling of a name whether anything has to be done; for most nothing has, and the pair passes
through unchanged. What a peer that is not trusted says about those before it is not forwarded at
all, under no spelling: what arrives upstream in such a field is what this proxy saw itself.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from thor.cache import BoundedCache
from thor.http.error import TransferCodeError
from thor.http.wire.fields import Field, WireFields
from thor.http.wire.grammar import list_elements
from thor.proxy.local_response import LocalResponse
from thor.tcp.address import Networks
from thor.types import RawHeaders

#: What the default pseudonyms of a program begin with, and how many proxies it has made. Workers
#: that are forked from it and make their proxies in the same order give them the same names, so
#: that a request that comes round is recognised by any of them.
_SEED = secrets.randbits(32)
_proxies_made = itertools.count()

#: A Max-Forwards above this is lowered to it; it also bounds what is converted to a number.
MAX_FORWARDS = 10**9

#: Kinds of fields; all but PASS are looked at.
(
    PASS,
    DROP,
    CONNECTION,
    LENGTH,
    CODING,
    VIA,
    FORWARDED,
    TE,
    UPGRADE,
    TRAILER,
    UNDERSCORE_ALIAS,
    DATE,
) = range(12)

_REQUEST_KINDS = {
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"via": VIA,
    b"te": TE,
    b"trailer": TRAILER,
    b"upgrade": UPGRADE,
    b"forwarded": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"http2-settings": DROP,
    # What these say was parsed, and is said again in one form.
    b"host": DROP,
    b"expect": DROP,
}
_RESPONSE_KINDS = {
    b"content-length": LENGTH,
    b"date": DATE,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"trailer": TRAILER,
    b"transfer-encoding": CODING,
    b"te": DROP,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
}

#: Every octet but ASCII letters and digits.
_NOT_ALPHANUMERIC = bytes(octet for octet in range(256) if not bytes((octet,)).isalnum())
#: What the names of `_REQUEST_KINDS` are to a recipient that reads letters and digits only.
_REQUEST_KEYS = frozenset(name.translate(None, _NOT_ALPHANUMERIC) for name in _REQUEST_KINDS)

#: What Connection cannot take away (RFC 9110 section 7.6.1): what says whom a message is for,
#: where it ends, and through whom it came.
_NOT_NOMINATED = frozenset((b"content-length", b"host", b"via", b"close", b"keep-alive"))

#: What Connection mostly says; it takes nothing away and offers nothing.
_COMMON_OPTIONS = frozenset((b"keep-alive", b"Keep-Alive", b"close", b"Close"))

#: Spelling of a name -> its kind. Names come from peers: the tables are bounded.
_request_names: BoundedCache[bytes, int] = BoundedCache(1024)
_response_names: BoundedCache[bytes, int] = BoundedCache(1024)
_find_request_kind, _find_response_kind = _request_names.get, _response_names.get
_MAX_NAME_BYTES = 48

_HTTPS: Field = (b"X-Forwarded-Proto", b"https")


class Policy:
    """What a proxy says of itself and whom it believes.

    pseudonym: its name in Via and Proxy-Status, a token; None: one of its own
    trusted: networks, as in `ipaddress.ip_network`, whose X-Forwarded-* and Forwarded are kept;
        "unix:" is the peers of Unix sockets
    drop_underscore_twins: drop a field whose name is another's, but for octets that are neither
        letters nor digits: CGI and its heirs take them for one (`X_Forwarded_For`, `X.Real.IP`)
    secure: whether clients come by TLS, all of them
    """

    __slots__ = (
        "drop_underscore_twins",
        "proto",
        "pseudonym",
        "trusted",
        "via_10",
        "via_11",
    )

    def __init__(
        self,
        pseudonym: str | None = None,
        trusted: Iterable[str] = (),
        drop_underscore_twins: bool = True,
        secure: bool = False,
    ) -> None:
        """Raises: ValueError for a pseudonym that is not a token, or a network that is none;
        TypeError for a single string of networks"""
        if pseudonym is None:
            pseudonym = f"thor-{(_SEED + next(_proxies_made)) % 2**32:08x}"
        if not pseudonym[:1].isalpha() or not pseudonym.isascii():
            raise ValueError(f"pseudonym is {pseudonym!r}; it must begin with a letter")
        if not pseudonym.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
            raise ValueError(f"pseudonym is {pseudonym!r}; it must be letters, digits, '-_.'")
        self.pseudonym = pseudonym.encode("ascii")
        self.trusted = Networks(trusted)
        self.proto: Field = _HTTPS if secure else (b"X-Forwarded-Proto", b"http")
        self.drop_underscore_twins = drop_underscore_twins
        self.via_11: Field = (b"Via", b"1.1 " + self.pseudonym)
        self.via_10: Field = (b"Via", b"1.0 " + self.pseudonym)

    def trusts(self, peer: str) -> bool:
        """Whether what this address says about others is believed. peer: empty on a Unix socket"""
        return ((peer,) if peer else "") in self.trusted


#: What goes upstream besides method and target: (the fields, the protocol to ask for or None,
#: whether the client takes trailers, whether it has an expectation).
Forwarded: TypeAlias = tuple[WireFields, bytes | None, bool, bool]

# -- requests -----------------------------------------------------------------------------------


def origin_form(method: bytes, target: bytes) -> bytes:
    """A request target as an origin server gets it (RFC 9112 section 3.2): path and query as they
    came; `*` stays, and so does the authority of CONNECT."""
    if target.startswith(b"/"):
        return target
    _, found, rest = target.partition(b"://")
    if not found:
        return target
    for index, octet in enumerate(rest):
        if octet == 0x2F:
            return rest[index:]
        if octet == 0x3F:
            return b"/" + rest[index:]
    return b"*" if method == b"OPTIONS" else b"/"


def decrement_max_forwards(method: bytes, target: bytes, fields: RawHeaders) -> RawHeaders:
    """The fields of an OPTIONS or TRACE request with Max-Forwards (RFC 9110 section 7.6.2) one
    less; other methods need not be asked for.

    Raises: LocalResponse at the end of the way, and for a Max-Forwards that is no number
    """
    values = [value for name, value in fields if name.lower() == b"max-forwards"]
    if not values:
        return fields
    if len(values) > 1 or not values[0].isdigit():
        raise LocalResponse(400, "Bad Request", "http_request_error")
    digits = values[0].lstrip(b"0")
    hops = int(digits or b"0") if len(digits) < 10 else MAX_FORWARDS
    if hops:
        left = b"%d" % (hops - 1)
        return [(n, left if n.lower() == b"max-forwards" else value) for n, value in fields]
    if method == b"TRACE":
        raise _traced(target, fields)
    raise LocalResponse(204, "No Content")


def _traced(target: bytes, fields: RawHeaders) -> LocalResponse:
    """The answer to a TRACE that ends here (RFC 9110 section 9.3.8): the way it came, and no
    field that may be a secret."""
    way = b"".join(b"Via: %b\r\n" % value for name, value in fields if name.lower() == b"via")
    body = b"TRACE %b HTTP/1.1\r\nMax-Forwards: 0\r\n%b\r\n" % (target, way)
    return LocalResponse(200, "OK", fields=[(b"Content-Type", b"message/http")], body=body)


def forward_request(
    fields: RawHeaders,
    http11: bool,
    host: bytes,
    peer: str,
    policy: Policy,
    by_tls: bool = False,
    expects: bool = False,
    trailers: bool = False,
) -> Forwarded:
    """The fields of a request that go upstream (RFC 9110 section 7.6).

    fields: as they came; http11: whether the client speaks HTTP/1.1; host: whom the request is
        for, as the server worked it out; peer: the client's IP address, empty if it has none;
        by_tls: whether this client came by TLS, where it is not all of them that do; expects:
        whether the client waits for a 100; trailers: whether the request's are forwarded
    Raises: LocalResponse for a request that has been here before (508)
    """
    kept = WireFields((), host)
    special: list[tuple[int, Field]] = []
    has_body = twins = False
    for field in fields:
        kind = _find_request_kind(field[0])
        if kind is None:
            kind = _learn(_request_names, _REQUEST_KINDS, field[0])
        if not kind:
            kept.append(field)
        elif kind == LENGTH:
            kept.length = int(field[1])  # the one there is, and nothing but digits: it was parsed
            has_body = has_body or kept.length > 0
            kept.append(_plain_length(field, kept.length))
        elif kind == UNDERSCORE_ALIAS:
            twins = True
            kept.append(field)
        elif kind == CODING:
            has_body = True
        elif kind != DROP and not (kind == CONNECTION and field[1] in _COMMON_OPTIONS):
            special.append((kind, field))
    upgrade, te_trailers = None, False
    via = policy.via_11 if http11 else policy.via_10
    forwarded: Sequence[Field] = ()
    if special:
        upgrade, te_trailers = _apply_connection(kept, special, http11)
        via = _append_via(special, via, policy.pseudonym)
        forwarded = [field for kind, field in special if kind == FORWARDED]
        if trailers:
            kept += [field for kind, field in special if kind == TRAILER]
    expects = expects and has_body  # else nothing follows from it (RFC 9110 section 10.1.1)
    if expects:
        kept.append((b"Expect", b"100-continue"))
    if twins and policy.drop_underscore_twins:
        kept[:] = _without_underscore_aliases(kept)
    if forwarded and not policy.trusts(peer):
        forwarded = ()
    _add_forwarded(kept, forwarded, host, peer, _HTTPS if by_tls else policy.proto)
    kept.append(via)
    # A request with content asks for no switch: its body would have to be through before.
    return kept, None if has_body else upgrade, te_trailers, expects


def _learn(names: BoundedCache[bytes, int], kinds: dict[bytes, int], name: bytes) -> int:
    """What is to be done about fields of this name, kept for the next one."""
    lower = name.lower()
    kind = kinds.get(lower, PASS)
    if kinds is _REQUEST_KINDS and kind == PASS:
        key = lower.translate(None, _NOT_ALPHANUMERIC)
        plain = lower.replace(b"-", b"").isalnum()
        if plain and lower.startswith(b"x-forwarded-"):
            kind = FORWARDED
        elif not plain or _is_proxys_own(key):
            kind = UNDERSCORE_ALIAS
    if len(name) <= _MAX_NAME_BYTES:
        names[name] = kind
    return kind


def _request_kind(name: bytes) -> int:
    kind = _find_request_kind(name)
    return _learn(_request_names, _REQUEST_KINDS, name) if kind is None else kind


def _is_proxys_own(key: bytes) -> bool:
    """Return whether a recipient that reads letters and digits only takes a name for one that the
    proxy speaks for."""
    return key in _REQUEST_KEYS or key.startswith(b"xforwarded")


def _plain_length(field: Field, length: int) -> Field:
    """A Content-Length without zeros in front, which some would read as octal."""
    value = field[1]
    return (field[0], b"%d" % length) if value[0] == 0x30 and len(value) > 1 else field


def _apply_connection(
    kept: RawHeaders, special: list[tuple[int, Field]], http11: bool
) -> tuple[bytes | None, bool]:
    """Do what Connection says: drop from `kept` what it names, see what is offered for this hop.

    Returns: the first protocol offered, or None; whether trailers are taken
    """
    options = _options([field[1] for kind, field in special if kind == CONNECTION])
    nominated = options - _NOT_NOMINATED
    if nominated:
        kept[:] = [field for field in kept if field[0].lower() not in nominated]
        special[:] = [
            entry
            for entry in special
            if entry[0] in (TE, UPGRADE, VIA) or entry[1][0].lower() not in nominated
        ]
    upgrade = None
    if http11 and b"upgrade" in options:
        # h2c is a second way to the same server, past whatever is decided here: never relayed.
        offered = _list_elements([field[1] for kind, field in special if kind == UPGRADE])
        upgrade = next((name for name in offered if not name.lower().startswith(b"h2c")), None)
    codings = _list_elements([field[1] for kind, field in special if kind == TE])
    te_trailers = http11 and any(coding.lower() == b"trailers" for coding in codings)
    return upgrade, te_trailers


def _options(values: list[bytes]) -> frozenset[bytes]:
    return frozenset(option.lower() for option in _list_elements(values)) if values else frozenset()


def _list_elements(values: Sequence[bytes]) -> list[bytes]:
    """The elements of a list of tokens, empty ones left out (RFC 9110 section 5.6.1)."""
    return [element for element in list_elements(b",".join(values)) if element]


def _append_via(special: list[tuple[int, Field]], own: Field, pseudonym: bytes) -> Field:
    """Via with this proxy at its end (RFC 9110 section 7.6.3).

    Raises: LocalResponse if this proxy is in it already (RFC 5842 section 7.2)
    """
    before = [field[1] for kind, field in special if kind == VIA]
    if not before:
        return own
    for member in _list_elements(before):
        words = member.split()
        if len(words) > 1 and words[1].partition(b":")[0].lower() == pseudonym.lower():
            raise LocalResponse(508, "Loop Detected", "proxy_loop_detected")
    return (b"Via", b", ".join([*before, own[1]]))


def _without_underscore_aliases(fields: RawHeaders) -> RawHeaders:
    """Without fields that some recipients take for another one, present or added by a proxy."""
    keys = [name.lower().translate(None, _NOT_ALPHANUMERIC) for name, _ in fields]
    twins = [_request_kind(name) == UNDERSCORE_ALIAS for name, _ in fields]
    present = {key for key, twin in zip(keys, twins, strict=True) if not twin}
    return [
        field
        for field, key, twin in zip(fields, keys, twins, strict=True)
        if not twin or not (key in present or _is_proxys_own(key))
    ]


def _add_forwarded(
    kept: RawHeaders, before: Sequence[Field], host: bytes, peer: str, proto: Field
) -> None:
    """Say from whom and for whom the request is, behind what those `before` are trusted to say."""
    client = peer.encode("latin-1") or b"unknown"
    said: Collection[bytes] = ()
    if before:
        way = [value for name, value in before if name.lower() == b"x-forwarded-for"]
        client = b", ".join([*way, client])
        others = [field for field in before if field[0].lower() != b"x-forwarded-for"]
        said = {name.lower() for name, _ in others}
        kept.extend(others)
    kept.append((b"X-Forwarded-For", client))
    if b"x-forwarded-proto" not in said:
        kept.append(proto)
    if host and b"x-forwarded-host" not in said:
        kept.append((b"X-Forwarded-Host", host))


# -- responses ----------------------------------------------------------------------------------


def forward_response(
    status: bytes,
    fields: RawHeaders,
    length: int,
    http11: bool,
    trailers: bool,
    policy: Policy,
) -> RawHeaders:
    """The fields of a response that go down (RFC 9110 section 7.6).

    length: what a Content-Length says that frames the body, -1 if none does
    http11: whether the upstream speaks HTTP/1.1; trailers: whether those of the response go down
    Raises: TransferCodeError for a coding that was not taken off: without the field that names
        it, the body would be taken for what it is not
    """
    kept = WireFields()
    checked, switches = True, False
    connection: list[bytes] = []
    for field in fields:
        kind = _find_response_kind(field[0])
        if kind is None:
            kind = _learn(_response_names, _RESPONSE_KINDS, field[0])
        if not kind:
            kept.append(field)
        elif kind == LENGTH:
            kept.append(field if length < 0 else _plain_length(field, length))
            kept.length = length
            checked = length >= 0  # nobody looked at it where there is no body
        elif kind == DATE:
            kept.dated = True
            kept.append(field)
        elif kind == CONNECTION:
            if field[1] not in _COMMON_OPTIONS:
                connection.append(field[1])
        elif kind == CODING:
            if field[1].lower() != b"chunked":
                raise TransferCodeError("in a response")
        elif kind == TRAILER and trailers:
            kept.append(field)
        elif kind == UPGRADE and status == b"426":
            kept.append(field)
            switches = True
    if connection:
        nominated = _options(connection) - _NOT_NOMINATED - {b"upgrade"}
        if nominated:
            kept[:] = [field for field in kept if field[0].lower() not in nominated]
            kept.dated = kept.dated and b"date" not in nominated
    kept.append(policy.via_11 if http11 else policy.via_10)
    # A 426 needs a Connection that names its Upgrade: the writer makes it.
    return kept if checked and not switches else list(kept)


def forward_trailers(trailers: RawHeaders, head: RawHeaders, policy: Policy) -> RawHeaders:
    """The trailers that go on: none that is about the way (RFC 9110 section 7.6.1).

    head: the fields of the message's head, where Connection may name some of them
    """
    values = [value for name, value in head if name.lower() == b"connection"]
    nominated = _options(values) - _NOT_NOMINATED
    kept = [
        (name, value)
        for name, value in trailers
        if _request_kind(name) in (PASS, UNDERSCORE_ALIAS) and name.lower() not in nominated
    ]
    return _without_underscore_aliases(kept) if policy.drop_underscore_twins else kept

"""Which fields of requests and responses cross a hop, as pure functions.

Owns: which fields are dropped, which the proxy adds, loop detection, Max-Forwards. Must not know
exchanges or connections.

Theory of operation: fields keep their order and spelling, and are copied once. The kind of a field
(`field_kinds`) says whether it needs attention; most do not, and the pair is forwarded unchanged.
What a peer that is not trusted says about earlier hops is never forwarded, under no spelling: what
such a field says upstream is what this proxy has seen itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from thor.http.error import TransferCodeError
from thor.http.wire.fields import Field, WireFields
from thor.http.wire.grammar import list_elements
from thor.proxy.field_kinds import (
    CODING,
    CONNECTION,
    DATE,
    DROP,
    FORWARDED,
    LENGTH,
    PASS,
    TE,
    TRAILER,
    UNDERSCORE_ALIAS,
    UPGRADE,
    VIA,
    alias_key,
    cached_request_kind,
    cached_response_kind,
    classify_request_field,
    classify_response_field,
    is_set_by_proxy,
    request_kind,
)
from thor.proxy.local_response import LocalResponse
from thor.proxy.policy import PROTO_HTTPS, ClientFacts, Policy
from thor.types import RawHeaders

#: A higher Max-Forwards is lowered to this, which also bounds what is converted to a number.
MAX_FORWARDS = 10**9

#: What Connection cannot remove (RFC 9110 section 7.6.1): the recipient, the length and the path of
#: a message.
_NOT_NOMINATED = frozenset((b"content-length", b"host", b"via", b"close", b"keep-alive"))

#: The usual values of Connection, which remove and offer nothing.
_COMMON_OPTIONS = frozenset((b"keep-alive", b"Keep-Alive", b"close", b"Close"))


class ForwardedRequest:
    """What goes upstream of a request besides its method and its target.

    upgrade: the protocol to ask for, or None; te_trailers: whether the client accepts trailers;
    expects_continue: whether the request has an expectation
    """

    # Without `__init__`, which would double the cost of an instance: there is one for each request.
    __slots__ = ("expects_continue", "fields", "te_trailers", "upgrade")

    #: `WireFields`, until the program has changed them.
    fields: RawHeaders
    upgrade: bytes | None
    te_trailers: bool
    expects_continue: bool


class _ConnectionOptions(NamedTuple):
    """What Connection, Upgrade and TE of a request ask for. upgrade: the first protocol offered"""

    upgrade: bytes | None
    te_trailers: bool


# -- requests -----------------------------------------------------------------------------------


def origin_form(method: bytes, target: bytes) -> bytes:
    """Return a request target in the form for an origin server (RFC 9112 section 3.2): path and
    query as received. `*` and the authority of CONNECT stay."""
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
    """Return the fields of an OPTIONS or TRACE request with a decremented Max-Forwards (RFC 9110
    section 7.6.2). Other methods ignore Max-Forwards.

    Raises: LocalResponse for a Max-Forwards of 0, and for one that is not a number
    """
    values = [value for name, value in fields if name.lower() == b"max-forwards"]
    if not values:
        return fields
    if len(values) > 1 or not values[0].isdigit():
        raise LocalResponse(400, "Bad Request", "http_request_error")
    digits = values[0].lstrip(b"0")
    hops = int(digits or b"0") if len(digits) < 10 else MAX_FORWARDS
    if hops:
        remaining = b"%d" % (hops - 1)
        return [(n, remaining if n.lower() == b"max-forwards" else value) for n, value in fields]
    if method == b"TRACE":
        raise _trace_response(target, fields)
    raise LocalResponse(204, "No Content")


def _trace_response(target: bytes, fields: RawHeaders) -> LocalResponse:
    """Return the response to a TRACE that ends here (RFC 9110 section 9.3.8): with Via, but without
    fields that may hold secrets."""
    via = b"".join(b"Via: %b\r\n" % value for name, value in fields if name.lower() == b"via")
    body = b"TRACE %b HTTP/1.1\r\nMax-Forwards: 0\r\n%b\r\n" % (target, via)
    return LocalResponse(200, "OK", fields=[(b"Content-Type", b"message/http")], body=body)


def forward_request(
    fields: RawHeaders,
    http11: bool,
    host: bytes,
    client: ClientFacts,
    policy: Policy,
    expects_continue: bool = False,
    forwards_trailers: bool = False,
) -> ForwardedRequest:
    """Return what goes upstream of a request (RFC 9110 section 7.6).

    fields: as received; http11: whether the client speaks HTTP/1.1; host: the authority that the
        request is for, as the server determined it; expects_continue: whether the client waits for
        a 100; forwards_trailers: whether trailers of requests are forwarded
    Raises: LocalResponse for a request that this proxy has forwarded before (508)
    """
    kept = WireFields()
    kept.host, kept.length, kept.dated = host, -1, False
    special: list[tuple[int, Field]] = []
    has_body = has_aliases = False
    for field in fields:
        kind = cached_request_kind(field[0])
        if kind is None:
            kind = classify_request_field(field[0])
        if not kind:
            kept.append(field)
        elif kind == LENGTH:
            kept.length = int(field[1])  # parsed before: there is one, and it has only digits
            has_body = has_body or kept.length > 0
            kept.append(_plain_length(field, kept.length))
        elif kind == UNDERSCORE_ALIAS:
            has_aliases = True
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
        if forwards_trailers:
            kept += [field for kind, field in special if kind == TRAILER]
    # Without a body, an expectation has no effect (RFC 9110 section 10.1.1).
    expects_continue = expects_continue and has_body
    if expects_continue:
        kept.append((b"Expect", b"100-continue"))
    if has_aliases and policy.drop_underscore_headers:
        kept[:] = _without_underscore_aliases(kept)
    peer, is_tls = client
    if forwarded and not policy.trusts(peer):
        forwarded = ()
    _add_forwarded(kept, forwarded, host, peer, PROTO_HTTPS if is_tls else policy.proto)
    kept.append(via)
    # A request with a body asks for no switch: the body would have to be sent before it.
    request = ForwardedRequest()
    request.fields = kept
    request.upgrade = None if has_body else upgrade
    request.te_trailers = te_trailers
    request.expects_continue = expects_continue
    return request


def _plain_length(field: Field, length: int) -> Field:
    """Return a Content-Length without leading zeros, which some recipients read as octal."""
    value = field[1]
    return (field[0], b"%d" % length) if value[0] == 0x30 and len(value) > 1 else field


def _apply_connection(
    kept: RawHeaders, special: list[tuple[int, Field]], http11: bool
) -> _ConnectionOptions:
    """Drop from `kept` the fields that Connection names. Returns: what is asked for on this hop"""
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
        # Requests over h2c would bypass this proxy, and with it all access rules: never relayed.
        offered = _list_elements([field[1] for kind, field in special if kind == UPGRADE])
        upgrade = next((name for name in offered if not name.lower().startswith(b"h2c")), None)
    codings = _list_elements([field[1] for kind, field in special if kind == TE])
    te_trailers = http11 and any(coding.lower() == b"trailers" for coding in codings)
    return _ConnectionOptions(upgrade, te_trailers)


def _options(values: list[bytes]) -> frozenset[bytes]:
    return frozenset(option.lower() for option in _list_elements(values)) if values else frozenset()


def _list_elements(values: Sequence[bytes]) -> list[bytes]:
    """Return the elements of a list of tokens without empty ones (RFC 9110 section 5.6.1)."""
    return [element for element in list_elements(b",".join(values)) if element]


def _append_via(special: list[tuple[int, Field]], own: Field, pseudonym: bytes) -> Field:
    """Return Via with this proxy appended (RFC 9110 section 7.6.3).

    Raises: LocalResponse if this proxy is in it already (RFC 5842 section 7.2)
    """
    received = [field[1] for kind, field in special if kind == VIA]
    if not received:
        return own
    for member in _list_elements(received):
        words = member.split()
        if len(words) > 1 and words[1].partition(b":")[0].lower() == pseudonym.lower():
            raise LocalResponse(508, "Loop Detected", "proxy_loop_detected")
    return (b"Via", b", ".join([*received, own[1]]))


def _without_underscore_aliases(fields: RawHeaders) -> RawHeaders:
    """Return the fields without those that some recipients take for another one, which is present
    or which a proxy adds."""
    keys = [alias_key(name) for name, _ in fields]
    are_aliases = [request_kind(name) == UNDERSCORE_ALIAS for name, _ in fields]
    present = {key for key, is_alias in zip(keys, are_aliases, strict=True) if not is_alias}
    return [
        field
        for field, key, is_alias in zip(fields, keys, are_aliases, strict=True)
        if not is_alias or not (key in present or is_set_by_proxy(key))
    ]


def _add_forwarded(
    kept: RawHeaders, trusted: Sequence[Field], host: bytes, peer: str, proto: Field
) -> None:
    """Add X-Forwarded-* to `kept`.

    trusted: those of a trusted peer, which are kept and extended
    """
    client = peer.encode("latin-1") or b"unknown"
    present: Collection[bytes] = ()
    if trusted:
        hops = [value for name, value in trusted if name.lower() == b"x-forwarded-for"]
        client = b", ".join([*hops, client])
        others = [field for field in trusted if field[0].lower() != b"x-forwarded-for"]
        present = {name.lower() for name, _ in others}
        kept.extend(others)
    kept.append((b"X-Forwarded-For", client))
    if b"x-forwarded-proto" not in present:
        kept.append(proto)
    if host and b"x-forwarded-host" not in present:
        kept.append((b"X-Forwarded-Host", host))


# -- responses ----------------------------------------------------------------------------------


def forward_response(
    status: bytes,
    fields: RawHeaders,
    length: int,
    http11: bool,
    forwards_trailers: bool,
    policy: Policy,
) -> RawHeaders:
    """Return the fields of a response that go downstream (RFC 9110 section 7.6).

    length: the Content-Length that frames the body, -1 if none does
    http11: whether the upstream speaks HTTP/1.1; forwards_trailers: whether the trailers of the
        response go downstream
    Raises: TransferCodeError for a coding that was not decoded: without the field that names it,
        the client would misread the body
    """
    kept = WireFields()
    kept.host, kept.length, kept.dated = b"", -1, False
    is_length_checked, has_upgrade = True, False
    connection: list[bytes] = []
    for field in fields:
        kind = cached_response_kind(field[0])
        if kind is None:
            kind = classify_response_field(field[0])
        if not kind:
            kept.append(field)
        elif kind == LENGTH:
            kept.append(field if length < 0 else _plain_length(field, length))
            kept.length = length
            is_length_checked = length >= 0  # without a body it was not parsed
        elif kind == DATE:
            kept.dated = True
            kept.append(field)
        elif kind == CONNECTION:
            if field[1] not in _COMMON_OPTIONS:
                connection.append(field[1])
        elif kind == CODING:
            if field[1].lower() != b"chunked":
                raise TransferCodeError("in a response")
        elif kind == TRAILER and forwards_trailers:
            kept.append(field)
        elif kind == UPGRADE and status == b"426":
            kept.append(field)
            has_upgrade = True
    if connection:
        nominated = _options(connection) - _NOT_NOMINATED - {b"upgrade"}
        if nominated:
            kept[:] = [field for field in kept if field[0].lower() not in nominated]
            kept.dated = kept.dated and b"date" not in nominated
    kept.append(policy.via_11 if http11 else policy.via_10)
    # A 426 needs a Connection that names its Upgrade, which the writer adds to plain lists.
    return kept if is_length_checked and not has_upgrade else list(kept)


def forward_trailers(trailers: RawHeaders, head: RawHeaders, policy: Policy) -> RawHeaders:
    """Return the trailers to forward: none that is hop-by-hop (RFC 9110 section 7.6.1).

    head: the fields of the message's head, where Connection may name some of them
    """
    values = [value for name, value in head if name.lower() == b"connection"]
    nominated = _options(values) - _NOT_NOMINATED
    kept = [
        (name, value)
        for name, value in trailers
        if request_kind(name) in (PASS, UNDERSCORE_ALIAS) and name.lower() not in nominated
    ]
    return _without_underscore_aliases(kept) if policy.drop_underscore_headers else kept

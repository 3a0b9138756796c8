"""Messages into bytes.

Owns: the framing and the connection fields of what is sent (RFC 9112 sections 6 and 9.6), and
the check that a program's fields cannot say anything else. Must not know sockets or clocks.

Theory of operation: what a program passes is `str` or `bytes`, and nothing of it is trusted. A
name is checked once and kept, with its place in the line, in a bounded table. Values are put
together unchecked; then one `translate` over all of them leaves two bytes for each line that was
begun here and nothing else, or a value holds a control character or a line of its own. Fields that
concern one connection are dropped and made here, so that a message that is passed on can never
say one thing about its end and do another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thor import native
from thor.cache import BoundedCache
from thor.http.error import (
    HttpError,
    InvalidHostError,
    OutputSyntaxError,
)
from thor.http.headers import (
    FieldsIn,
    encode_text,
    field_list,
    field_pair,
    hop_by_hop_hdrs,
    nominated_fields,
)
from thor.http.wire.body import LAST_CHUNK, encode_chunk
from thor.http.wire.fields import FORBIDDEN_IN_TRAILERS, WireFields
from thor.http.wire.framing import CHUNKED, LENGTH, MAX_LENGTH, NO_BODY, UNTIL_CLOSE
from thor.http.wire.grammar import (
    CTL_OCTETS,
    END_OF_HEAD,
    FIELD_LINE_OCTETS,
    OWS,
    TARGET_OCTETS,
    TOKEN,
    decimal,
    is_token,
)
from thor.http.wire.target import check_host, valid_hosts

if TYPE_CHECKING:
    from thor.types import HeadersIn

__all__ = [
    "LAST_CHUNK",
    "OutgoingHead",
    "encode_chunk",
    "error_response",
    "informational_head",
    "last_chunk",
    "request_head",
    "response_head",
    "switching_head",
]


class OutgoingHead:
    """A head that is ready to be sent, and what it promises.

    data: its bytes; framing, length: of the body, as in `wire.framing`
    keep_alive: whether the connection may persist after the message
    """

    __slots__ = ("data", "framing", "keep_alive", "length")

    def __init__(
        self,
        data: bytes,
        framing: int,
        length: int,
        keep_alive: bool,
    ) -> None:
        self.data = data
        self.framing = framing
        self.length = length
        self.keep_alive = keep_alive


# What is done with a field: it is passed on, or else.
_PASS, _DROP, _CONNECTION, _LENGTH, _DATE, _HOST, _UPGRADE, _KEEP = range(8)

#: Fields that say the same in most messages of a program, and are nobody's secret.
_CACHEABLE = b"""
    accept accept-encoding accept-ranges access-control-allow-origin cache-control content-encoding
    content-language content-type referrer-policy server strict-transport-security vary via
    x-content-type-options x-forwarded-proto x-frame-options
""".split()

_ACTIONS = (
    dict.fromkeys(_CACHEABLE, _KEEP)
    | dict.fromkeys(hop_by_hop_hdrs, _DROP)
    | {
        b"connection": _CONNECTION,
        b"content-length": _LENGTH,
        b"date": _DATE,
        b"host": _HOST,
        b"upgrade": _UPGRADE,
    }
)

#: Name as passed -> (CRLF, name, colon and space; what is done with it). Programs may pass on
#: names from the network: the table is bounded, and long names are not kept.
_name_cache: BoundedCache[str | bytes, tuple[bytes, int]] = BoundedCache(1024)
_find_name = _name_cache.get
_MAX_NAME_BYTES = 48

#: Field as passed, with a name of _CACHEABLE or a short Content-Length -> (its checked line, the
#: length it says or -1).
_line_cache: BoundedCache[tuple[str | bytes, str | bytes], tuple[bytes, int]] = BoundedCache(1024)
_find_line = _line_cache.get
_MAX_LINE_BYTES = 128
_MAX_LENGTH_DIGITS = 6

#: (status, phrase) as passed -> (status line, status).
_status_line_cache: BoundedCache[tuple[int | str | bytes, str | bytes], tuple[bytes, int]] = (
    BoundedCache(256)
)
_find_status_line = _status_line_cache.get
_MAX_PHRASE_BYTES = 48

#: Methods that define no content (RFC 9110 section 9.3), and those that always have some.
_WITHOUT_CONTENT = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"))
_WITH_CONTENT = frozenset((b"POST", b"PUT", b"PATCH"))
_COMMON_METHODS = _WITHOUT_CONTENT | _WITH_CONTENT

_NOTHING_SPECIAL: list[tuple[int, bytes]] = []

_PROTOCOL = TOKEN + b"/"

#: The native codec's `_render`, for fields that are plain, and its `response_head` for most
#: responses; None without it.
_render_fields = native.render_fields
_render_response = native.render_response


def response_head(
    status: int | str | bytes,
    phrase: str | bytes,
    headers: HeadersIn,
    method: bytes,
    http11: bool,
    keep_alive: bool,
    date_line: bytes,
) -> OutgoingHead:
    """Return a response head (RFC 9112 sections 4, 6 and 9.6).

    method, http11: of the request; http11 says whether it came as HTTP/1.1
    keep_alive: whether the connection might persist; False in the result where framing forbids
    date_line: from CRLF on, what a final response says that has no Date among `headers`; b"" for
        none
    Raises: OutputSyntaxError, TypeError; nothing has been sent then
    """
    line, code = _find_status_line((status, phrase)) or _status_line(status, phrase)
    if keep_alive and http11 and _render_response:
        rendered = _render_response(line, headers, method, date_line)
        if rendered is not None:
            return rendered
    tunnel = code < 200 or (code < 300 and method == b"CONNECT")
    data, length, has_date, special = _render(line, headers, not tunnel and code != 204)
    if length >= 0 and keep_alive and http11 and code != 304 and method != b"HEAD" and not special:
        # What most responses are, and all that is to be decided about them.
        end = END_OF_HEAD if has_date else date_line + END_OF_HEAD
        return OutgoingHead(data + end, LENGTH, length, True)
    framing = LENGTH
    if tunnel or method == b"HEAD" or code == 304 or code == 204:
        framing = NO_BODY
        length = 0
    elif length < 0:
        length = 0
        if http11:
            framing = CHUNKED
            data += b"\r\nTransfer-Encoding: chunked"
        else:
            framing = UNTIL_CLOSE
            keep_alive = False
    if has_date or code < 200:
        date_line = b""
    if special and code == 426:
        end = _upgrade_required(special, keep_alive)
    elif tunnel or (keep_alive and http11):
        end = END_OF_HEAD
    elif keep_alive:
        end = b"\r\nConnection: keep-alive\r\n\r\n"
    else:
        end = b"\r\nConnection: close\r\n\r\n"
    return OutgoingHead(data + date_line + end, framing, length, keep_alive)


def _upgrade_required(special: Sequence[tuple[int, bytes]], keep_alive: bool) -> bytes:
    """Return the end of the head of a 426, with Upgrade (RFC 9110 section 15.5.22)."""
    protocols = [value for kind, value in special if kind == _UPGRADE]
    options = ([] if keep_alive else [b"close"]) + ([b"upgrade"] if protocols else [])
    end = b"\r\nUpgrade: " + b", ".join(protocols) if protocols else b""
    if options:
        end += b"\r\nConnection: " + b", ".join(options)
    return end + END_OF_HEAD


def informational_head(status: int | str | bytes, phrase: str | bytes, headers: HeadersIn) -> bytes:
    """Return an informational response, which precedes the final one (RFC 9110 section 15.2).

    Raises: OutputSyntaxError, also for a status that is not 100 to 199, or 101; TypeError
    """
    line, code = _find_status_line((status, phrase)) or _status_line(status, phrase)
    if code >= 200 or code == 101:
        raise OutputSyntaxError(f"{code} is not an informational status")
    return _render(line, headers, False)[0] + END_OF_HEAD


def switching_head(protocol: str | bytes, headers: HeadersIn) -> bytes:
    """Return a 101 that switches to `protocol` (RFC 9110 section 7.8).

    Raises: OutputSyntaxError, TypeError
    """
    data = _render(b"HTTP/1.1 101 Switching Protocols", headers, False)[0]
    return data + b"\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % _protocol(protocol)


def request_head(
    method: str | bytes,
    target: str | bytes,
    headers: HeadersIn,
    host: bytes,
    has_body: bool | None,
    upgrade: str | bytes | None,
    te_trailers: bool,
    keep_alive: bool = True,
) -> OutgoingHead:
    """Return a request head (RFC 9112 sections 3, 6 and 9.6).

    target: in the form that the next hop needs; with WireFields, one that was parsed
    host: its authority, sent unless `headers` hold one Host
    has_body: whether the program has a body to send; None if that is not known yet: then methods
        that define no content have none, and others are chunked
    Raises: OutputSyntaxError, TypeError; nothing has been sent then
    """
    if method not in _COMMON_METHODS:
        method = encode_text(method, "a method")
        if not is_token(method):
            raise OutputSyntaxError(f"method {method!r}")
    if target.__class__ is not bytes:
        target = encode_text(target, "a target")
    if headers.__class__ is WireFields:
        host = headers.host or host
    elif not target or target.translate(None, TARGET_OCTETS):
        raise OutputSyntaxError(f"target {target!r}")
    fields, length, _, special = _render(b"", headers, method != b"CONNECT", True)
    if special:
        host = _one_host([value for kind, value in special if kind == _HOST], host)
    elif host not in valid_hosts:
        host = _one_host([], host)
    framing, tail = _request_framing(method, length, has_body)
    options = []
    if not keep_alive:
        options.append(b"close")
    if upgrade is not None:
        options.append(b"upgrade")
        tail += b"\r\nUpgrade: " + _protocol(upgrade)
    if te_trailers:
        options.append(b"TE")
        tail += b"\r\nTE: trailers"
    if options:
        tail += b"\r\nConnection: " + b", ".join(options)
    start = (method, b" ", target, b" HTTP/1.1\r\nHost: ", host, fields, tail, END_OF_HEAD)
    if length < 0:
        length = 0
    return OutgoingHead(b"".join(start), framing, length, keep_alive)


def _request_framing(method: bytes, length: int, has_body: bool | None) -> tuple[int, bytes]:
    """How a request's body will end, and the field line that says so (RFC 9112 section 6.3)."""
    if length >= 0:
        return LENGTH, b""
    if method in _WITHOUT_CONTENT and not has_body:
        return NO_BODY, b""
    if has_body is False:
        return NO_BODY, b"\r\nContent-Length: 0" if method in _WITH_CONTENT else b""
    if method == b"CONNECT":
        raise OutputSyntaxError("CONNECT has no content")
    return CHUNKED, b"\r\nTransfer-Encoding: chunked"


def last_chunk(trailers: HeadersIn | None) -> bytes:
    """Return the end of a chunked body (RFC 9112 section 7.1.2).

    Trailers that may not be some (RFC 9110 section 6.5.1) are left out.

    Raises: OutputSyntaxError, TypeError
    """
    if not trailers:
        return LAST_CHUNK
    allowed = [
        field
        for field in map(field_pair, field_list(trailers))
        if encode_text(field[0], "a field name").lower() not in FORBIDDEN_IN_TRAILERS
    ]
    return _render(b"0", allowed, False)[0] + END_OF_HEAD


def error_response(error: HttpError) -> bytes:
    """Return the whole response to a request that cannot be accepted; it quotes nothing of it.

    Returns: b"" for an error that no answer is made to
    """
    if error.server_status is None:
        return b""
    status, phrase = error.server_status
    return (
        b"HTTP/1.1 %b %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b\n" % (status, phrase, len(phrase) + 1, phrase)
    )


def _render(
    start: bytes, headers: HeadersIn, keep_length: bool, request: bool = False
) -> tuple[bytes, int, bool, Sequence[tuple[int, bytes]]]:
    """Put a message's fields behind its start.

    keep_length: whether Content-Length is sent at all
    request: whether Host is one of the fields that are made by the caller
    Returns: (start and fields without the last CRLF, Content-Length or -1, whether Date is among
        them, [(action, value)] of Connection, Upgrade and Host, which are not)
    """
    if _render_fields is not None:
        rendered = _render_fields(start, headers, keep_length, request)
        if rendered is not None:
            return rendered
    if headers.__class__ is WireFields and (keep_length or headers.length < 0):
        data = b"\r\n".join([start, *map(b": ".join, headers)])
        return data, headers.length, headers.dated, _NOTHING_SPECIAL
    return _render_each(start, field_list(headers), keep_length, request)


def _render_each(
    start: bytes, headers: FieldsIn, keep_length: bool, request: bool
) -> tuple[bytes, int, bool, Sequence[tuple[int, bytes]]]:
    """`_render`, field by field."""
    parts = [start]
    length = -1
    has_date = False
    checked = True
    special: list[tuple[int, bytes]] = []
    for field in headers:
        try:
            kept = _find_line(field)
        except TypeError:  # a list, as it may come out of JSON
            kept = None
        if kept is not None:
            line, number = kept
            if number < 0:
                parts.append(line)
            elif keep_length and (length < 0 or _is_new_length(number, length)):
                length = number
                parts.append(line)
            continue
        if field.__class__ is not tuple or len(field) != 2:
            field = field_pair(field)
        name, value = field
        prefix, action = _find_name(name) or _cache_name(name)
        if value.__class__ is str and value.isascii():
            value = value.encode()
        elif value.__class__ is not bytes:
            value = encode_text(value, "a field value")
        value = value.strip(b" \t")
        if action:
            if action == _LENGTH:
                if keep_length:
                    number = _cache_length(field, prefix, value)
                    if _is_new_length(number, length):
                        length = number
                        parts.append(prefix + value)
                continue
            if action == _KEEP:
                _cache_line(field, prefix, value)
            elif action == _DATE:
                has_date = True
            elif action != _HOST or request:
                special.append((action, value))
                continue
        parts.append(prefix + value)
        checked = False
    data = b"".join(parts)
    if not checked:
        _check_lines(data, parts)
    if special:
        left = _not_nominated(headers, special)
        if len(left) < len(headers):
            return _render(start, left, keep_length, request=request)
    return data, length, has_date, special


def _check_lines(data: bytes, parts: list[bytes]) -> None:
    """Let `data` pass, the start and lines of a message, if each part is one line."""
    # Of good lines nothing goes but their ends; a HTAB, which is good as well, is seldom.
    ends = 2 * len(parts) - 2
    if (
        len(data) - len(data.translate(None, CTL_OCTETS)) != ends
        and len(data.translate(None, FIELD_LINE_OCTETS)) != ends
    ):
        raise OutputSyntaxError(_first_bad_line(parts[1:]))


def _not_nominated(headers: FieldsIn, special: list[tuple[int, bytes]]) -> FieldsIn:
    """Return the fields that a Connection field does not nominate (RFC 9110 section 7.6.1)."""
    if b"".join([value for _, value in special]).translate(None, FIELD_LINE_OCTETS):
        raise OutputSyntaxError("control character in a field that is not passed on")
    options = [value for action, value in special if action == _CONNECTION]
    nominated = nominated_fields(options) - hop_by_hop_hdrs if options else None
    if not nominated:
        return headers
    return [field for field in headers if _lower(field[0]) not in nominated]


def _is_new_length(number: int, length: int) -> bool:
    """Whether a Content-Length is the first of its message; the others have to say the same."""
    if length not in (-1, number):
        raise OutputSyntaxError(f"Content-Length {length} and {number}")
    return length < 0


def _first_bad_line(lines: Sequence[bytes]) -> str:
    """Which field does not fit into a line of its own."""
    line = next(line for line in lines if len(line.translate(None, FIELD_LINE_OCTETS)) != 2)
    name, _, value = line[2:].partition(b": ")
    return f"value of {name!r}: {value[:60]!r}"


def _cache_line(field: tuple[str | bytes, str | bytes], prefix: bytes, value: bytes) -> None:
    """Keep a whole line that is likely to be sent again."""
    short = len(value) <= _MAX_LINE_BYTES
    if short and field.__class__ is tuple and not value.translate(None, FIELD_LINE_OCTETS):
        _line_cache[field] = (prefix + value, -1)


def _cache_length(field: tuple[str | bytes, str | bytes], prefix: bytes, value: bytes) -> int:
    """Return the value of a Content-Length. Short values are cached: they recur."""
    number = decimal(value)
    if not 0 <= number <= MAX_LENGTH:
        raise OutputSyntaxError(f"Content-Length {value!r}")
    if len(value) <= _MAX_LENGTH_DIGITS and field.__class__ is tuple:
        _line_cache[field] = (prefix + value, number)
    return number


def _cache_name(name: str | bytes) -> tuple[bytes, int]:
    octets = encode_text(name, "a field name")
    if not is_token(octets):
        raise OutputSyntaxError(f"field name {name!r}")
    known = (b"\r\n%b: " % octets, _ACTIONS.get(octets.lower(), _PASS))
    if len(octets) <= _MAX_NAME_BYTES:
        _name_cache[name] = known
    return known


def _status_line(status: int | str | bytes, phrase: str | bytes) -> tuple[bytes, int]:
    if isinstance(status, bool):
        raise TypeError("a status must be int, str or bytes, not bool")
    digits = b"%d" % status if isinstance(status, int) else encode_text(status, "a status")
    code = decimal(digits)
    if len(digits) != 3 or code < 100:
        raise OutputSyntaxError(f"status {status!r}")
    reason = encode_text(phrase, "a phrase")
    if reason.translate(None, FIELD_LINE_OCTETS):
        raise OutputSyntaxError(f"phrase {phrase!r}")
    known = (b"HTTP/1.1 %b %b" % (digits, reason), code)
    if len(reason) <= _MAX_PHRASE_BYTES:
        _status_line_cache[status, phrase] = known
    return known


def _one_host(hosts: list[bytes], host: bytes) -> bytes:
    """Return the Host to send: the one that was passed, or the target's."""
    if len(hosts) > 1:
        raise OutputSyntaxError("more than one Host")
    host = hosts[0] if hosts else host
    try:
        check_host(host)
    except InvalidHostError as error:
        raise OutputSyntaxError(f"Host {host!r}") from error
    return host


def _protocol(protocol: str | bytes) -> bytes:
    octets = encode_text(protocol, "a protocol").strip(OWS)
    if not octets or octets.translate(None, _PROTOCOL):
        raise OutputSyntaxError(f"protocol {protocol!r}")
    return octets


def _lower(name: str | bytes) -> bytes:
    return encode_text(name, "a field name").lower()

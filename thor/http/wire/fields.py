"""Field lines: names, values, folds.

Owns: one field line taken apart (RFC 9112 section 5), the table of names that this room itself
looks at, and which fields may not stand in trailers. Must not know messages or buffers.

Theory of operation: `parse_fields` is the hot loop. It trusts its caller that the lines hold no
control character, and takes only what is a plain field line; anything else makes it give up, and
`check_field_line` says what is wrong. Two bounded tables spare the work that repeats itself from
request to request: the spellings of names that were found to be tokens, and whole lines of a few
fields that say the same in most requests and are nobody's secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from thor.cache import BoundedCache
from thor.http.error import (
    FieldSectionTooLargeError,
    HeaderNameError,
    HeaderNoColonError,
    HeaderSpaceError,
    ObsoleteFoldError,
    TopLineSpaceError,
)
from thor.http.wire.grammar import OWS, excerpt, is_token

Field = tuple[bytes, bytes]


class WireFields(list[Field]):
    """Fields on their way from one message to the next: they came from a parser of this room, or
    were made by who passes them on, so that they need no check before they are written. None of
    them concerns one connection only, and Host is not among them.

    host: what it says, b"" if nobody said; length: what the one Content-Length says, -1 if there
        is none; dated: whether there is a Date
    """

    # Whoever makes one sets all three: an `__init__` would take as long as all the rest.
    __slots__ = ("dated", "host", "length")

    host: bytes
    length: int
    dated: bool


#: The kinds of fields: those that say something about the message's way, and all others.
(
    PLAIN,
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    EXPECT,
    TE,
) = range(8)
#: How many there are.
KINDS = 8

_KINDS = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
}
_NOT_A_NAME = -1
#: A bit of the kind in the table of names: whole lines with this name are kept.
_KEEP = 16

#: What a trailer section may not say (RFC 9110 section 6.5.1): framing, routing, authentication,
#: modifiers of a request, and how the content is encoded. Who had already acted on the head and
#: who had not would disagree.
FORBIDDEN_IN_TRAILERS = frozenset(
    b"""
    connection content-length keep-alive proxy-connection te trailer transfer-encoding upgrade
    forwarded host max-forwards via
    x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
    authentication-info authorization cookie proxy-authenticate proxy-authentication-info
    proxy-authorization set-cookie www-authenticate
    cache-control expect if-match if-modified-since if-none-match if-range if-unmodified-since
    pragma range
    content-encoding content-range
    """.split()
)

#: Spelling of a name -> its kind. Names come from the peer: the table is bounded, and long names
#: are not kept.
_name_cache: BoundedCache[bytes, int] = BoundedCache(1024)
_find_kind = _name_cache.get
_MAX_NAME_BYTES = 48

#: Whole field line -> (field, (kind, value) or None if that is PLAIN), for names of which most
#: peers say always the same, or the same for a while. Never for credentials, cookies, URLs or what
#: else belongs to one user.
_line_cache: BoundedCache[bytes, tuple[Field, tuple[int, bytes] | None]] = BoundedCache(1024)
_find_line = _line_cache.get
_MAX_LINE_BYTES = 256
_CACHEABLE = frozenset(
    b"""
    accept accept-charset accept-encoding accept-language accept-ranges cache-control connection
    content-encoding content-length content-type date dnt host pragma priority sec-ch-ua
    sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user
    sec-gpc server te transfer-encoding upgrade upgrade-insecure-requests user-agent vary via
    x-content-type-options x-frame-options
    """.split()
)


def _cache_name(name: bytes) -> int:
    """Return the kind of a field name, and cache it; _NOT_A_NAME for an invalid name."""
    if not is_token(name):
        return _NOT_A_NAME
    lower = name.lower()
    kind = _KINDS.get(lower, PLAIN)
    if lower in _CACHEABLE:
        kind |= _KEEP
    if len(name) <= _MAX_NAME_BYTES:
        _name_cache[name] = kind
    return kind


def parse_fields(lines: Sequence[bytes]) -> tuple[list[Field], list[tuple[int, bytes]]] | None:
    """Take field lines apart.

    lines: without CRLF and controls but HTAB
    Returns: (all fields as spelled, values stripped; [(kind, value)] of those that are not PLAIN),
        or None if some line is not a field line, or is folded
    """
    fields: list[Field] = []
    special: list[tuple[int, bytes]] = []
    for line in lines:
        kept = _find_line(line)
        if kept is not None:
            field, mark = kept
            fields.append(field)
            if mark is not None:
                special.append(mark)
            continue
        name, colon, value = line.partition(b":")
        kind = _find_kind(name)
        if kind is None:
            kind = _cache_name(name)
        if not colon or kind == _NOT_A_NAME:
            return None
        field = (name, value.strip(b" \t"))
        fields.append(field)
        if kind:
            mark = None
            if kind & ~_KEEP:
                mark = (kind & ~_KEEP, field[1])
                special.append(mark)
            if kind & _KEEP and len(line) <= _MAX_LINE_BYTES:
                _line_cache[line] = (field, mark)
    return fields, special


def check_field_line(line: bytes, *, first: bool, fold: str) -> None:
    """Let a complete field line pass (RFC 9112 section 5).

    line: without CRLF and controls but HTAB; first: no field line came before it
    Raises: a HeadSyntaxError
    """
    if line[:1] in (b" ", b"\t"):
        if first:
            raise TopLineSpaceError(excerpt(line))
        if fold == "refuse":
            raise ObsoleteFoldError(excerpt(line))
        return
    name, colon, _ = line.partition(b":")
    if not colon:
        raise HeaderNoColonError(excerpt(line))
    if is_token(name):
        return
    if is_token(name.rstrip(OWS)):
        # The bare name: programs look at it.
        raise HeaderSpaceError(name[:60].decode("ascii"))
    raise HeaderNameError(excerpt(name))


def unfold(lines: Sequence[bytes], max_field_bytes: int) -> list[bytes]:
    """Join folded lines, each fold replaced by one space (RFC 9112 section 5.2).

    lines: each passed by `check_field_line`
    Raises: ObsoleteFoldError, where a fold could make a second reading of framing or routing;
        FieldSectionTooLargeError, since a field does not become smaller by being folded
    """
    whole: list[bytes] = []
    pieces: list[bytes] = []
    size = 0
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            size += len(line)
            if size > max_field_bytes:
                raise FieldSectionTooLargeError(f"a folded line over {max_field_bytes} bytes")
            pieces.append(line.strip(OWS))
            continue
        whole.append(_joined(pieces))
        pieces = [line]
        size = len(line)
    whole.append(_joined(pieces))
    return whole[1:]


def _joined(pieces: list[bytes]) -> bytes:
    """Return a field line, joined from its first line and its continuation lines."""
    if len(pieces) < 2:
        return b"".join(pieces)
    name = pieces[0].partition(b":")[0]
    if name.lower() in (b"content-length", b"transfer-encoding", b"host"):
        raise ObsoleteFoldError(excerpt(pieces[0]))
    pieces[0] = pieces[0].rstrip(OWS)
    return b" ".join([piece for piece in pieces if piece])


def trailer_fields(fields: list[Field]) -> list[Field]:
    """Return the fields of a trailer section that may be forwarded (RFC 9110 section 6.5.1)."""
    return [field for field in fields if field[0].lower() not in FORBIDDEN_IN_TRAILERS]

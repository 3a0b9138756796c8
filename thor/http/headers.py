"""Lists of fields, and views on them.

Owns: the helpers for `[(name, value)]` lists, and which fields concern one connection only (RFC
9110 section 7.6.1). Must not know how fields look on the wire.

A list may hold `str` or `bytes`; what is returned is of the list's own type. Names are compared
without case, and white space around a value is not part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import AnyStr

from thor.http.error import OutputSyntaxError
from thor.types import FieldIn, HeadersIn

#: What a program has passed as fields, as a list.
FieldsIn = Sequence[FieldIn]

#: Fields that concern one connection, and are made anew for the next (RFC 9110 section 7.6.1).
#: Proxy-Authenticate and Proxy-Authorization are not among them: they concern a proxy, which may
#: be several connections away (section 11.7).
hop_by_hop_hdrs = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)

#: What is iterable, and neither fields nor a field.
_TEXT = (str, bytes, bytearray, memoryview)

#: Fields that a connection option never removes: without them the message is another one.
_NEVER_NOMINATED = frozenset((b"content-length", b"host"))


def field_list(headers: HeadersIn) -> FieldsIn:
    """Return the fields that a program passes as a list that can be walked again.

    headers: pairs, or a mapping of names to values. The pairs are looked at by `field_pair`.
    Raises: TypeError
    """
    if isinstance(headers, (list, tuple)):
        return headers
    if isinstance(headers, Mapping):
        return [*headers.items()]
    if isinstance(headers, _TEXT) or not isinstance(headers, Iterable):
        raise TypeError(f"fields are pairs or a mapping, not {type(headers).__name__}")
    return [*headers]


def field_pair(field: Iterable[str | bytes]) -> FieldIn:
    """Return one element of a list of fields as a pair. Raises: TypeError if it is none"""
    if isinstance(field, Sequence) and not isinstance(field, _TEXT):
        try:
            name, value = field
            return name, value
        except (TypeError, ValueError):
            pass
    raise TypeError(f"a field is a pair of a name and a value, not {field!r:.80}")


def header_names(headers: Iterable[tuple[AnyStr, AnyStr]]) -> set[AnyStr]:
    """Return the names in a list, in lower case."""
    return {name.lower() for name, _ in headers}


def header_dict(
    headers: Iterable[tuple[AnyStr, AnyStr]], omit: Collection[str | bytes] | None = None
) -> dict[AnyStr, list[AnyStr]]:
    """Return a list as a dictionary: names in lower case to lists of values.

    Values are split at commas: not for fields whose values may contain them otherwise, such as
    dates, cookies and quoted strings. Fields named in `omit` are left out.
    """
    left_out = {to_octets(name).lower() for name in omit or ()}
    found: dict[AnyStr, list[AnyStr]] = {}
    for name, value in headers:
        name = name.lower()
        if to_octets(name) not in left_out:
            found.setdefault(name, []).extend(_split(value))
    return found


def get_header(headers: Iterable[tuple[AnyStr, AnyStr]], name: str | bytes) -> list[AnyStr]:
    """Return the values of one field, in order; empty if it is not there.

    Values are split at commas, as by `header_dict`.
    """
    wanted = to_octets(name).lower()
    found: list[AnyStr] = []
    for field, value in headers:
        if to_octets(field).lower() == wanted:
            found += _split(value)
    return found


def strip_hop_by_hop(headers: Iterable[tuple[AnyStr, AnyStr]]) -> list[tuple[AnyStr, AnyStr]]:
    """Return a list without the fields that concern only one connection.

    These are the known ones and those that Connection nominates, except Content-Length and Host,
    which it cannot remove (RFC 9110 section 7.6.1).
    """
    fields = list(headers)
    dropped = hop_by_hop_hdrs | nominated_fields(
        to_octets(value) for name, value in fields if to_octets(name).lower() == b"connection"
    )
    return [field for field in fields if to_octets(field[0]).lower() not in dropped]


def nominated_fields(values: Iterable[bytes]) -> set[bytes]:
    """Return the names of the fields, in lower case, that values of Connection nominate."""
    named = {option.strip(b" \t") for value in values for option in value.lower().split(b",")}
    return named - _NEVER_NOMINATED


def encode_text(text: str | bytes, what: str, encoding: str = "Latin-1") -> bytes:
    """Return text that a program wants to be sent as bytes.

    what: what it is, with its article, for an error
    Raises: TypeError; OutputSyntaxError for a character that is not in `encoding`
    """
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{what} must be str or bytes, not {type(text).__name__}")
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        raise OutputSyntaxError(f"{what} that is not {encoding}: {text[:60]!r}") from None


def to_octets(value: object) -> bytes:
    """Return `bytes` as they are, anything else as text, with `?` for what is not in Latin-1."""
    return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")


def _split(value: AnyStr) -> list[AnyStr]:
    if isinstance(value, bytes):
        return [part.strip(b" \t") for part in value.split(b",")]
    return [part.strip(" \t") for part in value.split(",")]

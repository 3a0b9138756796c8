"""What a redirect leads to.

Owns: the decision whether a response is a redirect that can be followed, and the request to follow
it with (RFC 9110 section 15.4; the Fetch standard, "HTTP-redirect fetch"). A pure function: it must
not know exchanges, nor how many redirects are allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_from_bytes, urljoin, urlsplit

from thor.http.error import RedirectError, UrlError
from thor.http.headers import field_list, field_pair, to_octets
from thor.http.uri import parse_uri
from thor.http.wire.grammar import TARGET_OCTETS

if TYPE_CHECKING:
    from thor.types import FieldIn, HeadersIn, OriginType, RawHeaders

#: Statuses that ask for another request; of the others of 3xx, 300 and 304 to 306 do not.
_KEEPING_METHOD = frozenset((b"307", b"308"))
_REDIRECTS = frozenset((b"301", b"302", b"303")) | _KEEPING_METHOD
#: What a Location may lead to; other schemes only with the same origin: a server has no say about
#: local sockets.
_SCHEMES = ("http", "https")
#: Fields that are for the origin that was asked, and for no other.
_CREDENTIALS = frozenset((b"authorization", b"cookie", b"host", b"proxy-authorization"))
#: Octets of a Location that are not percent-encoded.
_SAFE = (TARGET_OCTETS + b"#").decode("ascii")


class RedirectedRequest(NamedTuple):
    """The request that follows a redirect. keeps_body: whether it has the content of the first"""

    method: bytes
    uri: str
    fields: list[FieldIn]
    keeps_body: bool


def redirected_request(
    status: bytes, headers: RawHeaders, method: bytes, uri: str, fields: HeadersIn
) -> RedirectedRequest | None:
    """Return the request that follows a response; None if it is no redirect.

    status, headers: of the response; method, uri, fields: of the request that it answers. Without
        content, fields that describe it are dropped; with another origin, credentials and Host are
    Raises: UrlError for a Location that is not of http or https, RedirectError for one that cannot
        be followed; TypeError for `fields`
    """
    locations = {value for name, value in headers if name.lower() == b"location"}
    if status not in _REDIRECTS or not locations:
        return None
    if len(locations) > 1:
        raise RedirectError("a redirect to several places")
    target = _resolve(uri, quote_from_bytes(locations.pop(), safe=_SAFE))
    is_same_origin = _origin(target) == _origin(uri)
    if not is_same_origin and urlsplit(target).scheme not in _SCHEMES:
        raise UrlError(f"{target!r} is no URL: it must begin with http:// or https://")
    becomes_get = (status == b"303" and method != b"HEAD") or (
        status not in _KEEPING_METHOD and method == b"POST"
    )
    kept = [
        (name, value)
        for name, value in map(field_pair, field_list(fields))
        if (is_same_origin or to_octets(name).lower() not in _CREDENTIALS)
        and not (becomes_get and _describes_content(to_octets(name).lower()))
    ]
    return RedirectedRequest(b"GET" if becomes_get else method, target, kept, not becomes_get)


def _resolve(base: str, location: str) -> str:
    """Return where a Location leads from a URI, without a fragment (RFC 3986 section 5).

    Raises: RedirectError
    """
    try:
        parts = urlsplit(location)
        scheme, _, rest = base.partition("+unix://")
        if not rest or parts.scheme or parts.netloc:
            target = urljoin(base, location)
        else:  # a scheme that `urljoin` does not know
            target = urljoin(f"{scheme}://{rest}", location).replace("://", "+unix://", 1)
    except ValueError:
        raise RedirectError(f"a redirect to {location!r}, which is no URL") from None
    return target.partition("#")[0]


def _origin(uri: str) -> OriginType | None:
    """Return (scheme, host, port); None of what is no URI of HTTP's. Raises: RedirectError"""
    if urlsplit(uri).scheme not in (*_SCHEMES, "http+unix", "https+unix"):
        return None
    try:
        return parse_uri(uri)[:3]
    except UrlError as exc:
        raise RedirectError(f"a redirect to what is no URL: {exc.detail}") from None


def _describes_content(name: bytes) -> bool:
    return name.startswith(b"content-") or name == b"expect"

"""How a proxy treats fields, by their names.

Owns: the tables of names, and the bounded caches of spellings. Must not know values or messages.

Theory of operation: a cache maps each spelling of a name to its kind. Most names are of the kind
PASS, whose fields are forwarded unchanged.
"""

from __future__ import annotations

from thor.cache import BoundedCache

#: Kinds of fields; all but PASS need attention.
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
    # Parsed by the server, and sent again in one form.
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
#: The names of `_REQUEST_KINDS` as a recipient reads them that ignores all but letters and digits.
_REQUEST_KEYS = frozenset(name.translate(None, _NOT_ALPHANUMERIC) for name in _REQUEST_KINDS)

#: Spelling of a name -> its kind. Names come from peers, so the caches are bounded.
_request_cache: BoundedCache[bytes, int] = BoundedCache(1024)
_response_cache: BoundedCache[bytes, int] = BoundedCache(1024)
_MAX_CACHED_NAME_BYTES = 48

#: Return the kind of a cached name, or None.
cached_request_kind, cached_response_kind = _request_cache.get, _response_cache.get


def request_kind(name: bytes) -> int:
    """Return the kind of a field of a request."""
    kind = cached_request_kind(name)
    return classify_request_field(name) if kind is None else kind


def classify_request_field(name: bytes) -> int:
    """Return the kind of a field of a request, and cache it."""
    lower = name.lower()
    kind = _REQUEST_KINDS.get(lower, PASS)
    if kind == PASS:
        plain = lower.replace(b"-", b"").isalnum()
        if plain and lower.startswith(b"x-forwarded-"):
            kind = FORWARDED
        elif not plain or is_set_by_proxy(alias_key(lower)):
            kind = UNDERSCORE_ALIAS
    return _cache_kind(_request_cache, name, kind)


def classify_response_field(name: bytes) -> int:
    """Return the kind of a field of a response, and cache it."""
    return _cache_kind(_response_cache, name, _RESPONSE_KINDS.get(name.lower(), PASS))


def _cache_kind(cache: BoundedCache[bytes, int], name: bytes, kind: int) -> int:
    if len(name) <= _MAX_CACHED_NAME_BYTES:
        cache[name] = kind
    return kind


def alias_key(name: bytes) -> bytes:
    """Return a name as a recipient reads it that ignores case and all but letters and digits."""
    return name.lower().translate(None, _NOT_ALPHANUMERIC)


def is_set_by_proxy(key: bytes) -> bool:
    """Return whether `key`, of `alias_key`, stands for a field that the proxy sets itself."""
    return key in _REQUEST_KEYS or key.startswith(b"xforwarded")

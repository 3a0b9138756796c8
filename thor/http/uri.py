"""URIs that programs pass, and the parts of them that a request needs.

Owns: `parse_uri`. Must not know connections. The forms of targets in requests that arrive are
`thor.http.wire.target`'s.
"""

from __future__ import annotations

from thor.http.error import InvalidHostError, UrlError
from thor.http.wire.grammar import TARGET, excerpt
from thor.http.wire.target import DEFAULT_PORTS, check_host, split_authority

__all__ = ["UrlError", "check_host", "parse_uri"]

_VISIBLE = TARGET + b"#"


def parse_uri(uri: str | bytes) -> tuple[str, str, int, bytes, bytes]:
    """Take an http or https URI apart (RFC 9110 section 4.2).

    The fragment is dropped: it is not the server's to know (section 4.2.5). User information is
    refused (section 4.2.4); a path or query goes as it came, but has to be visible ASCII.

    Returns: (scheme, host, port, authority, path and query); scheme and host in lower case, an
        IPv6 host without its brackets; authority as spelled, for Host; the path at least b"/"
    Raises: UrlError; TypeError if `uri` is neither str nor bytes
    """
    octets = _as_bytes(uri)
    if octets.translate(None, _VISIBLE):
        raise UrlError(f"white space, control or non-ASCII character in {excerpt(octets)}")
    octets = octets.partition(b"#")[0]
    scheme, separator, rest = octets.partition(b"://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise UrlError(f"not an http or https URI: {excerpt(octets)}")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    try:
        host, port = split_authority(authority)
    except InvalidHostError:
        raise UrlError(f"authority of {excerpt(octets)}") from None
    if port is None:
        port = DEFAULT_PORTS[scheme]
        authority = host
    if path[:1] != b"/":
        path = b"/" + path
    name = host.lower().decode("ascii").removeprefix("[").removesuffix("]")
    return scheme.decode("ascii"), name, port, authority, path


def _as_bytes(uri: str | bytes) -> bytes:
    if isinstance(uri, bytes):
        return uri
    if not isinstance(uri, str):
        raise TypeError(f"a URI must be str or bytes, not {type(uri).__name__}")
    try:
        return uri.encode("ascii")
    except UnicodeEncodeError:
        raise UrlError("non-ASCII character: percent-encode it, or encode the host") from None

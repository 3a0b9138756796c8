"""URIs that programs pass, and the parts of them that a request needs.

Owns: `parse_uri`. Must not know connections. The forms of targets in requests that arrive are
`thor.http.wire.target`'s.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote_to_bytes

from thor.http.error import InvalidHostError, OutputSyntaxError, UrlError
from thor.http.headers import encode_text
from thor.http.wire.grammar import REG_NAME, TARGET_OCTETS, excerpt
from thor.http.wire.target import DEFAULT_PORTS, PERCENT_ENCODED, check_host, split_authority

__all__ = ["UrlError", "check_host", "parse_uri", "show_uri"]

_VISIBLE = TARGET_OCTETS + b"#"

#: Schemes of what is behind a Unix socket, whose path stands in the place of a host.
_UNIX_SCHEMES = (b"http+unix", b"https+unix")
#: What Host says there: a path is none. curl and the clients of Docker send the same.
_UNIX_HOST = b"localhost"


def parse_uri(uri: str | bytes) -> tuple[str, str, int, bytes, bytes]:
    """Take an http or https URI apart (RFC 9110 section 4.2), or one of a Unix socket:
    `http+unix://%2Frun%2Fapp.sock/path`, where `%40name` is an abstract name.

    The fragment is dropped: it is not the server's to know (section 4.2.5). User information is
    refused (section 4.2.4); a path or query goes as it came, but has to be visible ASCII.

    Returns: (scheme, host, port, authority, path and query); scheme and host in lower case, an
        IPv6 host without its brackets; authority as spelled, for Host; the path at least b"/".
        Of a Unix socket the host is `unix:PATH`, the port 0 and the authority b"localhost"
    Raises: UrlError; TypeError if `uri` is neither str nor bytes
    """
    octets = uri_octets(uri)
    if octets.translate(None, _VISIBLE):
        raise UrlError(f"white space, control or non-ASCII character in {show_uri(octets)}")
    octets = octets.partition(b"#")[0]
    scheme, separator, rest = octets.partition(b"://")
    scheme = scheme.lower()
    if not separator or scheme not in (*DEFAULT_PORTS, *_UNIX_SCHEMES):
        raise UrlError(f"not an http or https URI: {show_uri(octets)}")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if path[:1] != b"/":
        path = b"/" + path
    if scheme in _UNIX_SCHEMES:
        return scheme.decode("ascii"), f"unix:{_socket_path(authority)}", 0, _UNIX_HOST, path
    try:
        host, port = split_authority(authority)
    except InvalidHostError:
        raise UrlError(f"{_fault_of(authority)} in {show_uri(octets)}") from None
    if port is None:
        port = DEFAULT_PORTS[scheme]
        authority = host
    name = host.lower().decode("ascii").removeprefix("[").removesuffix("]")
    return scheme.decode("ascii"), name, port, authority, path


def show_uri(uri: bytes) -> str:
    """Return the beginning of a URI, printable, for messages.

    Whatever may be a user and a password is left out, even where it is out of place.
    """
    before, at, after = uri.rpartition(b"@")
    if not at:
        return excerpt(uri)
    scheme, slashes, _ = before.partition(b"//")
    return excerpt((scheme + slashes if slashes else b"") + b"...@" + after)


def _fault_of(authority: bytes) -> str:
    """Return what is wrong with an authority; not quoted, because it may be a password."""
    if b"@" in authority:
        return "user information, which has its place in the field Authorization,"
    name, colon, port = authority.rpartition(b":")
    host = name if colon and b"]" not in port else authority
    try:
        split_authority(host)
    except InvalidHostError:
        return "no valid host" if host else "no host"
    return "a port that is no number from 1 to 65535"


def _socket_path(encoded: bytes) -> str:
    """Return the path of a socket, or its abstract name behind an `@`. Raises: UrlError"""
    path = unquote_to_bytes(encoded)
    if PERCENT_ENCODED.sub(b"", encoded).translate(None, REG_NAME) or path[:1] not in (b"/", b"@"):
        raise UrlError(
            f"{show_uri(encoded)} is no socket: write its whole path with %2F for each slash"
        )
    if b"\0" in path or len(path) < 2:
        raise UrlError(f"{show_uri(encoded)} is the path of no socket")
    if path[:1] == b"@" and sys.platform != "linux":
        raise UrlError(f"{show_uri(encoded)}: only Linux has abstract socket names")
    return os.fsdecode(path)


def uri_octets(uri: str | bytes) -> bytes:
    """Return a URI as bytes. Raises: TypeError, UrlError if it is not ASCII"""
    try:
        return encode_text(uri, "a URI", "ASCII")
    except OutputSyntaxError:  # which quotes it, and there may be a password in it
        shown = show_uri(str(uri).encode("ascii", "backslashreplace"))
        raise UrlError(
            f"non-ASCII character in {shown}: percent-encode it, or encode the host"
        ) from None

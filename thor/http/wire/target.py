"""Whom a request is for: hosts, ports, and the four forms of a request target.

Owns: the validation of an authority (RFC 3986 section 3.2, RFC 9110 section 4.2) and of a request
target (RFC 9112 section 3.2). Must not know fields or messages.

Theory of operation: an authority is where a front and a back are most easily made to disagree, so
that only `uri-host [":" port]` is one: no user information, no path, no list, no zone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from thor.cache import BoundedCache
from thor.http.error import InvalidHostError, RequestTargetError
from thor.http.wire.grammar import (
    HEX_DIGITS,
    REG_NAME,
    TARGET_OCTETS,
    decimal,
    excerpt,
)

PERCENT_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_IPV_FUTURE = re.compile(rb"[vV][0-9A-Fa-f]+\.[0-9A-Za-z\-._~!$&'()*+;=:]+")

#: Host values that were found valid. They come from the peer: the table is bounded.
valid_hosts: BoundedCache[bytes, bool] = BoundedCache(1024)
_MAX_HOST_BYTES = 256

DEFAULT_PORTS = {b"http": 80, b"https": 443}

#: Path and query by the grammar of RFC 3986 section 3, which browsers do not keep to.
_STRICT = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")


def split_authority(authority: bytes) -> tuple[bytes, int | None]:
    """Take `uri-host [":" port]` apart.

    Returns: (host as spelled, an IP literal with its brackets; port, None if absent or empty)
    Raises: InvalidHostError; the host must not be empty, the port must be 1 to 65535
    """
    if authority[:1] == b"[":
        host, bracket, rest = authority.partition(b"]")
        host += bracket
        colon, port = rest[:1], rest[1:]
        valid = colon in (b"", b":") and _is_ip_literal(host)
    else:
        host, colon, port = authority.partition(b":")
        valid = host != b"" and _is_reg_name(host)
    if not valid:
        raise InvalidHostError(excerpt(authority))
    if port == b"":
        return host, None
    number = decimal(port, 5)
    if not 0 < number < 65536:
        raise InvalidHostError(f"port {excerpt(port)}")
    return host, number


def check_host(value: bytes) -> None:
    """Let a valid Host value pass (RFC 9110 section 7.2); it is in `valid_hosts` then, if short.

    Raises: InvalidHostError, for an empty one too: http and https have no empty hosts
    """
    if value not in valid_hosts:
        split_authority(value)
        if len(value) <= _MAX_HOST_BYTES:
            valid_hosts[value] = True


def _is_reg_name(host: bytes) -> bool:
    dotted = host.lower().replace(b"%2e", b".") if b"%" in host else host
    if b".." in dotted or dotted[:1] == b".":  # an empty label; a final dot makes none
        return False
    left = host.translate(None, REG_NAME)
    if not left:
        return True
    # Only whole percent-encoded octets may be left: HEXDIG are unreserved themselves.
    return not PERCENT_ENCODED.sub(b"", host).translate(None, REG_NAME)


@lru_cache(maxsize=256)
def _is_ip_literal(literal: bytes) -> bool:
    inner = literal[1:-1]
    if literal[-1:] != b"]":
        return False
    if inner.translate(None, HEX_DIGITS + b":."):  # no zone, no prefix length
        return _IPV_FUTURE.fullmatch(inner) is not None
    try:
        IPv6Address(inner.decode("ascii"))
    except AddressValueError:
        return False
    return True


def check_target(method: bytes, target: bytes) -> bytes:
    """Let a request target in one of the four forms pass (RFC 9112 section 3.2).

    Returns: the authority that the target names, b"" where it names none (origin, asterisk)
    Raises: RequestTargetError; InvalidHostError for its authority
    """
    if method == b"CONNECT":  # authority form; the port has no default (RFC 9110 section 9.3.6)
        _, port = split_authority(target)
        if port is None:
            raise RequestTargetError(f"CONNECT without a port: {excerpt(target)}")
        return target
    if target.translate(None, TARGET_OCTETS):
        raise RequestTargetError(excerpt(target))
    if target[:1] == b"/":
        return b""
    if target == b"*":
        if method != b"OPTIONS":
            raise RequestTargetError(f"asterisk form with {excerpt(method)}")
        return b""
    return _absolute_authority(target)


def is_strict_target(target: bytes) -> bool:
    """Return whether path and query of a valid target keep to the grammar of RFC 3986."""
    _, found, rest = target.partition(b"://")
    if found and not target.startswith(b"/"):
        target = rest[len(rest.partition(b"/")[0].partition(b"?")[0]) :]
    return _STRICT.fullmatch(target) is not None


def _absolute_authority(target: bytes) -> bytes:
    """Return the authority of a target in absolute form, b"http://authority/path?query".

    Raises: RequestTargetError also for a scheme other than http and https (RFC 9110 section 7.4)
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in DEFAULT_PORTS:
        raise RequestTargetError(excerpt(target))
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    split_authority(authority)
    return authority


def same_authority(target: bytes, authority: bytes, host: bytes) -> bool:
    """Whether two valid authorities are the same, case and default port aside.

    target: in absolute form; its scheme says what the default port is
    """
    default = DEFAULT_PORTS.get(target.partition(b":")[0].lower())
    ours, our_port = split_authority(authority)
    theirs, their_port = split_authority(host)
    return ours.lower() == theirs.lower() and (our_port or default) == (their_port or default)

"""The first line of a message.

Owns: request line and status line (RFC 9112 sections 3 and 4), taken apart and checked. Must not
know fields, nor buffers.

Theory of operation: a line is checked twice over. `check_request_line_size` looks at as much of a
line as there is, so that an endless one is refused at its limit; what it says of a prefix holds
for the whole. `parse_request_line` and `parse_status_line` look at a complete line.
"""

from __future__ import annotations

from thor.http.error import (
    HttpVersionError,
    RequestLineError,
    StartLineError,
    TargetTooLongError,
)
from thor.http.wire.grammar import DIGITS, decimal, excerpt, is_token
from thor.http.wire.limits import Limits
from thor.http.wire.target import check_target

#: The versions that are spoken: what the message says, and whether HTTP/1.1 is meant by it. A
#: higher minor number is 1.1 with additions that may be ignored (RFC 9110 section 2.5).
VERSIONS = {b"HTTP/1.%d" % minor: (b"1.%d" % minor, minor > 0) for minor in range(10)}

_VERSION_BYTES = len(b"HTTP/1.1")


def check_request_line_size(line: bytes | bytearray, limits: Limits) -> None:
    """Let a request line pass, or the beginning of one, that keeps to the limits.

    Raises: RequestLineError (the method, or what follows the target), TargetTooLongError
    """
    space = line.find(b" ", 0, limits.max_method_bytes + 1)
    if space < 0:
        if len(line) > limits.max_method_bytes:
            raise RequestLineError(f"method over {limits.max_method_bytes} bytes")
        return
    end = space + 1 + limits.max_target_bytes
    if len(line) <= end:
        return
    space = line.find(b" ", space + 1, end + 1)
    if space < 0:
        raise TargetTooLongError(f"over {limits.max_target_bytes} bytes")
    if len(line) > end + 1 + _VERSION_BYTES:
        raise RequestLineError("something follows the version")


def parse_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, bytes]:
    """Take a complete request line without its CRLF apart (RFC 9112 section 3).

    line: without CR, LF and other controls but HTAB
    Returns: (method, target, b"HTTP/1.x"); the version is one of VERSIONS
    Raises: RequestLineError, TargetTooLongError, HttpVersionError, InvalidHostError
    """
    check_request_line_size(line, limits)
    parts = line.split(b" ")
    if len(parts) != 3:
        raise RequestLineError(f"not three words: {excerpt(line)}")
    method, target, version = parts
    if not is_token(method):
        raise RequestLineError(f"method {excerpt(method)}")
    if version not in VERSIONS:
        if _is_other_version(version):
            raise HttpVersionError(excerpt(version))
        raise RequestLineError(f"version {excerpt(version)}")
    check_target(method, target)
    return method, target, version


def _is_other_version(version: bytes) -> bool:
    """Whether this is a version of a later HTTP, in its one spelling: HTTP/DIGIT.DIGIT."""
    return (
        len(version) == _VERSION_BYTES
        and version[:5] == b"HTTP/"
        and version[6:7] == b"."
        and not (version[5:6] + version[7:]).translate(None, DIGITS)
        and version[5:6] not in (b"0", b"1")
    )


def parse_status_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Take a complete status line without its CRLF apart (RFC 9112 section 4).

    The phrase may be missing, with or without the space before it: many servers leave it away.

    line: without CR, LF and other controls but HTAB
    Returns: (b"HTTP/1.x", status of three digits, phrase)
    Raises: StartLineError; codes are 100 to 999, of which 600 and up have no meaning yet
    """
    version, _, rest = line.partition(b" ")
    if version not in VERSIONS:
        raise StartLineError(f"version {excerpt(version)}")
    status, _, phrase = rest.partition(b" ")
    if len(status) != 3 or decimal(status) < 100:
        raise StartLineError(f"status {excerpt(status)}")
    return version, status, phrase

"""The octets of HTTP: which may stand where.

Owns: the tables and the smallest tests (RFC 9110 section 5.6, RFC 9112 section 2). Must not know
what a message is.

Theory of operation: `bytes.translate(None, ALLOWED)` deletes every allowed octet in one pass of C,
so that what is left, if anything, is what is wrong. It is the cheapest whole-string test that
Python has, and it knows ASCII only: `str` methods (`isdigit`, `lower`) know too much, `int()`
accepts signs, underscores, blanks and the digits of every script.
"""

from __future__ import annotations

import re

CRLF = b"\r\n"
END_OF_HEAD = b"\r\n\r\n"
#: Optional white space is these two and nothing else: `bytes.strip()` would take VT, FF, CR and
#: LF as well, and hide what a stricter parser behind this one trips over.
OWS = b" \t"

DIGITS = b"0123456789"
HEX_DIGITS = DIGITS + b"abcdefABCDEF"
ALPHA = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: `tchar` (RFC 9110 section 5.6.2).
TOKEN = DIGITS + ALPHA + b"!#$%&'*+-.^_`|~"
#: What may stand in a line of a head: HTAB, SP, visible ASCII, obs-text.
FIELD_LINE_OCTETS = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
#: What may not. Deleting these few is cheaper for `translate` than deleting all the others; HTAB
#: is among them, since a head without it, as nearly all are, needs no closer look.
CTL_OCTETS = bytes(range(0x20)) + b"\x7f"
#: What may stand in a path or query: all visible ASCII but `#`, since browsers leave several
#: octets raw that RFC 3986 would have encoded.
TARGET_OCTETS = bytes(range(0x21, 0x7F)).replace(b"#", b"")
#: `unreserved / sub-delims` (RFC 3986 section 2) without the comma: a list of hosts is no host.
REG_NAME = DIGITS + ALPHA + b"-._~!$&'()*+;="

#: In the bytes of lines: where one ends, or the first octet that may not stand there. A CR at the
#: very end matches nothing: what it is, the next octet says.
LINE_END_OR_CTL_RE = re.compile(rb"\r\n|\r(?=[^\n])|[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]")


def is_token(octets: bytes) -> bool:
    """Whether `octets` is a token, so that it can be a method or a field name."""
    return octets != b"" and not octets.translate(None, TOKEN)


def decimal(octets: bytes, max_digits: int = 19) -> int:
    """Return the value of 1 to `max_digits` ASCII digits; -1 for anything else."""
    if octets.isdigit() and len(octets) <= max_digits:  # ASCII only, being `bytes`
        return int(octets)
    return -1


def list_elements(value: bytes) -> list[bytes]:
    """Return the elements of a list, stripped; empty ones too (RFC 9110 section 5.6.1).

    Not for lists whose elements may be quoted strings.
    """
    return [element.strip(OWS) for element in value.split(b",")]


def has_token(value: bytes, token: bytes) -> bool:
    """Whether a list has the element `token` (lower case), in any case."""
    value = value.lower()
    return value == token or token in list_elements(value)


def excerpt(octets: bytes | bytearray) -> str:
    """Return the beginning of bytes that the peer sent, printable, for an error's detail."""
    return repr(bytes(octets[:60]))[1:] + ("..." if len(octets) > 60 else "")

"""How a message body ends.

Owns: the one decision (RFC 9112 section 6.3) for messages that arrive. Must not know buffers or
connections. What is sent is framed by `writer`.
"""

from __future__ import annotations

from collections.abc import Sequence

from thor.http.error import (
    ConnectContentError,
    DuplicateCLError,
    MalformedCLError,
    MalformedTEError,
    RequestTransferEncodingError,
    TraceContentError,
    TransferCodeError,
    TransferEncodingCLError,
    TransferEncodingVersionError,
)
from thor.http.wire.grammar import OWS, decimal, excerpt, is_token, list_elements

#: The kinds of framing: no body at all; a number of bytes; chunked coding; all until the end.
NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)

#: What the largest signed 64-bit number of bytes is: beyond it, other parsers overflow.
MAX_LENGTH = 2**63 - 1


def message_framing(
    method: bytes,
    status: int,
    http11: bool,
    lengths: Sequence[bytes],
    codings: Sequence[bytes],
) -> tuple[int, int]:
    """Decide how a message body ends (RFC 9112 section 6.3, steps 1-8).

    method: of the request, or of the request that a response answers
    status: the response's; 0 for a request
    lengths, codings: the values of all Content-Length and Transfer-Encoding fields, stripped
    Returns: (NO_BODY | LENGTH | CHUNKED | UNTIL_CLOSE, length in bytes or 0)
    Raises: ContentLengthError, TransferCodingError, ConnectContentError, TraceContentError; the
        connection must be closed after any of them
    """
    if status:
        # 1. No body, whatever the fields say.
        if method == b"HEAD" or status < 200 or status == 204 or status == 304:
            return NO_BODY, 0
        # 2. A tunnel begins.
        if method == b"CONNECT" and status < 300:
            return NO_BODY, 0
    if codings:
        # 3. Both could be an attempt at smuggling; section 6.1 forbids the coding in 1.0.
        if lengths:
            raise TransferEncodingCLError
        if not http11:
            raise TransferEncodingVersionError
        # 4. Chunked where it is the last coding, and here the only one.
        chunked = _ends_in_chunked(b",".join(codings))
        if not chunked and not status:
            raise RequestTransferEncodingError(excerpt(b", ".join(codings)))
        framing, length = (CHUNKED if chunked else UNTIL_CLOSE), 0
    elif lengths:
        # 5. and 6. A length, said once and clearly.
        framing, length = LENGTH, _one_length(lengths, repeatable=status != 0)
    else:
        # 7. A request without either has no body. 8. A response goes on until the end.
        framing, length = (UNTIL_CLOSE if status else NO_BODY), 0
    if not status and (framing == CHUNKED or length):
        if method == b"CONNECT":
            # What follows is a tunnel's data to one reader and content to another.
            raise ConnectContentError
        if method == b"TRACE":
            # What follows is content to one reader and the next request to another.
            raise TraceContentError
    return framing, length


def _one_length(lengths: Sequence[bytes], *, repeatable: bool) -> int:
    """Return the length that all the fields agree on.

    repeatable: the same length may stand in several fields, or several times in one, as in
        responses of some servers (RFC 9110 section 8.6); a request in which it does must have
        passed something that adds fields without looking
    """
    values = list_elements(b",".join(lengths)) if repeatable else lengths
    first = values[0]
    length = decimal(first)
    if not 0 <= length <= MAX_LENGTH or b"" in values:
        raise MalformedCLError(excerpt(first))
    if len(values) > 1 and not (repeatable and all(value == first for value in values)):
        raise DuplicateCLError(excerpt(b", ".join(lengths)))
    return length


def _ends_in_chunked(value: bytes) -> bool:
    """Whether chunked is the last of the codings, and then the only one (RFC 9112 section 6.1).

    Raises: MalformedTEError: an empty element (section 5.6.1 of RFC 9110 would ignore it; two
        readers need not), something that is not a coding, chunked twice or with parameters;
        TransferCodeError: chunked over another coding
    """
    if value == b"chunked":
        return True
    elements = list_elements(value.lower())
    for element in elements:
        name = element.partition(b";")[0].rstrip(OWS)
        if not is_token(name) or (name == b"chunked" and name != element):
            raise MalformedTEError(excerpt(value))
    if elements.count(b"chunked") > 1:
        raise MalformedTEError(f"chunked twice: {excerpt(value)}")
    if elements[-1] != b"chunked":
        return False
    if len(elements) > 1:
        raise TransferCodeError(excerpt(value))
    return True

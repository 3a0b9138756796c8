"""Heads of messages that arrive: start line, fields, and what they mean for the connection.

Owns: the parts of a head, and the pure functions that make them from a complete one.
Must not know buffers: `reader` finds where a head ends.

Theory of operation: one `split` makes the lines and one `translate` of the whole block leaves two
bytes for each line end and nothing else, or something is wrong. What is wrong is not looked for
here: `HeadScanner` does, in the order of the bytes, so that a head that came in one piece is
refused for the same reason as one that came in many. The few fields that mean something here are
collected on the way and looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from thor.cache import BoundedCache
from thor.http.error import (
    ContentTooLargeError,
    ExpectationError,
    HeaderNoColonError,
    HostRequiredError,
    InvalidHostError,
    MessageError,
    MisdirectedRequestError,
    RequestTargetError,
)
from thor.http.wire.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    KINDS,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    parse_fields,
    unfold,
)
from thor.http.wire.framing import LENGTH, NO_BODY, UNTIL_CLOSE, message_framing
from thor.http.wire.grammar import (
    CRLF,
    CTL_OCTETS,
    END_OF_HEAD,
    excerpt,
    has_token,
    list_elements,
)
from thor.http.wire.limits import Limits
from thor.http.wire.scan import HeadScanner, Section
from thor.http.wire.startline import VERSIONS, parse_request_line, parse_status_line
from thor.http.wire.target import (
    check_host,
    check_target,
    is_strict_target,
    same_authority,
    valid_hosts,
)

#: Methods that need no look at their letters, with targets in origin form.
_PLAIN_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))

#: Connection value -> (close, keep-alive, upgrade); they come from the peer: the table is bounded.
_option_cache: BoundedCache[bytes, tuple[bool, bool, bool]] = BoundedCache(256)
_find_options = _option_cache.get
_MAX_OPTIONS_BYTES = 64

#: Status line -> (version, http11, status, status_code, phrase); bounded likewise.
_status_line_cache: BoundedCache[bytes, tuple[bytes, bool, bytes, int, bytes]] = BoundedCache(256)
_find_status_line = _status_line_cache.get
_MAX_STATUS_LINE_BYTES = 64


class RequestHead:
    """A request head that has one reading.

    version is what the message says (b"1.0", b"1.7"), http11 whether HTTP/1.1 is meant by it.
    headers: fields as spelled, in order, values stripped; where the target is in absolute form,
        its authority stands in place of the Host that was sent (RFC 9112 section 3.2.2).
    framing is a constant of `framing`, length is 0 unless that is LENGTH.
    keep_alive: the request allows the connection to persist (RFC 9112 section 9.3).
    host: whom the request is for: the target's authority, else Host, b"" for 1.0 without.
    head_bytes: its size on the wire, from the start line to the empty line.
    expect_continue: it expects a 100 (only on HTTP/1.1).
    objection: ExpectationError if it expects something else; MisdirectedRequestError if its
        target is for https, which it is unless it came by TLS; else False.
    upgrade: protocols offered (RFC 9110 section 7.8), empty if none or not on HTTP/1.1.
    te_trailers: the sender takes trailers.
    """

    __slots__ = (
        "expect_continue",
        "framing",
        "head_bytes",
        "headers",
        "host",
        "http11",
        "keep_alive",
        "length",
        "method",
        "objection",
        "target",
        "te_trailers",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        version: bytes,
        http11: bool,
        headers: list[Field],
        framing: int,
        length: int,
        keep_alive: bool,
        host: bytes,
        head_bytes: int,
        expect_continue: bool,
        objection: type[MessageError] | Literal[False],
        upgrade: Sequence[bytes],
        te_trailers: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.http11 = http11
        self.headers = headers
        self.framing = framing
        self.length = length
        self.keep_alive = keep_alive
        self.host = host
        self.head_bytes = head_bytes
        self.expect_continue = expect_continue
        self.objection = objection
        self.upgrade = upgrade
        self.te_trailers = te_trailers


class ResponseHead:
    """A response head that has one reading.

    status is b"200", status_code 200; phrase may be empty.
    keep_alive: neither the response nor its framing ends the connection.
    """

    __slots__ = (
        "framing",
        "head_bytes",
        "headers",
        "http11",
        "keep_alive",
        "length",
        "phrase",
        "status",
        "status_code",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        version: bytes,
        http11: bool,
        status: bytes,
        status_code: int,
        phrase: bytes,
        headers: list[Field],
        framing: int,
        length: int,
        keep_alive: bool,
        head_bytes: int,
        upgrade: Sequence[bytes],
    ) -> None:
        self.version = version
        self.http11 = http11
        self.status = status
        self.status_code = status_code
        self.phrase = phrase
        self.headers = headers
        self.framing = framing
        self.length = length
        self.keep_alive = keep_alive
        self.head_bytes = head_bytes
        self.upgrade = upgrade


def parse_request_head(block: bytes, limits: Limits) -> RequestHead:
    """Parse a request head (RFC 9112 sections 3, 5, 6).

    block: from the request line to the last field line, without the CRLF CRLF that follows
    Raises: a MessageError; the connection must be closed after any of them
    """
    size = len(block)
    lines = block.split(b"\r\n")
    count = len(lines) - 1
    # Two octets go for each line end; where more go, there is a closer look to be had.
    if (
        len(block.translate(None, CTL_OCTETS)) + 2 * count == size
        and count <= limits.max_head_fields
        and (size <= limits.fast_path_bytes or _keeps_limits(lines, size, limits))
    ):
        try:
            method, target, version = lines[0].split(b" ")
            # The octets as numbers, "/" and "#": methods and operators of `bytes` cost more.
            plain = (
                version == b"HTTP/1.1"
                and method in _PLAIN_METHODS
                and target[0] == 0x2F
                and 0x23 not in target
                and target.isascii()
                and (not limits.strict_target or is_strict_target(target))
            )
        except (ValueError, IndexError):  # not three words, or an empty target
            plain = False
        if plain and (parsed := parse_fields(lines[1:])) is not None:
            headers, special = parsed
            if len(special) == 1:
                kind, host = special[0]
                if kind == HOST and host in valid_hosts:
                    # Nothing is said about the body or the connection.
                    size += 4
                    # fmt: off
                    return RequestHead(
                        method, target, b"1.1", True, headers, NO_BODY, 0, True,
                        host, size, False, False, (), False,
                    )
                    # fmt: on
            return _request_head(method, target, b"HTTP/1.1", b"", headers, special, size, limits)
    lines = _examine(block, "request", limits)
    method, target, version = parse_request_line(lines[0], limits)
    authority = check_target(method, target)
    if limits.strict_target and method != b"CONNECT" and not is_strict_target(target):
        raise RequestTargetError(excerpt(target))
    headers, special = parse_fields(lines[1:]) or ([], [])
    return _request_head(method, target, version, authority, headers, special, size, limits)


def _request_head(
    method: bytes,
    target: bytes,
    version: bytes,
    authority: bytes,
    headers: list[Field],
    special: list[tuple[int, bytes]],
    size: int,
    limits: Limits,
) -> RequestHead:
    """Return the head of a request, with what its fields say about body, connection and host.

    authority: the target's, b"" if it has none; special: the fields that say it
    """
    number, http11 = VERSIONS[version]
    values: list[list[bytes]] = [[] for _ in range(KINDS)]
    for kind, value in special:
        values[kind].append(value)
    keep_alive = http11
    upgrade: Sequence[bytes] = ()
    framing, length = NO_BODY, 0
    if connection := values[CONNECTION]:
        close, stay, switch = _connection_options(connection)
        keep_alive = (http11 or stay) and not close
        if switch and http11:
            upgrade = [name for name in list_elements(b",".join(values[UPGRADE])) if name]
    if values[CONTENT_LENGTH] or values[TRANSFER_ENCODING]:
        framing, length = message_framing(
            method, 0, http11, values[CONTENT_LENGTH], values[TRANSFER_ENCODING]
        )
        if limits.max_body_bytes is not None and length > limits.max_body_bytes:
            raise ContentTooLargeError(f"{length} bytes declared")
    expectations = {name for name in list_elements(b",".join(values[EXPECT]).lower()) if name}
    return RequestHead(
        method,
        target,
        number,
        http11,
        headers,
        framing,
        length,
        keep_alive,
        _resolve_host(target, http11, headers, authority, values[HOST], limits),
        size + 4,
        # A 1.0 client cannot understand a 100 (RFC 9110 section 10.1.1).
        http11 and b"100-continue" in expectations,
        _objection(target, expectations),
        upgrade,
        http11 and any(has_token(value, b"trailers") for value in values[TE]),
    )


def parse_response_head(block: bytes, limits: Limits, method: bytes) -> ResponseHead:
    """Parse a response head (RFC 9112 sections 4, 5, 6).

    block: from the status line to the last field line, without the CRLF CRLF that follows
    method: of the request that it answers
    Raises: a MessageError; the connection must be closed after any of them
    """
    size = len(block)
    lines = block.split(b"\r\n")
    count = len(lines) - 1
    parsed = None
    if (
        len(block.translate(None, CTL_OCTETS)) + 2 * count == size
        and count <= limits.max_head_fields
        and (size <= limits.fast_path_bytes or _keeps_limits(lines, size, limits))
    ):
        parsed = parse_fields(lines[1:])
    if parsed is None:
        lines = _examine(block, "response", limits)
        parsed = parse_fields(lines[1:]) or ([], [])
    version, http11, status, code, phrase = _find_status_line(lines[0]) or _read_status_line(
        lines[0]
    )
    headers, special = parsed
    keep_alive = http11
    upgrade: Sequence[bytes] = ()
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    for kind, value in special:
        if kind == CONTENT_LENGTH:
            lengths.append(value)
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == TRANSFER_ENCODING:
            codings.append(value)
    if connection:
        close, stay, switch = _connection_options(connection)
        keep_alive = (http11 or stay) and not close
        if switch:
            offered = b",".join([value for kind, value in special if kind == UPGRADE])
            upgrade = [name for name in list_elements(offered) if name]
    framing, length = message_framing(method, code, http11, lengths, codings)
    if framing == UNTIL_CLOSE:
        keep_alive = False
    elif framing == LENGTH and (len(lengths) > 1 or b"," in lengths[0]):
        _keep_one_length(headers, length)
    size += 4
    # fmt: off
    return ResponseHead(
        version, http11, status, code, phrase, headers, framing, length, keep_alive, size, upgrade
    )
    # fmt: on


def _objection(target: bytes, expectations: set[bytes]) -> type[MessageError] | Literal[False]:
    """Return why a head that has one reading may not be served all the same."""
    if not expectations <= {b"100-continue"}:
        return ExpectationError
    if target[:8].lower() == b"https://":
        return MisdirectedRequestError
    return False


def _keeps_limits(lines: list[bytes], size: int, limits: Limits) -> bool:
    """Whether a head too large to keep to all limits in any case keeps to them all the same."""
    return (
        size + 4 <= limits.max_head_bytes
        and len(lines[0]) <= limits.max_target_bytes
        and len(max(lines, key=len)) <= limits.max_field_bytes
    )


def _examine(block: bytes, section: Section, limits: Limits) -> list[bytes]:
    """Say what is wrong with a head that is not plainly right, or take the folds out of it."""
    if HeadScanner(section, limits).scan(block + END_OF_HEAD) != len(block) + 4:
        raise HeaderNoColonError("an empty line")
    return unfold(block.split(CRLF), limits.max_field_bytes)


def _read_status_line(line: bytes) -> tuple[bytes, bool, bytes, int, bytes]:
    version, status, phrase = parse_status_line(line)
    start = (*VERSIONS[version], status, int(status), phrase)
    if len(line) <= _MAX_STATUS_LINE_BYTES:
        _status_line_cache[line] = start
    return start


def _resolve_host(
    target: bytes,
    http11: bool,
    headers: list[Field],
    authority: bytes,
    hosts: list[bytes],
    limits: Limits,
) -> bytes:
    """Find whom a request is for (RFC 9112 section 3.2); an absolute target replaces Host."""
    if not hosts and http11:
        raise HostRequiredError
    if len(hosts) > 1:
        raise InvalidHostError("more than one Host")
    for host in hosts:
        check_host(host)
    if not authority or authority == target:  # authority form leaves Host as it came
        return authority or b"".join(hosts)
    if not hosts:
        headers.insert(0, (b"Host", authority))
        return authority
    if limits.refuse_host_mismatch and not same_authority(target, authority, hosts[0]):
        raise InvalidHostError("Host is not the target's")
    at = next(i for i, field in enumerate(headers) if field[0].lower() == b"host")
    headers[at] = (headers[at][0], authority)
    return authority


def _connection_options(values: list[bytes]) -> tuple[bool, bool, bool]:
    """Whether Connection says close, keep-alive, upgrade (RFC 9110 section 7.6.1)."""
    if len(values) == 1 and (options := _find_options(values[0])):
        return options
    value = b",".join(values)
    elements = list_elements(value.lower())
    options = (b"close" in elements, b"keep-alive" in elements, b"upgrade" in elements)
    if len(value) <= _MAX_OPTIONS_BYTES:
        _option_cache[value] = options
    return options


def _keep_one_length(fields: list[Field], length: int) -> None:
    """Replace Content-Length fields that say the same by one (RFC 9110 section 8.6)."""
    first = next(i for i, field in enumerate(fields) if field[0].lower() == b"content-length")
    rest = [field for field in fields[first:] if field[0].lower() != b"content-length"]
    fields[first:] = [(fields[first][0], b"%d" % length), *rest]

"""Heads of messages that arrive: start line, fields, and what they mean for the connection.

Owns: `RequestHead`, `ResponseHead` and the pure functions that make them from a complete head.
Must not know buffers: `reader` finds where a head ends.

Theory of operation: one `split` makes the lines and one `translate` of the whole block leaves two
bytes for each line end and nothing else, or something is wrong. What is wrong is not looked for
here: `HeadScanner` does, in the order of the bytes, so that a head that came in one piece is
refused for the same reason as one that came in many. The few fields that mean something here are
collected on the way and looked at afterwards.
"""

from __future__ import annotations

from thor.http.error import (
    ContentTooLargeError,
    HeaderNoColonError,
    HostRequiredError,
    InvalidHostError,
)
from thor.http.wire.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
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
    END_OF_HEAD,
    UNUSUAL,
    has_token,
    list_elements,
    remember,
)
from thor.http.wire.limits import Limits
from thor.http.wire.scan import HeadScanner, Section
from thor.http.wire.startline import VERSIONS, parse_request_line, parse_status_line
from thor.http.wire.target import check_host, check_target, same_authority, valid_hosts

#: Methods that need no look at their letters, with targets in origin form.
_COMMON_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))

#: What stands for the words of a request line that needs a closer look.
_NO_WORDS = [b"", b"", b""]

#: Connection value -> (close, keep-alive, upgrade); they come from the peer: the table is bounded.
_options: dict[bytes, tuple[bool, bool, bool]] = {}
_MAX_OPTIONS = 256
_MAX_OPTIONS_BYTES = 64

#: Status line -> (version, http11, status, status_code, phrase); bounded likewise.
_status_lines: dict[bytes, tuple[bytes, bool, bytes, int, bytes]] = {}
_MAX_STATUS_LINES = 256
_MAX_STATUS_LINE_BYTES = 64


class RequestHead:
    """A request head that has one reading.

    version is what the message says (b"1.0", b"1.7"), http11 whether HTTP/1.1 is meant by it.
    headers: fields as spelled, in order, values stripped; where the target is in absolute form,
        its authority stands in place of the Host that was sent (RFC 9112 section 3.2.2).
    framing is a constant of `framing`, length is 0 unless that is LENGTH.
    keep_alive: the request allows the connection to persist (RFC 9112 section 9.3).
    upgrade: protocols offered (RFC 9110 section 7.8), empty if none or not on HTTP/1.1.
    host: whom the request is for: the target's authority, else Host, b"" for 1.0 without.
    head_bytes: its size on the wire, from the start line to the empty line.
    """

    __slots__ = (
        "expect_continue",
        "expect_other",
        "framing",
        "head_bytes",
        "headers",
        "host",
        "http11",
        "keep_alive",
        "length",
        "method",
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
        head_bytes: int,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.http11 = http11
        self.headers: list[Field] = []
        self.head_bytes = head_bytes
        self.host = b""
        self.framing = NO_BODY
        self.length = 0
        self.keep_alive = http11
        self.expect_continue = False
        self.expect_other = False
        self.upgrade: list[bytes] | tuple[()] = ()
        self.te_trailers = False

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} {self.version!r}>"


class ResponseHead:
    """A response head that has one reading.

    As in RequestHead. status is b"200", status_code 200; phrase may be empty.
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
        head_bytes: int,
    ) -> None:
        self.version = version
        self.http11 = http11
        self.status = status
        self.status_code = status_code
        self.phrase = phrase
        self.headers = headers
        self.head_bytes = head_bytes
        self.framing = NO_BODY
        self.length = 0
        self.keep_alive = http11
        self.upgrade: list[bytes] | tuple[()] = ()

    def __repr__(self) -> str:
        return f"<ResponseHead {self.version!r} {self.status!r} {self.phrase!r}>"


def parse_request_head(block: bytes, limits: Limits) -> RequestHead:
    """Parse a request head (RFC 9112 sections 3, 5, 6).

    block: from the request line to the last field line, without the CRLF CRLF that follows
    Raises: a MessageError; the connection must be closed after any of them
    """
    size = len(block)
    lines = block.split(b"\r\n")
    count = len(lines) - 1
    # Two octets go for each line end; where more go, there is a closer look to be had.
    plain = (
        len(block.translate(None, UNUSUAL)) + 2 * count == size
        and count <= limits.max_head_fields
        and size <= limits.plain_head_bytes
    )
    if not plain:
        lines = _examine(block, "request", limits)
    words = lines[0].split(b" ")
    method, target, version = words if plain and len(words) == 3 else _NO_WORDS
    if (
        version == b"HTTP/1.1"
        and method in _COMMON_METHODS
        and target.startswith(b"/")
        and target.isascii()
        and 0x23 not in target  # "#"; a `bytes` instead of the `int` would be much slower
    ):
        head = RequestHead(method, target, b"1.1", True, size + 4)
        authority = b""
    else:
        method, target, version = parse_request_line(lines[0], limits)
        authority = check_target(method, target)
        head = RequestHead(method, target, *VERSIONS[version], size + 4)
    parsed = parse_fields(lines[1:])
    if parsed is None:
        parsed = parse_fields(_examine(block, "request", limits)[1:]) or ([], [])
    head.headers, special = parsed
    if len(special) == 1 and special[0][0] == HOST:
        hosts = [special[0][1]]
    else:
        hosts = _read_request_fields(head, special, limits)
    if authority or len(hosts) != 1:
        _settle_host(head, authority, hosts, limits)
    else:
        head.host = host = hosts[0]
        if host not in valid_hosts:
            check_host(host)
    return head


def parse_response_head(block: bytes, limits: Limits, method: bytes) -> ResponseHead:
    """Parse a response head (RFC 9112 sections 4, 5, 6).

    block: from the status line to the last field line, without the CRLF CRLF that follows
    method: of the request that it answers
    Raises: a MessageError; the connection must be closed after any of them
    """
    size = len(block)
    lines = block.split(b"\r\n")
    count = len(lines) - 1
    if (
        len(block.translate(None, UNUSUAL)) + 2 * count != size
        or count > limits.max_head_fields
        or size > limits.plain_head_bytes
    ):
        lines = _examine(block, "response", limits)
    line = lines[0]
    start = _status_lines.get(line)
    if start is None:
        start = _read_status_line(line)
    parsed = parse_fields(lines[1:])
    if parsed is None:
        parsed = parse_fields(_examine(block, "response", limits)[1:]) or ([], [])
    headers, special = parsed
    version, http11, status, code, phrase = start
    head = ResponseHead(version, http11, status, code, phrase, headers, size + 4)
    _read_response_fields(head, special, method)
    return head


def _examine(block: bytes, section: Section, limits: Limits) -> list[bytes]:
    """Say what is wrong with a head that is not plainly right, or take the folds out of it."""
    if HeadScanner(section, limits).scan(block + END_OF_HEAD) != len(block) + 4:
        raise HeaderNoColonError("an empty line")
    return unfold(block.split(CRLF), limits.max_field_bytes)


def _read_status_line(line: bytes) -> tuple[bytes, bool, bytes, int, bytes]:
    version, status, phrase = parse_status_line(line)
    start = (*VERSIONS[version], status, int(status), phrase)
    if len(line) <= _MAX_STATUS_LINE_BYTES:
        remember(_status_lines, line, start, _MAX_STATUS_LINES)
    return start


def _settle_host(head: RequestHead, authority: bytes, hosts: list[bytes], limits: Limits) -> None:
    """Find whom a request is for (RFC 9112 section 3.2); an absolute target replaces Host."""
    if not hosts and head.http11:
        raise HostRequiredError
    if len(hosts) > 1:
        raise InvalidHostError("more than one Host")
    for host in hosts:
        check_host(host)
    head.host = authority or b"".join(hosts)
    if not authority or authority == head.target:  # authority form leaves Host as it came
        return
    headers = head.headers
    if not hosts:
        headers.insert(0, (b"Host", authority))
        return
    if limits.refuse_host_mismatch and not same_authority(head.target, authority, hosts[0]):
        raise InvalidHostError("Host is not the target's")
    at = next(i for i, field in enumerate(headers) if field[0].lower() == b"host")
    headers[at] = (headers[at][0], authority)


def _connection_options(values: list[bytes]) -> tuple[bool, bool, bool]:
    """Whether Connection says close, keep-alive, upgrade (RFC 9110 section 7.6.1)."""
    if len(values) == 1 and (options := _options.get(values[0])):
        return options
    value = b",".join(values)
    elements = list_elements(value.lower())
    options = (b"close" in elements, b"keep-alive" in elements, b"upgrade" in elements)
    if len(value) <= _MAX_OPTIONS_BYTES:
        remember(_options, value, options, _MAX_OPTIONS)
    return options


def _read_request_fields(
    head: RequestHead, special: list[tuple[int, bytes]], limits: Limits
) -> list[bytes]:
    """Work out what the special fields say about a request; give the Host values back."""
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    protocols: list[bytes] = []
    http11 = head.http11
    for kind, value in special:
        if kind == HOST:
            hosts.append(value)
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == CONTENT_LENGTH:
            lengths.append(value)
        elif kind == TRANSFER_ENCODING:
            codings.append(value)
        elif kind == UPGRADE:
            protocols.append(value)
        elif kind == EXPECT:
            _read_expectations(head, value)
        elif kind == TE:
            head.te_trailers = http11 and (head.te_trailers or has_token(value, b"trailers"))
    if connection:
        close, keep_alive, upgrade = _connection_options(connection)
        head.keep_alive = (http11 or keep_alive) and not close
        if upgrade and protocols and http11:
            head.upgrade = [name for name in list_elements(b",".join(protocols)) if name]
    if lengths or codings:
        head.framing, head.length = message_framing(head.method, 0, http11, lengths, codings)
        if limits.max_body_bytes is not None and head.length > limits.max_body_bytes:
            raise ContentTooLargeError(f"{head.length} bytes declared")
    return hosts


def _read_expectations(head: RequestHead, value: bytes) -> None:
    """RFC 9110 section 10.1.1; a 1.0 client cannot understand a 100."""
    for expectation in filter(None, list_elements(value.lower())):
        if expectation != b"100-continue":
            head.expect_other = True
        elif head.http11:
            head.expect_continue = True


def _read_response_fields(
    head: ResponseHead, special: list[tuple[int, bytes]], method: bytes
) -> None:
    """Work out what the special fields say about a response."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    protocols: list[bytes] = []
    for kind, value in special:
        if kind == CONTENT_LENGTH:
            lengths.append(value)
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == TRANSFER_ENCODING:
            codings.append(value)
        elif kind == UPGRADE:
            protocols.append(value)
    framing, head.length = message_framing(method, head.status_code, head.http11, lengths, codings)
    head.framing = framing
    if len(lengths) > 1 and framing == LENGTH:
        _keep_one_length(head)
    if connection:
        close, keep_alive, upgrade = _connection_options(connection)
        head.keep_alive = (head.http11 or keep_alive) and not close
        if upgrade and protocols:
            head.upgrade = [name for name in list_elements(b",".join(protocols)) if name]
    if framing == UNTIL_CLOSE:
        head.keep_alive = False


def _keep_one_length(head: ResponseHead) -> None:
    """Replace Content-Length fields that say the same by one (RFC 9110 section 8.6)."""
    fields = head.headers
    first = next(i for i, field in enumerate(fields) if field[0].lower() == b"content-length")
    rest = [field for field in fields[first:] if field[0].lower() != b"content-length"]
    fields[first:] = [(fields[first][0], b"%d" % head.length), *rest]

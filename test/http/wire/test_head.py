"""What a head means: whom it is for, whether the connection persists, what is asked for."""

from __future__ import annotations

import pytest
from wire_support import Message, read_requests, read_responses

from thor.http.error import (
    HeaderNoColonError,
    MisdirectedRequestError,
    RequestTargetError,
)
from thor.http.wire import head as head_module
from thor.http.wire import target as target_module
from thor.http.wire.head import (
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from thor.http.wire.limits import Limits

LIMITS = Limits()


def request(*lines: bytes, version: bytes = b"1.1", line: bytes = b"GET /") -> bytes:
    return b"\r\n".join([line + b" HTTP/" + version, *lines])


def head_of(*lines: bytes, version: bytes = b"1.1", line: bytes = b"GET /") -> RequestHead:
    return parse_request_head(request(*lines, version=version, line=line), LIMITS)


def response_of(block: bytes) -> ResponseHead:
    return parse_response_head(block, LIMITS, b"GET")


# -- Host


@pytest.mark.parametrize("host", [b"a", b"A.b:80", b"[::1]:8080", b"a:"], ids=repr)
def test_host_says_whom_the_request_is_for(host: bytes) -> None:
    assert head_of(b"Host: " + host).host == host


def test_absolute_target_does_not_change_what_is_kept_of_earlier_requests() -> None:
    head_of(b"Host: b", line=b"GET http://a/")
    assert head_of(b"Host: b").headers == [(b"Host", b"b")]


# -- what is asked for


@pytest.mark.parametrize(
    ("target", "secure"),
    [(b"http://a/", False), (b"https://a/", True), (b"HTTPS://a", True), (b"/https://a/", False)],
)
def test_target_for_https_is_misdirected_unless_by_tls(target: bytes, secure: bool) -> None:
    head = head_of(b"Host: a", line=b"GET " + target)
    assert (head.objection is MisdirectedRequestError) is secure


@pytest.mark.parametrize(
    ("version", "lines", "protocols"),
    [
        (b"1.1", [b"Connection: upgrade", b"Upgrade: websocket"], [b"websocket"]),
        (b"1.1", [b"Upgrade: websocket", b"Connection: x, Upgrade"], [b"websocket"]),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: a/1, b"], [b"a/1", b"b"]),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: a", b"Upgrade: b"], [b"a", b"b"]),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: a,,"], [b"a"]),
        (b"1.1", [b"Connection: upgrade", b"Upgrade:"], []),
        (b"1.1", [b"Connection: upgrade"], []),
        (b"1.1", [b"Upgrade: websocket"], []),
        (b"1.1", [b"Connection: close", b"Upgrade: websocket"], []),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], []),
    ],
    ids=repr,
)
def test_upgrade_is_offered_in_both_fields_and_on_http_1_1(
    version: bytes, lines: list[bytes], protocols: list[bytes]
) -> None:
    assert list(head_of(b"Host: a", *lines, version=version).upgrade) == protocols


@pytest.mark.parametrize(
    ("version", "lines", "offered"),
    [
        (b"1.1", [b"TE: trailers"], True),
        (b"1.1", [b"TE: deflate, Trailers"], True),
        (b"1.1", [b"TE: deflate", b"TE: trailers"], True),
        (b"1.1", [b"TE: trailers", b"TE: deflate"], True),
        (b"1.1", [b"TE: deflate"], False),
        (b"1.1", [b"TE: xtrailers"], False),
        (b"1.1", [], False),
        (b"1.0", [b"TE: trailers"], False),
    ],
    ids=repr,
)
def test_trailers_are_wanted(version: bytes, lines: list[bytes], offered: bool) -> None:
    assert head_of(b"Host: a", *lines, version=version).te_trailers is offered


def test_head_knows_its_size_on_the_wire() -> None:
    data = b"\r\n\r\n" + request(b"Host: a", b"A: b") + b"\r\n\r\n"
    assert read_requests([data]).only.head.head_bytes == len(data) - 4
    data = b"HTTP/1.1 204 x\r\nA: b\r\n\r\n"
    assert read_responses([data]).only.head.head_bytes == len(data)


def test_upgrade_of_a_response() -> None:
    block = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a, b"
    assert response_of(block).upgrade == [b"a", b"b"]


def test_empty_line_inside_a_block_is_refused() -> None:
    with pytest.raises(HeaderNoColonError):
        parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nA: b", LIMITS)
    with pytest.raises(HeaderNoColonError):
        parse_response_head(b"HTTP/1.1 200 OK\r\n\r\nA: b", LIMITS, b"GET")


def test_two_parses_share_no_lists() -> None:
    block = request(b"Host: a", b"Accept: b")
    parse_request_head(block, LIMITS).headers.append((b"x", b"y"))
    assert len(parse_request_head(block, LIMITS).headers) == 2


def test_heads_are_equal_only_in_all_their_parts() -> None:
    ours, same = (Message(head_of(b"Host: a")) for _ in range(2))
    assert ours == same
    assert ours != Message(head_of(b"Host: b"))


def test_tables_stay_bounded_whatever_is_sent() -> None:
    hosts, options = target_module.valid_hosts, head_module._option_cache
    lines = head_module._status_line_cache
    for i in range(3000):
        head_of(b"Host: h%d" % i, b"Connection: c%d" % i)
        parse_response_head(b"HTTP/1.1 200 r%d" % i, LIMITS, b"GET")
    assert 0 < len(hosts) <= 1024
    assert 0 < len(options) <= 256
    assert 0 < len(lines) <= 256


def test_long_values_are_not_kept() -> None:
    hosts, options = target_module.valid_hosts, head_module._option_cache
    lines = head_module._status_line_cache
    for table in (hosts, options, lines):
        table.clear()
    head_of(b"Host: " + b"h" * 300, b"Connection: " + b"c" * 300)
    assert response_of(b"HTTP/1.1 200 " + b"r" * 300).phrase == b"r" * 300
    assert not hosts
    assert not options
    assert not lines


STRICT = Limits(strict_target=True)


@pytest.mark.parametrize("form", [b"", b"http://[::1]:8"], ids=["origin", "absolute"])
@pytest.mark.parametrize(
    ("path", "strict"),
    [
        pytest.param(b"/", True, id="root"),
        pytest.param(b"/a%2Fb;c=d/~!$&'()*+,:@?e=/?-._", True, id="all-of-the-grammar"),
        *[
            pytest.param(b"/a?b" + octets, False, id=repr(octets))
            for octets in (
                b"%",
                b"%2",
                b"%zz",
                b"<",
                b">",
                b"{",
                b"}",
                b"|",
                b"^",
                b'"',
                b"\\",
                b"`",
                b"[",
                b"]",
            )
        ],
    ],
)
def test_strict_target_keeps_to_the_grammar(form: bytes, path: bytes, strict: bool) -> None:
    block = request(b"Host: a", line=b"GET " + form + path)
    assert parse_request_head(block, LIMITS).target == form + path
    if strict:
        assert parse_request_head(block, STRICT).target == form + path
    else:
        with pytest.raises(RequestTargetError):
            parse_request_head(block, STRICT)

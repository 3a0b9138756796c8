"""What crosses a hop: tables of cases."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from thor.http.error import TransferCodeError
from thor.http.wire.fields import WireFields
from thor.proxy import field_kinds
from thor.proxy.forwarding import (
    ForwardedRequest,
    decrement_max_forwards,
    forward_request,
    forward_response,
    forward_trailers,
    origin_form,
)
from thor.proxy.local_response import LocalResponse
from thor.proxy.policy import ClientFacts, Policy

Fields = list[tuple[bytes, bytes]]


POLICY = Policy("fred", trusted=["10.0.0.0/8", "fd00::/8"])
OWN = {b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Via"}


def forward(
    fields: Fields,
    *,
    http11: bool = True,
    host: bytes = b"a.example",
    peer: str = "192.0.2.1",
    policy: Policy = POLICY,
    expects: bool = False,
    trailers: bool = False,
) -> ForwardedRequest:
    before = list(fields)
    client = ClientFacts(peer, is_tls=False)
    found = forward_request(fields, http11, host, client, policy, expects, trailers)
    assert fields == before
    return found


def end_to_end(fields: Fields, **kwargs: Any) -> Fields:
    """What is left of a request's fields, without what the proxy adds."""
    return [field for field in forward(fields, **kwargs).fields if field[0] not in OWN]


def of(fields: Fields, name: bytes) -> list[bytes]:
    return [value for found, value in fields if found.lower() == name]


# -- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(b"/a/b?c", b"/a/b?c", id="origin"),
        pytest.param(b"//a/../%2e%2F%00", b"//a/../%2e%2F%00", id="as-it-came"),
        pytest.param(b"http://h:80/a?b", b"/a?b", id="absolute"),
        pytest.param(b"http://h", b"/", id="absolute-without-path"),
        pytest.param(b"http://h?b/c", b"/?b/c", id="absolute-with-query-only"),
        pytest.param(b"/a?u=http://x/y", b"/a?u=http://x/y", id="a-uri-in-the-query"),
        pytest.param(b"*", b"*", id="asterisk"),
    ],
)
def test_origin_form_of_a_target(target: bytes, expected: bytes) -> None:
    assert origin_form(b"GET", target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(b"http://h:80", b"*", id="no-path-is-the-server-as-a-whole"),
        pytest.param(b"http://h/", b"/", id="a-path"),
        pytest.param(b"http://h?q", b"/?q", id="a-query"),
    ],
)
def test_origin_form_of_options(target: bytes, expected: bytes) -> None:
    assert origin_form(b"OPTIONS", target) == expected


# -- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            [(b"Host", b"h"), (b"ACCEPT", b"a"), (b"accept", b"b"), (b"X-New", b"")],
            [(b"ACCEPT", b"a"), (b"accept", b"b"), (b"X-New", b"")],
            id="case-order-and-repetition-are-kept",
        ),
        pytest.param(
            [
                (b"Connection", b"keep-alive"),
                (b"Keep-Alive", b"timeout=5"),
                (b"Proxy-Connection", b"keep-alive"),
                (b"TE", b"gzip"),
                (b"Transfer-Encoding", b"chunked"),
                (b"Upgrade", b"websocket"),
                (b"HTTP2-Settings", b"x"),
            ],
            [],
            id="hop-by-hop",
        ),
        pytest.param(
            [(b"Connection", b"X-One, x-two,,"), (b"X-One", b"1"), (b"X-TWO", b"2"), (b"X", b"3")],
            [(b"X", b"3")],
            id="nominated",
        ),
        pytest.param(
            [(b"Connection", b"close"), (b"connection", b"x"), (b"X", b"1"), (b"Y", b"2")],
            [(b"Y", b"2")],
            id="nominated-in-a-second-field",
        ),
        pytest.param(
            [
                (b"Connection", b"host, content-length, close"),
                (b"Host", b"h"),
                (b"Content-Length", b"3"),
                (b"Close", b"x"),
            ],
            [(b"Content-Length", b"3"), (b"Close", b"x")],
            id="not-to-be-nominated",
        ),
        pytest.param([(b"Trailer", b"x-sum")], [], id="trailers-are-not-announced"),
        pytest.param(
            [(b"Range", b"bytes=0-1"), (b"If-Match", b"*")],
            [(b"Range", b"bytes=0-1"), (b"If-Match", b"*")],
            id="conditions-are-the-origins",
        ),
        pytest.param([(b"Max-Forwards", b"0")], [(b"Max-Forwards", b"0")], id="max-forwards"),
        pytest.param(
            [(b"X_New", b"1"), (b"Y", b"2")], [(b"X_New", b"1"), (b"Y", b"2")], id="underscore"
        ),
        pytest.param(
            [(b"X_New", b"1"), (b"x-new", b"2")], [(b"x-new", b"2")], id="underscore-twin-first"
        ),
        pytest.param(
            [(b"X-New-Y", b"2"), (b"x_new-y", b"1")], [(b"X-New-Y", b"2")], id="underscore-twin"
        ),
        pytest.param(
            [
                (b"X_Forwarded_For", b"1"),
                (b"X-Forwarded_Host", b"1"),
                (b"x_forwarded_proto", b"1"),
                (b"X_Forwarded_Port", b"1"),
                (b"Content_Length", b"1"),
                (b"Transfer_Encoding", b"chunked"),
                (b"X_Real_IP", b"1"),
            ],
            [],
            id="underscore-twins-of-what-the-proxy-looks-at",
        ),
        pytest.param(
            [
                (b"X.Real.IP", b"1"),
                (b"X-RealIP", b"1"),
                (b"X.Forwarded-For", b"1"),
                (b"X!Forwarded#Port", b"1"),
                (b"XForwardedHost", b"1"),
                (b"Transfer.Encoding", b"chunked"),
                (b"Content~Length", b"1"),
                (b"Ho.st", b"b.example"),
            ],
            [],
            id="other-spellings-of-what-the-proxy-looks-at",
        ),
        pytest.param([(b"X.New", b"1"), (b"X-New", b"2")], [(b"X-New", b"2")], id="dotted-twin"),
        pytest.param(
            [(b"X.New", b"1"), (b"X!Y", b"2")], [(b"X.New", b"1"), (b"X!Y", b"2")], id="dots"
        ),
    ],
)
def test_request_fields_that_are_forwarded(fields: Fields, expected: Fields) -> None:
    assert end_to_end(fields) == expected
    assert end_to_end(fields) == expected  # the same once the names are known


def test_underscore_headers_are_forwarded_if_allowed() -> None:
    policy = Policy("fred", drop_underscore_headers=False)
    fields = forward([(b"X-New", b"1"), (b"X_New", b"2")], policy=policy).fields
    assert of(fields, b"x_new") == [b"2"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"Expect", b"100-continue")], id="plain"),
        pytest.param([(b"EXPECT", b"100-Continue")], id="other-letter-case"),
        pytest.param([(b"Expect", b""), (b"Expect", b"100-continue")], id="behind-an-empty-one"),
        pytest.param([(b"Expect", b"100-continue"), (b"expect", b"100-continue")], id="twice"),
    ],
)
def test_expect_is_forwarded_in_one_form(fields: Fields) -> None:
    body = (b"Transfer-Encoding", b"chunked")
    found = forward([*fields, body], expects=True)
    assert found.expects_continue
    assert of(found.fields, b"expect") == [b"100-continue"]
    for unneeded in (forward(fields, expects=True), forward([*fields, body], expects=False)):
        assert not unneeded.expects_continue
        assert of(unneeded.fields, b"expect") == []


def test_request_trailer_field_is_forwarded_with_the_trailers() -> None:
    announced = forward([(b"Trailer", b"x-sum")], trailers=True).fields
    assert of(announced, b"trailer") == [b"x-sum"]


@pytest.mark.parametrize(
    ("fields", "http11", "upgrade"),
    [
        pytest.param(
            [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")],
            True,
            b"websocket",
            id="offered",
        ),
        pytest.param(
            [(b"Connection", b"x, upgrade"), (b"Upgrade", b"a, B/1"), (b"Upgrade", b"c")],
            True,
            b"a",
            id="several",
        ),
        pytest.param([(b"Upgrade", b"websocket")], True, None, id="not-nominated"),
        pytest.param([(b"Connection", b"upgrade")], True, None, id="nothing-offered"),
        pytest.param(
            [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")], False, None, id="1.0"
        ),
        pytest.param(
            [(b"Connection", b"upgrade"), (b"Upgrade", b"h2c")], True, None, id="h2c-never"
        ),
        pytest.param(
            [(b"Connection", b"upgrade"), (b"Upgrade", b"H2C-14, websocket")],
            True,
            b"websocket",
            id="h2c-among-others",
        ),
        pytest.param(
            [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Content-Length", b"2")],
            True,
            None,
            id="with-a-body",
        ),
        pytest.param(
            [
                (b"Connection", b"upgrade"),
                (b"Upgrade", b"websocket"),
                (b"Transfer-Encoding", b"chunked"),
            ],
            True,
            None,
            id="with-a-chunked-body",
        ),
        pytest.param(
            [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Content-Length", b"0")],
            True,
            b"websocket",
            id="with-an-empty-body",
        ),
    ],
)
def test_upgrade_offers_that_are_forwarded(
    fields: Fields, http11: bool, upgrade: bytes | None
) -> None:
    assert forward(fields, http11=http11).upgrade == upgrade


@pytest.mark.parametrize(
    ("fields", "http11", "taken"),
    [
        pytest.param([(b"TE", b"trailers")], True, True, id="trailers"),
        pytest.param([(b"TE", b"gzip;q=1, Trailers")], True, True, id="in-a-list"),
        pytest.param([(b"TE", b"gzip")], True, False, id="others"),
        pytest.param([(b"TE", b"trailers")], False, False, id="1.0"),
        pytest.param([], True, False, id="none"),
    ],
)
def test_te_trailers_is_read(fields: Fields, http11: bool, taken: bool) -> None:
    assert forward(fields, http11=http11).te_trailers is taken


@pytest.mark.parametrize(
    ("fields", "http11", "via"),
    [
        pytest.param([], True, b"1.1 fred", id="first"),
        pytest.param([], False, b"1.0 fred", id="from-1.0"),
        pytest.param([(b"Via", b"1.0 ricky")], True, b"1.0 ricky, 1.1 fred", id="second"),
        pytest.param(
            [(b"Via", b"1.0 ricky"), (b"via", b"1.1 ethel (x)")],
            True,
            b"1.0 ricky, 1.1 ethel (x), 1.1 fred",
            id="two-fields",
        ),
        pytest.param(
            [(b"Via", b"1.1 fred2, 1.1 x (fred)")],
            True,
            b"1.1 fred2, 1.1 x (fred), 1.1 fred",
            id="others-with-a-similar-name",
        ),
        pytest.param(
            [(b"Connection", b"via"), (b"Via", b"1.0 ricky")],
            True,
            b"1.0 ricky, 1.1 fred",
            id="not-to-be-nominated",
        ),
    ],
)
def test_via_is_appended(fields: Fields, http11: bool, via: bytes) -> None:
    assert of(forward(fields, http11=http11).fields, b"via") == [via]


@pytest.mark.parametrize(
    "via",
    [
        pytest.param(b"1.1 fred", id="alone"),
        pytest.param(b"1.0 ricky, HTTP/1.1 FRED (comment), 1.1 x", id="among-others"),
        pytest.param(b"1.1 fred:8080", id="with-a-port"),
    ],
)
def test_request_loop_is_detected_in_via(via: bytes) -> None:
    for fields in ([(b"Via", via)], [(b"Via", b"1.1 x"), (b"vIA", via)]):
        with pytest.raises(LocalResponse) as raised:
            forward(fields)
        assert raised.value.status == 508
        assert raised.value.error == "proxy_loop_detected"


def test_default_names_are_random_and_differ() -> None:
    names = [Policy().pseudonym.decode() for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"thor-[0-9a-f]{8}", name) for name in names)


def test_default_name_is_the_same_in_workers() -> None:
    program = """if True:
        import os
        from thor.proxy.policy import Policy
        for _ in range(2):
            if os.fork() == 0:
                os.write(1, Policy().pseudonym + b"\\n")
                os._exit(0)
            os.wait()"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    first, second = done.stdout.split()
    assert first == second


@pytest.mark.parametrize("pseudonym", ["", "a b", "1a", "a;b", 'a"', "é", "a\r\n"])
def test_pseudonym_must_be_a_token(pseudonym: str) -> None:
    with pytest.raises(ValueError, match="pseudonym"):
        Policy(pseudonym)


FORWARDED = [
    (b"X-Forwarded-For", b"198.51.100.1"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"b.example"),
    (b"X-Forwarded-Port", b"443"),
    (b"Forwarded", b"for=198.51.100.1"),
    (b"X-Real-IP", b"198.51.100.1"),
]


def test_host_is_the_authority_that_the_server_determined() -> None:
    found = forward([(b"Host", b"h"), (b"A", b"b"), (b"Content-Length", b"3")]).fields
    assert isinstance(found, WireFields)
    assert (found.host, found.length) == (b"a.example", 3)
    assert of(found, b"host") == []


def test_forwarded_fields_of_an_untrusted_peer_are_replaced() -> None:
    assert forward([*FORWARDED, (b"x-forwarded-for", b"y")]).fields == [
        (b"X-Forwarded-For", b"192.0.2.1"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Host", b"a.example"),
        (b"Via", b"1.1 fred"),
    ]


@pytest.mark.parametrize("peer", ["10.1.2.3", "fd00::1"])
def test_forwarded_fields_of_a_trusted_peer_are_extended(peer: str) -> None:
    fields = forward([*FORWARDED, (b"x-forwarded-for", b"10.0.0.1")], peer=peer).fields
    assert of(fields, b"x-forwarded-for") == [b"198.51.100.1, 10.0.0.1, " + peer.encode()]
    for name, value in FORWARDED[1:]:
        assert of(fields, name.lower()) == [value]


def test_forwarded_fields_that_a_trusted_peer_omits_are_added() -> None:
    fields = forward([(b"X-Forwarded-For", b"198.51.100.1")], peer="10.1.2.3").fields
    assert of(fields, b"x-forwarded-proto") == [b"http"]
    assert of(fields, b"x-forwarded-host") == [b"a.example"]


def test_peer_without_an_address_is_unknown() -> None:
    assert of(forward([], peer="").fields, b"x-forwarded-for") == [b"unknown"]


def test_forwarded_fields_of_a_trusted_unix_peer_are_extended() -> None:
    said = [(b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-proto", b"https")]
    for trusted, kept in ((["unix:"], True), (["10.0.0.0/8"], False)):
        fields = forward(said, peer="", policy=Policy("fred", trusted)).fields
        assert of(fields, b"x-forwarded-for") == [b"192.0.2.7, unknown" if kept else b"unknown"]
        assert of(fields, b"x-forwarded-proto") == [b"https" if kept else b"http"]
    assert not Policy("fred", ["unix:"]).trusts("10.1.2.3")


def test_forwarded_proto_is_that_of_this_hop() -> None:
    secure = Policy("fred", ["10.0.0.0/8"], secure=True)
    assert of(forward([], policy=secure).fields, b"x-forwarded-proto") == [b"https"]
    said = [(b"X-Forwarded-Proto", b"http")]
    assert of(forward(said, policy=secure).fields, b"x-forwarded-proto") == [b"https"]
    trusted = forward(said, peer="10.1.2.3", policy=secure).fields
    assert of(trusted, b"x-forwarded-proto") == [b"http"]


def test_request_without_host_has_no_forwarded_host() -> None:
    assert of(forward([], host=b"").fields, b"x-forwarded-host") == []


def test_peer_without_an_address_is_not_trusted() -> None:
    fields = forward([(b"X-Forwarded-For", b"198.51.100.1")], peer="").fields
    assert of(fields, b"x-forwarded-for") == [b"unknown"]


def test_trusted_must_be_networks() -> None:
    with pytest.raises(ValueError, match="example"):
        Policy("fred", trusted=["example"])


def test_caches_of_names_and_peers_are_bounded() -> None:
    policy = Policy("fred", trusted=["10.0.0.0/8"])
    for number in range(3000):
        forward([(b"X-%d" % number, b"")])
        assert policy.trusts(f"10.0.{number // 256}.{number % 256}")
    forward([(b"X" * 5000, b"")])
    assert len(field_kinds._request_cache) <= 1024
    assert b"X" * 5000 not in field_kinds._request_cache
    assert len(policy.trusted._known) <= 1024


# -- Max-Forwards -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "left"),
    [
        pytest.param(b"1", b"0", id="one"),
        pytest.param(b"010", b"9", id="leading-zero"),
        pytest.param(b"9" * 5000, b"999999999", id="thousands-of-digits"),
    ],
)
def test_max_forwards_is_decremented(value: bytes, left: bytes) -> None:
    fields = [(b"A", b"x"), (b"Max-Forwards", value), (b"B", b"y")]
    expected = [(b"A", b"x"), (b"Max-Forwards", left), (b"B", b"y")]
    assert decrement_max_forwards(b"OPTIONS", b"/", fields) == expected


def test_request_without_max_forwards_is_unchanged() -> None:
    assert decrement_max_forwards(b"TRACE", b"/", [(b"A", b"x")]) == [(b"A", b"x")]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"Max-Forwards", b"-1")], id="sign"),
        pytest.param([(b"Max-Forwards", b"")], id="empty"),
        pytest.param([(b"Max-Forwards", b"\xb2")], id="not-ascii"),
        pytest.param([(b"Max-Forwards", b"1"), (b"max-forwards", b"1")], id="twice"),
    ],
)
def test_max_forwards_must_be_a_number(fields: Fields) -> None:
    with pytest.raises(LocalResponse) as raised:
        decrement_max_forwards(b"OPTIONS", b"/", fields)
    assert raised.value.status == 400


def test_options_with_max_forwards_0_is_answered() -> None:
    with pytest.raises(LocalResponse) as raised:
        decrement_max_forwards(b"OPTIONS", b"*", [(b"Max-Forwards", b"00")])
    assert (raised.value.status, raised.value.error) == (204, "")


def test_trace_with_max_forwards_0_reveals_no_secret() -> None:
    fields = [(b"Max-Forwards", b"0"), (b"Via", b"1.1 x"), (b"Cookie", b"c"), (b"Host", b"h")]
    with pytest.raises(LocalResponse) as raised:
        decrement_max_forwards(b"TRACE", b"/a", fields)
    assert raised.value.status == 200
    assert raised.value.fields == [(b"Content-Type", b"message/http")]
    assert raised.value.body == b"TRACE /a HTTP/1.1\r\nMax-Forwards: 0\r\nVia: 1.1 x\r\n\r\n"


# -- responses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        pytest.param(
            b"200",
            [(b"Date", b"d"), (b"Server", b"s"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b")],
            [(b"Date", b"d"), (b"Server", b"s"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b")],
            id="end-to-end",
        ),
        pytest.param(
            b"200",
            [
                (b"Connection", b"close, X-Hop"),
                (b"X-Hop", b"1"),
                (b"Keep-Alive", b"timeout=5"),
                (b"Proxy-Connection", b"x"),
                (b"Transfer-Encoding", b"chunked"),
                (b"Upgrade", b"h2c"),
                (b"Trailer", b"x"),
            ],
            [],
            id="hop-by-hop",
        ),
        pytest.param(
            b"426",
            [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")],
            [(b"Upgrade", b"websocket")],
            id="426-says-what-to-upgrade-to",
        ),
        pytest.param(
            b"200",
            [(b"Connection", b"content-length"), (b"Content-Length", b"3")],
            [(b"Content-Length", b"3")],
            id="not-to-be-nominated",
        ),
        pytest.param(b"200", [(b"X_Y", b"1"), (b"X-Y", b"2")], None, id="underscores"),
    ],
)
def test_response_fields_that_are_forwarded(
    status: bytes, fields: Fields, expected: Fields | None
) -> None:
    found = forward_response(status, fields, 3, True, False, POLICY)
    assert found == [*(fields if expected is None else expected), (b"Via", b"1.1 fred")]


def test_via_of_a_response_is_appended() -> None:
    found = forward_response(b"200", [(b"Via", b"1.1 x")], -1, False, False, POLICY)
    assert found == [(b"Via", b"1.1 x"), (b"Via", b"1.0 fred")]


def test_trailer_field_is_forwarded_only_with_the_trailers() -> None:
    fields = [(b"Trailer", b"x-sum")]
    assert of(forward_response(b"200", fields, -1, True, True, POLICY), b"trailer") == [b"x-sum"]
    assert of(forward_response(b"200", fields, -1, True, False, POLICY), b"trailer") == []


@pytest.mark.parametrize("value", [b"chunked", b"Chunked"])
def test_transfer_coding_that_was_decoded_is_not_forwarded(value: bytes) -> None:
    fields = [(b"Transfer-Encoding", value)]
    assert of(forward_response(b"200", fields, -1, True, True, POLICY), b"transfer-encoding") == []


@pytest.mark.parametrize("value", [b"gzip", b"identity", b"gzip, chunked"])
def test_transfer_coding_that_was_not_decoded_is_an_error(value: bytes) -> None:
    with pytest.raises(TransferCodeError):
        forward_response(b"200", [(b"Transfer-Encoding", value)], -1, True, True, POLICY)


def test_hop_by_hop_trailers_are_dropped() -> None:
    of_hop = [(b"Connection", b"x"), (b"Keep-Alive", b"y"), (b"x-FORWARDED-prefix", b"/")]
    trailers = [(b"X-Sum", b"1"), *of_hop, (b"X_Forwarded_For", b"z"), (b"Named", b"w")]
    assert forward_trailers(trailers, [(b"connection", b"a, named")], POLICY) == [(b"X-Sum", b"1")]

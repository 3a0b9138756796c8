"""What crosses a hop: tables of cases."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from thor.proxy import field_kinds
from thor.proxy.forwarding import (
    ForwardedRequest,
    decrement_max_forwards,
    forward_request,
    forward_trailers,
    origin_form,
)
from thor.proxy.local_response import LocalResponse
from thor.proxy.policy import ClientFacts, Policy

Fields = list[tuple[bytes, bytes]]


POLICY = Policy("fred", trusted=["10.0.0.0/8", "fd00::/8"])


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


def test_request_trailer_field_is_forwarded_with_the_trailers() -> None:
    announced = forward([(b"Trailer", b"x-sum")], trailers=True).fields
    assert of(announced, b"trailer") == [b"x-sum"]


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


def test_trace_with_max_forwards_0_reveals_no_secret() -> None:
    fields = [(b"Max-Forwards", b"0"), (b"Via", b"1.1 x"), (b"Cookie", b"c"), (b"Host", b"h")]
    with pytest.raises(LocalResponse) as raised:
        decrement_max_forwards(b"TRACE", b"/a", fields)
    assert raised.value.status == 200
    assert raised.value.fields == [(b"Content-Type", b"message/http")]
    assert raised.value.body == b"TRACE /a HTTP/1.1\r\nMax-Forwards: 0\r\nVia: 1.1 x\r\n\r\n"


# -- responses ----------------------------------------------------------------------------------


def test_hop_by_hop_trailers_are_dropped() -> None:
    of_hop = [(b"Connection", b"x"), (b"Keep-Alive", b"y"), (b"x-FORWARDED-prefix", b"/")]
    trailers = [(b"X-Sum", b"1"), *of_hop, (b"X_Forwarded_For", b"z"), (b"Named", b"w")]
    assert forward_trailers(trailers, [(b"connection", b"a, named")], POLICY) == [(b"X-Sum", b"1")]

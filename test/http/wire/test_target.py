"""Hosts, ports, and the forms of a request target."""

from __future__ import annotations

import pytest

from thor.http.error import InvalidHostError, MessageError, RequestTargetError
from thor.http.wire.target import check_host, check_target, same_authority, split_authority

AUTHORITIES = {
    b"a": (b"a", None),
    b"example.com": (b"example.com", None),
    b"Example.COM:80": (b"Example.COM", 80),
    b"a:": (b"a", None),
    b"a:1": (b"a", 1),
    b"a:65535": (b"a", 65535),
    b"a:00080": (b"a", 80),
    b"a_b.c-d~e": (b"a_b.c-d~e", None),
    b"0.0.0.0=5000": (b"0.0.0.0=5000", None),
    b"!$&'()*+;=": (b"!$&'()*+;=", None),
    b"a%20b": (b"a%20b", None),
    b"a.b.": (b"a.b.", None),
    b"%C3%a9:8": (b"%C3%a9", 8),
    b"127.0.0.1:8080": (b"127.0.0.1", 8080),
    b"[::]": (b"[::]", None),
    b"[::1]:8080": (b"[::1]", 8080),
    b"[::1]:": (b"[::1]", None),
    b"[2001:db8::7]": (b"[2001:db8::7]", None),
    b"[::ffff:1.2.3.4]": (b"[::ffff:1.2.3.4]", None),
    b"[v1.a:b]": (b"[v1.a:b]", None),
}

NOT_AUTHORITIES = [
    b"",
    b":",
    b":80",
    b"u@a",
    b"u:p@a",
    b"@a",
    b"a/",
    b"a/b",
    b"a?b",
    b"a#b",
    b"a,b",
    b"a, b",
    b"a b",
    b" a",
    b"a ",
    b"a\tb",
    b"a\x00",
    b"a\x0b",
    b"a\x7f",
    b"a\\b",
    b'"a"',
    b"<a>",
    b"a|b",
    b"a^b",
    b"a`b",
    b"{a}",
    b"\xc3\xa9",
    b"a%",
    b"a%2",
    b"a%zz",
    b"a%2%30",
    b"a:0",
    b"a:65536",
    b"a:99999",
    b"a:000080",
    b"a:-1",
    b"a:+1",
    b"a:1_0",
    b"a:0x50",
    b"a: 80",
    b"a:80 ",
    b"a:8a",
    b"a:80:80",
    b"a..b",
    b"a..",
    b".a",
    b".",
    b"a%2E.b",
    b"%2ea",
    b"a::",
    b"::1",
    b"1::2:80",
    b"[]",
    b"[",
    b"]",
    b"[::1",
    b"::1]",
    b"[::1]]",
    b"[[::1]]",
    b"[::1]a",
    b"[::1]80",
    b"[::1]:a",
    b"[::1]:99999",
    b"[::1%25eth0]",
    b"[::1%eth0]",
    b"[::1/64]",
    b"[:::]",
    b"[12345::]",
    b"[1.2.3.4]",
    b"[a]",
    b"[v.a]",
    b"[v1.]",
    b"[v1.a,b]",
    b"a[::1]",
]


@pytest.mark.parametrize(("text", "parts"), AUTHORITIES.items(), ids=repr)
def test_authority_is_host_and_port(text: bytes, parts: tuple[bytes, int | None]) -> None:
    assert split_authority(text) == parts
    check_host(text)
    check_host(text)  # a second time from the table


@pytest.mark.parametrize("text", NOT_AUTHORITIES, ids=repr)
def test_anything_else_is_refused(text: bytes) -> None:
    for _ in range(2):
        with pytest.raises(InvalidHostError):
            check_host(text)
    with pytest.raises(InvalidHostError):
        split_authority(text)


TARGETS = {
    "origin": (b"GET", b"/", b""),
    "origin, query": (b"GET", b"/a?b=c&d", b""),
    "origin, two slashes": (b"GET", b"//evil.example/a", b""),
    "origin, all that is visible": (b"GET", b"/" + bytes(set(range(33, 127)) - {35}), b""),
    "asterisk": (b"OPTIONS", b"*", b""),
    "OPTIONS of a resource": (b"OPTIONS", b"/a", b""),
    "absolute": (b"GET", b"http://a/b?c", b"a"),
    "absolute, no path": (b"GET", b"http://a", b"a"),
    "absolute, query at once": (b"GET", b"http://a:1?b/c", b"a:1"),
    "absolute, upper case": (b"GET", b"HTTP://A/", b"A"),
    "absolute, IPv6": (b"GET", b"https://[::1]:8/", b"[::1]:8"),
    "absolute, OPTIONS": (b"OPTIONS", b"http://a", b"a"),
    "authority": (b"CONNECT", b"a:443", b"a:443"),
    "authority, IPv6": (b"CONNECT", b"[::1]:443", b"[::1]:443"),
}

NOT_TARGETS = {
    "empty": (b"GET", b""),
    "relative": (b"GET", b"a/b"),
    "query alone": (b"GET", b"?a"),
    "fragment": (b"GET", b"/a#b"),
    "fragment in absolute": (b"GET", b"http://a/#b"),
    "space": (b"GET", b"/a b"),
    "tab": (b"GET", b"/a\tb"),
    "DEL": (b"GET", b"/\x7f"),
    "NUL": (b"GET", b"/\x00"),
    "non-ASCII": (b"GET", b"/\xc3\xa9"),
    "asterisk with GET": (b"GET", b"*"),
    "asterisk with lower-case options": (b"options", b"*"),
    "two asterisks": (b"OPTIONS", b"**"),
    "asterisk and path": (b"OPTIONS", b"*/a"),
    "authority with GET": (b"GET", b"a:443"),
    "authority with lower-case connect": (b"connect", b"a:443"),
    "CONNECT without port": (b"CONNECT", b"a"),
    "CONNECT with empty port": (b"CONNECT", b"a:"),
    "CONNECT with port zero": (b"CONNECT", b"a:0"),
    "CONNECT with origin form": (b"CONNECT", b"/"),
    "CONNECT with absolute form": (b"CONNECT", b"http://a:80/"),
    "CONNECT with asterisk": (b"CONNECT", b"*"),
    "CONNECT with user": (b"CONNECT", b"u@a:443"),
    "CONNECT with path": (b"CONNECT", b"a:443/"),
    "no authority": (b"GET", b"http:///a"),
    "no slashes": (b"GET", b"http:a"),
    "one slash": (b"GET", b"http:/a"),
    "no scheme": (b"GET", b"://a"),
    "scheme of digits": (b"GET", b"1http://a"),
    "scheme with underscore": (b"GET", b"ht_tp://a"),
    "user": (b"GET", b"http://u@a/"),
    "user and password": (b"GET", b"http://u:p@a/"),
    "port too large": (b"GET", b"http://a:65536/"),
    "bracket": (b"PUT", b"s://]ufd/:"),
    "backslash": (b"GET", b"http://a\\@b/"),
    "list of hosts": (b"GET", b"http://a,b/"),
    "other scheme": (b"GET", b"ftp://a/x"),
    "scheme of a Unix socket": (b"GET", b"http+unix://%2Ftmp%2Fa/x"),
    "urn": (b"GET", b"urn:a:b"),
}


@pytest.mark.parametrize(("method", "target", "authority"), TARGETS.values(), ids=TARGETS.keys())
def test_target_in_one_of_the_four_forms(method: bytes, target: bytes, authority: bytes) -> None:
    assert check_target(method, target) == authority


@pytest.mark.parametrize(("method", "target"), NOT_TARGETS.values(), ids=NOT_TARGETS.keys())
def test_target_in_no_form_is_refused(method: bytes, target: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        check_target(method, target)
    assert isinstance(caught.value, RequestTargetError | InvalidHostError)


@pytest.mark.parametrize(
    ("target", "host", "same"),
    [
        (b"http://a/", b"a", True),
        (b"http://A/", b"a", True),
        (b"http://a/", b"a:80", True),
        (b"http://a:80/", b"a", True),
        (b"https://a/", b"a:443", True),
        (b"HTTPS://a/", b"a:443", True),
        (b"http://a:/", b"a", True),
        (b"http://a/", b"a:443", False),
        (b"http://a/", b"b", False),
        (b"http://a:8080/", b"a", False),
    ],
)
def test_authorities_are_the_same_case_and_default_port_aside(
    target: bytes, host: bytes, same: bool
) -> None:
    authority = check_target(b"GET", target)
    assert same_authority(target, authority, host) is same

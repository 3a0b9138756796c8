"""URIs that programs pass."""

from __future__ import annotations

import pytest

from thor.http.uri import UrlError, parse_uri

ACCEPTED = {
    "plain": ("http://a/", ("http", "a", 80, b"a", b"/")),
    "https": ("https://a/", ("https", "a", 443, b"a", b"/")),
    "no path": ("http://a", ("http", "a", 80, b"a", b"/")),
    "query without path": ("http://a?b", ("http", "a", 80, b"a", b"/?b")),
    "query with slash": ("http://a?b/c", ("http", "a", 80, b"a", b"/?b/c")),
    "path and query": ("http://a/b//c?d?e", ("http", "a", 80, b"a", b"/b//c?d?e")),
    "port": ("http://a:8080/", ("http", "a", 8080, b"a:8080", b"/")),
    "default port said": ("http://a:80/", ("http", "a", 80, b"a:80", b"/")),
    "empty port": ("https://a:/", ("https", "a", 443, b"a", b"/")),
    "case": ("HTTP://Www.Example/Ab", ("http", "www.example", 80, b"Www.Example", b"/Ab")),
    "IPv4": ("http://127.0.0.1:1/", ("http", "127.0.0.1", 1, b"127.0.0.1:1", b"/")),
    "IPv6": ("http://[::1]/", ("http", "::1", 80, b"[::1]", b"/")),
    "IPv6 and port": ("http://[FE80::A]:99/", ("http", "fe80::a", 99, b"[FE80::A]:99", b"/")),
    "fragment": ("http://a/b?c#d/e", ("http", "a", 80, b"a", b"/b?c")),
    "fragment without path": ("http://a#b", ("http", "a", 80, b"a", b"/")),
    "raw octets": ('http://a/"<>[]{}|\\^`', ("http", "a", 80, b"a", b'/"<>[]{}|\\^`')),
    "encoded": ("http://a/%2e%00%zz", ("http", "a", 80, b"a", b"/%2e%00%zz")),
    "at sign in the path": ("http://a/@b", ("http", "a", 80, b"a", b"/@b")),
    "underscore": ("http://a_b/", ("http", "a_b", 80, b"a_b", b"/")),
}

REFUSED = {
    "empty": "",
    "relative": "/a",
    "no scheme": "//a/",
    "other scheme": "ftp://a/",
    "one slash": "http:/a/",
    "no host": "http:///a",
    "only port": "http://:80/",
    "user": "http://u@a/",
    "user and password": "http://u:p@a/",
    "port zero": "http://a:0/",
    "port too large": "http://a:65536/",
    "port of many digits": "http://a:000000080/",
    "port signed": "http://a:+80/",
    "port not digits": "http://a:8o/",
    "port of other digits": "http://a:\u0661/",
    "two ports": "http://a:1:2/",
    "space": "http://a/b c",
    "leading space": " http://a/",
    "trailing newline": "http://a/\n",
    "CRLF": "http://a/\r\nX: y",
    "tab": "http://a/\tb",
    "NUL": "http://a/\x00",
    "DEL": "http://a/\x7f",
    "non-ASCII path": "http://a/\u00e9",
    "non-ASCII host": "http://\u00e9/",
    "backslash in the host": "http://a\\b/",
    "comma in the host": "http://a,b/",
    "bad percent in the host": "http://a%2/",
    "bare IPv6": "http://::1/",
    "IPv6 not closed": "http://[::1/",
    "IPv6 with zone": "http://[fe80::1%25eth0]/",
    "IPv6 with tail": "http://[::1]a/",
    "not IPv6": "http://[a]/",
}


@pytest.mark.parametrize(("uri", "parts"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("kind", [str, bytes])
def test_uri_is_taken_apart(
    uri: str, parts: tuple[str, str, int, bytes, bytes], kind: type
) -> None:
    assert parse_uri(uri if kind is str else uri.encode()) == parts


@pytest.mark.parametrize("uri", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("kind", [str, bytes])
def test_uri_is_refused(uri: str, kind: type) -> None:
    with pytest.raises(UrlError):
        parse_uri(uri if kind is str else uri.encode())


@pytest.mark.parametrize("uri", [None, 1, ["http://a/"]])
def test_wrong_type_is_a_type_error(uri: object) -> None:
    with pytest.raises(TypeError):
        parse_uri(uri)  # type: ignore[arg-type]

"""URIs that programs pass."""

from __future__ import annotations

import sys

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

UNIX_ACCEPTED = {
    "socket": ("http+unix://%2Frun%2Fa.sock/b?c", ("http+unix", "unix:/run/a.sock", 0, "/b?c")),
    "socket over TLS": ("HTTPS+unix://%2fa", ("https+unix", "unix:/a", 0, "/")),
    "socket, query": ("http+unix://%2Fa?b/c", ("http+unix", "unix:/a", 0, "/?b/c")),
    "socket, odd path": (
        "http+unix://%2FA%20%C3%A9%3A1/",
        ("http+unix", "unix:/A \u00e9:1", 0, "/"),
    ),
    "abstract socket": ("http+unix://%40name/", ("http+unix", "unix:@name", 0, "/")),
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
    "socket without a path": "http+unix:///a",
    "socket of a relative path": "http+unix://a%2Fb/",
    "socket of a host": "http+unix://localhost/",
    "socket, only the root": "http+unix://%2F/",
    "socket, no name": "http+unix://%40/",
    "socket with NUL": "http+unix://%2Fa%00b/",
    "socket with a port": "http+unix://%2Fa:80/",
    "socket with user": "http+unix://u@%2Fa/",
    "socket, bad percent": "http+unix://%2Fa%2/",
    "socket, other scheme": "ftp+unix://%2Fa/",
}


@pytest.mark.parametrize(("uri", "parts"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("kind", [str, bytes])
def test_uri_is_taken_apart(
    uri: str, parts: tuple[str, str, int, bytes, bytes], kind: type
) -> None:
    assert parse_uri(uri if kind is str else uri.encode()) == parts


@pytest.mark.parametrize(("uri", "parts"), UNIX_ACCEPTED.values(), ids=UNIX_ACCEPTED.keys())
def test_uri_of_a_unix_socket(uri: str, parts: tuple[str, str, int, str]) -> None:
    scheme, host, port, target = parts
    assert parse_uri(uri) == (scheme, host, port, b"localhost", target.encode())


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        pytest.param("http://h:99999/", "a port that is no number from 1 to 65535 in", id="port"),
        pytest.param("http://[::1]:x/", "a port that is no number from 1 to 65535 in", id="IPv6"),
        pytest.param("http:///a", "no host in", id="no-host"),
        pytest.param("http://:80/a", "no host in", id="only-a-port"),
        pytest.param("http://[::1/", "no valid host in", id="host"),
        pytest.param("http://u:secret@h/", "Authorization, in 'http://...@h/'", id="user"),
        pytest.param("http://u:se/cret@h/", "a port that is no number", id="slash"),
        pytest.param("http://u:se cret@h/", "white space", id="space"),
        pytest.param("ftp://u:secret@h/", "not an http or https URI", id="scheme"),
        pytest.param("u:secret@h/", "not an http or https URI: '...@h/'", id="no-scheme"),
        pytest.param("http+unix://u:secret@%2Fa/", "is no socket", id="socket"),
    ],
)
def test_what_is_wrong_is_said_and_no_password(uri: str, says: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_uri(uri)
    assert says in str(caught.value)
    assert "cret" not in str(caught.value)


def test_uri_of_a_socket_says_what_to_write() -> None:
    with pytest.raises(UrlError, match="%2F for each slash"):
        parse_uri("http+unix:///run/app.sock")


def test_abstract_sockets_are_linux_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UrlError, match="only Linux"):
        parse_uri("http+unix://%40name/")


@pytest.mark.parametrize("uri", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("kind", [str, bytes])
def test_uri_is_refused(uri: str, kind: type) -> None:
    with pytest.raises(UrlError):
        parse_uri(uri if kind is str else uri.encode())


@pytest.mark.parametrize("uri", [None, 1, ["http://a/"]])
def test_wrong_type_is_a_type_error(uri: object) -> None:
    with pytest.raises(TypeError):
        parse_uri(uri)  # type: ignore[arg-type]

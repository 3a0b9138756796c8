"""Groups of endpoints: URLs, turns, and who is avoided. No socket, no clock."""

from __future__ import annotations

from collections import Counter

import pytest

from thor.http.uri import parse_uri
from thor.proxy.upstream import Endpoint, Upstream, parse_endpoint, round_robin


def names(upstream: Upstream, count: int, now: float = 0.0) -> str:
    """Who is picked, one letter each."""
    picked = [upstream.pick(now) for _ in range(count)]
    return "".join(endpoint.host for endpoint in picked if endpoint is not None)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:9001", ("http", "127.0.0.1", 9001, "127.0.0.1:9001", "")),
        ("http://a.example", ("http", "a.example", 80, "a.example:80", "")),
        ("HTTP://A.example:8080/", ("http", "a.example", 8080, "a.example:8080", "")),
        ("http://[::1]:9001", ("http", "::1", 9001, "[::1]:9001", "")),
        ("http://a/app/v1/", ("http", "a", 80, "a:80", "/app/v1")),
        ("https://a", ("https", "a", 443, "a:443", "")),
        ("https://a:8443/app", ("https", "a", 8443, "a:8443", "/app")),
    ],
)
def test_endpoint_urls(url: str, place: tuple[str, str, int, str, str]) -> None:
    scheme, host, port, authority, prefix = place
    origin = f"{scheme}://{authority}"
    assert parse_endpoint(url) == (scheme, host, port, authority, origin, prefix)
    endpoint = Endpoint(url)
    assert (endpoint.scheme, endpoint.host, endpoint.port) == (scheme, host, port)
    assert endpoint.name == authority.encode()
    assert endpoint.base == f"{origin}{prefix}".encode()


@pytest.mark.parametrize(
    ("url", "host", "name", "base"),
    [
        ("unix:/run/a", "unix:/run/a", b"unix:/run/a", b"http+unix://%2Frun%2Fa"),
        ("UNIX:/A b", "unix:/A b", b"unix:/A%20b", b"http+unix://%2FA%20b"),
        ("unix:/\u00e9", "unix:/\u00e9", b"unix:/%C3%A9", b"http+unix://%2F%C3%A9"),
        ("unix:@a", "unix:@a", b"unix:@a", b"http+unix://%40a"),
        ("http+unix://%2Fa%2Fb/c/", "unix:/a/b", b"unix:/a/b", b"http+unix://%2Fa%2Fb/c"),
        ("https+unix://%2Fa", "unix:/a", b"unix:/a", b"https+unix://%2Fa"),
    ],
)
def test_unix_sockets_as_endpoints(url: str, host: str, name: bytes, base: bytes) -> None:
    endpoint = Endpoint(url)
    assert (endpoint.host, endpoint.port, endpoint.name) == (host, 0, name)
    assert endpoint.base == base
    # What the client makes of it.
    assert parse_uri(endpoint.origin + endpoint.target_for(b"/x"))[1] == host


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("unix:run/x", "names no Unix socket", id="unix-relative"),
        pytest.param("unix:/", "names no Unix socket", id="unix-root"),
        pytest.param("unix:", "names no Unix socket", id="unix-empty"),
        pytest.param("http+unix://%2Fa%00", "names no Unix socket", id="unix-nul"),
        pytest.param("http+unix://a/b", "names no Unix socket", id="unix-host"),
        pytest.param("http+unix:///a/b", "must be http://", id="unix-not-encoded"),
        pytest.param("ftp+unix://%2Fa", "must be http://", id="unix-scheme"),
        pytest.param("ftp://a", "must be http://", id="scheme"),
        pytest.param("127.0.0.1:9001", "must be http://", id="no-scheme"),
        pytest.param("http:a", "must be http://", id="no-slashes"),
        pytest.param("http://", "must be http://", id="no-host"),
        pytest.param("http://:80", "must be http://", id="port-only"),
        pytest.param("http://a:0", "1 to 65535", id="port-0"),
        pytest.param("http://a:65536", "1 to 65535", id="port-too-large"),
        pytest.param("http://a:x", "1 to 65535", id="port-no-number"),
        pytest.param("http://u@a", "neither user", id="user"),
        pytest.param("http://a/?b", "query", id="query"),
        pytest.param("http://a/#b", "fragment", id="fragment"),
        pytest.param("http://a/b c", "must be http://", id="space"),
        pytest.param("http://a/\r\nb", "must be http://", id="newline"),
        pytest.param("http://\u00e9", "must be http://", id="not-ascii"),
        pytest.param("http://[::1", "must be http://", id="open-bracket"),
        pytest.param("", "must be http://", id="empty"),
    ],
)
def test_invalid_endpoint_url_is_explained(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Upstream([url])


@pytest.mark.parametrize(
    "url", ["http://u:secret@a", "http://u:secret@a:x", "ftp://u:secret@a", "http://u:se/cret@a"]
)
def test_password_in_a_url_is_hidden(url: str) -> None:
    with pytest.raises(ValueError, match=r"\.\.\.@a") as caught:
        Upstream([url])
    assert "cret" not in str(caught.value)


def test_endpoint_prepends_its_prefix_to_targets() -> None:
    endpoint = Endpoint("http://a/app/")
    assert endpoint.origin + endpoint.target_for(b"/x?y") == b"http://a:80/app/x?y"
    assert endpoint.target_for(b"//x/../%2e") == b"/app//x/../%2e"
    assert endpoint.target_for(b"*") == b"*"


def test_upstream_refuses_duplicate_endpoints() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Upstream([])
    with pytest.raises(ValueError, match="twice"):
        Upstream(["http://a", "http://a:80/"])
    with pytest.raises(ValueError, match="weight"):
        Upstream([("http://a", 0)])
    with pytest.raises(TypeError, match="list"):
        Upstream("http://a")


def test_unknown_balancing_method_is_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match="round_robin"):
        Upstream(["http://a"], balance="p3c")


def test_round_robin_takes_turns() -> None:
    assert names(Upstream(["http://a", "http://b", "http://c"]), 7) == "abcabca"


def test_round_robin_mixes_weights_evenly() -> None:
    upstream = Upstream([("http://a", 5), "http://b", ("http://c", 1)])
    assert names(upstream, 7) == "aabacaa"
    assert Counter(names(upstream, 700)) == {"a": 500, "b": 100, "c": 100}


def test_single_endpoint_is_always_chosen() -> None:
    upstream = Upstream(["http://a"])
    only = upstream.pick(0.0)
    assert only is upstream.endpoints[0]
    assert upstream.pick(0.0, [only]) is None
    upstream.failed(only, 0.0)
    assert upstream.pick(0.0) is only


def test_request_is_sent_to_each_endpoint_once() -> None:
    upstream = Upstream(["http://a", "http://b", "http://c"])
    tried: list[Endpoint] = []
    while (found := upstream.pick(0.0, tried)) is not None:
        tried.append(found)
    assert "".join(endpoint.host for endpoint in tried) == "abc"


def test_failed_endpoint_is_avoided_for_a_while() -> None:
    upstream = Upstream(["http://a", "http://b"])
    upstream.failed(upstream.endpoints[0], 100.0)
    assert names(upstream, 3, now=104.9) == "bbb"
    assert sorted(names(upstream, 4, now=105.0)) == ["a", "a", "b", "b"]


def test_recovered_endpoint_gets_its_usual_share() -> None:
    upstream = Upstream(["http://a", "http://b", "http://c"])
    upstream.failed(upstream.endpoints[0], 0.0)
    names(upstream, 10, now=1.0)
    assert Counter(names(upstream, 30, now=10.0)) == {"a": 10, "b": 10, "c": 10}


def test_avoided_endpoints_are_tried_if_all_are_avoided() -> None:
    upstream = Upstream(["http://a", "http://b"])
    for endpoint in upstream.endpoints:
        upstream.failed(endpoint, 0.0)
    assert sorted(names(upstream, 2)) == ["a", "b"]
    assert upstream.pick(0.0, upstream.endpoints) is None


def test_avoided_endpoints_are_tried_last() -> None:
    upstream = Upstream(["http://a", "http://b"])
    a, b = upstream.endpoints
    upstream.failed(a, 0.0)
    assert upstream.pick(0.0) is b
    assert upstream.pick(0.0, [b]) is a


def test_round_robin_without_endpoints() -> None:
    assert round_robin([], 0.0, ()) is None


def test_upstream_has_a_repr() -> None:
    assert repr(Upstream(["http://a:1"], name="app")) == "<Upstream app round_robin of a:1>"

"""Where requests lead: settings and URIs, nothing else."""

from __future__ import annotations

import ssl
from base64 import b64decode
from typing import Any

import pytest

from thor.http.client import HttpClient
from thor.http.client.route import (
    POOL_KEY_SETTINGS,
    WIRE_LIMITS,
    ConnectionSettings,
    ConnectTarget,
    Proxy,
    connect_target_for,
    goes_through_proxy,
    parse_proxy,
    split_connect,
)
from thor.http.error import AccessError, UrlError
from thor.http.uri import parse_uri


def settings(**values: Any) -> ConnectionSettings:
    """What a client of these settings has."""
    client = HttpClient()
    for name, value in values.items():
        setattr(client, name, value)
    return ConnectionSettings(client)


DIRECT: dict[str, Any] = {}
PROXY = {"proxy": "http://proxy:3128"}
UNIX_PROXY = {"proxy": "http+unix://%2Frun%2Fproxy"}
SECURE_PROXY = {"proxy": "https://proxy.:8443"}
UNIX = {"unix_path": "/run/app"}


@pytest.mark.parametrize(
    ("values", "uri", "way"),
    [
        pytest.param(DIRECT, "http://a/", ConnectTarget("a", 80), id="http"),
        pytest.param(DIRECT, "https://a:8443/", ConnectTarget("a", 8443, b"", "a"), id="https"),
        pytest.param(
            DIRECT, "https://[::1]/", ConnectTarget("::1", 443, b"", "::1"), id="https-ipv6"
        ),
        pytest.param(DIRECT, "https://a./", ConnectTarget("a.", 443, b"", "a"), id="absolute-name"),
        pytest.param(DIRECT, "http+unix://%2Fa/", ConnectTarget("unix:/a", 0), id="http-unix"),
        pytest.param(
            DIRECT,
            "https+unix://%2Fa/",
            ConnectTarget("unix:/a", 0, b"", "localhost"),
            id="https-unix",
        ),
        pytest.param(UNIX, "http://a/", ConnectTarget("unix:/run/app", 0), id="http-path"),
        pytest.param(
            UNIX, "https://a/", ConnectTarget("unix:/run/app", 0, b"", "a"), id="https-path"
        ),
        pytest.param(UNIX, "http+unix://%2Fa/", ConnectTarget("unix:/run/app", 0), id="unix-path"),
        pytest.param(PROXY, "http://a/", ConnectTarget("proxy", 3128), id="proxy-http"),
        pytest.param(
            PROXY, "https://a/", ConnectTarget("proxy", 3128, b"a:443", "a"), id="proxy-https"
        ),
        pytest.param(
            PROXY,
            "https://[::1]/",
            ConnectTarget("proxy", 3128, b"[::1]:443", "::1"),
            id="proxy-https-ipv6",
        ),
        pytest.param(PROXY, "http+unix://%2Fa/", ConnectTarget("unix:/a", 0), id="proxy-unix"),
        pytest.param(
            SECURE_PROXY,
            "http://a/",
            ConnectTarget("proxy.", 8443, b"", "proxy"),
            id="secure-proxy-http",
        ),
        pytest.param(
            SECURE_PROXY,
            "https://a/",
            ConnectTarget("proxy.", 8443, b"a:443", "a", "proxy"),
            id="secure-proxy-https",
        ),
        pytest.param(PROXY | UNIX, "http://a/", ConnectTarget("unix:/run/app", 0), id="proxy-path"),
        pytest.param(UNIX_PROXY, "http://a/", ConnectTarget("unix:/run/proxy", 0), id="unix-proxy"),
        pytest.param(
            UNIX_PROXY,
            "https://a/",
            ConnectTarget("unix:/run/proxy", 0, b"a:443", "a"),
            id="unix-proxy-https",
        ),
    ],
)
def test_ways(values: dict[str, Any], uri: str, way: ConnectTarget) -> None:
    assert connect_target_for(settings(**values), parse_uri(uri)[:3]) == way


@pytest.mark.parametrize(
    ("values", "uri", "absolute"),
    [
        (DIRECT, "http://a/", False),
        (PROXY, "http://a/", True),
        (PROXY, "https://a/", False),
        (PROXY, "http+unix://%2Fa/", False),
        (PROXY | UNIX, "http://a/", False),
    ],
)
def test_what_a_proxy_reads(values: dict[str, Any], uri: str, absolute: bool) -> None:
    assert goes_through_proxy(settings(**values), parse_uri(uri)[:3]) is absolute


def test_a_socket_of_a_uri_s_is_refused_where_addresses_are_checked() -> None:
    """A program that checks addresses passes on URIs that it does not trust."""
    checked = settings(check_ip=lambda address: True)
    with pytest.raises(AccessError, match=r"unix:/run/docker\.sock"):
        connect_target_for(checked, parse_uri("http+unix://%2Frun%2Fdocker.sock/")[:3])
    own = settings(check_ip=lambda address: True, unix_path="/run/app")
    assert connect_target_for(own, parse_uri("http://a/")[:3]) == ConnectTarget("unix:/run/app", 0)


@pytest.mark.parametrize("host", [".a", "a..b", "..", "a" * 64, "a." + "b" * 64 + ".c"])
def test_what_no_server_is_called(host: str) -> None:
    with pytest.raises(UrlError, match="no server can be called"):
        connect_target_for(settings(), ("https", host, 443))
    assert connect_target_for(settings(), ("http", host, 80)) == ConnectTarget(host, 80)


def test_a_way_is_shown_as_a_place() -> None:
    assert str(ConnectTarget("a", 80)) == "a port 80"
    assert str(ConnectTarget("unix:/run/app", 0)) == "unix:/run/app"


# -- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize(
    ("uri", "host", "port", "credentials"),
    [
        ("https://u:p@proxy", "proxy", 443, b"u:p"),
        ("http://proxy:3128", "proxy", 3128, None),
        ("http://proxy/", "proxy", 80, None),
        ("HTTP://[::1]:8080", "::1", 8080, None),
        ("http://u:p@proxy", "proxy", 80, b"u:p"),
        ("http://u@proxy", "proxy", 80, b"u:"),
        ("http://u:p:q%40@proxy:1", "proxy", 1, b"u:p:q@"),
        ("http://%C3%A9:x@proxy", "proxy", 80, b"\xc3\xa9:x"),
        ("http://u:a@b@proxy", "proxy", 80, b"u:a@b"),
        ("http+unix://%2Frun%2Fproxy", "unix:/run/proxy", 0, None),
    ],
)
def test_proxies(uri: str, host: str, port: int, credentials: bytes | None, kind: Any) -> None:
    proxy = parse_proxy(kind(uri))
    assert (proxy.host, proxy.port) == (host, port)
    assert proxy.server_name == ("proxy" if uri.startswith("https:") else None)
    if credentials is None:
        assert proxy == Proxy(host, port)
    else:
        ((name, value),) = proxy.fields
        assert name == b"Proxy-Authorization"
        scheme, _, encoded = value.partition(b" ")
        assert (scheme, b64decode(encoded)) == (b"Basic", credentials)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "proxy:3128",
        "https+unix://%2Fproxy",
        "socks5://proxy",
        "http://",
        "http://secret@",
        "http://proxy:x",
        "http://proxy/path",
        "http://proxy?query",
        "http://user:secret@proxy/path",
        "http://us\u00e9r:secret@pr\u00f6xy",
        "http://a%3Ab:secret@proxy",
    ],
)
def test_what_is_no_proxy_is_told_without_its_password(uri: str) -> None:
    with pytest.raises(UrlError, match="proxy") as caught:
        parse_proxy(uri)
    assert "secret" not in str(caught.value)


# -- settings -------------------------------------------------------------------------------------

OTHERS: dict[str, Any] = {
    "tcp_client_class": object,
    "tls_client_class": object,
    "tls_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "verify": False,
    "proxy": "http://proxy",
    "check_ip": lambda address: True,
    "unix_path": "/run/app",
    "max_head_bytes": 1000,
    "max_head_fields": 7,
    "max_field_bytes": 100,
    "max_informational": 3,
    "max_chunk_extension_bytes": 10,
    "max_chunk_extensions_bytes": 20,
    "fold": "refuse",
}


def test_every_setting_that_decides_is_tried() -> None:
    assert set(OTHERS) == {*POOL_KEY_SETTINGS, *WIRE_LIMITS}


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_that_decides_is_in_the_key(name: str) -> None:
    assert settings(**{name: OTHERS[name]}).key != settings().key
    assert settings(**{name: OTHERS[name]}).key == settings(**{name: OTHERS[name]}).key


@pytest.mark.parametrize(
    ("context", "error"), [(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ValueError), ("x", TypeError)]
)
def test_a_context_that_can_be_none_of_a_clients_is_refused(context: Any, error: Any) -> None:
    with pytest.raises(error, match="context"):
        settings(tls_context=context)


def test_limits_are_those_of_the_client() -> None:
    limits = settings(**OTHERS).limits
    assert {name: getattr(limits, name) for name in WIRE_LIMITS} == {
        n: OTHERS[n] for n in WIRE_LIMITS
    }
    assert limits.max_informational == 3


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (b"a:443", ("a", 443)),
        (b"A.example:1", ("a.example", 1)),
        (b"[::1]:443", ("::1", 443)),
    ],
)
def test_where_a_connect_goes(target: bytes, place: tuple[str, int]) -> None:
    assert split_connect(target) == place


@pytest.mark.parametrize("target", [b"a", b"a:", b"http://a:1", b"a:1/", b":1", b"[a]:1", b""])
def test_a_connect_needs_host_and_port(target: bytes) -> None:
    with pytest.raises(UrlError):
        split_connect(target)

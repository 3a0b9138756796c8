"""Through a proxy: in absolute form, and through a tunnel with TLS in it. In memory."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO, HELLO_EVENTS, ClientHarness, Watched, ok

from thor.http.error import (
    AccessError,
    CertificateError,
    ConnectError,
    ConnectTimeoutError,
    ExchangeTimeoutError,
    ProxyError,
    ResourceError,
    TlsError,
    UrlError,
)
from thor.testing import Peer

MakeHarness = Callable[..., ClientHarness]

PROXY = "http://proxy:3128"
CONNECT = b"CONNECT origin:443 HTTP/1.1\r\nHost: origin:443\r\n\r\n"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def proxied(make_harness: MakeHarness) -> Callable[..., ClientHarness]:
    """`proxied(**settings)`: a stage with a client that has a proxy, which is its only peer."""

    def make(**settings: Any) -> ClientHarness:
        stage = make_harness(proxy=PROXY, retry_limit=0, **settings)
        stage.listen("proxy", 3128)
        return stage

    return make


def through(stage: ClientHarness, uri: str = "https://origin/x") -> tuple[Watched, Peer]:
    """A request whose tunnel is open."""
    watched = stage.request(uri=uri)
    assert stage.peer.take() == CONNECT
    return watched, stage.peer.send(OPEN)


# -- http, in absolute form -----------------------------------------------------------------------


def test_http_goes_in_absolute_form(proxied: MakeHarness) -> None:
    stage = proxied()
    watched = stage.request(uri="http://Origin:81/a?b#c")
    assert stage.peer.take() == b"GET http://Origin:81/a?b HTTP/1.1\r\nHost: Origin:81\r\n\r\n"
    assert stage.answer(watched).events == HELLO_EVENTS
    assert watched.exchange.origin == ("http", "origin", 81)
    again = stage.request(uri="http://Origin:81/d")  # by the route that is known now
    assert stage.peer.take().startswith(b"GET http://Origin:81/d HTTP/1.1\r\n")
    assert stage.answer(again).events == HELLO_EVENTS


@pytest.mark.parametrize(
    ("method", "uri", "target"),
    [
        ("GET", "http://a", b"http://a/"),
        ("GET", "http://a?b", b"http://a/?b"),
        ("GET", "http://a:80/x", b"http://a:80/x"),
        ("GET", "http://[::1]/x", b"http://[::1]/x"),
        ("OPTIONS", "http://a", b"http://a"),
        ("OPTIONS", "http://a/", b"http://a/"),
        ("CONNECT", "a:1", b"a:1"),
    ],
)
def test_targets(proxied: MakeHarness, method: str, uri: str, target: bytes) -> None:
    stage = proxied()
    watched = stage.request(method, uri)
    assert stage.peer.take().split(b" ")[1] == target
    watched.exchange.cancel()


def test_origins_behind_a_proxy_share_its_connections(proxied: MakeHarness) -> None:
    stage = proxied()
    for host in ("a", "b", "c"):
        watched = stage.request(uri=f"http://{host}/")
        assert stage.answer(watched).events == HELLO_EVENTS
        assert watched.exchange.origin == ("http", host, 80)
    assert (len(stage.peers), len(stage.groups)) == (1, 1)


def test_a_proxy_that_says_no_is_an_answer_like_any_other(proxied: MakeHarness) -> None:
    stage = proxied()
    refusal = ok("Content-Length: 0", start="HTTP/1.1 407 Proxy Authentication Required")
    watched = stage.answer(stage.request(uri="http://origin/"), refusal)
    assert watched.events[0][1] == b"407"
    assert watched.names[-1] == "response_done"


def test_credentials_go_to_the_proxy(make_harness: MakeHarness) -> None:
    stage = make_harness(proxy="http://user:pass@proxy:3128")
    stage.listen("proxy", 3128)
    credentials = b"\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"
    watched = stage.request(uri="http://origin/", headers=[("A", "b")])
    assert credentials in stage.peer.take()
    assert stage.answer(watched).events == HELLO_EVENTS
    watched = stage.request(uri="https://origin/", headers=[("A", "b")])
    got = stage.peer.take()
    assert credentials in got
    assert b"A: b" not in got
    stage.peer.send(OPEN)
    got = stage.peer.take()
    assert b"Proxy-Authorization" not in got
    assert b"\r\nA: b\r\n" in got
    assert stage.answer(watched).events == HELLO_EVENTS
    watched = stage.request("CONNECT", "other:1")  # over the connection that is there
    assert credentials in stage.peers[0].take()
    watched.exchange.cancel()


@pytest.mark.parametrize("name", ["proxy-authorization", b"Proxy-Authorization"])
def test_credentials_of_the_program_s_own_are_kept(make_harness: MakeHarness, name: Any) -> None:
    stage = make_harness(proxy="http://user:pass@proxy:3128")
    stage.listen("proxy", 3128)
    watched = stage.request(uri="http://origin/", headers=[(name, "Bearer x")])
    got = stage.peer.take()
    assert got.lower().count(b"proxy-authorization") == 1
    assert b"Bearer x" in got
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_proxy_that_is_none_is_an_error_event(make_harness: MakeHarness) -> None:
    stage = make_harness(proxy="proxy:3128")
    error = stage.request().error
    assert isinstance(error, UrlError)
    assert "http://[USER:PASSWORD@]HOST[:PORT]" in str(error)
    stage.client.proxy = None
    assert stage.answer(stage.request()).events == HELLO_EVENTS


# -- https, through a tunnel ----------------------------------------------------------------------


def test_https_goes_through_a_tunnel(proxied: MakeHarness) -> None:
    stage = proxied()
    watched, peer = through(stage)
    (tls,) = stage.tls
    assert (tls.server_name, tls.conn) == ("origin", stage.client_side(peer))
    assert peer.take() == b"GET /x HTTP/1.1\r\nHost: origin\r\n\r\n"
    assert stage.answer(watched).events == HELLO_EVENTS
    assert watched.exchange.origin == ("https", "origin", 443)


def test_a_tunnel_is_used_again_for_its_own_origin_only(proxied: MakeHarness) -> None:
    stage = proxied()
    for path in ("/x", "/y"):
        watched = stage.request(uri=f"https://origin{path}")
        if path == "/x":
            stage.peer.send(OPEN)
        assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 1
    other = stage.request(uri="https://other/")
    assert stage.peer.take().startswith(b"CONNECT other:443 ")
    other.exchange.cancel()
    plain = stage.request(uri="http://origin/")
    assert stage.peer.take().startswith(b"GET http://origin/ ")
    plain.exchange.cancel()
    assert len(stage.peers) == 3


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OPEN, id="bare"),
        pytest.param(ok("Content-Length: 5", "Transfer-Encoding: chunked"), id="lengths"),
        pytest.param(b"HTTP/1.0 299 Fine\r\nVia: x\r\n\r\n", id="http-1.0"),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nA: b\r\n\r\n" + OPEN, id="1xx"),
    ],
)
def test_any_2xx_opens_it(proxied: MakeHarness, answer: bytes) -> None:
    stage = proxied()
    watched = stage.request(uri="https://origin/")
    stage.peer.send(answer)
    assert stage.answer(watched).events == HELLO_EVENTS


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(
            ok(start="HTTP/1.1 407 Proxy Authentication Required"),
            "proxy proxy port 3128: it answered 407 'Proxy Authentication Required'",
            id="407",
        ),
        pytest.param(ok(start="HTTP/1.1 503"), "it answered 503", id="no-phrase"),
        pytest.param(
            b"HTTP/1.1 403 No\x9bway\r\n\r\nbody", "it answered 403 'No\\x9bway'", id="controls"
        ),
        pytest.param(ok(start="HTTP/1.1 302 Found"), "it answered 302 'Found'", id="redirect"),
        pytest.param(b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", "Unsolicited switch", id="101"),
        pytest.param(b"220 smtp.example ESMTP\r\n\r\n", "Malformed status line", id="not-http"),
        pytest.param(OPEN + b"\x16\x03", "it sent more than its answer", id="more"),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\n" * 17, "Too many informational", id="endless-1xx"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000, "too large", id="endless-head"),
    ],
)
def test_a_tunnel_that_is_refused_says_what_the_proxy_answered(
    proxied: MakeHarness, answer: bytes, says: str
) -> None:
    stage = proxied()
    stage.client.retry_limit = 2  # it would say the same again
    watched = stage.request(uri="https://origin/")
    stage.peer.send(answer)
    error = watched.error
    assert error.__class__ is ProxyError
    assert says in str(error)
    assert "proxy proxy port 3128: " in str(error)
    assert stage.peer.is_reset
    assert stage.tls == []


@pytest.mark.parametrize("how", ["end", "abort"])
def test_a_proxy_that_goes_away(proxied: MakeHarness, how: str) -> None:
    stage = proxied()
    stage.client.retry_limit = 1
    watched = stage.request(uri="https://origin/")
    getattr(stage.peer, how)()
    assert watched.events == []  # it is tried again
    stage.advance(0.6)
    assert len(stage.peers) == 2
    getattr(stage.peer, how)()
    error = watched.error
    assert error.__class__ is ConnectError
    assert "proxy proxy port 3128: " in str(error)


def test_a_proxy_that_is_not_there(make_harness: MakeHarness) -> None:
    stage = make_harness(proxy=PROXY, retry_limit=0)
    for uri in ("http://origin/", "https://origin/"):
        assert "proxy port 3128: Connection refused" in str(stage.request(uri=uri).error)


def test_a_proxy_in_the_way_of_what_is_allowed(proxied: MakeHarness) -> None:
    stage = proxied(check_ip=lambda address: False)
    for uri in ("http://origin/", "https://origin/"):
        assert isinstance(stage.request(uri=uri).error, AccessError)
    stage.client.check_ip = lambda address: address == "proxy"
    watched, _ = through(stage)
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_proxy_that_is_spoken_to_with_tls(make_harness: MakeHarness) -> None:
    stage = make_harness(proxy="https://proxy:3128")
    stage.listen("proxy", 3128)
    watched = stage.request(uri="http://origin/a")
    assert stage.peer.take().startswith(b"GET http://origin/a HTTP/1.1\r\n")
    assert stage.answer(watched).events == HELLO_EVENTS
    watched, peer = through(stage)
    assert [(tls.server_name, tls.conn) for tls in stage.tls] == [
        ("proxy", None),
        ("proxy", None),
        ("origin", stage.client_side(peer)),
    ]
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_proxy_whose_certificate_is_not_accepted(make_harness: MakeHarness) -> None:
    stage = make_harness(proxy="https://proxy:3128", retry_limit=0)
    stage.listen("proxy", 3128)
    stage.tls_failure = (ssl.SSLCertVerificationError(1, "x"), "it has expired")
    error = stage.request(uri="https://origin/").error
    assert error.__class__ is CertificateError
    assert str(error).endswith(": proxy proxy port 3128: it has expired")


# -- TLS ------------------------------------------------------------------------------------------


def test_https_has_a_tls_client_of_its_settings(make_harness: MakeHarness) -> None:
    stage = make_harness()
    stage.listen("origin", 443)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert stage.answer(stage.request(uri="https://origin/")).events == HELLO_EVENTS
    stage.client.verify = False
    assert stage.answer(stage.request(uri="https://origin/")).events == HELLO_EVENTS
    stage.client.tls_context = context
    assert stage.answer(stage.request(uri="https://origin/")).events == HELLO_EVENTS
    assert [(tls.context, tls.verify) for tls in stage.tls] == [
        (None, True),
        (None, False),
        (context, False),
    ]
    assert {(tls.server_name, tls.alpn) for tls in stage.tls} == {("origin", ("http/1.1",))}
    assert len(stage.peers) == 3


def test_https_and_http_never_share_a_connection(make_harness: MakeHarness) -> None:
    stage = make_harness()
    stage.listen("origin", 443)
    for uri, number in (
        ("https://origin/", 0),
        ("http://origin:443/", 1),
        ("https://origin:443", 0),
    ):
        watched = stage.request(uri=uri)
        stage.peers[number].send(HELLO)
        assert watched.events == HELLO_EVENTS
    assert (len(stage.peers), len(stage.tls)) == (2, 1)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        pytest.param(
            (ssl.SSLCertVerificationError(1, "x"), "the certificate has expired"),
            CertificateError,
            id="certificate",
        ),
        pytest.param((ssl.SSLError(1, "x"), "no TLS version"), TlsError, id="protocol"),
        pytest.param((None, "no TLS version"), TlsError, id="class-without-exception"),
    ],
)
@pytest.mark.parametrize("proxy", [None, PROXY], ids=["direct", "tunnel"])
def test_a_hand_shake_that_fails_says_why_and_is_not_tried_again(
    proxied: MakeHarness, proxy: Any, failure: Any, kind: type[Exception]
) -> None:
    stage = proxied()
    stage.listen("origin", 443)
    stage.client.proxy = proxy
    stage.client.retry_limit = 2
    stage.tls_failure = failure
    watched = stage.request(uri="https://origin/")
    if proxy is not None:
        stage.peer.send(OPEN)
    error = watched.error
    assert error.__class__ is kind
    assert str(error).endswith(failure[1])
    assert ("origin:443 through proxy proxy port 3128" in str(error)) is (proxy is not None)
    assert ("origin port 443: " in str(error)) is (proxy is None)
    assert stage.peer.is_reset


@pytest.mark.parametrize("agreed", ["h2", "spdy/3"])
def test_a_protocol_that_is_not_spoken_here_is_an_error(
    make_harness: MakeHarness, agreed: str
) -> None:
    """A context of the program's own may offer what it likes."""
    stage = make_harness(retry_limit=2)
    stage.listen("origin", 443)
    stage.tls_alpn = agreed
    error = stage.request(uri="https://origin/").error
    assert error.__class__ is TlsError
    assert f"'{agreed}'" in str(error)
    assert stage.peer.is_reset


@pytest.mark.parametrize("agreed", [None, "http/1.1", "http/1.0"])
def test_a_protocol_that_is_spoken_here(make_harness: MakeHarness, agreed: Any) -> None:
    stage = make_harness()
    stage.listen("origin", 443)
    stage.tls_alpn = agreed
    assert stage.answer(stage.request(uri="https://origin/")).events == HELLO_EVENTS


# -- time, and giving up --------------------------------------------------------------------------


def test_the_time_to_connect_is_one_for_all_steps(proxied: MakeHarness) -> None:
    stage = proxied(connect_timeout=10)
    watched = stage.request(uri="https://origin/")
    stage.advance(9)
    stage.peer.send(OPEN)
    (tls,) = stage.tls
    assert tls.timeout == pytest.approx(1.0)
    stage.advance(60)  # it is over when the connection is there
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_proxy_that_does_not_answer(proxied: MakeHarness) -> None:
    stage = proxied(connect_timeout=10)
    watched = stage.request(uri="https://origin/")
    stage.advance(9.9)
    assert watched.events == []
    stage.advance(0.2)
    error = watched.error
    assert error.__class__ is ConnectTimeoutError
    assert "opening a tunnel" in str(error)
    assert stage.peer.is_reset


def test_a_hand_shake_that_does_not_end(proxied: MakeHarness) -> None:
    stage = proxied(connect_timeout=10)
    stage.tls_failure = "hangs"
    watched, peer = through(stage)
    stage.advance(10.1)
    assert watched.error.__class__ is ConnectTimeoutError
    assert peer.is_reset


@pytest.mark.parametrize("step", ["connecting", "tunnel", "handshake", "direct"])
@pytest.mark.parametrize("how", ["cancel", "exchange_timeout"])
def test_a_connection_that_nobody_wants_any_more(proxied: MakeHarness, step: str, how: str) -> None:
    stage = proxied(exchange_timeout=5, connect_timeout=50)
    if step == "connecting":
        stage.network.errors["proxy", 3128] = None
    if step == "direct":
        stage.client.proxy = None
        stage.listen("origin", 443)
    stage.tls_failure = "hangs"
    watched = stage.request(uri="https://origin/")
    if step == "handshake":
        stage.peer.send(OPEN)
    if how == "cancel":
        watched.exchange.cancel()
        stage.settle()
        watched.is_silent()
    else:
        stage.advance(5.1)
        assert isinstance(watched.error, ExchangeTimeoutError)
    assert step == "connecting" or stage.peer.is_reset
    stage.advance(60)
    assert (stage.open, stage.groups[-1].connecting) == (0, {})


def test_a_stopped_loop_forgets_a_tunnel(proxied: MakeHarness) -> None:
    stage = proxied(connect_timeout=10)
    watched = stage.request(uri="https://origin/")
    stage.loop.stop()
    stage.advance(20)
    watched.is_silent()
    watched.exchange.cancel()


# -- what is our own fault ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
@pytest.mark.parametrize("uri", ["http://origin/", "https://origin/"])
@pytest.mark.parametrize("proxy", [None, PROXY], ids=["direct", "proxy"])
def test_what_this_side_lacks_is_not_the_server_s_fault(
    make_harness: MakeHarness, code: int, uri: str, proxy: Any
) -> None:
    stage = make_harness(proxy=proxy)
    port = 3128 if proxy else 80 if uri.startswith("http:") else 443
    host = "proxy" if proxy else "origin"
    stage.network.errors[host, port] = (OSError, code)
    error = stage.request(uri=uri).error
    assert error.__class__ is ResourceError
    assert f"{host} port {port}" in str(error)


def test_bytes_of_a_response_behind_the_tunnel_are_counted(proxied: MakeHarness) -> None:
    stage = proxied()
    watched, _ = through(stage)
    stage.answer(watched, HELLO)
    assert watched.exchange.input_header_length == len(HELLO) - 5
    assert watched.exchange.input_transfer_length == 5

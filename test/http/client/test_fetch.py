"""One call for a request and its response, in memory."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from thor.http import HttpClient, HttpServer, Response
from thor.http.client.fetch import MAX_BODY_BYTES
from thor.http.error import (
    ConnectError,
    ContentTooLargeError,
    ExchangeTimeoutError,
    HttpError,
    RedirectError,
)
from thor.testing import MemoryNetwork, Recorder, advance, settle

#: What the sites respond at each path: status, fields, body; None: nothing, or no body yet.
RESPONSES: dict[bytes, tuple[int, list[tuple[str, str]], bytes | None] | None] = {
    b"/hello": (200, [("Content-Type", "text/plain")], b"hello"),
    b"/latin": (200, [("Content-Type", "text/plain; charset=ISO-8859-1")], b"\xe9"),
    b"/unknown": (200, [("Content-Type", "text/plain; charset=none")], b"\xc3\xa9\xff"),
    b"/json": (200, [("Content-Type", "application/json")], b'{"a": [1]}'),
    b"/error": (404, [], b"not here"),
    b"/to-hello": (302, [("Location", "/hello")], b"look there"),
    b"/to-b": (307, [("Location", "http://b/hello")], b""),
    b"/far": (302, [("Location", "/hello")], b"x" * 100_000),
    b"/loop": (302, [("Location", "/loop")], b""),
    b"/bad": (302, [("Location", "http://[")], b""),
    b"/silent": None,
}


class Sites:
    """Servers `a` and `b`, and a client of both."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        sides: dict[str, Any] = {"tcp_server_class": self.network.tcp_server_class}
        server_class = type("_Server", (HttpServer,), sides)
        for name in "ab":
            server_class(name, 80, self.loop).on("exchange", self._respond)
        self.client = HttpClient(self.loop)
        self.client.tcp_client_class = self.network.tcp_client_class
        self.client.retry_limit = 0
        #: The requests that came: method, host and path, fields, body.
        self.requests: list[tuple[bytes, bytes, dict[bytes, bytes], bytes]] = []

    def _respond(self, exchange: Any) -> None:
        body = bytearray()

        def request_done(trailers: Any) -> None:
            fields = dict(exchange.req_hdrs)
            self.requests.append(
                (exchange.method, exchange.host + exchange.uri, fields, bytes(body))
            )
            response = RESPONSES[exchange.uri]
            if response is not None:
                status, headers, content = response
                exchange.response_start(status, "", headers)
                if content is not None:
                    exchange.response_body(content)
                    exchange.response_done([])

        exchange.on("request_body", body.extend)
        exchange.on("request_done", request_done)

    def fetch(self, *args: Any, **settings: Any) -> tuple[Any, ...]:
        """Fetch. Return what is emitted, which is one event."""
        heard = Recorder(self.client.fetch(*args, **settings), "response", "error")
        assert heard.take() == []
        settle(self.loop)
        (event,) = heard.take()
        return event


@pytest.fixture
def sites() -> Sites:
    return Sites()


def response_of(event: tuple[Any, ...]) -> Response:
    assert event[0] == "response", event
    response: Response = event[1]
    return response


def error_of(event: tuple[Any, ...]) -> HttpError:
    assert event[0] == "error", event
    error: HttpError = event[1]
    return error


def test_whole_response_is_one_event(sites: Sites) -> None:
    response = response_of(sites.fetch("http://a/hello"))
    assert (response.status, response.body, response.uri) == (200, b"hello", "http://a/hello")
    assert (b"Content-Type", b"text/plain") in response.headers
    assert response_of(sites.fetch(b"http://a/error")).status == 404


@pytest.mark.parametrize(
    ("path", "text"), [("hello", "hello"), ("latin", "\xe9"), ("unknown", "\xe9\ufffd")]
)
def test_text_has_the_charset_of_its_type(sites: Sites, path: str, text: str) -> None:
    assert response_of(sites.fetch(f"http://a/{path}")).text() == text


def test_json_is_parsed(sites: Sites) -> None:
    assert response_of(sites.fetch("http://a/json")).json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting"):
        response_of(sites.fetch("http://a/hello")).json()


@pytest.mark.parametrize("body", [b"data", "data", bytearray(b"data")])
def test_request_has_a_method_fields_and_a_body(sites: Sites, body: Any) -> None:
    response_of(sites.fetch("http://a/hello", "PUT", {"A": "b"}, body))
    ((method, where, fields, received),) = sites.requests
    assert (method, where, received) == (b"PUT", b"a/hello", b"data")
    assert (fields[b"A"], fields[b"Content-Length"]) == (b"b", b"4")


def test_then_is_called_with_the_outcome(sites: Sites) -> None:
    outcomes: list[tuple[Any, Any]] = []

    def then(response: Response | None, error: HttpError | None) -> None:
        outcomes.append((response and response.status, error and type(error)))

    sites.client.fetch("http://a/hello", then=then)
    settle(sites.loop)
    sites.client.fetch("http://nowhere/", then=then)
    settle(sites.loop)
    assert outcomes == [(200, None), (None, ConnectError)]


def test_error_that_nobody_hears_is_logged(sites: Sites, caplog: pytest.LogCaptureFixture) -> None:
    sites.client.fetch("http://nowhere/a")
    settle(sites.loop)
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING
    assert "<Fetch GET 'http://nowhere/a'>: Connection failed" in message
    caplog.clear()


def test_cancelled_fetch_emits_nothing(sites: Sites) -> None:
    outcomes: list[Any] = []
    fetch = sites.client.fetch("http://a/hello", then=lambda *outcome: outcomes.append(outcome))
    fetch.cancel()
    settle(sites.loop)
    fetch.cancel()
    assert outcomes == []


def test_misuse_raises(sites: Sites) -> None:
    async def then(response: Any, error: Any) -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        sites.client.fetch("http://a/", then=then)
    with pytest.raises(TypeError, match="pair"):
        sites.client.fetch("http://a/", headers=["A: b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="tunnel"):
        sites.client.fetch("a:80", "CONNECT")


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["hello", "far"])
def test_body_over_the_limit_is_an_error(sites: Sites, path: str) -> None:
    assert isinstance(
        error_of(sites.fetch(f"http://a/{path}", max_body_bytes=4)), ContentTooLargeError
    )
    assert sites.network.pairs[0].client.tcp_connected is False


def test_declared_length_over_the_limit_is_an_error_at_once(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [("Content-Length", str(MAX_BODY_BYTES + 1))]
    monkeypatch.setitem(RESPONSES, b"/long", (200, long, None))
    assert isinstance(error_of(sites.fetch("http://a/long")), ContentTooLargeError)


def test_head_of_something_large_is_a_response(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESPONSES, b"/long", (200, [("Content-Length", "99999999999")], b""))
    assert response_of(sites.fetch("http://a/long", "HEAD")).body == b""


def test_fetch_that_takes_too_long_is_an_error(sites: Sites) -> None:
    heard = Recorder(sites.client.fetch("http://a/silent", timeout=5), "response", "error")
    advance(sites.loop, 4.9)
    assert heard.take() == []
    advance(sites.loop, 0.2)
    assert isinstance(error_of(*heard.take()), ExchangeTimeoutError)


# -- redirects ----------------------------------------------------------------------------------


def test_redirect_is_a_response_unless_it_is_to_be_followed(sites: Sites) -> None:
    response = response_of(sites.fetch("http://a/to-hello"))
    assert (response.status, response.body) == (302, b"look there")
    response = response_of(sites.fetch("http://a/to-hello", redirects=1))
    assert (response.status, response.body, response.uri) == (200, b"hello", "http://a/hello")
    assert len(sites.network.pairs) == 1


def test_content_of_a_redirect_is_not_waited_for(sites: Sites) -> None:
    assert response_of(sites.fetch("http://a/far", redirects=1, max_body_bytes=5)).body == b"hello"


def test_redirected_request_is_for_the_other_origin(sites: Sites) -> None:
    secret = {"Authorization": "x", "A": "b"}
    response = response_of(sites.fetch("http://a/to-b", "POST", secret, b"data", redirects=1))
    assert response.uri == "http://b/hello"
    assert [(method, where, body) for method, where, _, body in sites.requests] == [
        (b"POST", b"a/to-b", b"data"),
        (b"POST", b"b/hello", b"data"),
    ]
    assert [b"Authorization" in fields for _, _, fields, _ in sites.requests] == [True, False]


def test_redirects_are_limited(sites: Sites) -> None:
    error = error_of(sites.fetch("http://a/loop", redirects=3))
    assert isinstance(error, RedirectError)
    assert len(sites.requests) == 4


def test_redirect_that_cannot_be_followed_is_an_error(sites: Sites) -> None:
    assert isinstance(error_of(sites.fetch("http://a/bad", redirects=1)), RedirectError)


def test_redirect_after_a_post_asks_without_the_content(sites: Sites) -> None:
    response_of(sites.fetch("http://a/to-hello", "POST", {"Content-Type": "a/b"}, "x", redirects=1))
    method, _, fields, body = sites.requests[1]
    assert (method, body, {b"Content-Type", b"Content-Length"} & set(fields)) == (
        b"GET",
        b"",
        set(),
    )

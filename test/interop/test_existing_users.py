"""Programs written for thor 0.17 run: REDbot 2.7.1's fetcher, in miniature, and all that it uses.

Each name, attribute, event and habit that REDbot's client side has of Thor is here, with what it
relies on; those of its server are in `test_existing_servers.py`. REDbot itself is run by
`test_redbot.py`.
"""

from __future__ import annotations

import pickle

import pytest
from existing_support import Fetcher, RawHeaders, Site, ok
from tcp_support import port_of

import thor
import thor.events
import thor.http.common
import thor.http.error as httperr
import thor.loop
from thor.events import EventEmitter
from thor.http import HttpClient, get_header
from thor.http.common import no_body_status
from thor.http.error import HttpError, UrlError
from thor.http.uri import parse_uri
from thor.testing import settle
from thor_support import run_loop

CHUNKED = b"Transfer-Encoding: chunked"


# -- the exchange ---------------------------------------------------------------------------------


def test_informational_responses_have_a_version_too() -> None:
    site = Site(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 102 \r\n\r\n" + ok())
    fetcher = site.fetch()
    assert fetcher.nonfinal == [(b"1.1", b"103"), (b"1.0", b"102")]
    assert (fetcher.version, fetcher.body) == (b"1.1", b"hello")


def test_connection_of_an_exchange_knows_the_version() -> None:
    fetcher = (site := Site(ok())).fetcher()
    seen: list[object] = []

    def note_version() -> None:
        assert fetcher.exchange.conn
        seen.append(fetcher.exchange.conn.res_version)

    fetcher.on("response_headers_available", note_version)
    fetcher.check(b"http://site.example/")
    settle(site.loop)
    assert seen == [b"1.1"]


def test_lengths_are_known_when_the_response_is_done() -> None:
    body = b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n"
    response = ok(CHUNKED, body=body)
    fetcher = Site(response).fetch()
    assert fetcher.lengths == (len(response) - len(body), len(body))
    assert fetcher.trailers == [(b"X", b"1")]


def test_error_says_in_its_detail_what_the_notes_of_a_linter_quote() -> None:
    named = Site(ok(b"X-Odd \t: 1")).fetch().error
    assert named is not None
    assert named.detail == "X-Odd \t"
    chunk = Site(ok(CHUNKED, body=b"<html>\r\n")).fetch().error
    assert chunk is not None
    assert chunk.detail == "'<html>'"
    assert UrlError("why").detail == "why"
    assert HttpError().detail is None
    assert issubclass(httperr.ExtraDataError, HttpError)


@pytest.mark.parametrize("uri", [b"ftp://site.example/", b"http://a b/", b"http://site.example:x/"])
def test_bad_uri_is_an_error_after_the_call_and_later_calls_are_ignored(uri: bytes) -> None:
    site = Site()
    fetcher = site.fetcher().check(uri, b"POST", [], b"body")
    assert not fetcher.done
    settle(site.loop)
    assert isinstance(fetcher.error, UrlError)


def test_closing_the_connection_ends_an_exchange_silently() -> None:
    site = Site(ok(b"Content-Length: 9"))
    fetcher = site.fetcher()
    fetcher.on("response_headers_available", fetcher.stop)
    fetcher.check(b"http://site.example/")
    settle(site.loop)
    assert (fetcher.done, fetcher.error, fetcher.body, site.open) == (True, None, b"", [])


def test_exchange_may_be_replaced_inside_response_start() -> None:
    """As when a site asks for a signed request, and gets one."""
    site = Site(ok(start=b"HTTP/1.1 401 Unauthorized"), ok())
    fetcher = site.fetcher()

    def sign() -> None:
        if fetcher.status == b"401":
            exchange = fetcher.exchange
            exchange.remove_listeners("response_start", "response_body", "response_done", "error")
            assert exchange.conn
            exchange.conn.close()
            fetcher.check(b"http://site.example/", b"GET", [(b"Signature", b"x")])

    fetcher.on("response_headers_available", sign)
    fetcher.check(b"http://site.example/")
    settle(site.loop)
    assert (fetcher.status, fetcher.body, len(site.open)) == (b"200", b"hello", 1)
    assert b"Signature: x\r\n" in site.requests[-1]


def test_client_of_its_own_posts_a_form_and_drops_an_answer_that_is_too_long() -> None:
    site = Site(ok(body=b"x" * 100))
    client = HttpClient(site.loop)
    client.max_server_conn = 30
    client.tcp_client_class = site.network.tcp_client_class
    exchange = client.exchange()
    heard: list[object] = []

    @thor.events.on(exchange)
    def error(err: HttpError) -> None:
        heard.append(err)

    @thor.events.on(exchange)
    def response_body(chunk: bytes) -> None:
        heard.append(len(chunk))
        if exchange.conn and exchange.conn.tcp_conn:
            exchange.conn.tcp_conn.abort()

    @thor.events.on(exchange)
    def response_done(_: RawHeaders) -> None:
        heard.append("done")

    exchange.request_start(b"POST", b"http://site.example/", [(b"content-type", b"text/plain")])
    exchange.request_body(b"a=b")
    exchange.request_done([])
    settle(site.loop)
    assert (heard, site.open) == ([100], [])
    assert site.requests[0].endswith(b"\r\n\r\n3\r\na=b\r\n0\r\n\r\n")


# -- what is made when a module is imported, on the default loop ----------------------------------


def test_client_made_on_import_fetches_on_the_default_loop() -> None:
    server = thor.TcpServer(b"127.0.0.1", 0)

    @thor.events.on(server)
    def connect(conn: thor.TcpConnection) -> None:
        def answer(data: bytes) -> None:
            conn.write(ok(b"Connection: close"))
            conn.close()

        conn.on("data", answer)
        conn.pause(False)

    fetcher = Fetcher()

    @thor.events.on(fetcher)
    def fetch_done() -> None:
        server.shutdown()
        thor.schedule(0.01, thor.stop)

    fetcher.check(b"http://127.0.0.1:%d/" % port_of(server))
    assert Fetcher.client.loop is thor.loop._loop
    run_loop(thor.loop)
    assert (fetcher.error, fetcher.body) == (None, b"hello")


# -- emitters and helpers -------------------------------------------------------------------------


def test_emitter_pickles_without_its_listeners_and_works_afterwards() -> None:
    site = Site(ok(b"X-Odd : 1"))
    fetcher = site.fetch()
    del fetcher.client  # the class has one: it is not of the state
    fetcher.on("status", lambda message: None)
    again = pickle.loads(pickle.dumps(fetcher))
    assert (again.done, again.error.desc, again.error.detail) == (
        True,
        httperr.HeaderSpaceError.desc,
        "X-Odd ",
    )
    assert not hasattr(again, "processors")
    heard: list[object] = []
    again.on("status", heard.append)
    again.emit("status", "again")
    assert heard == ["again"]


class Early(EventEmitter):
    """Sets attributes, and listens to itself, before the base class's `__init__` is called."""

    def __init__(self) -> None:
        self.base = "set"
        EventEmitter.__init__(self)
        self.heard = 0
        self.once("done", self.count)

    def count(self) -> None:
        self.heard += 1


def test_subclass_may_set_attributes_before_the_emitter_is_made() -> None:
    early = Early()
    early.emit("done")
    early.emit("done")
    assert (early.base, early.heard) == ("set", 1)


def test_uri_is_taken_apart_as_the_client_does_it() -> None:
    assert parse_uri(b"HTTP://Site.example/a?b#c") == (
        "http",
        "site.example",
        80,
        b"Site.example",
        b"/a?b",
    )
    scheme, host, port, authority, target = parse_uri(b"https://[::1]:8443")
    assert (scheme, host, port, authority, target) == ("https", "::1", 8443, b"[::1]:8443", b"/")
    with pytest.raises(UrlError):
        parse_uri(b"http://site.example:99999/")


def test_helpers_are_where_they_were() -> None:
    headers = [(b"Accept-Language", b"de, en"), (b"X-Forwarded-For", b"192.0.2.1")]
    assert get_header(headers, b"accept-language") == [b"de", b"en"]
    assert thor.http.common.get_header(headers, b"x-forwarded-for")[-1] == b"192.0.2.1"
    assert thor.http.common.get_header(headers, b"none") == []
    assert b"304" in no_body_status
    assert thor.__version__

"""A program as they were written for thor 0.17: the fetcher of REDbot 2.7.1, in miniature.

Owns: the fetcher, with the habits that its users' programs have, and an origin for it in memory.
Must not know any test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import thor
import thor.events
import thor.http
import thor.loop
from thor.http import HttpClient
from thor.http.client import HttpClientExchange
from thor.http.error import HttpError
from thor.testing import MemoryNetwork, advance, settle

RawHeaders = list[tuple[bytes, bytes]]


class FetchingClient(thor.http.HttpClient):
    """Settings are set on the instance, over the class variables."""

    def __init__(self, loop: thor.loop.LoopBase | None = None) -> None:
        thor.http.HttpClient.__init__(self, loop)
        self.connect_timeout = 30
        self.read_timeout = 60
        self.idle_timeout = 5
        self.retry_delay = 1
        self.careful = False


class Fetcher(thor.events.EventEmitter):
    """Fetches one URI; emits `fetch_done` when it has ended in whatever way."""

    client: HttpClient = FetchingClient()  # when the module is imported

    def __init__(self) -> None:
        thor.events.EventEmitter.__init__(self)
        self.processors: list[Callable[[bytes], Any]] = [lambda chunk: None]
        self.exchange: HttpClientExchange
        self.nonfinal: list[tuple[bytes, bytes]] = []
        self.status: bytes | None = None
        self.version: bytes | None = None
        self.body = b""
        self.headers: RawHeaders = []
        self.trailers: RawHeaders | None = None
        self.lengths = (0, 0)
        self.error: HttpError | None = None
        self.done = False

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = thor.events.EventEmitter.__getstate__(self)
        state.pop("exchange", None)
        del state["processors"]
        return state

    def check(
        self,
        uri: bytes,
        method: bytes = b"GET",
        headers: RawHeaders | None = None,
        body: bytes = b"",
    ) -> Fetcher:
        self.exchange = self.client.exchange()
        self.exchange.on("response_nonfinal", self._response_nonfinal)
        self.exchange.once("response_start", self._response_start)
        self.exchange.on("response_body", self._response_body)
        self.exchange.once("response_done", self._response_done)
        self.exchange.on("error", self._response_error)
        self.emit("status", f"fetching {uri!r}")
        self.exchange.request_start(method, uri, headers or [])
        if body and not self.done:
            self.exchange.request_body(body)
        if not self.done:
            self.exchange.request_done([])
        return self

    def stop(self) -> None:
        if hasattr(self, "exchange") and self.exchange.conn:
            self.exchange.conn.close()
        self._fetch_done()

    def _response_nonfinal(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        conn = self.exchange.conn
        version = self.exchange.res_version or (conn.res_version if conn else None) or b"1.1"
        self.nonfinal.append((version, status))

    def _response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        assert self.exchange.res_version
        self.version, self.status, self.headers = self.exchange.res_version, status, headers
        self.emit("response_headers_available")

    def _response_body(self, chunk: bytes) -> None:
        self.body += chunk

    def _response_done(self, trailers: RawHeaders) -> None:
        exchange = self.exchange
        self.lengths = (exchange.input_header_length, exchange.input_transfer_length)
        self.trailers = trailers
        self._fetch_done()

    def _response_error(self, error: HttpError) -> None:
        self.error = error
        self._fetch_done()

    def _fetch_done(self) -> None:
        if not self.done:
            self.done = True
            if hasattr(self, "exchange"):
                del self.exchange
            self.emit("fetch_done")


class Site:
    """An origin in memory: each request head is answered with the next of `responses`."""

    def __init__(self, *responses: bytes, end: str = "") -> None:
        """end: what the origin does after each: `close`, `abort`, or nothing"""
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        self.responses = list(responses)
        self.end = end
        self.requests: list[bytes] = []
        self.open: list[Any] = []
        self.network.tcp_server_class("site.example", 80).on("connect", self._connect)

    def _connect(self, conn: Any) -> None:
        self.open.append(conn)
        conn.on("data", lambda data: self._data(conn, data))
        conn.on("disconnect", lambda: self.open.remove(conn))
        conn.pause(False)

    def _data(self, conn: Any, data: bytes) -> None:
        self.requests.append(data)
        if self.responses:
            conn.write(self.responses.pop(0))
        if self.end:
            getattr(conn, self.end)()

    def fetcher(self) -> Fetcher:
        fetcher = Fetcher()
        fetcher.client = FetchingClient(self.loop)
        fetcher.client.tcp_client_class = self.network.tcp_client_class
        return fetcher

    def fetch(self, *args: Any) -> Fetcher:
        fetcher = self.fetcher().check(b"http://site.example/", *args)
        for _ in range(4):  # the retries
            settle(self.loop)
            advance(self.loop, 1)
        assert fetcher.done
        return fetcher


def ok(*lines: bytes, body: bytes = b"hello", start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response; with a Content-Length unless some line says how long the body is."""
    framed = any(b"Content-L" in line or b"Transfer-E" in line for line in lines)
    length = () if framed else (b"Content-Length: %d" % len(body),)
    return b"\r\n".join((start, *lines, *length)) + b"\r\n\r\n" + body

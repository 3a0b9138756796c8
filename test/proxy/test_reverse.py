"""The reverse proxy as a program sees it: phases, settings, its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from proxy_support import ProxyHarness, get, got, ok, own, passed

import thor.proxy
from thor.events import on
from thor.http.error import (
    ConnectError,
    HttpError,
    IncompleteMessageError,
    OutputStateError,
    OutputSyntaxError,
)
from thor.http.server import HttpServer
from thor.proxy import Flow, ReverseProxy, Upstream
from thor.proxy.access_log import access_line, refused_line
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Playbook


def watched(*origins: str, **settings: Any) -> tuple[ProxyHarness, list[Flow]]:
    """A harness, and the flows that are done on it."""
    harness = ProxyHarness(*origins, **settings)
    done: list[Flow] = []
    harness.proxy.on("done", done.append)
    return harness, done


# -- phases -------------------------------------------------------------------------------------


def test_phases_come_in_order_and_done_comes_last() -> None:
    harness = ProxyHarness()
    harness.watch("proxy", harness.proxy, "request", "response", "done")
    harness.send("browser", get("/x"))
    (first, second) = harness.take()
    flow = first[2]
    assert first[:2] == ("proxy", "request")
    assert second == ("a", "data", got("/x"))
    assert (flow.method, flow.path, flow.host, flow.version) == (b"GET", b"/x", b"site", b"1.1")
    assert (flow.endpoint.name, flow.attempts) == (b"a:80", 1)
    assert not flow.status
    harness.send("a", ok(b"hello"))
    assert harness.take() == [
        ("proxy", "response", flow),
        ("proxy", "done", flow),  # the last byte is out, and about to arrive
        ("browser", "data", passed(ok(b"hello"))),
    ]
    assert (flow.status, flow.phrase, flow.response_bytes) == (b"200", b"OK", 5)
    assert flow.error is None


def test_request_listener_can_change_the_request() -> None:
    harness = ProxyHarness()

    @on(harness.proxy)
    def request(flow: Flow) -> None:
        flow.method = "PUT"  # type: ignore[assignment]
        flow.path = "/changed?x"  # type: ignore[assignment]
        flow.request_headers.append((b"x-added", b"1"))

    harness.send("browser", get())
    up = got("/changed?x", b"", "PUT")[:-2] + b"x-added: 1\r\nContent-Length: 0\r\n\r\n"
    harness.expect(("a", "data", up))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("CONNECT", "/"),
        (b"CONNECT", b"elsewhere:80"),
        ("GET", ""),
        ("GET", "elsewhere"),
        ("GET", b"@elsewhere/"),
        ("GET", ":99/"),
        ("GET", "http://elsewhere/"),
        ("GET", "*"),
        ("OPTIONS", "*/"),
        ("GET", "/\u2028"),
        ("GET", "/ HTTP/1.1"),
    ],
)
def test_invalid_request_line_of_a_listener_is_a_500(
    method: str | bytes, path: str | bytes
) -> None:
    harness = ProxyHarness()
    lines = []

    def request(flow: Flow) -> None:
        flow.method, flow.path = method, path  # type: ignore[assignment]

    harness.proxy.on("request", request)
    harness.proxy.on("done", lambda flow: lines.append(access_line(flow)))
    harness.send("browser", get())
    harness.expect(("browser", "data", own(500, "Internal Server Error", "proxy_internal_error")))
    (line,) = lines
    assert " 500 22 " in line
    assert line.endswith(" OutputSyntaxError")


def test_request_listener_may_make_an_options_of_the_server() -> None:
    harness = ProxyHarness()

    def request(flow: Flow) -> None:
        flow.method, flow.path = "OPTIONS", "*"  # type: ignore[assignment]

    harness.proxy.on("request", request)
    harness.send("browser", get()).expect(("a", "data", got("*", method="OPTIONS")))


@pytest.mark.parametrize("status", [404, "404", b"404"])
def test_status_may_be_str_bytes_or_int(status: Any) -> None:
    harness = ProxyHarness()
    lines = []
    harness.proxy.on("response", lambda flow: setattr(flow, "status", status))
    harness.proxy.on("done", lambda flow: lines.append(access_line(flow)))
    harness.send("browser", get()).send("a", ok(b"x"))
    assert b"HTTP/1.1 404 OK" in harness.take()[-1][2]
    assert '" 404 1 ' in lines[0]


def test_response_listener_can_change_the_response() -> None:
    harness = ProxyHarness()

    @on(harness.proxy)
    def response(flow: Flow) -> None:
        assert flow.endpoint is not None
        assert flow.response_headers is not None
        flow.status, flow.phrase = b"203", b"Changed"
        flow.response_headers.append((b"x-served-by", flow.endpoint.name))

    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"200 OK", b"203 Changed")
    down = down.replace(b"\r\n\r\n", b"\r\nx-served-by: a:80\r\n\r\n")
    harness.expect(("browser", "data", down))


@pytest.mark.parametrize("body", ["no\n", b"no\n", bytearray(b"no\n")])
def test_request_listener_can_respond(body: Any) -> None:
    harness, done = watched()

    @on(harness.proxy)
    def request(flow: Flow) -> None:
        flow.respond(403, "Forbidden", [("content-type", "text/plain")], body)

    harness.send("browser", get("/private"))
    down = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nContent-Length: 3\r\n\r\nno\n"
    harness.expect(("browser", "data", down))
    (flow,) = done
    assert (flow.status, flow.endpoint, flow.attempts, flow.response_bytes) == (b"403", None, 0, 3)
    harness.send("browser", get("/private"))
    harness.expect(("browser", "data", down))


def test_response_listener_can_respond() -> None:
    harness, done = watched()

    @on(harness.proxy)
    def response(flow: Flow) -> None:
        flow.respond(404, "Not Found")

    harness.send("browser", get()).expect(("a", "data", got()))
    harness.send("a", ok(b"secret"))
    down = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    harness.expect(("browser", "data", down), ("a", "close"))
    assert [flow.status for flow in done] == [b"404"]


def test_respond_is_for_request_and_response_only() -> None:
    harness, done = watched()
    harness.send("browser", get())
    harness.send("a", ok())
    with pytest.raises(ValueError, match="phases"):
        done[0].respond(200, "OK")


@pytest.mark.parametrize("phase", ["request", "response"])
def test_flow_can_be_aborted(phase: str) -> None:
    harness, done = watched()
    harness.proxy.on(phase, lambda flow: flow.abort())
    harness.send("browser", get())
    harness.send("a", ok(b"x")) if phase == "response" else None
    events = harness.take()
    assert ("browser", "close") in events
    assert not [event for event in events if event[:2] == ("browser", "data")]
    assert len(done) == 1
    assert isinstance(done[0].error, ConnectError)


def test_flow_keeps_the_context_of_the_program() -> None:
    harness, done = watched()
    harness.proxy.on("request", lambda flow: flow.context.update(user="x"))
    harness.send("browser", get()).send("a", ok())
    assert done[0].context == {"user": "x"}


def test_listener_for_a_single_phase_is_called() -> None:
    for phase in ("request", "response", "done"):
        harness = ProxyHarness()
        harness.watch("proxy", harness.proxy, phase)
        harness.send("browser", get()).send("a", ok())
        assert [event[1] for event in harness.take() if event[0] == "proxy"] == [phase]


def test_flow_is_not_made_without_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ProxyHarness()
    harness.proxy.on("stop", lambda: None)
    monkeypatch.setattr(thor.proxy.flow.Flow, "__init__", None)
    harness.send("browser", get()).expect(("a", "data", got()))


def test_listener_that_raises_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    for phase in ("request", "response"):
        harness, done = watched()
        harness.loop.on_exception = "log"

        def fail(flow: Flow) -> None:
            raise LookupError("the program's mistake")

        harness.proxy.on(phase, fail)
        harness.send("browser", get())
        if phase == "response":
            harness.send("a", ok(b"x"))
        data = b"".join(event[2] for event in harness.take() if event[:2] == ("browser", "data"))
        assert data.startswith(b"HTTP/1.1 500 ")
        assert b"Proxy-Status: fred; error=proxy_internal_error\r\n" in data
        [flow] = done
        body = data.partition(b"\r\n\r\n")[2]
        assert (flow.status, flow.response_bytes) == (b"500", len(body))
        assert repr(flow.error) == repr(OutputStateError("the program failed: LookupError"))
        assert f'" 500 {len(body)} "-"' in access_line(flow)
        assert "the program's mistake" in caplog.text
        caplog.clear()


def test_listener_that_aborts_and_raises_sends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, done = watched()
    harness.loop.on_exception = "log"

    def fail(flow: Flow) -> None:
        flow.abort()
        raise LookupError

    harness.proxy.on("request", fail)
    harness.send("browser", get()).expect(("browser", "close"))
    assert [flow.status for flow in done] == [None]
    assert "LookupError" in caplog.text


# -- what a flow tells --------------------------------------------------------------------------


def test_flow_counts_bytes_and_times() -> None:
    harness, done = watched()
    length = b"Content-Length: 6\r\n"
    harness.send("browser", get("/", length, "PUT") + b"abc")
    harness.advance(1)
    harness.send("browser", b"def")
    harness.advance(1)
    harness.send("a", ok(b"x" * 10)[:-5])
    harness.advance(1)
    harness.send("a", b"x" * 5)
    (flow,) = done
    assert (flow.request_bytes, flow.response_bytes) == (6, 10)
    assert flow.started == 1_700_000_000.0
    assert flow.response_s == pytest.approx(2)
    assert flow.duration_s == pytest.approx(3)
    assert flow.client is not None
    assert flow.client.address[0] == "127.0.0.1"


def test_attempts_are_counted() -> None:
    harness, done = watched("a", "b")
    seen = []
    harness.proxy.on("response", lambda flow: seen.append(flow.error))
    harness.refuse("a")
    harness.send("browser", get()).send("b", ok())
    (flow,) = done
    assert (flow.attempts, flow.status) == (2, b"200")
    assert flow.endpoint is harness.upstream.endpoints[1]
    assert [type(error) for error in flow.errors] == [ConnectError]
    assert (flow.error, seen) == (None, [None])


def test_second_respond_is_refused() -> None:
    harness = ProxyHarness()

    @on(harness.proxy)
    def request(flow: Flow) -> None:
        flow.respond(403, "Forbidden")
        with pytest.raises(ValueError, match="respond"):
            flow.respond(200, "OK")

    harness.send("browser", get())
    harness.expect(("browser", "data", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))


@pytest.mark.parametrize(
    ("value", "body", "error"),
    [("\u20ac", b"", OutputSyntaxError), (5, b"", TypeError), ("1", 5, TypeError)],
)
def test_respond_refuses_values_that_cannot_be_sent(
    value: Any, body: Any, error: type[Exception]
) -> None:
    harness = ProxyHarness()

    @on(harness.proxy)
    def request(flow: Flow) -> None:
        with pytest.raises(error):
            flow.respond(403, "Forbidden", [("a", value)], body)
        flow.respond(404, "Not Found")

    harness.send("browser", get())
    harness.expect(("browser", "data", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


def test_upstream_without_endpoints_is_unavailable() -> None:
    harness, done = watched()
    harness.upstream.endpoints[:] = []
    error = own(503, "Service Unavailable", "destination_unavailable")
    harness.send("browser", get())
    (event,) = harness.take()
    assert b"\r\nRetry-After: 5\r\n" in event[2]
    assert event[2].replace(b"Retry-After: 5\r\n", b"") == error
    (flow,) = done
    assert (flow.status, flow.endpoint, flow.attempts) == (b"503", None, 0)


class Chain:
    """Proxies with their own settings, one behind the other, and a server of Thor's at the end."""

    def __init__(self, *names: str) -> None:
        self.network = network = MemoryNetwork()
        memory = {"tcp_server_class": network.tcp_server_class}
        self.fields: list[int] = []
        origin = type("_Origin", (HttpServer,), memory)("origin", 80, network.loop)
        origin.on("exchange", self._answer)
        server_class = type("_Server", (ReverseProxy.server_class,), memory)
        proxy_class = type("_Proxy", (ReverseProxy,), {"server_class": server_class})
        for name, behind in zip(names, (*names[1:], "origin"), strict=True):
            proxy = proxy_class(name, 80, Upstream([f"http://{behind}"]), network.loop)
            proxy.client.tcp_client_class = network.tcp_client_class
        self.play = Playbook(network.loop).peer("client", network.connect(names[0], 80))

    def _answer(self, exchange: Any) -> None:
        self.fields.append(len(exchange.req_hdrs))
        exchange.response_start(204, "No Content", [])
        exchange.response_done([])

    def status(self, fields: int) -> bytes:
        """The status of a request that has so many fields."""
        self.play.send("client", get(fields=b"A: b\r\n" * (fields - 1)))
        event, *_ = self.play.take()
        status: bytes = event[2][9:12]
        return status


def test_proxy_behind_another_in_one_program_is_no_loop() -> None:
    assert Chain("front", "back").status(3) == b"204"


def test_fields_added_by_the_proxy_fit_into_servers_limits() -> None:
    chain = Chain("proxy")
    assert chain.status(120) == b"204"
    assert chain.fields[0] > 120
    assert chain.status(121) == b"431"


def test_flow_records_a_failure() -> None:
    harness, done = watched()
    harness.refuse("a").send("browser", get())
    (flow,) = done
    assert (flow.status, flow.phrase) == (b"502", b"Bad Gateway")
    assert flow.response_bytes == len("Bad Gateway\n")
    assert isinstance(flow.error, ConnectError)


def test_flow_records_a_failure_in_the_body() -> None:
    harness, done = watched()
    harness.send("browser", get()).send("a", ok(b"x" * 10)[:-5]).finish("a")
    (flow,) = done
    assert (flow.status, flow.response_bytes) == (b"200", 5)
    assert isinstance(flow.error, IncompleteMessageError)


def test_flow_records_a_client_disconnect() -> None:
    harness, done = watched()
    harness.send("browser", get()).abort("browser")
    (flow,) = done
    assert flow.status is None
    assert isinstance(flow.error, ConnectError)


def test_flow_counts_no_body_for_head() -> None:
    harness, done = watched()
    harness.refuse("a").send("browser", get(method="HEAD"))
    assert [(flow.status, flow.response_bytes) for flow in done] == [(b"502", 0)]


def test_request_loop_has_a_flow() -> None:
    harness, done = watched()
    harness.send("browser", get("/", b"Via: 1.1 fred\r\n"))
    assert [flow.status for flow in done] == [b"508"]


def test_done_of_a_tunnel_is_emitted_when_it_closes() -> None:
    harness, done = watched()
    harness.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    harness.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n12345")
    harness.send("browser", b"123")
    assert done == []
    harness.abort("browser")
    (flow,) = done
    assert flow.status == b"101"
    assert (flow.request_bytes, flow.response_bytes) == (3, 5)


# -- the access log -----------------------------------------------------------------------------


def test_access_log_line() -> None:
    harness, done = watched()
    fields = b'User-Agent: x"y\\\x80\r\nReferer: http://r/\r\n'
    harness.send("browser", get("/a?b=%20", fields)).advance(1.5)
    harness.send("a", ok(b"hello"))
    assert access_line(done[0]) == (
        '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=%20 HTTP/1.1" 200 5 '
        '"http://r/" "x\\x22y\\x5c\\x80" 1.500000 a:80 -'
    )


@pytest.mark.parametrize(
    ("referer", "written"),
    [
        pytest.param(b"http://user:secret@r/a", "http://r/a", id="user"),
        pytest.param(b"http://user:sec@ret@r/a", "http://r/a", id="at in the password"),
        pytest.param(b"//user:secret@r/", "//r/", id="no scheme"),
        pytest.param(b"user:secret@r//a@b", "r//a@b", id="nothing before"),
        pytest.param(b"http:/user:secret@r/", "http:/r/", id="one slash"),
        pytest.param(b"http:\\\\user:secret@r/", "http:\\x5c\\x5cr/", id="backslashes"),
        pytest.param(b"http:///user:secret@r/", "http:///r/", id="three slashes"),
        pytest.param(b"http://user:s\\ecret@r/", "http://r/", id="backslash in the password"),
        pytest.param(b"http://\xff:\x80@r/\xff", "http://r/\\xff", id="not ASCII"),
        pytest.param(b"http://r/@me?q=a@b#c@d", "http://r/@me?q=a@b#c@d", id="at elsewhere"),
        pytest.param(b"http://r?a@b", "http://r?a@b", id="at in the query"),
        pytest.param(b"/a@b", "/a@b", id="a path"),
    ],
)
def test_access_log_omits_user_information_of_the_referer(referer: bytes, written: str) -> None:
    harness, done = watched()
    harness.send("browser", get("/", b"Referer: %b\r\n" % referer)).send("a", ok())
    assert f' "{written}" "-" ' in access_line(done[0])


@pytest.mark.parametrize("mark", [b"?", b"#", b"?a#", b"#a?"])
def test_access_log_can_omit_queries(mark: bytes) -> None:
    harness, done = watched()
    fields = b"Referer: http://r/b%btoken=2\r\n" % mark
    harness.send("browser", get("/a?token=1", fields)).send("a", ok())
    assert '"GET /a?token=1 HTTP/1.1"' in access_line(done[0])
    line = access_line(done[0], query=False)
    assert '"GET /a HTTP/1.1"' in line
    assert '"http://r/b"' in line


def test_access_log_lines_fit_into_an_atomic_write() -> None:
    harness, done = watched()
    fields = b"Referer: %b\r\nUser-Agent: %b\r\n" % (b"\x80" * 2000, b"z" * 2000)
    harness.send("browser", get("/" + "a" * 2000, fields)).send("a", ok())
    line = access_line(done[0])
    assert len(line) < 4096
    assert f'"GET /{"a" * 996}... HTTP/1.1"' in line
    assert f'"{"z" * 997}..."' in line


def test_access_log_line_for_a_client_disconnect() -> None:
    harness, done = watched()
    harness.send("browser", get()).abort("browser")
    assert access_line(done[0]).endswith(
        '"GET / HTTP/1.1" 000 0 "-" "-" 0.000000 a:80 ConnectError'
    )


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param(b"GET /\x1b[31m HTTP/1.1\r\n\r\n", "400 12", id="control"),
        pytest.param(b"G\x00T \r\n\r\n", "400 12", id="no-request-line"),
    ],
)
def test_access_log_line_for_a_refused_head(sent: bytes, told: str) -> None:
    harness = ProxyHarness()
    lines: list[str] = []

    @on(harness.proxy.server)
    def refused(conn: TcpConnection, error: HttpError) -> None:
        lines.append(refused_line(conn, error, harness.loop.time()))

    harness.send("browser", sent)
    (line,) = lines
    assert line.isprintable()
    start = f'127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "-" {told} "-" "-" - - '
    assert line.startswith(start)
    assert line.removeprefix(start).endswith("Error")


def test_access_log_line_for_a_truncated_head() -> None:
    conn = SimpleNamespace(address=("192.0.2.1", 1))
    line = refused_line(conn, IncompleteMessageError(), 0.0)  # type: ignore[arg-type]
    assert '"-" 400 12 "-" "-" - - IncompleteMessageError' in line


# -- settings -----------------------------------------------------------------------------------


def test_trusted_peer_may_send_forwarded_fields() -> None:
    harness = ProxyHarness(trusted=["127.0.0.0/8"])
    harness.send("browser", get("/", b"X-Forwarded-For: 192.0.2.1\r\n"))
    (event,) = harness.take()
    assert b"\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n" in event[2]


def test_other_peers_are_not_trusted() -> None:
    harness = ProxyHarness()
    forged = b"X-Forwarded-For: 192.0.2.1\r\nX_Forwarded_For: 192.0.2.1\r\nForwarded: for=x\r\n"
    harness.send("browser", get("/", forged)).expect(("a", "data", got()))


def test_requests_are_sent_to_the_endpoints_in_turn() -> None:
    harness = ProxyHarness("a", "b")
    for name in ("a", "b", "a"):
        harness.send("browser", get()).expect((name, "data", got()))
        harness.send(name, ok()).expect(("browser", "data", passed(ok())))


def test_trusted_peer_may_ask_for_https_without_tls() -> None:
    harness = ProxyHarness(trusted=["127.0.0.0/8"])
    harness.send("browser", b"GET https://site/x HTTP/1.1\r\nHost: other\r\n\r\n")
    (event,) = harness.take()
    assert event[2].startswith(b"GET /x HTTP/1.1\r\nHost: site\r\n")
    assert b"\r\nX-Forwarded-Proto: https\r\n" in event[2]
    harness.send("a", ok()).expect(("browser", "data", passed(ok())))
    harness.send("browser", get())
    (event,) = harness.take()
    assert b"\r\nX-Forwarded-Proto: http\r\n" in event[2]


@pytest.mark.parametrize(
    "target", ["/../x", "/%2e%2e/x", "/a/..%2f../x"], ids=["plain", "encoded", "mixed"]
)
def test_path_that_leaves_the_prefix_is_a_400(target: str) -> None:
    harness, done = watched()
    harness.proxy.upstream = Upstream(["http://a/app"])
    harness.send("browser", get(target))
    harness.expect(("browser", "data", own(400, "Bad Request", "http_request_error")))
    assert (done[0].endpoint, done[0].attempts) == (None, 0)


def test_prefix_of_an_endpoint_is_prepended_to_the_path() -> None:
    harness = ProxyHarness()
    harness.proxy.upstream = Upstream(["http://a/app"])
    harness.send("browser", get("/x")).expect(("a", "data", got("/app/x")))


@pytest.mark.parametrize("name", ["drop_underscore_headers", "drop_underscore_twins"])
def test_drop_underscore_headers_has_an_alias(name: str) -> None:
    harness = ProxyHarness(**{name: False})
    fields = b"A-B: 1\r\nA_B: 2\r\n"
    harness.send("browser", get("/", fields)).expect(("a", "data", got("/", fields)))


def test_invalid_settings_are_refused() -> None:
    network = MemoryNetwork()
    with pytest.raises(TypeError, match="Upstream"):
        ReverseProxy("proxy", 80, ["http://a"], network.loop)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a list of networks is needed, not '10\.0\.0\.0/8'"):
        ReverseProxy("proxy", 80, Upstream(["http://a"]), network.loop, trusted="10.0.0.0/8")
    for settings in ({"pseudonym": "a b"}, {"trusted": ["x"]}):
        with pytest.raises(ValueError, match=r"pseudonym|x"):
            ReverseProxy("proxy", 80, Upstream(["http://a"]), network.loop, **settings)


def test_proxy_has_a_repr() -> None:
    harness = ProxyHarness()
    assert harness.proxy.address == ("proxy", 80)
    assert "round_robin of a:80" in repr(harness.proxy)


# -- the end ------------------------------------------------------------------------------------


def stopping(harness: ProxyHarness) -> list[str]:
    stopped: list[str] = []
    harness.proxy.on("stop", lambda: stopped.append("stop"))
    return stopped


def test_graceful_shutdown_finishes_requests_in_progress() -> None:
    harness = ProxyHarness()
    stopped = stopping(harness)
    harness.connect("idle")
    harness.send("browser", get()).expect(("a", "data", got()))
    harness.call(harness.proxy.graceful_shutdown)
    harness.expect()
    harness.advance(5)
    harness.expect(("idle", "end"))
    assert stopped == []
    harness.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    harness.expect(("browser", "data", down), ("browser", "end"))
    for name in ("browser", "idle"):
        harness.finish(name)
    assert stopped == ["stop"]


def test_graceful_shutdown_waits_for_tunnels() -> None:
    harness = ProxyHarness()
    stopped = stopping(harness)
    harness.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    harness.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    harness.call(harness.proxy.graceful_shutdown)
    assert stopped == []
    harness.abort("browser")
    assert stopped == ["stop"]


def test_shutdown_aborts_requests_and_tunnels() -> None:
    harness = ProxyHarness()
    stopped = stopping(harness)
    harness.connect("second")
    harness.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    harness.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    harness.send("second", get())
    harness.take()
    harness.call(harness.proxy.shutdown)
    assert stopped == ["stop"]
    assert harness.proxy.tunnels == []
    assert ("browser", "close") in harness.take()


def test_start_is_emitted() -> None:
    harness = ProxyHarness()
    harness.watch("proxy", harness.proxy, "start")
    harness.expect(("proxy", "start"))

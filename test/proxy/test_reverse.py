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
    """A stage, and the flows that are done on it."""
    stage = ProxyHarness(*origins, **settings)
    done: list[Flow] = []
    stage.proxy.on("done", done.append)
    return stage, done


# -- phases -------------------------------------------------------------------------------------


def test_phases_come_in_order_and_done_comes_last() -> None:
    stage = ProxyHarness()
    stage.watch("proxy", stage.proxy, "request", "response", "done")
    stage.send("browser", get("/x"))
    (first, second) = stage.take()
    flow = first[2]
    assert first[:2] == ("proxy", "request")
    assert second == ("a", "data", got("/x"))
    assert (flow.method, flow.path, flow.host, flow.version) == (b"GET", b"/x", b"site", b"1.1")
    assert (flow.endpoint.name, flow.attempts) == (b"a:80", 1)
    assert flow.status is None
    stage.send("a", ok(b"hello"))
    assert stage.take() == [
        ("proxy", "response", flow),
        ("proxy", "done", flow),  # the last byte is out, and about to arrive
        ("browser", "data", passed(ok(b"hello"))),
    ]
    assert (flow.status, flow.phrase, flow.response_bytes) == (b"200", b"OK", 5)
    assert flow.error is None


def test_a_request_can_be_changed() -> None:
    stage = ProxyHarness()

    @on(stage.proxy)
    def request(flow: Flow) -> None:
        flow.method = "PUT"
        flow.path = "/changed?x"
        flow.request_headers.append((b"x-added", b"1"))

    stage.send("browser", get())
    up = got("/changed?x", b"", "PUT")[:-2] + b"x-added: 1\r\nContent-Length: 0\r\n\r\n"
    stage.expect(("a", "data", up))


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
def test_what_is_no_request_line_goes_nowhere(method: str | bytes, path: str | bytes) -> None:
    stage = ProxyHarness()
    lines = []

    def request(flow: Flow) -> None:
        flow.method, flow.path = method, path  # type: ignore[assignment]

    stage.proxy.on("request", request)
    stage.proxy.on("done", lambda flow: lines.append(access_line(flow)))
    stage.send("browser", get())
    stage.expect(("browser", "data", own(500, "Internal Server Error", "proxy_internal_error")))
    (line,) = lines
    assert " 500 22 " in line
    assert line.endswith(" OutputSyntaxError")


def test_a_request_about_the_server_may_be_made() -> None:
    stage = ProxyHarness()

    def request(flow: Flow) -> None:
        flow.method, flow.path = "OPTIONS", "*"  # type: ignore[assignment]

    stage.proxy.on("request", request)
    stage.send("browser", get()).expect(("a", "data", got("*", method="OPTIONS")))


@pytest.mark.parametrize("status", [404, "404", b"404"])
def test_a_status_may_be_set_in_many_ways(status: Any) -> None:
    stage = ProxyHarness()
    lines = []
    stage.proxy.on("response", lambda flow: setattr(flow, "status", status))
    stage.proxy.on("done", lambda flow: lines.append(access_line(flow)))
    stage.send("browser", get()).send("a", ok(b"x"))
    assert b"HTTP/1.1 404 OK" in stage.take()[-1][2]
    assert '" 404 1 ' in lines[0]


def test_a_response_can_be_changed() -> None:
    stage = ProxyHarness()

    @on(stage.proxy)
    def response(flow: Flow) -> None:
        assert flow.endpoint is not None
        assert flow.response_headers is not None
        flow.status, flow.phrase = b"203", b"Changed"
        flow.response_headers.append((b"x-served-by", flow.endpoint.name))

    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"200 OK", b"203 Changed")
    down = down.replace(b"\r\n\r\n", b"\r\nx-served-by: a:80\r\n\r\n")
    stage.expect(("browser", "data", down))


@pytest.mark.parametrize("body", ["no\n", b"no\n", bytearray(b"no\n")])
def test_a_request_can_be_answered_here(body: Any) -> None:
    stage, done = watched()

    @on(stage.proxy)
    def request(flow: Flow) -> None:
        flow.respond(403, "Forbidden", [("content-type", "text/plain")], body)

    stage.send("browser", get("/private"))
    down = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nContent-Length: 3\r\n\r\nno\n"
    stage.expect(("browser", "data", down))
    (flow,) = done
    assert (flow.status, flow.endpoint, flow.attempts, flow.response_bytes) == (b"403", None, 0, 3)
    stage.send("browser", get("/private"))
    stage.expect(("browser", "data", down))


def test_a_response_can_be_replaced() -> None:
    stage, done = watched()

    @on(stage.proxy)
    def response(flow: Flow) -> None:
        flow.respond(404, "Not Found")

    stage.send("browser", get()).expect(("a", "data", got()))
    stage.send("a", ok(b"secret"))
    down = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    stage.expect(("browser", "data", down), ("a", "close"))
    assert [flow.status for flow in done] == [b"404"]


def test_an_answer_is_for_its_phases_only() -> None:
    stage, done = watched()
    stage.send("browser", get())
    stage.send("a", ok())
    with pytest.raises(ValueError, match="phases"):
        done[0].respond(200, "OK")


@pytest.mark.parametrize("phase", ["request", "response"])
def test_a_flow_can_be_aborted(phase: str) -> None:
    stage, done = watched()
    stage.proxy.on(phase, lambda flow: flow.abort())
    stage.send("browser", get())
    stage.send("a", ok(b"x")) if phase == "response" else None
    events = stage.take()
    assert ("browser", "close") in events
    assert not [event for event in events if event[:2] == ("browser", "data")]
    assert len(done) == 1
    assert isinstance(done[0].error, ConnectError)


def test_a_flow_keeps_what_the_program_gives_it() -> None:
    stage, done = watched()
    stage.proxy.on("request", lambda flow: flow.context.update(user="x"))
    stage.send("browser", get()).send("a", ok())
    assert done[0].context == {"user": "x"}


def test_a_listener_for_one_phase_alone_gets_it() -> None:
    for phase in ("request", "response", "done"):
        stage = ProxyHarness()
        stage.watch("proxy", stage.proxy, phase)
        stage.send("browser", get()).send("a", ok())
        assert [event[1] for event in stage.take() if event[0] == "proxy"] == [phase]


def test_nobody_watching_makes_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ProxyHarness()
    stage.proxy.on("stop", lambda: None)
    monkeypatch.setattr(thor.proxy.flow.Flow, "__init__", None)
    stage.send("browser", get()).expect(("a", "data", got()))


def test_a_listener_that_raises_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    for phase in ("request", "response"):
        stage, done = watched()
        stage.loop.on_exception = "log"

        def fail(flow: Flow) -> None:
            raise LookupError("the program's mistake")

        stage.proxy.on(phase, fail)
        stage.send("browser", get())
        if phase == "response":
            stage.send("a", ok(b"x"))
        data = b"".join(event[2] for event in stage.take() if event[:2] == ("browser", "data"))
        assert data.startswith(b"HTTP/1.1 500 ")
        assert b"Proxy-Status: fred; error=proxy_internal_error\r\n" in data
        [flow] = done
        body = data.partition(b"\r\n\r\n")[2]
        assert (flow.status, flow.response_bytes) == (b"500", len(body))
        assert repr(flow.error) == repr(OutputStateError("the program failed: LookupError"))
        assert f'" 500 {len(body)} "-"' in access_line(flow)
        assert "the program's mistake" in caplog.text
        caplog.clear()


def test_a_listener_that_aborts_and_raises_sends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage, done = watched()
    stage.loop.on_exception = "log"

    def fail(flow: Flow) -> None:
        flow.abort()
        raise LookupError

    stage.proxy.on("request", fail)
    stage.send("browser", get()).expect(("browser", "close"))
    assert [flow.status for flow in done] == [None]
    assert "LookupError" in caplog.text


# -- what a flow tells --------------------------------------------------------------------------


def test_bytes_and_times_are_counted() -> None:
    stage, done = watched()
    length = b"Content-Length: 6\r\n"
    stage.send("browser", get("/", length, "PUT") + b"abc")
    stage.advance(1)
    stage.send("browser", b"def")
    stage.advance(1)
    stage.send("a", ok(b"x" * 10)[:-5])
    stage.advance(1)
    stage.send("a", b"x" * 5)
    (flow,) = done
    assert (flow.request_bytes, flow.response_bytes) == (6, 10)
    assert flow.started == 1_700_000_000.0
    assert flow.response_s == pytest.approx(2)
    assert flow.duration_s == pytest.approx(3)
    assert flow.client is not None
    assert flow.client.address[0] == "127.0.0.1"


def test_attempts_are_counted() -> None:
    stage, done = watched("a", "b")
    seen = []
    stage.proxy.on("response", lambda flow: seen.append(flow.error))
    stage.refuse("a")
    stage.send("browser", get()).send("b", ok())
    (flow,) = done
    assert (flow.attempts, flow.status) == (2, b"200")
    assert flow.endpoint is stage.upstream.endpoints[1]
    assert [type(error) for error in flow.errors] == [ConnectError]
    assert (flow.error, seen) == (None, [None])


def test_second_answer_of_a_flow_is_refused() -> None:
    stage = ProxyHarness()

    @on(stage.proxy)
    def request(flow: Flow) -> None:
        flow.respond(403, "Forbidden")
        with pytest.raises(ValueError, match="respond"):
            flow.respond(200, "OK")

    stage.send("browser", get())
    stage.expect(("browser", "data", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))


@pytest.mark.parametrize(
    ("value", "body", "error"),
    [("\u20ac", b"", OutputSyntaxError), (5, b"", TypeError), ("1", 5, TypeError)],
)
def test_answer_of_a_flow_that_cannot_be_sent_is_refused(
    value: Any, body: Any, error: type[Exception]
) -> None:
    stage = ProxyHarness()

    @on(stage.proxy)
    def request(flow: Flow) -> None:
        with pytest.raises(error):
            flow.respond(403, "Forbidden", [("a", value)], body)
        flow.respond(404, "Not Found")

    stage.send("browser", get())
    stage.expect(("browser", "data", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


def test_upstream_without_endpoints_is_unavailable() -> None:
    stage, done = watched()
    stage.upstream.endpoints[:] = []
    error = own(503, "Service Unavailable", "destination_unavailable")
    stage.send("browser", get())
    (event,) = stage.take()
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


def test_as_many_fields_as_a_proxy_takes_fit_with_its_own_into_a_server() -> None:
    chain = Chain("proxy")
    assert chain.status(120) == b"204"
    assert chain.fields[0] > 120
    assert chain.status(121) == b"431"


def test_a_failure_is_told() -> None:
    stage, done = watched()
    stage.refuse("a").send("browser", get())
    (flow,) = done
    assert (flow.status, flow.phrase) == (b"502", b"Bad Gateway")
    assert flow.response_bytes == len("Bad Gateway\n")
    assert isinstance(flow.error, ConnectError)


def test_a_failure_in_the_body_is_told() -> None:
    stage, done = watched()
    stage.send("browser", get()).send("a", ok(b"x" * 10)[:-5]).finish("a")
    (flow,) = done
    assert (flow.status, flow.response_bytes) == (b"200", 5)
    assert isinstance(flow.error, IncompleteMessageError)


def test_a_client_that_is_gone_is_told() -> None:
    stage, done = watched()
    stage.send("browser", get()).abort("browser")
    (flow,) = done
    assert flow.status is None
    assert isinstance(flow.error, ConnectError)


def test_an_answer_to_head_has_no_bytes() -> None:
    stage, done = watched()
    stage.refuse("a").send("browser", get(method="HEAD"))
    assert [(flow.status, flow.response_bytes) for flow in done] == [(b"502", 0)]


def test_a_loop_is_a_flow_too() -> None:
    stage, done = watched()
    stage.send("browser", get("/", b"Via: 1.1 fred\r\n"))
    assert [flow.status for flow in done] == [b"508"]


def test_the_flow_of_a_tunnel_is_done_when_the_tunnel_is() -> None:
    stage, done = watched()
    stage.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    stage.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n12345")
    stage.send("browser", b"123")
    assert done == []
    stage.abort("browser")
    (flow,) = done
    assert flow.status == b"101"
    assert (flow.request_bytes, flow.response_bytes) == (3, 5)


# -- the access log -----------------------------------------------------------------------------


def test_a_line_of_the_access_log() -> None:
    stage, done = watched()
    fields = b'User-Agent: x"y\\\x80\r\nReferer: http://r/\r\n'
    stage.send("browser", get("/a?b=%20", fields)).advance(1.5)
    stage.send("a", ok(b"hello"))
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
def test_access_log_cuts_user_information_of_the_referer(referer: bytes, written: str) -> None:
    stage, done = watched()
    stage.send("browser", get("/", b"Referer: %b\r\n" % referer)).send("a", ok())
    assert f' "{written}" "-" ' in access_line(done[0])


@pytest.mark.parametrize("mark", [b"?", b"#", b"?a#", b"#a?"])
def test_access_log_can_be_without_queries(mark: bytes) -> None:
    stage, done = watched()
    fields = b"Referer: http://r/b%btoken=2\r\n" % mark
    stage.send("browser", get("/a?token=1", fields)).send("a", ok())
    assert '"GET /a?token=1 HTTP/1.1"' in access_line(done[0])
    line = access_line(done[0], query=False)
    assert '"GET /a HTTP/1.1"' in line
    assert '"http://r/b"' in line


def test_access_log_has_lines_that_a_pipe_takes_whole() -> None:
    stage, done = watched()
    fields = b"Referer: %b\r\nUser-Agent: %b\r\n" % (b"\x80" * 2000, b"z" * 2000)
    stage.send("browser", get("/" + "a" * 2000, fields)).send("a", ok())
    line = access_line(done[0])
    assert len(line) < 4096
    assert f'"GET /{"a" * 996}... HTTP/1.1"' in line
    assert f'"{"z" * 997}..."' in line


def test_a_line_for_a_client_that_is_gone() -> None:
    stage, done = watched()
    stage.send("browser", get()).abort("browser")
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
def test_a_line_for_a_head_that_was_refused(sent: bytes, told: str) -> None:
    stage = ProxyHarness()
    lines: list[str] = []

    @on(stage.proxy.server)
    def refused(conn: TcpConnection, error: HttpError) -> None:
        lines.append(refused_line(conn, error, stage.loop.time()))

    stage.send("browser", sent)
    (line,) = lines
    assert line.isprintable()
    start = f'127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "-" {told} "-" "-" - - '
    assert line.startswith(start)
    assert line.removeprefix(start).endswith("Error")


def test_a_line_for_a_head_that_was_cut_off() -> None:
    conn = SimpleNamespace(address=("192.0.2.1", 1))
    line = refused_line(conn, IncompleteMessageError(), 0.0)  # type: ignore[arg-type]
    assert '"-" 400 12 "-" "-" - - IncompleteMessageError' in line


# -- settings -----------------------------------------------------------------------------------


def test_trusted_peers_are_believed() -> None:
    stage = ProxyHarness(trusted=["127.0.0.0/8"])
    stage.send("browser", get("/", b"X-Forwarded-For: 192.0.2.1\r\n"))
    (event,) = stage.take()
    assert b"\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n" in event[2]


def test_others_are_not() -> None:
    stage = ProxyHarness()
    forged = b"X-Forwarded-For: 192.0.2.1\r\nX_Forwarded_For: 192.0.2.1\r\nForwarded: for=x\r\n"
    stage.send("browser", get("/", forged)).expect(("a", "data", got()))


def test_requests_go_to_the_endpoints_in_turn() -> None:
    stage = ProxyHarness("a", "b")
    for name in ("a", "b", "a"):
        stage.send("browser", get()).expect((name, "data", got()))
        stage.send(name, ok()).expect(("browser", "data", passed(ok())))


def test_trusted_peer_may_ask_for_https_without_tls() -> None:
    stage = ProxyHarness(trusted=["127.0.0.0/8"])
    stage.send("browser", b"GET https://site/x HTTP/1.1\r\nHost: other\r\n\r\n")
    (event,) = stage.take()
    assert event[2].startswith(b"GET /x HTTP/1.1\r\nHost: site\r\n")
    assert b"\r\nX-Forwarded-Proto: https\r\n" in event[2]
    stage.send("a", ok()).expect(("browser", "data", passed(ok())))
    stage.send("browser", get())
    (event,) = stage.take()
    assert b"\r\nX-Forwarded-Proto: http\r\n" in event[2]


@pytest.mark.parametrize(
    "target", ["/../x", "/%2e%2e/x", "/a/..%2f../x"], ids=["plain", "encoded", "mixed"]
)
def test_path_that_leaves_the_prefix_goes_nowhere(target: str) -> None:
    stage, done = watched()
    stage.proxy.upstream = Upstream(["http://a/app"])
    stage.send("browser", get(target))
    stage.expect(("browser", "data", own(400, "Bad Request", "http_request_error")))
    assert (done[0].endpoint, done[0].attempts) == (None, 0)


def test_an_endpoint_s_prefix_goes_before_the_path() -> None:
    stage = ProxyHarness()
    stage.proxy.upstream = Upstream(["http://a/app"])
    stage.send("browser", get("/x")).expect(("a", "data", got("/app/x")))


def test_settings_that_are_none_are_refused() -> None:
    network = MemoryNetwork()
    with pytest.raises(TypeError, match="Upstream"):
        ReverseProxy("proxy", 80, ["http://a"], network.loop)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a list of networks is needed, not '10\.0\.0\.0/8'"):
        ReverseProxy("proxy", 80, Upstream(["http://a"]), network.loop, trusted="10.0.0.0/8")
    for settings in ({"pseudonym": "a b"}, {"trusted": ["x"]}):
        with pytest.raises(ValueError, match=r"pseudonym|x"):
            ReverseProxy("proxy", 80, Upstream(["http://a"]), network.loop, **settings)


def test_a_proxy_shows_where_it_is() -> None:
    stage = ProxyHarness()
    assert stage.proxy.address == ("proxy", 80)
    assert "round_robin of a:80" in repr(stage.proxy)


# -- the end ------------------------------------------------------------------------------------


def stopping(stage: ProxyHarness) -> list[str]:
    stopped: list[str] = []
    stage.proxy.on("stop", lambda: stopped.append("stop"))
    return stopped


def test_a_graceful_end_finishes_what_is_in_flight() -> None:
    stage = ProxyHarness()
    stopped = stopping(stage)
    stage.connect("idle")
    stage.send("browser", get()).expect(("a", "data", got()))
    stage.call(stage.proxy.graceful_shutdown)
    stage.expect()
    stage.advance(5)
    stage.expect(("idle", "end"))
    assert stopped == []
    stage.send("a", ok(b"x"))
    down = passed(ok(b"x")).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    stage.expect(("browser", "data", down), ("browser", "end"))
    for name in ("browser", "idle"):
        stage.finish(name)
    assert stopped == ["stop"]


def test_a_graceful_end_waits_for_tunnels() -> None:
    stage = ProxyHarness()
    stopped = stopping(stage)
    stage.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    stage.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    stage.call(stage.proxy.graceful_shutdown)
    assert stopped == []
    stage.abort("browser")
    assert stopped == ["stop"]


def test_an_end_at_once_breaks_everything_off() -> None:
    stage = ProxyHarness()
    stopped = stopping(stage)
    stage.connect("second")
    stage.send("browser", get("/", b"Connection: upgrade\r\nUpgrade: x\r\n"))
    stage.send("a", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    stage.send("second", get())
    stage.take()
    stage.call(stage.proxy.shutdown)
    assert stopped == ["stop"]
    assert stage.proxy.tunnels == []
    assert ("browser", "close") in stage.take()


def test_a_start_is_told() -> None:
    stage = ProxyHarness()
    stage.watch("proxy", stage.proxy, "start")
    stage.expect(("proxy", "start"))

"""What nobody has to switch on: no message is split, nothing reflected, no log line forged."""

from __future__ import annotations

import re
from typing import Any

import client_support
import proxy_support
import pytest
import server_support
from smuggling_cases import CHUNKS, FRAMINGS, LENGTHS, REFUSED
from smuggling_heads import HEADS

from thor.http.error import OutputSyntaxError
from thor.proxy import Flow
from thor_support import LogRecords

# -- splitting ----------------------------------------------------------------------------------

#: What ends a line for somebody, or may not be in a field; and characters that become CR or LF
#: for who takes only the last eight bits of them. That each octet is judged is proven where it is,
#: in test/http/wire; here, that nothing leaves that was not.
BREAKS = [
    "\0",
    "\n",
    "\r",
    "\x1b",
    "\x7f",
    "\r\nX: y",
    "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "\u010d\u010a",
    "\uff0d\uff0a",
    "\u2028",
]


def _forms() -> list[Any]:
    """Each in the middle of a text, since white space at its ends is dropped; as `str`, and as
    `bytes` where there are such."""
    texts = [f"a{broken}b" for broken in BREAKS]
    octets = [text.encode("latin-1") for text in texts if max(text) <= "\xff"]
    return [pytest.param(form, id=ascii(form)) for form in (*texts, *octets)]


forms = pytest.mark.parametrize("text", _forms())


def fields_of(text: Any) -> list[Any]:
    """Lists of fields that have it somewhere."""
    return [
        [("A", text)],
        [(text, "b")],
        [("A", "b"), ("Content-Type", text)],
        [("Connection", text), ("A", text)],
        [["A", text]],
    ]


@forms
def test_no_response_of_a_server_is_split(text: Any) -> None:
    stage = server_support.ServerHarness()
    client = stage.client().send(server_support.request())
    exchange = stage.exchange
    for fields in fields_of(text):
        with pytest.raises(OutputSyntaxError):
            exchange.response_start(200, "OK", fields)
        with pytest.raises(OutputSyntaxError):
            exchange.response_nonfinal(103, "Hint", fields)
    for phrase, fields in ((text, []), ("OK", [("Content-Length", text)])):
        with pytest.raises(OutputSyntaxError):
            exchange.response_start(200, phrase, fields)
    with pytest.raises(OutputSyntaxError):
        exchange.response_start(text, "OK", [])
    assert client.take() == b""
    server_support.answer(exchange)
    assert client.take() == server_support.HELLO


@forms
def test_no_trailer_of_a_server_splits(text: Any) -> None:
    stage = server_support.ServerHarness()
    client = stage.client().send(server_support.request())
    stage.exchange.response_start(200, "OK", [])
    client.take()
    for trailers in fields_of(text):
        with pytest.raises(OutputSyntaxError):
            stage.exchange.response_done(trailers)
    assert client.take() == b""
    stage.exchange.response_done([])
    assert client.take() == b"0\r\n\r\n"


@forms
def test_no_switch_of_a_server_splits(text: Any) -> None:
    stage = server_support.ServerHarness()
    client = stage.client().send(
        server_support.request("/", "Connection: upgrade", "Upgrade: x, a b")
    )
    for fields in fields_of(text):
        with pytest.raises(OutputSyntaxError):
            stage.exchange.upgrade("x", fields)
    assert client.take() == b""
    server_support.answer(stage.exchange)
    assert client.take() == server_support.HELLO


def requests_of(text: Any) -> list[tuple[Any, Any, Any]]:
    """Arguments of `request_start` that have it somewhere."""

    def uri(before: str, after: str = "") -> Any:
        return (
            before + text + after
            if isinstance(text, str)
            else (before.encode() + text + after.encode())
        )

    return [
        (text, "http://origin/", []),
        ("GET", uri("http://origin/"), []),
        ("GET", uri("http://origin?"), []),
        ("GET", uri("http://", "/"), []),
        ("GET", uri("http://origin:80"), []),
        ("CONNECT", uri("", ":80"), []),
        ("GET", "http://origin/", [("Host", text)]),
        *[("GET", "http://origin/", fields) for fields in fields_of(text)],
    ]


@forms
def test_no_request_of_a_client_is_split(text: Any) -> None:
    for arguments in requests_of(text):
        stage = client_support.ClientHarness()
        watched = stage.exchange()
        watched.exchange.request_start(*arguments)
        watched.exchange.request_done([])
        assert watched.error is not None
        assert [peer.take() for peer in stage.peers] in ([], [b""]), arguments


@forms
def test_no_trailer_and_no_protocol_of_a_client_splits(text: Any) -> None:
    for trailers in fields_of(text):
        stage = client_support.ClientHarness()
        watched = stage.start("POST", headers=[("Transfer-Encoding", "chunked")])
        before = stage.peer.take()
        watched.exchange.request_done(trailers)
        assert isinstance(watched.error, OutputSyntaxError)
        assert stage.peer.take() == b"", before
    stage = client_support.ClientHarness()
    assert isinstance(stage.start(upgrade=text).error, OutputSyntaxError)
    assert stage.peers == []


def _octets(text: Any) -> bytes:
    return text.encode("latin-1", "replace") if isinstance(text, str) else text


@forms
@pytest.mark.usefixtures("caplog")  # that its program is wrong may be said
def test_no_message_of_a_proxy_is_split_by_its_program(text: Any) -> None:
    for what in ("method", "path", "request", "status", "phrase", "response"):
        split_by_program(text, what)


def split_by_program(text: Any, what: str) -> None:
    """Have the program of a proxy put the text into one part of a message; nothing is split."""
    stage = proxy_support.ProxyHarness()
    stage.loop.on_exception = "log"

    def request(flow: Flow) -> None:
        if what == "method":
            flow.method = text
        elif what == "path":
            flow.path = "/" + text if isinstance(text, str) else b"/" + text  # type: ignore[assignment]
        elif what == "request":
            flow.request_headers.append((b"A", text))

    def response(flow: Flow) -> None:
        if what in ("status", "phrase"):
            setattr(flow, what, text)
        elif what == "response" and flow.response_headers is not None:
            flow.response_headers.append((b"A", text))

    stage.proxy.on("request", request)
    stage.proxy.on("response", response)
    stage.send("browser", proxy_support.get())
    if "a" in stage.peers:
        stage.send("a", proxy_support.ok(b"x"))
    sent = [event[2] for event in stage.take() if event[1] == "data"]
    assert sent
    for data in sent:
        assert _octets(text) not in data
        assert b"\nX: y" not in data
        assert data.count(b"HTTP/1.1") == 1


@forms
@pytest.mark.usefixtures("caplog")
def test_no_answer_of_a_proxy_is_split_by_its_program(text: Any) -> None:
    for arguments in [(200, text), *[(200, "OK", fields) for fields in fields_of(text)]]:
        stage = proxy_support.ProxyHarness()
        stage.loop.on_exception = "log"
        stage.proxy.on("request", lambda flow, given=arguments: flow.respond(*given))
        stage.send("browser", proxy_support.get())
        sent = b"".join(event[2] for event in stage.take() if event[1] == "data")
        assert sent.startswith(b"HTTP/1.1 500 ")
        assert _octets(text) not in sent
        assert sent.count(b"HTTP/1.1") == 1


# -- reflection ---------------------------------------------------------------------------------

#: All that Thor says itself: the body of an error is the phrase of its status.
OWN_ANSWER = re.compile(
    rb"HTTP/1\.1 (\d{3}) ([A-Za-z ]+)\r\n"
    rb"(?:Content-Type: text/plain(?:; charset=utf-8)?\r\n)?"
    rb"(?:Allow: [A-Z, ]+\r\n)?(?:Content-Type: text/plain; charset=utf-8\r\n)?"
    rb"(?:Proxy-Status: fred; error=[a-z_]+\r\n)?"
    rb"Content-Length: (\d+)\r\n(?:Connection: close\r\n)?\r\n(.*)",
    re.DOTALL,
)
BAD = [
    case
    for case in (*FRAMINGS, *LENGTHS, *CHUNKS, *HEADS)
    if case.becomes == REFUSED and case.id != "head-connect"  # which is no error, but not done
]


def is_own_answer(data: bytes) -> bool:
    """Whether this is short and constant, and says nothing but what is wrong."""
    found = OWN_ANSWER.fullmatch(data)
    if not found or len(data) > 300:
        return False
    return found[4] == found[2] + b"\n" and int(found[3]) == len(found[4])


def are_plain(records: LogRecords) -> bool:
    """Whether each record is one line of what a terminal shows as it is, but for a HTAB."""
    return all(message.replace("\t", " ").isprintable() for message in records.messages)


@pytest.fixture
def logged(_log_guard: LogRecords) -> LogRecords:
    """What is logged, if anything is."""
    return _log_guard


@pytest.mark.parametrize("data", [pytest.param(case.data, id=case.id) for case in BAD])
def test_error_says_nothing_of_what_came_and_forges_no_log_line(
    data: bytes, logged: LogRecords
) -> None:
    tag = b"<script>"
    data = data.replace(b"/m0000", b"/m0000" + tag).replace(b"A: b", b"A: b" + tag)
    stage = server_support.ServerHarness(server_support.answering)
    stage.server.remove_listeners("refused")  # so that it is logged
    assert is_own_answer(stage.client().send(data).take())
    assert are_plain(logged)
    proxied = proxy_support.ProxyHarness()
    proxied.send("browser", data)
    first, *_ = proxied.take()
    assert first[:2] == ("browser", "data")
    assert is_own_answer(first[2])


def test_error_says_nothing_of_what_an_origin_said() -> None:
    for said in (b"<script>\r\n\r\n", b"HTTP/1.1 200 OK\r\n<script>: x\r\n\r\n"):
        stage = proxy_support.ProxyHarness()
        stage.send("browser", proxy_support.get("/<script>"))
        stage.send("a", said)
        answers = [e[2] for e in stage.take() if e[:2] == ("browser", "data")]
        assert len(answers) == 1
        assert is_own_answer(answers[0])


def test_nobody_says_what_software_this_is() -> None:
    for answer in (server_support.answering, None):
        stage = server_support.ServerHarness(answer)
        said = stage.client().send(server_support.request(), b"JUNK\n").take()
        assert b"server:" not in said.lower()
        assert b"thor" not in said.lower()
    asked = client_support.ClientHarness()
    asked.request()
    assert b"user-agent" not in asked.peer.take().lower()


# -- logs ---------------------------------------------------------------------------------------

FORGED = b"\r\nWARNING forged\x1b[31m\x00\x85\xe2\x80\xa8"
#: What a client may send that somebody writes a line about.
SAID = [
    b"GET /%b HTTP/1.1\r\n\r\n" % FORGED,
    b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % FORGED,
    b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % FORGED,
    b"GET / HTTP/1.1\r\nHost: a%b\r\n\r\n" % FORGED[2:],
    b"GET / HTTP/1.1\r\nHost: a\r\nA%b: b\r\n\r\n" % FORGED[2:],
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: %b\r\n\r\n" % FORGED[2:],
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % FORGED[2:],
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % FORGED[2:],
    b"POST /a\xff HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
]


@pytest.mark.parametrize("data", SAID, ids=ascii)
def test_what_a_client_sends_forges_no_line(data: bytes, logged: LogRecords) -> None:
    stage = server_support.ServerHarness(lambda exchange: None)
    stage.server.remove_listeners("refused")
    client = stage.client().send(data)
    client.abort()
    assert are_plain(logged)


@pytest.mark.parametrize("address", ["/tmp/a\nWARNING forged", b"\0a\nWARNING forged\x1b"])
@pytest.mark.parametrize("data", [b"JUNK\n", server_support.request()[:20], server_support.CHUNKED])
def test_where_a_client_comes_from_forges_no_line(
    address: Any, data: bytes, logged: LogRecords
) -> None:
    stage = server_support.ServerHarness(lambda exchange: None)
    stage.server.remove_listeners("exchange", "refused")
    stage.server.on("exchange", server_support.answering)
    client = stage.client()
    # Who is behind a Unix socket chooses its name.
    owner: Any = stage.server_side(client).owner
    owner.address = address
    client.send(data, b"zz\r\n").abort()
    assert are_plain(logged)


def test_what_an_origin_sends_forges_no_line(expected_logs: LogRecords) -> None:
    for said in (
        FORGED + b"\r\n\r\n",
        b"HTTP/1.1 200 %b\r\n\r\n" % FORGED[2:],
        b"HTTP/1.1 200 OK\r\nA%b: b\r\n\r\n" % FORGED[2:],
        b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % FORGED[2:],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % FORGED[2:],
    ):
        stage = client_support.ClientHarness()
        exchange = stage.client.exchange()
        exchange.request_start("GET", "http://origin/", [])
        exchange.request_done([])
        stage.peer.send(said)
        stage.settle()
    assert len(expected_logs.records) == 5
    assert are_plain(expected_logs)


def test_what_was_typed_forges_no_line(expected_logs: LogRecords) -> None:
    typed = FORGED.decode("latin-1")
    for arguments in requests_of(f"a{typed}b"):
        stage = client_support.ClientHarness()
        stage.client.exchange().request_start(*arguments)
        stage.settle()
    assert expected_logs.records
    assert are_plain(expected_logs)

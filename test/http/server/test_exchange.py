"""What a program may send, when, and what of it the client gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from server_support import CHUNKED, HELLO, ServerHarness, answer, answering, request

from thor.http.error import OutputError, OutputStateError, OutputSyntaxError
from thor.http.server import HttpServerExchange
from thor.testing import Peer

OK = b"HTTP/1.1 200 OK\r\n"


def ready(
    data: bytes | None = None, **settings: Any
) -> tuple[ServerHarness, Peer, HttpServerExchange]:
    """A client that waits for the answer to its request."""
    stage = ServerHarness(**settings)
    client = stage.client().send(data or request())
    return stage, client, stage.exchange


def send(
    exchange: HttpServerExchange,
    *chunks: Any,
    status: Any = 200,
    phrase: Any = "OK",
    headers: Any = (),
    trailers: Any = (),
) -> None:
    exchange.response_start(status, phrase, headers)
    for chunk in chunks:
        exchange.response_body(chunk)
    exchange.response_done(trailers)


# -- framing ------------------------------------------------------------------------------------


def test_without_a_length_a_response_is_chunked_with_trailers() -> None:
    _, client, exchange = ready()
    send(exchange, "ab", b"", "cde", trailers=[("X", "y"), ("Content-Length", "9"), (b"Z", b"")])
    assert client.take() == (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nX: y\r\nZ: \r\n\r\n"
    )


def test_with_a_length_it_is_kept_and_trailers_are_dropped() -> None:
    _, client, exchange = ready()
    send(exchange, "ab", "cde", headers=[("content-length", " 5 ")], trailers=[("X", "y")])
    assert client.take() == OK + b"content-length: 5\r\n\r\nabcde"
    assert not client.is_closed


@pytest.mark.parametrize("size", [1, 16 * 1024 - 1, 16 * 1024, 100_000])
def test_chunks_of_any_size_have_their_size_in_front(size: int) -> None:
    _, client, exchange = ready()
    send(exchange, b"x" * size)
    assert client.take().endswith(b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))


@pytest.mark.parametrize(
    ("method", "status", "head"),
    [
        ("HEAD", 200, OK + b"Content-Length: 5\r\n\r\n"),
        ("GET", 204, b"HTTP/1.1 204 OK\r\n\r\n"),
        ("GET", 304, b"HTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_what_has_no_body_gets_none(method: str, status: int, head: bytes) -> None:
    stage, client, exchange = ready(request(method=method))
    send(exchange, "hello", "and more", status=status, headers=[("Content-Length", "5")])
    assert client.take() == head
    client.send(request())
    assert stage.exchanges[1:] != []


def test_head_without_a_length_has_no_last_chunk() -> None:
    _, client, exchange = ready(request(method="HEAD"))
    send(exchange, "hello", trailers=[("X", "y")])
    assert client.take() == OK + b"\r\n"
    assert not client.is_closed


# -- what may be passed -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, "404", b"404"])
@pytest.mark.parametrize("text", [str, lambda text: text.encode("latin-1")], ids=["str", "bytes"])
def test_text_may_be_str_or_bytes(status: Any, text: Callable[[str], Any]) -> None:
    _, client, exchange = ready()
    exchange.response_nonfinal(103, text("Hints"), [(text("Link"), text("</a>"))])
    send(
        exchange,
        text("body"),
        status=status,
        phrase=text("Nö"),
        headers=[(text("X"), text(" é\t")), (text("Content-Length"), text("4"))],
    )
    assert client.take() == (
        b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 404 N\xf6\r\nX: \xe9\r\nContent-Length: 4\r\n\r\nbody"
    )


def test_a_body_may_be_any_kind_of_data_and_change_afterwards() -> None:
    _, client, exchange = ready()
    exchange.response_start(200, "", [("Content-Length", "8")])
    changing = bytearray(b"abc")
    exchange.response_body(changing)
    changing[:] = b"xyz"
    exchange.response_body(memoryview(b"def"))
    exchange.response_body("é")  # UTF-8
    exchange.response_done([])
    assert client.take() == b"HTTP/1.1 200 \r\nContent-Length: 8\r\n\r\nabcdef\xc3\xa9"


def test_a_method_of_their_own_makes_no_difference_to_statuses_without_meaning() -> None:
    _, client, exchange = ready(request(method="BREW"))
    assert exchange.method == b"BREW"
    send(exchange, status=999, phrase="")
    assert client.take().startswith(b"HTTP/1.1 999 \r\n")


# -- 1xx ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [100, 101, 103])
def test_an_informational_status_is_no_final_response(status: int) -> None:
    _, client, exchange = ready()
    with pytest.raises(OutputSyntaxError):
        exchange.response_start(status, "", [])
    assert client.take() == b""
    answer(exchange)
    assert client.take() == HELLO


@pytest.mark.parametrize("status", [101, 200])
def test_only_informational_statuses_are_nonfinal(status: int) -> None:
    _, client, exchange = ready()
    with pytest.raises(OutputSyntaxError):
        exchange.response_nonfinal(status, "", [])
    assert client.take() == b""


# -- misuse raises, and nothing is sent ---------------------------------------------------------

BAD_HEADS: dict[str, tuple[Any, Any, Any]] = {
    "name-space": (200, "OK", [("a b", "c")]),
    "name-empty": (200, "OK", [("", "c")]),
    "name-colon": (200, "OK", [("a:", "c")]),
    "name-crlf": (200, "OK", [("a\r\nb", "c")]),
    "name-not-latin-1": (200, "OK", [("ā", "c")]),
    "value-crlf": (200, "OK", [("a", "b\r\nc: d")]),
    "value-cr": (200, "OK", [("a", "b\rc")]),
    "value-lf": (200, "OK", [("a", "b\nc")]),
    "value-nul": (200, "OK", [("a", b"b\0c")]),
    "value-control": (200, "OK", [("a", b"b\x1bc")]),
    "value-not-latin-1": (200, "OK", [("a", "☃")]),
    "dropped-value-crlf": (200, "OK", [("Connection", "a\r\nb: c")]),
    "phrase-crlf": (200, "OK\r\na: b", []),
    "status-two-digits": (99, "OK", []),
    "status-four-digits": ("2000", "OK", []),
    "status-word": ("two", "OK", []),
    "length-no-number": (200, "OK", [("Content-Length", "five")]),
    "lengths-differ": (200, "OK", [("Content-Length", "5"), ("Content-Length", "6")]),
}


@pytest.mark.parametrize(("status", "phrase", "headers"), BAD_HEADS.values(), ids=BAD_HEADS.keys())
def test_a_bad_head_raises_and_nothing_of_it_is_sent(
    status: Any, phrase: Any, headers: Any
) -> None:
    stage, client, exchange = ready()
    with pytest.raises(OutputSyntaxError):
        exchange.response_start(status, phrase, headers)
    assert client.take() == b""
    answer(exchange)  # the exchange is as it was
    assert client.take() == HELLO
    assert "error" not in stage.names()


@pytest.mark.parametrize(
    ("status", "phrase", "headers"),
    [(2.5, "OK", []), (True, "OK", []), (200, None, []), (200, "OK", [("a", 1)])],
)
def test_a_wrong_type_in_a_head_raises(status: Any, phrase: Any, headers: Any) -> None:
    _, client, exchange = ready()
    with pytest.raises(TypeError):
        exchange.response_start(status, phrase, headers)
    assert client.take() == b""


def test_a_wrong_type_in_a_body_raises() -> None:
    _, client, exchange = ready()
    exchange.response_start(200, "OK", [("Content-Length", "5")])
    with pytest.raises(TypeError):
        exchange.response_body(5)  # type: ignore[arg-type]
    exchange.response_body("hello")
    exchange.response_done([])
    assert client.take() == HELLO


@pytest.mark.parametrize("trailers", [[("a b", "c")], [("a", "b\r\nc")]])
def test_a_bad_trailer_raises_and_the_response_can_still_be_ended(trailers: Any) -> None:
    stage, client, exchange = ready()
    exchange.response_start(200, "OK", [])
    with pytest.raises(OutputSyntaxError):
        exchange.response_done(trailers)
    assert client.take().endswith(b"\r\n\r\n")
    exchange.response_done([("X", "y")])
    assert client.take() == b"0\r\nX: y\r\n\r\n"
    assert stage.events()[-1] == ("done", None)


def test_a_trailer_of_a_wrong_type_raises() -> None:
    _, client, exchange = ready()
    exchange.response_start(200, "OK", [])
    with pytest.raises(TypeError):
        exchange.response_done([("a", 1)])  # type: ignore[list-item]
    exchange.response_done([])
    assert client.take().endswith(b"0\r\n\r\n")


OUT_OF_ORDER: dict[str, tuple[str, Callable[[HttpServerExchange], Any]]] = {
    "body first": ("", lambda e: e.response_body("x")),
    "done first": ("", lambda e: e.response_done([])),
    "start twice": ("start", lambda e: e.response_start(200, "OK", [])),
    "nonfinal after start": ("start", lambda e: e.response_nonfinal(103, "", [])),
    "upgrade after start": ("start", lambda e: e.upgrade("websocket")),
    "start after done": ("start done", lambda e: e.response_start(200, "OK", [])),
    "body after done": ("start done", lambda e: e.response_body("x")),
    "done twice": ("start done", lambda e: e.response_done([])),
    "nonfinal after done": ("start done", lambda e: e.response_nonfinal(103, "", [])),
}


@pytest.mark.parametrize(("before", "call"), OUT_OF_ORDER.values(), ids=OUT_OF_ORDER.keys())
def test_a_call_out_of_order_raises_and_changes_nothing(
    before: str, call: Callable[[HttpServerExchange], Any]
) -> None:
    stage, client, exchange = ready()
    if "start" in before:
        exchange.response_start(200, "OK", [("Content-Length", "0")])
    if "done" in before:
        exchange.response_done([])
    sent = client.take()
    with pytest.raises(OutputStateError):
        call(exchange)
    assert client.take() == b""
    if "start" not in before:
        exchange.response_start(200, "OK", [("Content-Length", "0")])
    if "done" not in before:
        exchange.response_done([])
    assert sent + client.take() == OK + b"Content-Length: 0\r\n\r\n"
    assert stage.events()[-1] == ("done", None)


def test_more_than_the_declared_length_raises_and_is_not_sent() -> None:
    stage, client, exchange = ready(request() + request("/2"))
    exchange.response_start(200, "OK", [("Content-Length", "5")])
    exchange.response_body("hel")
    assert client.take().endswith(b"hel")
    with pytest.raises(OutputStateError, match="1 bytes more"):
        exchange.response_body("lo!")
    assert client.take() == b""
    assert client.is_reset
    assert stage.events()[-3:] == [
        ("error", "OutputStateError"),
        ("close",),
        ("done", "OutputStateError"),
    ]
    exchange.response_done([])  # accepted and dropped
    assert len(stage.exchanges) == 1


def test_less_than_the_declared_length_raises_and_the_client_sees_it() -> None:
    stage, client, exchange = ready()
    exchange.response_start(200, "OK", [("Content-Length", "5")])
    exchange.response_body("hell")
    with pytest.raises(OutputStateError, match="1 bytes less"):
        exchange.response_done([])
    stage.settle()
    assert client.is_reset
    assert stage.events()[-1] == ("done", "OutputStateError")


def test_output_errors_are_one_family() -> None:
    assert issubclass(OutputSyntaxError, OutputError)
    assert issubclass(OutputStateError, OutputError)


# -- backpressure -------------------------------------------------------------------------------


def test_a_client_that_does_not_read_pauses_the_program() -> None:
    stage, client, exchange = ready()
    client.pause()
    exchange.response_start(200, "OK", [])
    written = 0
    while exchange.response_body(b"x" * 10_000):
        written += 10_000
    assert written < 400_000
    assert stage.events()[-1] == ("pause", True)
    assert exchange.response_body(b"y") is False
    assert stage.names().count("pause") == 1
    client.pause(False)
    assert stage.events()[-1] == ("pause", False)
    exchange.response_done([])
    assert client.take().endswith(b"1\r\ny\r\n0\r\n\r\n")


def test_no_pause_is_emitted_after_the_response_is_done() -> None:
    stage, client, exchange = ready()
    client.pause()
    send(exchange, b"x" * 1_000_000)
    client.pause(False)
    stage.settle()
    assert stage.names() == ["request_start", "request_done", "pause", "done"]


@pytest.mark.parametrize("call", ["body", "done", "raise"])
def test_a_listener_for_pause_never_gets_into_the_middle_of_a_chunk(call: str) -> None:
    stage, client, exchange = ready()
    client.pause()

    def paused(paused: bool) -> None:
        if paused and call == "body":
            exchange.response_body(b"y" * 20_000)
        elif paused and call == "done":
            exchange.response_done([])
        elif paused:
            raise KeyError

    exchange.on("pause", paused)
    exchange.response_start(200, "OK", [])
    for _ in range(30):
        if call == "done" and exchange.response_state.name == "DONE":
            break
        try:
            exchange.response_body(b"x" * 20_000)
        except KeyError:
            pass
    if call != "done":
        exchange.response_done([])
    client.pause(False)
    body = client.take().partition(b"\r\n\r\n")[2]
    pieces = body.split(b"\r\n")
    assert set(pieces[:-4:2]) == {b"4e20"}
    assert {len(piece) for piece in pieces[1:-4:2]} == {20_000}
    assert pieces[-4:] == [pieces[-4], b"0", b"", b""]
    assert stage.events()[-1] == ("done", None)


def test_pausing_the_response_pauses_no_request() -> None:
    stage = ServerHarness(lambda exchange: exchange.response_start(200, "OK", []))
    client = stage.client().pause().send(CHUNKED)
    exchange = stage.exchange
    while exchange.response_body(b"x" * 10_000):
        pass
    client.send(b"2\r\nab\r\n0\r\n\r\n")
    assert stage.names()[-2:] == ["request_body", "request_done"]


# -- looking ------------------------------------------------------------------------------------


def test_repr_shows_request_and_state() -> None:
    _, _, exchange = ready(request("/a"))
    assert repr(exchange) == "<HttpServerExchange GET b'/a' IDLE>".replace("b'", "'")
    answer(exchange)
    assert "DONE" in repr(exchange)


def test_what_a_client_offers_is_there_to_see() -> None:
    _, _, exchange = ready(request("/", "Connection: upgrade", "Upgrade: h2c, WebSocket"))
    assert exchange.upgrade_offered == [b"h2c", b"WebSocket"]
    assert exchange.host == b"origin"


def test_the_documented_example_works_as_it_stands() -> None:
    from thor.events import on

    def test_handler(exch: Any) -> None:
        @on(exch)
        def request_start(*args: Any) -> None:
            exch.response_start(200, "OK", [("Content-Type", "text/plain")])
            exch.response_body("Hello, world!")
            exch.response_done([])

    client = ServerHarness(test_handler).client().send(request())
    assert client.take() == (
        OK + b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"d\r\nHello, world!\r\n0\r\n\r\n"
    )


def test_an_exchange_takes_attributes_of_the_programs_own() -> None:
    stage = ServerHarness(answering)
    stage.client().send(request())
    stage.exchange.note = 1  # type: ignore[attr-defined]
    assert stage.exchange.__dict__["note"] == 1


# -- the client, and the end of one exchange ------------------------------------------------------


def test_exchange_tells_of_its_client() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    exchange = stage.exchange
    assert exchange.peer == stage.server_side(client).address
    assert (exchange.secure, exchange.is_open) == (False, True)
    client.abort()
    stage.settle()
    assert not exchange.is_open


@pytest.mark.parametrize("flush", [False, True])
def test_aborted_response_is_reset_and_lost(flush: bool) -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    exchange = stage.exchange
    exchange.response_start(200, "OK", [("Content-Length", "9")])
    exchange.response_body("part")
    exchange.abort(flush=flush)
    stage.settle()
    assert client.is_reset
    assert client.received.endswith(b"part") is flush
    assert [name for name, *_ in stage.events()][-3:] == ["error", "close", "done"]
    exchange.abort()  # harmless when it is over


def test_abort_of_an_answered_exchange_changes_nothing() -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    answer(stage.exchange)
    stage.exchange.abort()
    stage.settle()
    assert client.take().endswith(b"hello")
    client.send(request())
    answer(stage.exchange)
    stage.settle()
    assert client.take().endswith(b"hello")

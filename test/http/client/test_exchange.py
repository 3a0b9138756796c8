"""The life of an exchange: pausing, trying again, ending exactly once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from client_support import EVENTS, HELLO, HELLO_EVENTS, Stage, Watched

from thor.http.client import HttpClientExchange
from thor.http.error import ConnectError, IncompleteMessageError, OutputStateError
from thor.http.wire.state import CLIENT_READING, CLIENT_WRITING

MakeStage = Callable[..., Stage]

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


# -- pausing --------------------------------------------------------------------------------------


def test_a_paused_response_is_held_back_and_the_origin_slowed_down(stage: Stage) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    peer = stage.peer
    peer.send(BIG + b"x" * 1_000_000)
    assert watched.names == ["response_start"]
    reader = watched.exchange._conn._reader  # type: ignore[union-attr]
    assert reader.buffered < 300_000
    assert peer.conn._buffer.size > 500_000
    watched.exchange.pause(False)
    assert watched.body() == b"x" * 1_000_000
    assert watched.names[-1] == "response_done"
    assert stage.idle == 1


def test_pausing_holds_from_inside_a_listener(stage: Stage) -> None:
    watched = stage.request()
    watched.exchange.on("response_start", lambda *_: watched.exchange.pause(True))
    stage.peer.send(HELLO)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.heard.events == HELLO_EVENTS[:1]  # a method never emits
    assert watched.events == HELLO_EVENTS


def test_pausing_again_before_it_has_resumed(stage: Stage) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO)
    watched.exchange.pause(False)
    watched.exchange.pause(True)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.events == HELLO_EVENTS


@pytest.mark.parametrize("how", ["finish", "reset"])
def test_what_arrived_before_the_end_is_there_after_a_pause(stage: Stage, how: str) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO)
    getattr(stage.peer, how)()
    stage.advance(100)
    assert watched.names == ["response_start"]
    watched.exchange.pause(False)
    assert watched.events == HELLO_EVENTS
    assert stage.open == 0


@pytest.mark.parametrize("how", ["finish", "reset"])
def test_a_truncation_is_told_after_a_pause(stage: Stage, how: str) -> None:
    watched = stage.request()
    watched.exchange.pause(True)
    stage.peer.send(HELLO[:-2])
    getattr(stage.peer, how)()
    watched.exchange.pause(False)
    assert watched.body() == b"hel"
    assert isinstance(watched.error, (ConnectError, IncompleteMessageError))


# -- trying again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize("how", ["finish", "reset"])
def test_an_idempotent_request_is_tried_again(stage: Stage, method: str, how: str) -> None:
    watched = stage.request(method, body=b"abc" if method == "PUT" else b"")
    first = stage.peer.take()
    getattr(stage.peer, how)()
    assert len(stage.peers) == 1
    stage.advance(0.49)
    assert len(stage.peers) == 1
    stage.advance(0.02)
    assert len(stage.peers) == 2
    assert stage.peer.take() == first != b""
    stage.answer(watched, b"HTTP/1.1 204 No\r\n\r\n")
    assert watched.names == ["response_start", "response_done"]


def test_it_gives_up_after_the_limit(stage: Stage) -> None:
    watched = stage.request()
    for count in (1, 2, 3):
        assert len(stage.peers) == count
        stage.peer.reset()
        stage.advance(0.5)
    assert len(stage.peers) == 3
    assert isinstance(watched.error, ConnectError)


def test_retry_settings(make_stage: MakeStage) -> None:
    stage = make_stage(retry_limit=1, retry_delay=7)
    watched = stage.request()
    stage.peer.finish()
    stage.advance(6.9)
    assert len(stage.peers) == 1
    stage.advance(0.2)
    assert len(stage.peers) == 2
    stage.peer.finish()
    assert isinstance(watched.error, ConnectError)


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "PURGE"])
def test_another_request_is_not_tried_again_once_it_was_sent(stage: Stage, method: str) -> None:
    watched = stage.request(method, "origin:80" if method == "CONNECT" else "http://origin/")
    assert stage.peer.take()
    stage.peer.finish()
    assert isinstance(watched.error, ConnectError)
    assert len(stage.peers) == 1


def test_any_request_is_tried_again_of_which_no_byte_was_sent(stage: Stage) -> None:
    connect = stage.network.connect

    def connect_in_vain(host: str, port: int) -> Any:
        """The connection is made, and reset before anything can be sent on it."""
        stage.network.connect = connect  # type: ignore[method-assign]
        conn: Any = connect(host, port)
        conn.socket.reset()
        return conn

    stage.network.connect = connect_in_vain  # type: ignore[method-assign]
    watched = stage.request("POST", headers=[("Content-Length", "1")], body=b"x")
    assert stage.peer.take() == b""
    stage.advance(0.6)
    assert stage.peer.take().endswith(b"\r\n\r\nx")
    assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 2


def test_a_refused_connection_is_tried_again(stage: Stage) -> None:
    watched = stage.request("POST", "http://late/", body=b"x")
    stage.advance(0.3)
    stage.listen("late")
    stage.advance(0.3)
    assert stage.peer.take().endswith(b"1\r\nx\r\n0\r\n\r\n")
    assert stage.answer(watched).events == HELLO_EVENTS


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_pooled_connection_that_was_closed_is_replaced_at_once(
    make_stage: MakeStage, method: str
) -> None:
    stage = make_stage(retry_limit=0)
    stage.answer(stage.request())
    peer = stage.peer
    # The FIN is on its way when the request is made: it is read in the turn that would send it.
    peer.conn.end_writing()
    peer.conn._flush()
    watched = stage.start(method)
    watched.exchange.request_done([])
    assert stage.answer(watched).events == HELLO_EVENTS
    assert len(stage.peers) == 2


def test_a_pooled_connection_is_replaced_only_once_without_a_delay(stage: Stage) -> None:
    stage.answer(stage.request())
    watched = stage.request()
    for count in (2, 3):
        stage.peer.finish()  # having read the request
        assert len(stage.peers) == 2
        stage.advance(0.6 * (count - 2))
        assert len(stage.peers) == count
    assert stage.answer(watched).events == HELLO_EVENTS


def test_it_is_replaced_by_a_new_one_though_others_are_idle(stage: Stage) -> None:
    first, second = stage.request(), stage.request()
    for peer in list(stage.peers):
        peer.send(HELLO)
    assert (len(first.events), len(second.events), stage.idle) == (3, 3, 2)
    watched = stage.request()
    used = next(peer for peer in stage.peers if peer.take().count(b"GET") == 2)
    used.finish()
    assert len(stage.peers) == 3
    assert stage.answer(watched).events == HELLO_EVENTS


def test_a_body_over_the_limit_is_not_held(make_stage: MakeStage) -> None:
    for size, tried in ((1000, 2), (1001, 1)):
        stage = make_stage(retry_body_limit=1000)
        headers = [("Content-Length", str(size + 1))]
        watched = stage.start("PUT", headers=headers)
        watched.exchange.request_body(b"x" * size)
        assert len(stage.peer.take()) > size
        stage.peer.finish()
        stage.advance(0.6)
        assert len(stage.peers) == tried
        if tried == 2:
            watched.exchange.request_body("y")
            watched.exchange.request_done([])
            assert stage.peer.take().endswith(b"x" * size + b"y")
            assert stage.answer(watched).body() == b"hello"
        else:
            assert isinstance(watched.error, ConnectError)


def test_a_body_goes_on_where_the_retry_finds_it(stage: Stage) -> None:
    watched = stage.start("PUT")
    watched.exchange.request_body("a")
    stage.peer.finish()
    watched.exchange.request_body("b")  # nobody has a connection now
    stage.advance(0.5)
    watched.exchange.request_body("c")
    watched.exchange.request_done([])
    assert stage.peer.take().endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
    assert stage.answer(watched).events == HELLO_EVENTS


def test_an_expectation_holds_for_the_retry_too(stage: Stage) -> None:
    watched = stage.request("PUT", headers=[("Expect", "100-continue")], body=b"ok")
    stage.peer.finish()
    stage.advance(0.5)
    assert stage.peer.take().endswith(b"chunked\r\n\r\n")
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stage.peer.take().startswith(b"2\r\nok\r\n")
    assert stage.answer(watched).body() == b"hello"


# -- cancelling -----------------------------------------------------------------------------------

HALF = HELLO[:-2]


def _nothing(stage: Stage, watched: Watched) -> None:
    pass


def _started(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [])


def _connected(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://origin/", [])
    stage.settle()


def _sending(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [])
    stage.peer.conn.pause(True)
    watched.exchange.request_body(b"x" * 1_000_000)
    stage.settle()


def _expecting(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [("Expect", "100-continue")])
    watched.exchange.request_body("x")
    stage.settle()


def _sent(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://origin/", [])
    watched.exchange.request_done([])
    stage.settle()


def _refused(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://nowhere/", [])
    stage.settle()


def _retrying(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    stage.peer.reset()


def _hanging(stage: Stage, watched: Watched) -> None:
    stage.network.errors["hangs", 80] = None
    watched.exchange.request_start("GET", "http://hangs/", [])
    stage.settle()


def _queued(stage: Stage, watched: Watched) -> None:
    stage.client.max_server_conn = 1
    other = stage.request()
    watched.exchange.request_start("GET", "http://origin/", [])
    stage.settle()
    other.exchange.cancel()


def _in_head(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    stage.peer.send(HELLO[:20])


def _in_body(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    stage.peer.send(HALF)


def _paused(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    watched.exchange.pause(True)
    stage.peer.send(HELLO)


def _ended_paused(stage: Stage, watched: Watched) -> None:
    _paused(stage, watched)
    stage.peer.finish()


def _lost_paused(stage: Stage, watched: Watched) -> None:
    _paused(stage, watched)
    stage.peer.reset()


def _resuming(stage: Stage, watched: Watched) -> None:
    _paused(stage, watched)
    watched.exchange.pause(False)


def _failing(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("GET", "nonsense", [])


MOMENTS = [
    _nothing,
    _started,
    _connected,
    _sending,
    _expecting,
    _sent,
    _refused,
    _retrying,
    _hanging,
    _queued,
    _in_head,
    _in_body,
    _paused,
    _ended_paused,
    _lost_paused,
    _resuming,
    _failing,
]
moments = pytest.mark.parametrize("reach", MOMENTS, ids=[m.__name__[1:] for m in MOMENTS])


def use_all(exchange: HttpClientExchange) -> None:
    """Call everything on an exchange that is over: nothing may come of it."""
    exchange.pause(True)
    exchange.pause(False)
    exchange.request_start("GET", "http://origin/", [])
    assert exchange.request_body("x") is True
    exchange.request_done([])
    exchange.cancel()


@moments
def test_cancelling_is_silent_at_every_moment(
    stage: Stage, reach: Callable[[Stage, Watched], None]
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    before = list(watched.heard.events)
    watched.exchange.cancel()
    use_all(watched.exchange)
    stage.advance(100)
    assert watched.heard.events == before
    watched.is_silent()
    assert watched.exchange.conn is None
    assert stage.leftovers() == []
    assert stage.idle == 0
    assert stage.answer(stage.request()).events == HELLO_EVENTS  # and nothing else is disturbed


@pytest.mark.parametrize("how", ["cancel", "close", "abort"])
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_cancelling_between_the_response_and_the_upgrade(
    stage: Stage, method: str, how: str
) -> None:
    watched = stage.request(
        method, "origin:80" if method == "CONNECT" else "http://origin/", upgrade="x"
    )
    conn = watched.exchange.conn
    assert conn is not None
    assert conn.tcp_conn is not None
    end = {"cancel": watched.exchange.cancel, "close": conn.close, "abort": conn.tcp_conn.abort}
    for event in ("response_nonfinal", "response_start"):
        watched.exchange.on(event, lambda *_: end[how]())
    status = b"101" if method == "GET" else b"200"
    stage.peer.send(b"HTTP/1.1 %b Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" % status)
    assert len(watched.names) == 1
    watched.is_silent()
    assert stage.peer.lost
    assert stage.open == 0


@pytest.mark.parametrize("event", ["response_nonfinal", "response_start", "response_body"])
@pytest.mark.parametrize("how", ["cancel", "close", "abort"])
def test_cancelling_inside_a_listener(stage: Stage, event: str, how: str) -> None:
    watched = stage.request()
    conn = watched.exchange.conn
    assert conn is not None
    assert conn.tcp_conn is not None
    end = {"cancel": watched.exchange.cancel, "close": conn.close, "abort": conn.tcp_conn.abort}
    watched.exchange.on(event, lambda *_: end[how]())
    stage.peer.send(b"HTTP/1.1 103 Early\r\n\r\n" + HALF)
    assert watched.names[-1] == event
    assert conn.tcp_conn is None
    assert watched.exchange.conn is None
    assert stage.peer.lost
    assert stage.open == 0


@moments
@pytest.mark.parametrize("how", ["close", "abort"])
def test_ending_the_connection_is_silent_at_every_moment(
    stage: Stage, reach: Callable[[Stage, Watched], None], how: str
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    conn = watched.exchange.conn
    if conn is None or (how == "abort" and conn.tcp_conn is None):
        watched.exchange.cancel()  # there is none to end
        return
    before = list(watched.heard.events)
    if how == "close":
        conn.close()
    else:
        assert conn.tcp_conn is not None
        conn.tcp_conn.abort()
        stage.settle()
    use_all(watched.exchange)
    stage.advance(100)
    assert watched.heard.events == before
    assert watched.exchange.conn is None


@moments
@pytest.mark.parametrize("how", ["finish", "reset"])
def test_the_origins_end_is_terminal_once_at_every_moment(
    stage: Stage, reach: Callable[[Stage, Watched], None], how: str
) -> None:
    watched = stage.exchange()
    reach(stage, watched)
    if not watched.exchange.method or reach is _hanging:
        watched.exchange.cancel()
        return
    watched.exchange.pause(False)
    for _ in range(8):
        stage.settle()
        for peer in list(stage.peers):
            if not peer.closed:
                getattr(peer, how)()
        stage.advance(1)
    watched.ends_once()
    assert watched.exchange.conn is None
    assert stage.open == 0


# -- attributes -----------------------------------------------------------------------------------


def test_attributes_for_existing_users(stage: Stage) -> None:
    watched = stage.start(uri="http://origin/a")
    exchange = watched.exchange
    assert exchange.origin == ("http", "origin", 80)
    assert (exchange.method, exchange.uri) == (b"GET", b"http://origin/a")
    assert exchange.client is stage.client
    assert exchange.loop is stage.loop
    assert exchange.conn is None
    stage.settle()
    conn = exchange.conn
    assert conn is not None
    assert conn.tcp_conn is stage.peer.client_side
    exchange.request_done([])
    seen: list[Any] = []
    head = b"HTTP/1.0 200 OK\r\nTransfer: x\r\n\r\n"
    exchange.on("response_body", lambda _: seen.append(exchange.input_transfer_length))
    exchange.on("response_done", lambda _: seen.append(exchange.conn))
    stage.peer.send(head, b"abc", b"de").finish()
    assert seen == [3, 5, None]
    assert exchange.conn is conn.tcp_conn is None
    assert exchange.res_version == b"1.0"
    assert exchange.input_header_length == len(head)
    assert exchange.input_transfer_length == 5


def test_lengths_count_what_was_transferred(stage: Stage) -> None:
    watched = stage.request()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n"
    stage.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + head + body)
    assert watched.exchange.input_header_length == len(head)
    assert watched.exchange.input_transfer_length == len(body)
    again = stage.request()  # on the same connection it begins anew
    stage.peer.send(HELLO)
    assert again.exchange.input_transfer_length == 5


def test_lengths_of_a_response_that_was_cut_off(stage: Stage) -> None:
    watched = stage.request()
    stage.peer.send(HELLO[:-2]).finish()
    assert isinstance(watched.error, IncompleteMessageError)
    assert watched.exchange.input_transfer_length == 3


def test_repr_says_where_it_stands(stage: Stage) -> None:
    watched = stage.start(uri="http://origin/a")
    expected = "<HttpClientExchange GET 'http://origin/a' request BODY, response HEAD>"
    assert repr(watched.exchange) == expected
    watched.exchange.cancel()


# -- listeners ------------------------------------------------------------------------------------


def test_a_sink_gets_the_events(stage: Stage) -> None:
    heard: list[Any] = []

    class Sink:
        def response_start(self, *args: Any) -> None:
            heard.append(args[0])

        def response_done(self, *args: Any) -> None:
            heard.append(args)

    exchange = stage.client.exchange()
    exchange.sink(Sink())
    exchange.request_start("GET", "http://origin/", [])
    exchange.request_done([])
    stage.peer.send(HELLO)
    assert heard == [b"200", ([],)]


def test_the_next_request_in_response_done_gets_the_same_connection(stage: Stage) -> None:
    watched = stage.request()
    following: list[Watched] = []
    watched.exchange.on("response_done", lambda _: following.append(stage.start()))
    stage.peer.send(HELLO)
    following[0].exchange.request_done([])
    assert stage.answer(following[0]).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_a_thousand_requests_in_response_done_do_not_nest(stage: Stage) -> None:
    left = 1000

    def following(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            exchange = stage.client.exchange()
            exchange.on("response_done", following)
            exchange.request_start("GET", "http://origin/", [])
            exchange.request_done([])

    following()
    stage.settle()
    stage.peer.conn.on("data", lambda _: stage.peers[0].conn.write(HELLO))
    stage.peer.conn.write(HELLO)
    stage.settle()
    assert left == 0
    assert len(stage.peers) == 1


def test_an_error_that_nobody_hears_is_logged(stage: Stage, expected_logs: Any) -> None:
    exchange = stage.client.exchange()
    exchange.request_start("GET", "nonsense", [])
    stage.settle()
    record = expected_logs.records[-1]
    assert (record.levelname, record.name) == ("WARNING", "thor.http")
    assert "not an http or https URI" in record.getMessage()


@pytest.mark.parametrize("event", ["response_start", "response_body"])
def test_a_listener_that_raises_loses_its_exchange(
    stage: Stage, event: str, expected_logs: Any
) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    watched.exchange.on(event, lambda *_: 1 / 0)
    stage.peer.send(HELLO)
    assert isinstance(watched.error, OutputStateError)
    assert stage.open == 0
    assert stage.answer(stage.request()).events == HELLO_EVENTS


def test_raising_in_response_done_harms_nobody(stage: Stage, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    following: list[Watched] = []

    def raising(_: Any) -> None:
        nxt = stage.start()
        nxt.exchange.request_done([])
        following.append(nxt)
        raise ZeroDivisionError

    watched.exchange.on("response_done", raising)
    stage.peer.send(HELLO)
    assert watched.events == HELLO_EVENTS
    assert stage.answer(following[0]).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_raising_in_response_done_after_a_pause_leaves_the_connection_reading(
    stage: Stage, expected_logs: Any
) -> None:
    stage.loop.on_exception = "log"
    watched = stage.request()
    watched.exchange.on("response_done", lambda _: 1 / 0)
    watched.exchange.pause(True)
    stage.peer.send(BIG + b"x" * 1_000_000)
    watched.exchange.pause(False)
    assert watched.names[-1] == "response_done"
    assert stage.answer(stage.request()).events == HELLO_EVENTS
    assert len(stage.peers) == 1


def test_raising_in_error_harms_nobody(stage: Stage, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    for uri in ("nonsense", "http://origin/"):
        watched = stage.request(uri=uri) if uri != "nonsense" else stage.start(uri=uri)
        watched.exchange.on("error", lambda _: 1 / 0)
        if uri != "nonsense":
            stage.peer.send(b"nonsense\r\n\r\n")
        watched.error
    assert stage.answer(stage.request()).events == HELLO_EVENTS


def test_raising_in_pause_ends_the_exchange(stage: Stage, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    watched = stage.start("POST")
    stage.peer.conn.pause(True)
    watched.exchange.on("pause", lambda paused: paused or 1 / 0)
    watched.exchange.request_body(b"x" * 1_000_000)
    stage.settle()
    stage.peer.conn.pause(False)
    assert isinstance(watched.error, OutputStateError)
    assert stage.open == 0


# -- memory ---------------------------------------------------------------------------------------


def _done(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    stage.peer.send(HELLO)


def _error(stage: Stage, watched: Watched) -> None:
    _sent(stage, watched)
    stage.peer.send(b"nonsense\r\n\r\n")


def _cancelled(stage: Stage, watched: Watched) -> None:
    _in_body(stage, watched)
    watched.exchange.cancel()


def _switched(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("CONNECT", "origin:80", [])
    watched.exchange.request_done([])
    stage.peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    watched.heard.events[-1][1].close()


def _bad_uri(stage: Stage, watched: Watched) -> None:
    watched.exchange.request_start("GET", "nonsense", [])


def _after_retry(stage: Stage, watched: Watched) -> None:
    _retrying(stage, watched)
    stage.advance(1)
    stage.peer.send(HELLO)


def _no_dns(stage: Stage, watched: Watched) -> None:
    import socket

    stage.network.errors["gone", 80] = (socket.gaierror, socket.EAI_NONAME)
    watched.exchange.request_start("GET", "http://gone/", [])


ENDS = [_done, _error, _cancelled, _switched, _bad_uri, _after_retry, _no_dns]


@pytest.mark.parametrize("reach", ENDS, ids=[e.__name__[1:] for e in ENDS])
def test_an_exchange_that_is_over_is_freed_without_the_collector(
    stage: Stage, reach: Callable[[Stage, Watched], None]
) -> None:
    stage.answer(stage.request())  # what is made once is there
    stage.settle()
    gc.collect()
    gc.disable()
    try:
        watched = stage.exchange()
        exchange = watched.exchange
        for event in EVENTS:  # the usual closure: it holds the exchange
            exchange.on(event, lambda *_, held=exchange: None)
        reach(stage, watched)
        stage.advance(1)
        gone = weakref.ref(exchange)
        watched.heard.events.clear()
        del exchange, watched
        assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_hundred_requests_leave_nothing_behind(stage: Stage) -> None:
    stage.answer(stage.request())
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        stage.answer(stage.request())
        stage.peer.take()
    gc.collect()
    assert len(gc.get_objects()) - before < 20


# -- the table ------------------------------------------------------------------------------------


def test_the_states_move_as_the_tables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of state in all the ways to reach and leave a moment is in the tables."""
    steps: set[tuple[Any, Any]] = set()

    def tracked(name: str) -> property:
        def change(self: Any, state: Any) -> None:
            old = self.__dict__.get(name, state)
            if old is not state:
                steps.add((old, state))
            self.__dict__[name] = state

        return property(lambda self: self.__dict__[name], change)

    for name in ("_reading", "_writing"):
        monkeypatch.setattr(HttpClientExchange, name, tracked(name), raising=False)
    for reach in [*MOMENTS, *ENDS]:
        for end in ("cancel", "answer", "reset"):
            stage = Stage()
            watched = stage.exchange()
            reach(stage, watched)
            if end == "cancel":
                watched.exchange.cancel()
            for peer in list(stage.peers):
                stage.settle()
                if end == "reset":
                    peer.reset()
                elif peer.conn.tcp_connected:
                    peer.send(HELLO)
            stage.advance(1)
            watched.exchange.cancel()
            stage.loop.stop()
    allowed = {
        (state, following)
        for table in (CLIENT_READING, CLIENT_WRITING)
        for (state, _), following in table.items()
        if state is not following
    }
    assert steps <= allowed
    unused = {(str(a), str(b)) for a, b in allowed - steps}
    assert unused <= {("ClientWriting.DONE", "ClientWriting.FAILED")}

"""Development mode: what is reported, and that nothing is left of it when it is off."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import server_support
from cli_support import here
from client_support import ClientHarness
from server_support import answer, request

import thor
import thor.development
from thor.development import MAX_HIGH_WATERS, UNANSWERED_S, DevelopmentWarning
from thor.events import EventEmitter
from thor.http import HttpClient, HttpServerExchange
from thor.loop import LoopBase
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import TcpConnection
from thor.testing import Peer, connection_pair, memory_loop, settle
from thor_support import ROOT


@pytest.fixture
def loop() -> LoopBase:
    return memory_loop()


@pytest.fixture(autouse=True)
def mode(loop: LoopBase) -> Iterator[None]:
    """Development mode, as the loop of a test has it."""
    loop.debug = True
    yield
    loop.debug = False


class Stage(server_support.ServerHarness):
    """A server in memory whose program keeps no exchange, and none of what is emitted on it."""

    def _exchange(self, exchange: HttpServerExchange) -> None:
        if self.handler is not None:
            self.handler(exchange)

    def get(self, body: bytes = b"") -> Peer:
        """A client that has sent a request."""
        client = self.client().send(request(method="POST", body=body))
        self.settle()
        return client


# -- events -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["on", "once", "prepend_listener", "prepend_once_listener"])
def test_listener_for_undeclared_event_warns_with_nearest_name(loop: LoopBase, how: str) -> None:
    conn = connection_pair(loop).client
    with pytest.warns(DevelopmentWarning) as record:
        getattr(conn, how)("dissconnect", print)
    (warning,) = record
    assert str(warning.message) == (
        "TcpConnection emits no event 'dissconnect'; did you mean 'disconnect'?"
    )
    assert warning.filename == __file__
    conn.abort()


def test_warning_names_the_line_of_the_decorator_or_with_statement(loop: LoopBase) -> None:
    with pytest.warns(DevelopmentWarning) as by_decorator:
        thor.on(loop, "strat")(print)
    with pytest.warns(DevelopmentWarning) as by_statement:
        loop.listening("stpo", print).__enter__()
    record = (*by_decorator, *by_statement)
    assert [warning.filename for warning in record] == [__file__, __file__]


def test_listener_for_inherited_event_does_not_warn(loop: LoopBase) -> None:
    conn = connection_pair(loop).client
    for event in ("disconnect", "fd_error", "newListener", "removeListener"):
        conn.on(event, print)
    conn.abort()


def test_emitter_of_the_program_is_checked_where_it_declares_events() -> None:
    class Silent(EventEmitter): ...

    class Unsaid(TcpConnection): ...

    class Said(EventEmitter):
        emits = frozenset(("opened",))

    Silent().on("anything", print)
    Unsaid.__new__(Unsaid).on("opend", print)
    Said().on("opened", print)
    with pytest.warns(DevelopmentWarning, match="Said emits no event 'opend'.*'opened'"):
        Said().on("opend", print)


def emitter_classes(cls: type[EventEmitter] = EventEmitter) -> Iterator[type[EventEmitter]]:
    yield cls
    for derived in cls.__subclasses__():
        if derived.__module__.startswith("thor."):
            yield from emitter_classes(derived)


@pytest.mark.parametrize("cls", dict.fromkeys(emitter_classes()), ids=lambda cls: cls.__name__)
def test_declared_events_are_the_documented_ones(cls: type[EventEmitter]) -> None:
    told = re.search(r"^Emits\b.*?:\n(.*?)(^\S|\Z)", inspect.getdoc(cls) or "", re.S | re.M)
    documented = set(re.findall(r"^ {4}(?:.*\), )?(\w+)\(", told[1], re.M)) if told else set()
    documented |= set(re.findall(r"^ {4}(\w+)\(.*?\), \w+\(", told[1], re.M)) if told else set()
    declared = set().union(*(vars(each).get("emits", ()) for each in cls.__mro__))
    assert documented <= declared
    assert vars(cls).get("emits", documented) == documented


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [("idle_timout", "; did you mean 'idle_timeout'?"), ("xyzzy", "")],
)
def test_attribute_that_is_no_setting_warns_with_nearest_name(
    loop: LoopBase, name: str, meant: str
) -> None:
    client = HttpClient(loop)
    with pytest.warns(DevelopmentWarning) as record:
        setattr(client, name, 5)
    assert str(record[0].message) == f"{name!r} is no setting of HttpClient{meant}"
    assert record[0].filename == __file__
    assert getattr(client, name) == 5


def test_settings_of_server_and_proxy_are_checked_too(loop: LoopBase) -> None:
    proxy = ReverseProxy("127.0.0.1", 0, Upstream(["http://127.0.0.1:1"]), thor.loop._loop)
    with pytest.warns(DevelopmentWarning, match="'tunel_timeout'.*'tunnel_timeout'"):
        proxy.tunel_timeout = 5  # type: ignore[attr-defined]
    with pytest.warns(DevelopmentWarning, match="'max_boddy_bytes'.*'max_body_bytes'"):
        proxy.server.max_boddy_bytes = 5  # type: ignore[attr-defined]
    proxy.tunnel_timeout = 5
    proxy.server.max_body_bytes = 5
    proxy.shutdown()


def test_subclass_warns_of_what_resembles_a_setting_and_no_more(loop: LoopBase) -> None:
    class Mine(HttpClient):
        conect_timeout = 5
        purpose = "tests"

        def report(self) -> None: ...

    with pytest.warns(DevelopmentWarning, match="Mine.conect_timeout.*'connect_timeout'") as record:
        client = Mine(loop)
    assert len(record) == 1
    Mine(loop).hits = 1
    with pytest.warns(DevelopmentWarning, match="'retry_limits' is no setting of Mine"):
        client.retry_limits = 1


# -- threads ------------------------------------------------------------------------------------


def in_thread(function: Callable[[], Any]) -> BaseException | None:
    """What a function raises in another thread."""
    raised: list[BaseException | None] = [None]

    def call() -> None:
        try:
            function()
        except BaseException as exc:
            raised[0] = exc

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return raised[0]


def test_call_from_wrong_thread_raises(loop: LoopBase) -> None:
    conn = connection_pair(loop).client
    client = HttpClient(loop)
    exchange = client.exchange()
    calls: dict[str, Callable[[], Any]] = {
        "EventLoop.schedule": lambda: loop.schedule(1, print),
        "TcpConnection.write": lambda: conn.write(b"x"),
        "TcpConnection.close": conn.close,
        "HttpClientExchange.request_start": lambda: exchange.request_start("GET", "http://a/", []),
    }
    raised: dict[str, Any] = {}

    def from_elsewhere() -> None:
        raised.update({name: in_thread(call) for name, call in calls.items()})

    loop.schedule(0, from_elsewhere)
    settle(loop)
    for name, exc in raised.items():
        assert isinstance(exc, RuntimeError), name
        assert str(exc).startswith(f"{name} was called from a thread that is not its loop's")
        assert "run_in_loop()" in str(exc)
    assert loop.scheduled_events() == []
    conn.abort()


def test_exchange_answered_from_wrong_thread_raises() -> None:
    raised: list[Any] = []

    def handle(exchange: HttpServerExchange) -> None:
        raised.append(in_thread(lambda: exchange.response_start(200, "OK", [])))
        answer(exchange)

    Stage(handle).get()
    assert isinstance(raised[0], RuntimeError)


def test_calls_that_other_threads_may_make_do_not_raise(loop: LoopBase) -> None:
    heard: list[Any] = []
    loop.schedule(0, lambda: heard.append(in_thread(lambda: loop.run_in_loop(heard.append, 1))))
    settle(loop)
    assert heard == [None, 1]
    # Nor does any call while the loop does not run.
    assert in_thread(lambda: loop.schedule(0, heard.append, 2)) is None
    loop.schedule(0, lambda: heard.append(in_thread(loop.stop)))
    settle(loop)
    assert heard == [None, 1, 2, None]


# -- queues -------------------------------------------------------------------------------------


def fill(conn: TcpConnection, write: Callable[[bytes], Any], times: int) -> None:
    for _ in range(times):
        write(b"x" * conn.high_water)


def test_queue_that_grows_unwatched_warns_once(loop: LoopBase) -> None:
    conn = connection_pair(loop).client
    fill(conn, conn.write, MAX_HIGH_WATERS)
    with pytest.warns(DevelopmentWarning, match="nobody listens for 'pause'") as record:
        fill(conn, conn.write, 3)
    assert len(record) == 1
    assert record[0].filename == __file__
    conn.abort()


def test_queue_that_is_watched_does_not_warn(loop: LoopBase) -> None:
    conn = connection_pair(loop).client
    conn.on("pause", lambda paused: None)
    fill(conn, conn.write, MAX_HIGH_WATERS + 2)
    conn.abort()


@pytest.mark.parametrize("watched", [False, True])
def test_response_that_grows_unwatched_warns(watched: bool) -> None:
    def handle(exchange: HttpServerExchange) -> None:
        if watched:
            exchange.on("pause", lambda paused: None)
        exchange.response_start(200, "OK", [])
        conn = exchange.http_conn.tcp_conn
        assert conn is not None
        fill(conn, exchange.response_body, MAX_HIGH_WATERS + 2)
        conn.abort()

    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        Stage(handle).get()
    told = [str(warning.message) for warning in record]
    assert len(told) == (not watched)
    assert all("'pause' of HttpServerExchange" in text for text in told)


@pytest.mark.parametrize("watched", [False, True])
def test_request_that_grows_unwatched_warns(watched: bool) -> None:
    stage = ClientHarness()
    exchange = stage.client.exchange()
    exchange.on("error", lambda err: None)
    if watched:
        exchange.on("pause", lambda paused: None)
    exchange.request_start("POST", "http://origin/", [])
    stage.settle()
    assert exchange.conn is not None
    conn = exchange.conn.tcp_conn
    assert conn is not None
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        fill(conn, exchange.request_body, MAX_HIGH_WATERS + 2)
    assert len(record) == (not watched)
    exchange.cancel()
    stage.settle()


# -- exchanges ----------------------------------------------------------------------------------


def forgets(exchange: HttpServerExchange) -> None:
    """Listens, and forgets to answer."""
    exchange.on("request_body", lambda chunk: exchange.uri)
    exchange.on("request_done", lambda trailers: exchange.uri)


def ignores(exchange: HttpServerExchange) -> None:
    """Does nothing."""


def half_answers(exchange: HttpServerExchange) -> None:
    """Starts its response, and forgets about it."""
    exchange.response_start(200, "OK", [])


@pytest.mark.parametrize("handle", [forgets, ignores, half_answers])
def test_exchange_that_is_dropped_is_reported_with_its_listener(
    expected_logs: Any, handle: Callable[[HttpServerExchange], None]
) -> None:
    stage = Stage()
    stage.server.remove_listeners("exchange")
    stage.server.on("exchange", handle)
    stage.get(b"body")
    (record,) = [record for record in expected_logs.records if record.name == "thor.debug"]
    line = handle.__code__.co_firstlineno
    state = "half answered" if handle is half_answers else "unanswered"
    assert f"was dropped {state}" in record.getMessage()
    assert f"{handle.__name__} ({__file__}:{line})" in record.getMessage()
    stage.advance(2 * UNANSWERED_S)
    assert len(expected_logs.at_least(30)) == 1


def test_exchange_that_is_not_answered_in_time_is_reported(expected_logs: Any) -> None:
    kept: list[HttpServerExchange] = []
    stage = Stage(kept.append)
    stage.get()
    stage.advance(UNANSWERED_S - 1)
    assert expected_logs.at_least(30) == []
    stage.advance(1)
    (told,) = expected_logs.at_least(30)
    assert "was not answered within 30 s" in told
    assert "thor.debug" in told
    assert "server_support" not in told
    assert f"Stage._exchange ({__file__}:" in told
    stage.server.shutdown()
    kept[0].on("error", lambda err: None)
    stage.settle()


def test_exchange_that_is_answered_later_is_not_reported() -> None:
    stage = Stage()
    later = UNANSWERED_S - 1
    stage.handler = lambda exchange: stage.loop.schedule(later, answer, exchange)
    client = stage.get(b"body")
    stage.advance(2 * UNANSWERED_S)
    assert client.take().endswith(b"hello")


def test_exchange_whose_request_takes_long_is_not_reported() -> None:
    stage = Stage(min_body_rate=0)
    stage.handler = lambda exchange: exchange.on("request_done", lambda _: answer(exchange))
    client = stage.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n")
    for _ in range(9):
        stage.advance(UNANSWERED_S / 3)
        client.send(b"x" * 10)
    assert client.take().endswith(b"hello")


def test_body_may_be_passed_by_name() -> None:
    stage = Stage()

    def handle(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [])
        exchange.response_body(chunk=b"hello")
        exchange.response_done([])

    stage.handler = handle
    assert b"hello" in stage.get().take()


def test_exchange_that_streams_for_long_is_not_reported() -> None:
    stage = Stage()
    kept: list[HttpServerExchange] = []

    def handle(exchange: HttpServerExchange) -> None:
        kept.append(exchange)
        exchange.response_start(200, "OK", [])

    stage.handler = handle
    client = stage.get()
    stage.advance(2 * UNANSWERED_S)
    kept[0].response_done([])
    stage.settle()
    assert client.take().endswith(b"0\r\n\r\n")


def test_exchange_that_is_lost_is_not_reported() -> None:
    kept: list[HttpServerExchange] = []
    stage = Stage(kept.append)
    client = stage.get()
    kept[0].on("error", lambda err: None)
    client.abort()
    stage.advance(2 * UNANSWERED_S)


# -- switching ----------------------------------------------------------------------------------


def methods() -> dict[tuple[type, str], Any]:
    """All that Thor's classes have."""
    classes = [*emitter_classes(), HttpClient]
    return {(cls, name): value for cls in classes for name, value in vars(cls).items()}


def test_nothing_is_left_when_the_mode_is_off(loop: LoopBase) -> None:
    other = memory_loop()
    other.debug = True
    on = methods()
    loop.debug = False
    assert methods() == on
    other.debug = False
    off = methods()
    assert off != on
    loop.debug = True
    assert methods().keys() == on.keys()
    loop.debug = False
    assert methods() == off


def test_mode_ends_with_the_last_loop_that_asked_for_it(loop: LoopBase) -> None:
    loop.debug = False
    off = methods()
    other = memory_loop()
    other.debug = True
    assert methods() != off
    del other
    import gc

    gc.collect()
    assert methods() == off


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", False)])
def test_environment_switches_the_mode_on(value: str, on: bool) -> None:
    program = "import thor; thor.loop.make().on('strat', print); print(thor.loop.debug)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "THOR_DEBUG": value},
        check=True,
    )
    assert done.stdout == f"{on}\n"
    assert ("DevelopmentWarning: EventLoop emits no event 'strat'" in done.stderr) is on


def test_command_switches_the_mode_on(monkeypatch: pytest.MonkeyPatch) -> None:
    switched: list[bool] = []
    monkeypatch.setattr("thor.development.enable", lambda: switched.append(True))
    assert here("fetch", "http://127.0.0.1:x/").code != 0
    assert switched == []
    assert here("--debug", "fetch", "http://127.0.0.1:x/").code != 0
    assert switched == [True]

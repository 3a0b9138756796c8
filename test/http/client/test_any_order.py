"""Whatever happens, in whatever order: an exchange ends at most once, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

from client_support import HELLO, TERMINAL, ClientHarness, Watched
from hypothesis import given, settings
from hypothesis import strategies as st

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
SWITCHING = b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nmore"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
RESPONSES = [
    HELLO,
    CHUNKED,
    UNTIL_END,
    CLOSING,
    SWITCHING,
    CONTINUE,
    CONTINUE + HELLO,
    b"bad\r\n\r\n",
]

which = st.integers(0, 2)
beginnings = st.lists(
    st.tuples(st.sampled_from(["GET", "POST", "PUT", "expect", "upgrade"]), st.booleans()),
    min_size=3,
    max_size=3,
)
sending = st.tuples(
    st.just("send"), which, st.sampled_from(RESPONSES), st.sampled_from([0, 0, 0, 5, 40, 50])
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("body"), which, st.sampled_from([1, 1000, 300_000])),
        st.tuples(st.sampled_from(["done", "pause", "resume", "cancel", "abort"]), which),
        sending,
        sending,
        st.tuples(st.just("send rest"), which),
        st.tuples(st.sampled_from(["finish", "reset", "stop reading"]), which),
        st.just(("turn",)),
        st.tuples(st.just("advance"), st.sampled_from([0.3, 0.6, 1.0, 6.0])),
    ),
    max_size=25,
)


class Play:
    """Three exchanges over at most two connections, and what is done to them."""

    def __init__(self) -> None:
        self.stage = ClientHarness(
            max_server_conn=2, read_timeout=5, pool_timeout=20, retry_limit=1
        )
        self.watched = [self._exchange() for _ in range(3)]
        self.tunnels: list[Any] = []
        self.unsent: dict[Any, bytes] = {}

    def _exchange(self) -> Watched:
        watched = self.stage.exchange()
        watched.exchange.on("upgrade", lambda conn: self.tunnels.append(conn))
        return watched

    def begin(self, number: int, kind: str, done: bool) -> None:
        """Start an exchange."""
        exchange = self.watched[number].exchange
        options: dict[str, Any] = {"upgrade": "x"} if kind == "upgrade" else {}
        headers = [("Expect", "100-continue")] if kind == "expect" else []
        method = {"upgrade": "GET", "expect": "POST"}.get(kind, kind)
        exchange.request_start(method, "http://origin/", headers, **options)
        if done:
            exchange.request_done([])

    def step(self, name: str, number: int, *args: Any) -> None:
        """The program does something."""
        exchange = self.watched[number].exchange
        if name == "body":
            exchange.request_body(b"x" * args[0])
        elif name == "done":
            exchange.request_done([])
        elif name == "pause":
            exchange.pause(True)
        elif name == "resume":
            exchange.pause(False)
        elif name == "cancel":
            exchange.cancel()
        elif exchange.conn is not None and exchange.conn.tcp_conn is not None:
            exchange.conn.tcp_conn.abort()

    def peer_step(self, name: str, number: int, *args: Any) -> None:
        """The origin does something on one of its connections."""
        open_ones = [peer for peer in self.stage.peers if peer.sock.fileno() >= 0]
        if not open_ones:
            return
        peer = open_ones[number % len(open_ones)]
        if name == "send":
            response, kept = args
            self.unsent[peer] = response[len(response) - kept :] if kept else b""
            peer.send(response[: len(response) - kept])
        elif name == "send rest":
            peer.send(self.unsent.pop(peer, b""))
        elif name == "finish":
            peer.end()
        elif name == "stop reading":
            peer.pause()
        else:
            peer.abort()


@given(beginnings, steps)
@settings(max_examples=400)
def test_exchanges_end_once_and_leave_nothing(
    begin: list[tuple[str, bool]], script: list[tuple[Any, ...]]
) -> None:
    play = Play()
    stage = play.stage
    for number, (kind, done) in enumerate(begin):
        play.begin(number, kind, done)
    stage.settle()
    for name, *args in script:
        if name == "turn":
            stage.loop.run_once()
        elif name == "advance":
            stage.advance(args[0])
        elif name in ("send", "send rest", "finish", "reset", "stop reading"):
            play.peer_step(name, *args)
        else:
            before = [list(watched.heard.events) for watched in play.watched]
            play.step(name, *args)
            for watched, events in zip(play.watched, before, strict=True):
                new = watched.heard.events[len(events) :]  # a method never emits, but this:
                assert new in ([], [("pause", True)])
    for watched in play.watched:
        ends = [event[0] for event in watched.events if event[0] in TERMINAL]
        assert len(ends) <= 1
        if ends:
            watched.ends_once()
            assert watched.exchange.conn is None
        watched.exchange.cancel()
    for tunnel in play.tunnels:
        tunnel.abort()
    assert stage.leftovers() == []
    stage.advance(100)
    assert stage.open == 0
    stage.loop.stop()

"""The race of a name's addresses, on sockets that the test plays."""

from __future__ import annotations

import errno
import os
import socket
import types
from math import inf
from typing import Any

import pytest
from tcp_support import REFUSED, Dialler

import thor.dns
from thor.loop import LoopBase
from thor.tcp import AddressRefused, TcpClient
from thor.tcp import client as client_module
from thor.tcp.client import ATTEMPT_DELAY_S, MAX_ADDRESSES, interleave, pick_error
from thor.testing import ManualClock, MemorySocket, Recorder, advance, memory_loop, settle
from thor_support import run_loop

# -- the race ------------------------------------------------------------------------------------


class Dialled(MemorySocket):
    """A socket that is on its way to `to` until the test says what the network answers."""

    race: Race

    def __init__(self, race: Race, family: int) -> None:
        self.answered = False
        super().__init__(race.loop.fds.poller, ("::1", 40000), None)  # type: ignore[arg-type]
        self.race = race
        self.family = socket.AddressFamily(family)
        self.options: list[tuple[int, int]] = []

    def setblocking(self, flag: bool) -> None:
        assert flag is False

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options.append((level, option))

    def connect_ex(self, address: Any) -> int:
        self.to = address[0]
        self.race.dialled.append(self)
        return self.race.at_once.get(self.to, errno.EINPROGRESS)

    def answer(self, code: int = 0) -> None:
        self.answered = True
        self._error = code

    def _bits(self) -> int:
        return super()._bits() if self.answered else 0

    @property
    def closed(self) -> bool:
        return self.fileno() == -1


class Race(Dialler):
    """A client in memory, with a manual clock, for a name that has the addresses `ips`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
        super().__init__(memory_loop())
        self.loop.fds.open()
        self.dialled: list[Dialled] = []
        self.at_once: dict[str, int] = {}
        sockets = types.SimpleNamespace(**vars(socket))
        sockets.socket = lambda family, kind: Dialled(self, family)
        monkeypatch.setattr(client_module, "socket", sockets)
        self.rows = [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80))
            for ip in ips
        ]
        monkeypatch.setattr(thor.dns, "lookup", self._lookup)

    def _lookup(self, loop: LoopBase, *args: Any) -> Any:
        loop.call_soon(args[-1], self.rows)
        return types.SimpleNamespace(cancel=lambda: None)

    def begin(self, timeout: float | None = None) -> None:
        self.client.connect("name.test", 80, timeout)
        settle(self.loop)

    def tried(self) -> list[str]:
        return [sock.to for sock in self.dialled]

    def answer(self, *codes: int) -> None:
        """The network answers the attempts, in order of their beginning."""
        for sock, code in zip(self.dialled, codes, strict=False):
            sock.answer(code)
        settle(self.loop)


V6 = [f"2001:db8::{number}" for number in range(1, 4)]
V4 = [f"192.0.2.{number}" for number in range(1, 4)]


def test_families_are_tried_in_turn_250_ms_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, *V6, *V4)
    race.begin()
    for count in range(1, 7):
        expected = [V6[0], V4[0], V6[1], V4[1], V6[2], V4[2]][:count]
        assert race.tried() == expected
        advance(race.loop, ATTEMPT_DELAY_S - 0.001)
        assert race.tried() == expected
        advance(race.loop, 0.001)
    assert race.loop.scheduled_events() == []


def test_first_to_connect_wins_and_the_others_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race = Race(monkeypatch, *V6, *V4)
    race.begin()
    advance(race.loop, ATTEMPT_DELAY_S)
    advance(race.loop, ATTEMPT_DELAY_S)
    race.dialled[1].answer()
    settle(race.loop)
    [(event, conn)] = race.heard.take()
    assert (event, conn.address, conn.socket) == ("connect", (V4[0], 80), race.dialled[1])
    assert [sock.closed for sock in race.dialled] == [True, False, True]
    advance(race.loop, 10)
    assert len(race.dialled) == 3
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY) in race.dialled[1].options


def test_two_that_connect_in_one_turn_make_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0])
    race.begin()
    advance(race.loop, ATTEMPT_DELAY_S)
    race.answer(0, 0)
    assert [event[0] for event in race.heard.take()] == ["connect"]
    assert [sock.closed for sock in race.dialled] == [False, True]


def test_address_that_fails_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1])
    race.begin()
    advance(race.loop, ATTEMPT_DELAY_S / 2)
    race.answer(errno.ECONNREFUSED)
    assert race.tried() == [V6[0], V4[0]]
    advance(race.loop, ATTEMPT_DELAY_S - 0.001)
    assert race.tried() == [V6[0], V4[0]]
    advance(race.loop, 0.001)
    assert race.tried() == [V6[0], V4[0], V6[1]]


def test_address_that_fails_in_the_call_is_followed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race = Race(monkeypatch, V6[0], V6[1], V4[0])
    race.at_once = {V6[0]: errno.ENETUNREACH, V4[0]: errno.EADDRNOTAVAIL}
    race.begin()
    assert race.tried() == [V6[0], V4[0], V6[1]]
    assert [sock.closed for sock in race.dialled] == [True, True, False]
    race.dialled[2].answer()
    settle(race.loop)
    assert [event[0] for event in race.heard.take()] == ["connect"]


def test_errors_of_all_attempts_are_kept_and_the_most_telling_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1])
    race.at_once = {V6[0]: errno.ENETUNREACH}
    race.begin()
    advance(race.loop, ATTEMPT_DELAY_S)
    race.dialled[1].answer(errno.ECONNREFUSED)
    race.dialled[2].answer(errno.EHOSTUNREACH)
    settle(race.loop)
    assert race.heard.take() == [("connect_error", *REFUSED)]
    assert [(address[0], exc.errno) for address, exc in race.client.errors] == [
        (V6[0], errno.ENETUNREACH),
        (V4[0], errno.ECONNREFUSED),
        (V6[1], errno.EHOSTUNREACH),
    ]
    assert isinstance(race.client.error, ConnectionRefusedError)


def test_timeout_ends_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1])
    race.begin(timeout=0.3)
    advance(race.loop, 0.3)
    assert race.heard.take() == [("connect_error", socket.error, errno.ETIMEDOUT)]
    assert [sock.closed for sock in race.dialled] == [True, True]
    advance(race.loop, 10)
    assert len(race.dialled) == 2


def test_timeout_is_the_error_of_those_that_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1], V4[1])
    race.begin(timeout=ATTEMPT_DELAY_S + 0.1)
    race.answer(errno.ECONNREFUSED)
    advance(race.loop, ATTEMPT_DELAY_S + 0.1)
    assert [(address[0], exc.errno) for address, exc in race.client.errors] == [
        (V6[0], errno.ECONNREFUSED),
        (V4[0], errno.ETIMEDOUT),
        (V6[1], errno.ETIMEDOUT),
    ]


def test_failure_that_nobody_listens_for_is_logged_with_each_attempts_error(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    race = Race(monkeypatch, V6[0], V4[0])
    race.client.remove_listeners()
    race.at_once = {V6[0]: errno.ENETUNREACH, V4[0]: errno.ECONNREFUSED}
    race.begin()
    [message] = expected_logs.messages
    assert "name.test" in message
    each = f"({V6[0]}: {os.strerror(errno.ENETUNREACH)}; {V4[0]}: Connection refused)"
    assert message.endswith(f"[Errno {errno.ECONNREFUSED}] Connection refused {each}")


def test_black_hole_costs_250_ms(
    make_loop: Any, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real sockets: the IPv6 address answers nothing, the other one is there."""
    clock = ManualClock()
    loop = make_loop(backend=poller, clock=clock)
    with (
        socket.create_server(("127.0.0.1", 0)) as good,
        socket.socket(socket.AF_INET6) as hole,
        socket.socket(socket.AF_INET6) as first,
        socket.socket(socket.AF_INET6) as second,
    ):
        port = good.getsockname()[1]
        hole.bind(("::1", port))
        hole.listen(0)
        for filler in (first, second):  # its queue is full: the kernel drops what comes
            filler.setblocking(False)
            filler.connect_ex(("::1", port))
        rows = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args: rows)
        dialler = Dialler(loop)
        dialler.client.connect("both.test", port, 60)
        race = dialler.client._attempt
        assert race is not None
        run_loop(loop, lambda: race._attempts, timeout_s=inf)
        clock.advance(ATTEMPT_DELAY_S - 0.001)
        for _ in range(3):
            loop.run_once()
        assert dialler.heard.events == []
        clock.advance(0.001)
        for _ in range(3):
            loop.run_once()
        [(event, conn)] = dialler.heard.take()
        assert (event, conn.address) == ("connect", ("127.0.0.1", port))
        assert loop.fd_count() == 1  # the loser is closed
        assert dialler.client.errors == []
        loop.stop()


@pytest.mark.parametrize("when", [0.0, 0.1, ATTEMPT_DELAY_S, 1.0])
def test_cancel_ends_all_attempts(monkeypatch: pytest.MonkeyPatch, when: float) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1])
    race.client.connect("name.test", 80, 60)
    if when:
        advance(race.loop, when)
    race.client.cancel()
    count = len(race.dialled)
    race.answer(*[0] * count)
    advance(race.loop, 100)
    assert race.heard.take() == []
    assert [sock.closed for sock in race.dialled] == [True] * count
    assert race.loop.scheduled_events() == []


def test_only_so_many_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, *[f"10.0.{number}.1" for number in range(100)])
    race.begin()
    advance(race.loop, 100)
    assert len(race.dialled) == MAX_ADDRESSES


# -- check_ip --------------------------------------------------------------------------------------


def test_every_address_is_checked_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0], V6[1])
    asked: list[str] = []

    def check(ip: str) -> bool:
        asked.append(ip)
        return ip != V4[0]

    race.client.check_ip = check
    race.begin()
    advance(race.loop, ATTEMPT_DELAY_S)
    assert asked == [V6[0], V4[0], V6[1]]
    assert race.tried() == [V6[0], V6[1]]
    race.answer(errno.ECONNREFUSED, errno.ECONNREFUSED)
    assert race.heard.take() == [("connect_error", *REFUSED)]
    assert [type(exc) for _, exc in race.client.errors] == [
        AddressRefused,
        ConnectionRefusedError,
        ConnectionRefusedError,
    ]


def test_client_whose_addresses_are_all_refused_reports_eacces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race = Race(monkeypatch, V6[0], V4[0])
    race.client.check_ip = lambda ip: False
    race.begin()
    assert race.heard.take() == [("connect_error", socket.error, errno.EACCES)]
    assert isinstance(race.client.error, AddressRefused)
    assert race.dialled == []


@pytest.mark.parametrize("ip", ["::ffff:10.0.0.1", "64:ff9b::a00:1", "10.0.0.1"])
def test_hidden_ipv4_addresses_are_checked_as_what_they_are(
    monkeypatch: pytest.MonkeyPatch, ip: str
) -> None:
    race = Race(monkeypatch, ip)
    asked: list[str] = []

    def refuse(ip: str) -> bool:
        asked.append(ip)
        return False

    race.client.check_ip = refuse
    race.begin()
    assert asked == ["10.0.0.1"]


def test_literal_addresses_are_checked_too(dialler: Dialler, closed_port: int) -> None:
    asked: list[str] = []

    def refuse(ip: str) -> bool:
        asked.append(ip)
        return False

    dialler.client.check_ip = refuse
    for host in ("127.0.0.1", "0x7f000001", "localhost"):
        assert dialler.connect(host, closed_port) == (socket.error, errno.EACCES)
    assert set(asked) <= {"127.0.0.1", "::1"}


def test_check_ip_that_is_coroutine_function_is_refused(dialler: Dialler) -> None:
    async def refuse(ip: str) -> bool:  # what it returns would be true for each address
        return False

    dialler.client.check_ip = refuse  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"check_ip .* needs asyncio hosting"):
        dialler.client.connect("127.0.0.1", 80)


def test_check_ip_can_be_a_method_of_a_subclass(loop: LoopBase, closed_port: int) -> None:
    class Careful(TcpClient):
        def check_ip(self, ip: str) -> bool:
            return False

    client = Careful(loop)
    heard = Recorder(client, "connect_error")
    client.connect("127.0.0.1", closed_port)
    run_loop(loop, lambda: heard.events)
    assert heard.take() == [("connect_error", socket.error, errno.EACCES)]


def test_address_is_refused_if_its_check_raises(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    race = Race(monkeypatch, V4[0])
    race.loop.on_exception = "log"

    def fail(ip: str) -> bool:
        raise LookupError("oops")

    race.client.check_ip = fail
    race.begin()
    assert race.heard.take() == [("connect_error", socket.error, errno.EACCES)]
    assert race.dialled == []


def test_cancel_inside_check_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, V6[0], V4[0])

    def cancel(ip: str) -> bool:
        race.client.cancel()
        return True

    race.client.check_ip = cancel
    race.begin()
    advance(race.loop, 10)
    assert race.heard.take() == []
    assert race.dialled == []


# -- the deciders --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ips", "order"),
    [
        (["a:", "b:", "1", "2"], ["a:", "1", "b:", "2"]),
        (["1", "2", "a:"], ["1", "a:", "2"]),
        (["1", "a:", "b:", "c:"], ["1", "a:", "b:", "c:"]),
        (["1"], ["1"]),
        (["1", "1", "a:", "a:"], ["1", "a:"]),
    ],
)
def test_interleave(ips: list[str], order: list[str]) -> None:
    rows: Any = [
        (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80))
        for ip in ips
    ]
    assert [address[0] for _, address in interleave(rows)] == order


@pytest.mark.parametrize(
    ("codes", "picked"),
    [
        ([errno.ECONNREFUSED], 0),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], 1),
        ([errno.ECONNREFUSED, errno.EHOSTUNREACH], 0),
        ([errno.EADDRNOTAVAIL, errno.ENETUNREACH], 0),
        ([errno.EACCES, errno.ENETUNREACH], 1),
        ([errno.EACCES, errno.EACCES], 0),
    ],
)
def test_pick_error(codes: list[int], picked: int) -> None:
    errors = [
        AddressRefused(code, "refused") if code == errno.EACCES else OSError(code, "failed")
        for code in codes
    ]
    assert pick_error(errors) is errors[picked]

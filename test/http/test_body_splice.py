"""How much of a body may go from one exchange to another unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from thor.http.body_splice import MIN_SPLICE_BYTES, TAIL_BYTES, BodySplice, splice_body
from thor.tcp.sockets import RECV_BYTES

LEAST = MIN_SPLICE_BYTES + TAIL_BYTES


class Exchange:
    """One that has so many bytes to receive and to send, and keeps what it is told."""

    def __init__(self, due: int = 0, owed: int = 0) -> None:
        self.due = due
        self.owed = owed
        self.joined: list[Any] = []
        self.conn: Any = self

    def splice_to(self, dst: Any, body_splice: Any) -> bool:
        """As of its connection."""
        self.joined.append(dst)
        return True

    @property
    def transport(self) -> Any:
        return self.conn

    def bytes_expected(self) -> int:
        return self.due

    def on_spliced_in(self, count: int) -> None:
        self.due -= count

    def bytes_promised(self) -> int:
        return self.owed

    def on_spliced_out(self, count: int) -> None:
        self.owed -= count


def ignore(count: int) -> None:
    """Nobody counts."""


@pytest.mark.parametrize(
    ("due", "owed", "joined"),
    [
        pytest.param(LEAST, LEAST, True, id="enough"),
        pytest.param(LEAST - 1, LEAST, False, id="little to come"),
        pytest.param(LEAST, LEAST - 1, False, id="little to send"),
        pytest.param(0, LEAST, False, id="nothing known of what comes"),
        pytest.param(LEAST, 0, False, id="nothing known of what is sent"),
    ],
)
def test_what_is_long_enough_goes_unseen(due: int, owed: int, joined: bool) -> None:
    source, target = Exchange(due=due), Exchange(owed=owed)
    splice_body(source, target, ignore)
    assert source.joined == ([target] if joined else [])


@pytest.mark.parametrize("lost", ["source", "target"])
def test_a_side_without_a_connection_is_left_alone(lost: str) -> None:
    sides = {"source": Exchange(due=LEAST), "target": Exchange(owed=LEAST)}
    sides[lost].conn = None
    splice_body(sides["source"], sides["target"], ignore)
    assert sides["source"].joined == []


def test_the_end_of_a_body_is_left_to_be_read() -> None:
    body_splice = BodySplice(Exchange(due=LEAST), Exchange(owed=LEAST + 1), ignore)
    assert body_splice.allowance() == LEAST - TAIL_BYTES


def test_all_who_are_concerned_are_told_what_went() -> None:
    told: list[int] = []
    count: Callable[[int], None] = told.append
    source, target = Exchange(due=500_000), Exchange(owed=500_000)
    body_splice = BodySplice(source, target, count)
    body_splice.on_spliced(200_000)
    assert (source.due, target.owed, told) == (300_000, 300_000, [200_000])
    assert body_splice.allowance() == 300_000 - TAIL_BYTES


def test_the_last_read_of_a_body_sees_what_follows_it() -> None:
    source, target = Exchange(due=10 * LEAST), Exchange(owed=10 * LEAST)
    body_splice = BodySplice(source, target, ignore)
    body_splice.on_spliced(body_splice.allowance())
    assert 0 < source.due < RECV_BYTES

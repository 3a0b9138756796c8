"""What limits a wait of a server's connection, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest

from thor.http.http1.server_timeouts import (
    RATE_WINDOW_S,
    Deadline,
    Phase,
    Timeout,
    Wait,
    next_deadline,
)


class Settings:
    """Times that are all different, so that each row shows which one counts."""

    idle_timeout: float | None = 60
    drain_idle_timeout: float | None = 5
    head_timeout: float | None = 30
    body_timeout: float | None = 9
    min_body_rate: float = 0
    send_timeout: float | None = 40
    response_timeout: float | None = 20
    half_close_timeout: float | None = 50
    linger_timeout: float | None = 2


@dataclass
class Progress:
    """A wait began at 100; bytes last left at 90; the window of the rate began at 97."""

    since: float = 100.0
    window_start: float = 97.0
    sent_at: float = 90.0
    write_blocked: bool = False


BLOCKED = Progress(write_blocked=True)
PROGRESS = Progress()


@pytest.mark.parametrize(
    ("wait", "progress", "changed", "deadline"),
    [
        pytest.param(Wait(Phase.NEW), PROGRESS, {}, (130, Timeout.IDLE), id="new"),
        pytest.param(
            Wait(Phase.NEW), PROGRESS, {"head_timeout": 0}, (160, Timeout.IDLE), id="new-2"
        ),
        pytest.param(Wait(Phase.IDLE), PROGRESS, {}, (160, Timeout.IDLE), id="idle"),
        pytest.param(
            Wait(Phase.IDLE), PROGRESS, {"idle_timeout": 0}, (inf, Timeout.IDLE), id="kept"
        ),
        pytest.param(
            Wait(Phase.IDLE, draining=True), PROGRESS, {}, (105, Timeout.DRAIN), id="drain"
        ),
        pytest.param(
            Wait(Phase.IDLE, draining=True),
            PROGRESS,
            {"drain_idle_timeout": None},
            (100, Timeout.DRAIN),
            id="drain-at-once",
        ),
        pytest.param(Wait(Phase.HEAD), PROGRESS, {}, (130, Timeout.HEAD), id="head"),
        pytest.param(
            Wait(Phase.HEAD, draining=True), PROGRESS, {}, (130, Timeout.HEAD), id="head-2"
        ),
        pytest.param(Wait(Phase.BODY), PROGRESS, {}, (109, Timeout.BODY), id="body"),
        pytest.param(
            Wait(Phase.BODY),
            PROGRESS,
            {"min_body_rate": 1},
            (97 + min(RATE_WINDOW_S, 12), Timeout.BODY),
            id="body-rate",
        ),
        pytest.param(Wait(Phase.DISCARD), PROGRESS, {}, (109, Timeout.BODY), id="discard"),
        pytest.param(
            Wait(Phase.DISCARD, draining=True),
            PROGRESS,
            {},
            (105, Timeout.DRAIN),
            id="discard-drain",
        ),
        pytest.param(
            Wait(Phase.AWAIT_RESPONSE), PROGRESS, {}, (120, Timeout.RESPONSE), id="await-response"
        ),
        pytest.param(
            Wait(Phase.AWAIT_RESPONSE),
            PROGRESS,
            {"response_timeout": None},
            (inf, None),
            id="patient",
        ),
        pytest.param(Wait(Phase.RESPONSE), PROGRESS, {}, (inf, None), id="response"),
        pytest.param(
            Wait(Phase.RESPONSE, half_closed=True),
            PROGRESS,
            {},
            (140, Timeout.HALF_CLOSE),
            id="half",
        ),
        pytest.param(Wait(Phase.PAUSED, half_closed=True), PROGRESS, {}, (inf, None), id="paused"),
        pytest.param(Wait(Phase.CLOSING), PROGRESS, {}, (inf, None), id="closing"),
        pytest.param(Wait(Phase.LINGERING), PROGRESS, {}, (102, Timeout.IDLE), id="lingering"),
        pytest.param(Wait(Phase.CLOSING), BLOCKED, {}, (130, Timeout.SEND), id="send"),
        pytest.param(Wait(Phase.PAUSED), BLOCKED, {}, (130, Timeout.SEND), id="send-paused"),
        pytest.param(Wait(Phase.BODY), BLOCKED, {}, (109, Timeout.BODY), id="body-before-send"),
        pytest.param(
            Wait(Phase.CLOSING), BLOCKED, {"send_timeout": 0}, (inf, None), id="send-free"
        ),
    ],
)
def test_deadline_is_the_earliest_that_the_wait_allows(
    wait: Wait,
    progress: Progress,
    changed: dict[str, float | None],
    deadline: tuple[float, Timeout | None],
) -> None:
    settings = Settings()
    for name, value in changed.items():
        setattr(settings, name, value)
    assert next_deadline(wait, progress, settings) == Deadline(*deadline)

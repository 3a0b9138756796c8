"""What Thor wants to reach, beside what was measured.

Owns: the aims, each a ratio of two results of one table, or a figure by itself. Must not know how
anything is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.tables import Table

NAME = "aims"

#: scenario -> peer -> median, of one run.
Medians = Mapping[str, Mapping[str, float]]


class Aim(NamedTuple):
    """`ours` of a scenario takes at most `limit` times as much as `theirs`.

    theirs: "" compares with nothing: `limit` is the figure itself
    base: the scenario that `theirs` is of, "" for the same
    """

    scenario: str
    ours: str
    theirs: str
    limit: float
    base: str = ""


PURE = "thor-pure"
AIMS = (
    Aim("server", "thor", "nginx", 1.5),
    Aim("server-12", "thor", "nginx", 1.55),
    Aim("server-12", "thor", "node", 0.7),
    Aim("server", PURE, "nginx", 1.9),
    Aim("server", PURE, "uvicorn", 0.55),
    Aim("server-12", PURE, "nginx", 2.3),
    Aim("crowd", "thor", "thor", 1.15, "server"),
    Aim("crowd", PURE, PURE, 1.15, "server"),
    Aim("idle", "thor", "", 1024),
    Aim("idle", PURE, "", 1024),
    Aim("tls", "thor", "nginx", 1.6),
    Aim("tls", PURE, "granian", 1.0),
    Aim("handshake", "thor", "nginx", 1.5),
    Aim("resumed", "thor", "nginx", 2.0),
    Aim("workers", "thor", "one-worker", 1.1),
    Aim("shares", "thor", "", 65),
    Aim("proxy", "thor", "haproxy", 1.5),
    Aim("proxy", "thor", "node", 0.35),
    Aim("proxy", PURE, "haproxy", 2.2),
    Aim("proxy", PURE, "node", 0.5),
    Aim("bulk", "thor", "haproxy", 1.0),
    Aim("bulk", PURE, "haproxy", 1.2),
    Aim("udp", "thor", "asyncio", 1.0),
    Aim("timers", "thor", "heapq", 1.5),
    Aim("emit-0", "thor", "call", 5.0),
    Aim("emit-1", "thor", "call", 5.0),
    Aim("emit-3", "thor", "call", 5.0),
)


def make_table(medians: Medians, titles: Mapping[str, str]) -> Table:
    """Return the aims, with what was measured. titles: scenario -> what its table is called"""
    rows = []
    for aim in AIMS:
        found = reached(aim, medians)
        against = f"{aim.limit:g} x {_other(aim)}" if aim.theirs else f"{aim.limit:g}"
        digits = "" if found is None else f"{found:.2f} x" if aim.theirs else f"{found:,.0f}"
        verdict = "" if found is None else "yes" if found <= aim.limit else "no"
        ours = "pure Python" if aim.ours == PURE else "Thor"
        rows.append([titles.get(aim.scenario, aim.scenario), ours, against, digits, verdict])
    header = ["what", "of", "at most", "measured", "reached"]
    return Table(NAME, "What is to be reached", header, rows, [])


def reached(aim: Aim, medians: Medians) -> float | None:
    """Return what was measured for an aim; None if it was not."""
    ours = medians.get(aim.scenario, {}).get(aim.ours)
    if not aim.theirs or ours is None:
        return ours
    theirs = medians.get(aim.base or aim.scenario, {}).get(aim.theirs)
    return ours / theirs if theirs else None


def _other(aim: Aim) -> str:
    """Whom an aim compares with, in words."""
    if aim.base:
        return "without them"
    return {"call": "a plain call", "one-worker": "one worker"}.get(aim.theirs, aim.theirs)

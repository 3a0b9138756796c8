"""What became of each request, and whether both sides agree.

Owns: the clients' ledger, and comparing it with the origins'. Must not know how requests are made.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from pathlib import Path

#: How a request ended, for its client: answered in full; given up by himself; failed while an
#: origin was down; refused, as it has to be.
OPEN, ANSWERED, GIVEN_UP, FAILED, REFUSED = range(5)
NAMES = ("open", "answered", "given up", "failed with an origin", "refused")

#: A request that may reach an origin once only.
ONCE = 8

#: How long after an origin is back a failure may still be its own, in seconds.
AFTER_S = 1.0


class Ledger:
    """The clients' side. A request is its number."""

    def __init__(self) -> None:
        self.entries = bytearray()
        self.faults: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.outages: list[list[float]] = []
        self.body_bytes = 0

    def open(self, kind: str, once: bool) -> int:
        """Enter a new request. once: it must not be repeated. Returns: its number"""
        self.kinds[kind] += 1
        self.entries.append(OPEN | (ONCE if once else 0))
        return len(self.entries) - 1

    def close(self, number: int, outcome: int) -> None:
        """Enter how a request ended; it ends once."""
        if self.entries[number] & ~ONCE != OPEN:
            self.fault(f"request {number} has ended twice")
        self.entries[number] |= outcome

    def fault(self, what: str) -> None:
        """Enter something that must not be."""
        self.faults.append(what)

    def count(self, outcome: int) -> int:
        """How many requests ended so."""
        return sum(entry & ~ONCE == outcome for entry in self.entries)

    # -- origins that are down

    def begin_outage(self, now: float) -> None:
        """An origin goes down."""
        self.outages.append([now, inf])

    def end_outage(self, now: float) -> None:
        """It is back."""
        self.outages[-1][1] = now + AFTER_S

    def may_fail(self, began: float, ended: float) -> bool:
        """Whether an origin was down at some time in between."""
        return any(down <= ended and began <= up for down, up in reversed(self.outages))

    def since_outage(self, began: float) -> float:
        """How long before `began` the last outage, as far as it may be felt, had ended."""
        return began - max((up for _, up in self.outages), default=-inf)

    # -- the other side

    def compare(self, origins: Path, direct: Path) -> None:
        """Compare with what the origins, and the server that was asked directly, have seen."""
        behind, behind_whole = _read(origins)
        asked, asked_whole = _read(direct)
        for number, entry in enumerate(self.entries):
            outcome = entry & ~ONCE
            seen = behind[number] + asked[number]
            whole = behind_whole[number] + asked_whole[number]
            if outcome == OPEN:
                self.fault(f"request {number} has no end")
            if outcome == REFUSED and seen:
                self.fault(f"request {number} was refused, and was seen")
            if outcome == ANSWERED and not seen:
                self.fault(f"request {number} was answered, and never seen")
            if (entry & ONCE or asked[number]) and seen > 1:
                self.fault(f"request {number} was seen {seen} times")
            if whole > seen:
                self.fault(f"request {number} was whole {whole} times, and seen {seen}")
        strange = [n for n in (*behind, *asked) if n >= len(self.entries)]
        if strange:
            self.fault(f"{len(strange)} requests were seen that nobody made: {strange[:5]}")


def _read(path: Path) -> tuple[Counter[int], Counter[int]]:
    """How often each request was seen, and how often all of it."""
    seen: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    with path.open("rb") as lines:
        for line in lines:
            number, _, rest = line.split(b" ", 2)
            (whole if rest.strip() else seen)[int(number)] += 1
    return seen, whole

"""Results: what they say, as files of JSON, and as tables of the documentation.

Owns: what a scenario's table says, and where results are kept. Must not know how anything is
measured.

Theory of operation: each scenario has a file of its own, so that one that is measured again
replaces its table alone; the peers of one table are always of the same run. `doc/performance.rst`
has blocks that name the tables which they hold:

    .. bench: server server-12
    .. bench-end

`python -m bench.report` writes all blocks anew from the files that are there.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench import aims, harness, plot
from bench.harness import ROOT, BenchError
from bench.peers import Peer
from bench.scenarios import SCENARIOS, Figure, Options, Scenario, cost
from bench.tables import Table, as_rst

RESULTS = ROOT / "build" / "bench"
PAGE = ROOT / "doc" / "performance.rst"
#: The plot that the page shows, beside it.
PLOT = "cpu_per_request.svg"
#: A block that has this name lists the machine and the versions.
FACTS = "facts"

_BLOCK = re.compile(r"^\.\. bench: (.+)\n(?:.*\n)*?\.\. bench-end$", re.MULTILINE)


@dataclass
class Row:
    """What became of one peer in one scenario: samples, or why there are none."""

    peer: Peer
    samples: list[Figure] = field(default_factory=list)
    why_not: str | None = None

    @property
    def costs(self) -> list[float]:
        return [] if self.why_not else [cost(sample) for sample in self.samples]


def make_table(scenario: Scenario, rows: Sequence[Row]) -> Table:
    """Ours first, and before each figure of a peer how many times as much we take."""
    ours = [row for row in rows if row.peer.ours and row.costs]
    header = ["", *(f"{row.peer.title} takes" for row in ours), scenario.unit, "lowest - highest"]
    lines = []
    for row in rows:
        if not row.costs:
            continue
        cells = [row.peer.title]
        for mine in ours:
            times = harness.ratio(mine.costs, row.costs)
            cells.append("" if times is None or mine is row else f"{times:.2f} x")
        low, high = min(row.costs), max(row.costs)
        digits = 0 if high >= 1000 else 1 if high >= 10 else 2
        cells += [scenario.text(row.samples), f"{low:,.{digits}f} - {high:,.{digits}f}"]
        lines.append(cells)
    absent = [f"{row.peer.title}: {row.why_not}" for row in rows if row.why_not is not None]
    return Table(scenario.name, scenario.title, header, lines, absent)


# -- files --------------------------------------------------------------------------------------


def save(
    table: Table,
    facts: Sequence[str],
    options: Options | None = None,
    rows: Sequence[Row] = (),
    folder: Path = RESULTS,
) -> None:
    """Keep a table, with all samples in the scenario's unit. Raises: OSError"""
    whole = {
        "table": asdict(table),
        "facts": list(facts),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "options": asdict(options) if options else None,
        "results": [
            {
                "peer": row.peer.name,
                "role": row.peer.role,
                "median": statistics.median(row.costs) if row.costs else None,
                "samples": [s._asdict() if isinstance(s, tuple) else s for s in row.samples],
                "why_not": row.why_not,
            }
            for row in rows
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table.name}.json").write_text(json.dumps(whole, indent=1) + "\n")


class Kept(NamedTuple):
    """What is kept: tables by name, facts, each once, and medians by scenario and peer."""

    tables: dict[str, Table]
    facts: list[str]
    medians: dict[str, dict[str, float]]


def load(folder: Path = RESULTS) -> Kept:
    """Return what is kept, with the table of aims. Raises: BenchError for a stray file"""
    tables: dict[str, Table] = {}
    facts: list[str] = []
    medians: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            whole: dict[str, Any] = json.loads(path.read_text())
            tables[path.stem] = Table(**whole["table"])
            facts += whole["facts"]
            medians[path.stem] = _medians(whole["results"], whole["facts"])
        except (KeyError, TypeError, ValueError) as exc:
            raise BenchError(f"{path.name} is not a result: {exc}") from None
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    tables[aims.NAME] = aims.make_table(medians, titles)
    return Kept(tables, list(dict.fromkeys(facts)), medians)


def _medians(results: list[dict[str, Any]], facts: list[str]) -> dict[str, float]:
    """Return the medians of a table; without a native codec, Thor's are those without it."""
    found = {each["peer"]: each["median"] for each in results if each["median"] is not None}
    pure = any(fact.startswith("thor") and "pure Python" in fact for fact in facts)
    if pure and "thor" in found:
        found[aims.PURE] = found.pop("thor")
    return found


# -- the documentation --------------------------------------------------------------------------


def fill(text: str, tables: dict[str, Table], facts: Iterable[str]) -> str:
    """Return the page with its blocks filled; a missing table leaves a line that says so."""

    def block(found: re.Match[str]) -> str:
        parts = []
        for name in found[1].split():
            if name == FACTS:
                parts.append("\n".join(f"- {fact}" for fact in facts))
            elif name in tables:
                parts.append(as_rst(tables[name]))
            else:
                parts.append(f"(*{name}* was not measured.)")
        return "\n\n".join([f".. bench: {found[1]}", *parts, ".. bench-end"])

    return _BLOCK.sub(block, text)


def write_page(
    page: Path = PAGE, folder: Path = RESULTS, say: Callable[[str], None] = print
) -> None:
    """Write the documentation's tables and plot from what is kept. Raises: BenchError, OSError"""
    tables, facts, medians = load(folder)
    if not medians:  # or a slip would empty the whole page
        raise BenchError(f"nothing was measured: there are no results in {folder}")
    text = page.read_text()
    page.write_text(fill(text, tables, facts))
    try:
        plot.write_plot(medians, page.with_name(PLOT))
    except BenchError as exc:
        say(str(exc))
    wanted = {name for found in _BLOCK.findall(text) for name in found.split()} - {FACTS}
    for name in sorted(wanted - tables.keys()):
        say(f"not measured: {name}")
    for name in sorted(tables.keys() - wanted):
        say(f"not in {page.name}: {name}")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    try:
        write_page()
    except BenchError as exc:
        sys.exit(str(exc))

"""The benchmark's command: `python -m bench.run`, or `make bench`.

Owns: the order of measuring and the report. Theory of operation: all peers of a role are started
once; then, round by round, each is measured in turn, so that what disturbs the machine for a while
disturbs all of them. A result is the median of the rounds, and a claim is a ratio of two results
of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import harness, scenarios
from bench.harness import BenchError, Sample, Server
from bench.peers import ORIGIN, PEERS, Peer, Place, program
from bench.scenarios import SCENARIOS, Options, Scenario, cost


@dataclass
class Row:
    """What became of one peer in one scenario: samples, or why there are none."""

    peer: Peer
    samples: list[Sample | float] = field(default_factory=list)
    why_not: str | None = None

    @property
    def costs(self) -> list[float]:
        return [] if self.why_not else [cost(sample) for sample in self.samples]


# -- running ------------------------------------------------------------------------------------


def start_all(
    peers: Sequence[Peer], role: str, folder: Path, core: int, load_core: int, stack: ExitStack
) -> tuple[dict[str, Server], dict[str, str]]:
    """Start all peers of a role: those that run, by name, and why the others do not."""
    running: dict[str, Server] = {}
    why_not: dict[str, str] = {}
    origin_port = 0
    if role == "proxy":
        try:
            origin_port = start(ORIGIN, 0, folder / "origin", load_core, stack).port
        except BenchError as why:
            return {}, {peer.name: f"no origin: {why}" for peer in peers}
    for peer in peers:
        try:
            place = folder / f"{role}-{peer.name}"
            running[peer.name] = start(peer, origin_port, place, core, stack)
        except BenchError as why:
            why_not[peer.name] = str(why)
    return running, why_not


def start(peer: Peer, origin_port: int, folder: Path, core: int, stack: ExitStack) -> Server:
    """Start one peer and see that it answers; `stack` ends it. Raises: BenchError."""
    missing = peer.missing()
    if missing is not None:
        raise BenchError(f"missing: {missing}")
    folder.mkdir()
    if peer is ORIGIN:
        with open(folder / "bulk", "wb") as bulk:
            bulk.truncate(scenarios.BULK_BYTES)
    place = Place(harness.free_port(), origin_port, folder)
    server = Server(peer.command(place), place.port, core, {"PYTHONPATH": ""})
    stack.callback(server.stop)
    try:
        server.start()
        scenarios.check(server)
    except BenchError:
        server.stop()
        raise
    return server


def measure(
    scenario: Scenario,
    rows: Sequence[Row],
    running: dict[str, Server],
    options: Options,
    repeat: int,
) -> None:
    """Fill the rows, round by round, each round a sample of each peer."""
    for number in range(repeat):
        for row in rows:
            if row.why_not is None:
                note(f"{scenario.name}: round {number + 1} of {repeat}, {row.peer.name}")
                try:
                    row.samples.append(scenario.sample(running[row.peer.name], options))
                except BenchError as why:
                    row.why_not = str(why)
    note("")


def note(text: str) -> None:
    """Say on a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP unwind like an error, so that all that was started is ended."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- reporting ----------------------------------------------------------------------------------


def report(scenario: Scenario, rows: Sequence[Row]) -> str:
    """One table: ours first, and before each figure of a peer how many times as much we take."""
    ours = [row for row in rows if row.peer.ours]
    header = ["", *(f"{row.peer.name} takes" for row in ours), scenario.unit, "lowest - highest"]
    lines = []
    for row in rows:
        if row.why_not is not None or not row.samples:
            continue
        cells = [row.peer.name]
        for mine in ours:
            times = harness.ratio(mine.costs, row.costs)
            cells.append("" if times is None or mine is row else f"{times:.2f} x")
        low, high = min(row.costs), max(row.costs)
        digits = 0 if high >= 1000 else 1 if high >= 1 else 3
        cells += [scenario.text(row.samples), f"{low:,.{digits}f} - {high:,.{digits}f}"]
        lines.append(cells)
    absent = [f"{row.peer.name}: {row.why_not}" for row in rows if row.why_not is not None]
    return "\n".join([scenario.title, harness.table(header, lines), *absent, ""])


def as_json(
    results: dict[str, list[Row]], options: Options, facts: Sequence[str]
) -> dict[str, Any]:
    """The whole run, for a program to read. Samples are in the scenario's unit."""
    return {
        "facts": list(facts),
        "options": asdict(options),
        "results": [
            {
                "scenario": name,
                "peer": row.peer.name,
                "role": row.peer.role,
                "median": statistics.median(row.costs) if row.costs else None,
                "samples": [s._asdict() if isinstance(s, Sample) else s for s in row.samples],
                "why_not": row.why_not,
            }
            for name, rows in results.items()
            for row in rows
        ],
    }


# -- the command --------------------------------------------------------------------------------


def chosen(only: str, peers: str) -> tuple[list[Scenario], list[Peer]]:
    """The scenarios and peers that were asked for; "" is all. Raises: ValueError for others."""
    names = [scenario.name for scenario in SCENARIOS]
    wanted = only.split(",") if only else names
    known = {peer.name for peer in PEERS}
    asked = set(peers.split(",")) if peers else known
    if unknown := sorted({*wanted} - {*names}):
        raise ValueError(f"no scenario {', '.join(unknown)}; there are {', '.join(names)}")
    if unknown := sorted(asked - known):
        raise ValueError(f"no peer {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return (
        [scenario for scenario in SCENARIOS if scenario.name in wanted],
        [peer for peer in PEERS if peer.name in asked or (peer.ours and not peers)],
    )


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure Thor against its peers: CPU time per request."
    )
    add = parser.add_argument
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    add("--only", default="", help=f"scenarios, separated by commas: {names}")
    add("--peers", default="", help="peers, separated by commas; thor is one of them")
    add("--seconds", type=int, default=3, help="of load for each sample (default 3)")
    add("--repeat", type=int, default=3, help="rounds; the median counts (default 3)")
    add("--connections", type=int, default=64, help="of the load generator (default 64)")
    add("--idle", type=int, default=2000, help="connections whose memory is measured")
    add("--crowd", type=int, default=4000, help="connections of the scenario crowd, in all")
    add("--json", metavar="OUT", type=Path, help="write all samples to this file")
    args = parser.parse_args(argv)
    try:
        args.scenarios, args.peers = chosen(args.only, args.peers)
    except ValueError as why:
        parser.error(str(why))
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns an exit code."""
    args = parse_args(argv)
    if program("wrk") is None:
        print("missing: wrk, the load generator (apt-get install wrk)", file=sys.stderr)
        return 1
    facts = [*harness.machine(), *versions(args.peers)]
    print("\n".join(facts), end="\n\n", flush=True)
    core, load_core = harness.cores()
    options = Options(args.seconds, args.connections, args.idle, args.crowd, load_core)
    harness.raise_fd_limit()
    os.sched_setaffinity(0, {load_core})
    results: dict[str, list[Row]] = {}
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for role in ("server", "proxy"):
            todo = [scenario for scenario in args.scenarios if scenario.role == role]
            if todo:
                results |= run_role(role, todo, args, options, Path(folder), core)
    if args.json:
        whole = as_json(results, options, facts)
        args.json.write_text(json.dumps(whole, indent=1) + "\n")
    return 0 if any(row.costs for rows in results.values() for row in rows) else 1


def versions(peers: Sequence[Peer]) -> list[str]:
    """What exactly is measured, each once."""
    return list(dict.fromkeys(peer.version() for peer in peers if peer.missing() is None))


def run_role(
    role: str,
    todo: Sequence[Scenario],
    args: argparse.Namespace,
    options: Options,
    folder: Path,
    core: int,
) -> dict[str, list[Row]]:
    """Measure all scenarios of a role, and print their tables."""
    peers = [peer for peer in args.peers if peer.role == role]
    results = {}
    with ExitStack() as stack:
        running, why_not = start_all(peers, role, folder, core, options.load_core, stack)
        for server in running.values():  # caches fill and compilers warm up unmeasured
            harness.run_wrk(server.port, 1, options.connections, (), options.load_core)
        for scenario in todo:
            rows = [Row(peer, why_not=why_not.get(peer.name)) for peer in peers]
            measure(scenario, rows, running, options, args.repeat)
            print(report(scenario, rows), flush=True)
            results[scenario.name] = rows
    return results


if __name__ == "__main__":
    sys.exit(main())

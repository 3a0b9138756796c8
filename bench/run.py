"""The benchmark's command: `python -m bench.run`, or `make bench`.

Owns: the order of measuring. Theory of operation: all peers of a role are started once; then, round
by round, each is measured in turn, so that what disturbs the machine for a while disturbs all of
them. A result is the median of the rounds, and a claim is a ratio of two results of the same run.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import aims, clients, harness, instructions, report, steps
from bench.harness import BenchError, Server
from bench.peers import ORIGIN, PEERS, Peer, Place, program
from bench.report import Row
from bench.scenarios import ROLES, SCENARIOS, Options, Role, Scenario
from bench.tables import as_text


class Stage:
    """Where the peers of one role run; leaving it ends them all."""

    def __init__(self, role: str, folder: Path, core: int, options: Options) -> None:
        self.name = role
        self.role: Role = ROLES[role]
        self.folder = folder
        self.core = core
        self.options = options
        self.running: dict[str, Server] = {}
        self.why_not: dict[str, str] = {}
        self._certificate = ("", "")
        self._origin_port = 0
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def start_all(self, peers: Sequence[Peer]) -> None:
        """Start the peers: those that run are in `running`, the others in `why_not`."""
        try:
            if self.role.tls:
                self._certificate = clients.make_certificate(self.folder)
            if self.role.origin:
                self._start_origin()
        except BenchError as exc:
            self.why_not = {peer.name: f"no origin: {exc}" for peer in peers}
            return
        for peer in peers:
            note(f"{self.name}: starting {peer.title}")
            try:
                self.running[peer.name] = self._start(peer)
            except BenchError as exc:
                self.why_not[peer.name] = str(exc)

    def _start_origin(self) -> None:
        """Start what is behind the proxies, on the core of the load."""
        if missing := ORIGIN.missing():
            raise BenchError(f"missing: {missing}")
        server = self._launch(ORIGIN, self.options.load_core, Server, ("", ""))
        clients.check(server)
        self._origin_port = server.port

    def _start(self, peer: Peer) -> Server:
        """Start one peer and see that it answers. Raises: BenchError"""
        if missing := peer.missing():
            raise BenchError(f"missing: {missing}")
        server = self._launch(peer, self.core, self.role.subject, self._certificate)
        try:
            self.role.prepare(server, self.options)
        except BenchError:
            server.stop()
            raise
        return server

    def _launch(
        self, peer: Peer, core: int, subject: type[Server], certificate: tuple[str, str]
    ) -> Server:
        folder = self.folder / f"{self.name}-{peer.name}"
        folder.mkdir()
        if peer.needs == "nginx":
            (folder / "large").write_bytes(bytes(clients.LARGE_BYTES))
            with open(folder / "bulk", "wb") as bulk:
                bulk.truncate(clients.BULK_BYTES)
        place = Place(harness.free_port(), self._origin_port, folder, *certificate)
        env = {"PYTHONPATH": "", **dict(peer.env)}
        server = subject(peer.command(place), place.port, core, env, bool(place.certificate))
        self._stack.callback(server.stop)
        try:
            server.start()
        except BenchError:
            server.stop()
            raise
        return server

    def measure(self, scenario: Scenario, peers: Sequence[Peer], repeat: int) -> list[Row]:
        """Sample each peer, round by round."""
        taking_part = [peer for peer in peers if scenario.name not in peer.skips]
        rows = [Row(peer, why_not=self.why_not.get(peer.name)) for peer in taking_part]
        for number in range(repeat):
            for row in rows:
                if row.why_not is None:
                    note(f"{scenario.name}: round {number + 1} of {repeat}, {row.peer.title}")
                    try:
                        found = scenario.sample(self.running[row.peer.name], self.options)
                        row.samples.append(found)
                    except (BenchError, OSError) as exc:  # a process that has gone, for one
                        row.why_not = str(exc)
        note("")
        return rows


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


# -- the command --------------------------------------------------------------------------------


def chosen(only: str, peers: str, roles: str = "") -> tuple[list[Scenario], list[Peer]]:
    """Return the scenarios and peers asked for; "" is all. Raises: ValueError for others."""
    known = {
        "scenario": [scenario.name for scenario in SCENARIOS],
        "peer": sorted({peer.name for peer in PEERS}),
        "role": list(ROLES),
    }
    asked = {}
    for kind, text in (("scenario", only), ("peer", peers), ("role", roles)):
        asked[kind] = text.split(",") if text else known[kind]
        if unknown := sorted({*asked[kind]} - {*known[kind]}):
            raise ValueError(f"no {kind} {', '.join(unknown)}; there are {', '.join(known[kind])}")
    return (
        [one for one in SCENARIOS if one.name in asked["scenario"] and one.role in asked["role"]],
        [peer for peer in PEERS if peer.name in asked["peer"] or (peer.ours and not peers)],
    )


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure Thor against its peers: CPU time per request."
    )
    add = parser.add_argument
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    add("--only", default="", help=f"scenarios, separated by commas: {names}")
    add("--roles", default="", help=f"all scenarios of these: {', '.join(ROLES)}")
    add("--peers", default="", help="peers, separated by commas; thor is one of them")
    add("--seconds", type=int, default=3, help="of load for each sample (default 3)")
    add("--repeat", type=int, default=3, help="rounds; the median counts (default 3)")
    add("--connections", type=int, default=64, help="of the load generator (default 64)")
    add("--idle", type=int, default=2000, help="connections whose memory is measured")
    add("--crowd", type=int, default=4000, help="connections of the scenario crowd, in all")
    add("--json", metavar="DIR", type=Path, default=report.RESULTS, help="where results are kept")
    add("--write-doc", action="store_true", help=f"write the tables of {report.PAGE.name}")
    args = parser.parse_args(argv)
    try:
        args.scenarios, args.peers = chosen(args.only, args.peers, args.roles)
    except ValueError as exc:
        parser.error(str(exc))
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns an exit code."""
    args = parse_args(argv)
    roles = list(dict.fromkeys(scenario.role for scenario in args.scenarios))
    if program("wrk") is None and any(ROLES[role].subject is Server for role in roles):
        print("missing: wrk, the load generator (apt-get install wrk)", file=sys.stderr)
        return 1
    facts = [*harness.machine(), *versions([p for p in args.peers if p.role in roles])]
    facts.append(
        f"{time.strftime('%Y-%m-%d')}: the median of rounds of {args.seconds} s (so many:"
        f" {args.repeat}), wrk with {args.connections} connections"
    )
    print("\n".join(facts), end="\n\n", flush=True)
    core, load_core = harness.cores()
    options = Options(args.seconds, args.connections, args.idle, args.crowd, load_core)
    harness.raise_fd_limit()
    os.sched_setaffinity(0, {load_core})
    measured = False
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for role in roles:
            peers = [peer for peer in args.peers if peer.role == role]
            with Stage(role, Path(folder), core, options) as stage:
                stage.start_all(peers)
                for scenario in args.scenarios:
                    if scenario.role == role:
                        rows = stage.measure(scenario, peers, args.repeat)
                        table = report.make_table(scenario, rows)
                        print(as_text(table), flush=True)
                        report.save(table, facts, options, rows, args.json)
                        measured = measured or any(row.costs for row in rows)
        if "in-process" in roles and not args.only:
            note("in-process: step by step, and instruction by instruction")
            try:
                tables = steps.make_tables()
            except BenchError as exc:
                tables = []
                print(f"step by step: {exc}", file=sys.stderr)
            for table in [*tables, instructions.make_table()]:
                print(as_text(table), flush=True)
                report.save(table, facts, folder=args.json)
    print(as_text(report.load(args.json).tables[aims.NAME]))
    if args.write_doc:
        report.write_page(folder=args.json)
    return 0 if measured else 1


def versions(peers: Sequence[Peer]) -> list[str]:
    """Return what exactly is measured, each once."""
    return list(dict.fromkeys(peer.version() for peer in peers if peer.missing() is None))


if __name__ == "__main__":
    sys.exit(main())

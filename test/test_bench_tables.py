"""The benchmark's results: as tables, as files, and in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bench import aims, harness, instructions, plot, report, steps, tracing
from bench.harness import BenchError, Sample
from bench.peers import PEERS, Peer
from bench.report import Row, make_table
from bench.scenarios import SCENARIOS, Options, cost
from bench.tables import Table, as_text
from bench.tracing import Calls


def _peer(name: str, *, ours: bool = False, label: str = "") -> Peer:
    return Peer(name, "server", "", lambda place: [], ours, label)


def _rows() -> list[Row]:
    return [
        Row(_peer("thor", ours=True), [Sample(8.0, 4.0, 9e4), Sample(8.0, 4.0, 9e4)]),
        Row(_peer("nginx"), [Sample(2.0, 6.0, 9e4)]),
        Row(_peer("haproxy"), why_not="missing: haproxy is not installed"),
    ]


def test_table_gives_ratios_and_names_the_peer_that_is_missing() -> None:
    text = as_text(make_table(SCENARIOS[0], _rows()))
    nginx = next(line for line in text.split("\n") if line.startswith("nginx"))
    assert nginx.split() == ["nginx", "1.50", "x", "8.0", "(2.0", "+", "6.0)", "8.00", "-", "8.00"]
    assert "haproxy: missing: haproxy is not installed" in text


def test_peer_that_failed_in_a_round_has_no_figure() -> None:
    row = Row(_peer("node"), [Sample(1.0, 1.0, 1.0)], why_not="3 of 9 requests failed")
    assert row.costs == []
    table = make_table(SCENARIOS[0], [row])
    assert table.rows == []
    assert table.absent == ["node: 3 of 9 requests failed"]


def test_peers_are_called_by_their_labels() -> None:
    rows = [Row(_peer("thor-pure", ours=True, label="thor (pure Python)"), [Sample(1, 1, 1)])]
    table = make_table(SCENARIOS[0], rows)
    assert table.header[1] == "thor (pure Python) takes"
    assert table.rows[0][0] == "thor (pure Python)"


def test_each_kind_of_figure_has_a_cost_and_a_text() -> None:
    scenario = SCENARIOS[0]
    calls = Calls({"recvfrom": 1.0, "sendto": 1.0, "epoll_wait": 0.02, "brk": 0.001})
    assert cost(calls) == pytest.approx(2.021)
    assert scenario.text([calls]) == "2.02: recvfrom 1.00, sendto 1.00, epoll_wait 0.02"
    assert scenario.text([3.14159, 2.0, 5.0]) == "3.14"
    assert scenario.text([1234.5]) == "1,234"


def test_summary_of_strace_is_read_without_its_total() -> None:
    text = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000123           1      1280           recvfrom
 30.00    0.000100           1      1281         1 sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000223           1      2561         1 total
"""
    assert tracing.parse_summary(text) == {"recvfrom": 1280, "sendto": 1281}


def test_summary_of_valgrind_is_read() -> None:
    assert instructions.parse_count("==7== \n==7== I   refs:      1,234,567\n") == 1234567
    with pytest.raises(ValueError, match="no count"):
        instructions.parse_count("valgrind: no permission")


def test_missing_valgrind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "program", lambda name: None)
    assert "valgrind is not installed" in as_text(instructions.make_table())


def test_kind_whose_instructions_are_not_counted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(args: tuple[str, ...], env: dict[str, str], requests: int) -> int:
        if args[0] == "proxy":
            raise BenchError("valgrind failed: illegal instruction")
        return 50_000 * requests

    monkeypatch.setattr(instructions, "program", lambda name: name)
    monkeypatch.setattr(instructions, "count", count)
    text = as_text(instructions.make_table())
    assert "the server, 12 fields" in text
    assert "the reverse proxy, 1 field: valgrind failed: illegal instruction" in text


# -- files and the page --------------------------------------------------------------------------

PAGE = """\
Speed
=====

.. bench: facts
.. bench-end

Before.

.. bench: server crowd
old
.. bench-end

After.
"""


def test_results_are_kept_and_written_into_the_blocks_that_name_them(tmp_path: Path) -> None:
    options = Options(1, 64, 100, 100, 0)
    table = make_table(SCENARIOS[0], _rows())
    report.save(table, ["a machine", "nginx 1"], options, _rows(), tmp_path)
    report.save(replace(table, name="other"), ["a machine", "thor 1"], folder=tmp_path)
    page = tmp_path / "page.rst"
    page.write_text(PAGE)
    said: list[str] = []
    report.write_page(page, tmp_path, said.append)
    text = page.read_text()
    assert ".. csv-table:: Server, 1 field\n" in text
    assert "   nginx | 1.50 x | 8.0 (2.0 + 6.0) | 8.00 - 8.00\n" in text
    assert "Not measured: haproxy: missing: haproxy is not installed." in text
    assert "(*crowd* was not measured.)" in text
    assert "- a machine\n- thor 1\n- nginx 1\n" in text
    assert "Before." in text
    assert "After." in text
    assert "old" not in text
    assert [line for line in said if not line.startswith("no plot")] == [
        "not measured: crowd",
        "not in page.rst: aims",
        "not in page.rst: other",
    ]


def test_plot_shows_the_peers_cheapest_first(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    medians = {"proxy": {"node": 40.0, "thor": 12.5, "unheard-of": 1.0}}
    # In a process of its own, since matplotlib keeps its fonts open.
    program = f"""if True:
        from pathlib import Path
        from bench.plot import write_plot
        write_plot({medians!r}, Path({str(path)!r}))"""
    subprocess.run([sys.executable, "-c", program], cwd=harness.ROOT, check=True)
    words = re.findall(r"<text [^>]*>([^<]+)</text>", path.read_text())
    assert words.index("thor") < words.index("node")
    assert "12.5" in words
    assert any("Reverse proxy, 1 field" in word for word in words)
    assert "unheard-of" not in words


def test_plot_of_nothing_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(BenchError, match="none of server-12, proxy was measured"):
        plot.write_plot({}, tmp_path / "plot.svg")


def test_page_stays_as_it_is_where_nothing_was_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(PAGE)
    with pytest.raises(BenchError, match=r"nothing was measured: .*none"):
        report.write_page(page, tmp_path / "none")
    assert page.read_text() == PAGE


@pytest.mark.parametrize("program", [steps, instructions], ids=lambda it: it.__name__)
def test_programs_say_how_they_are_called(program: ModuleType) -> None:
    argv = [sys.executable, "-m", program.__name__, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=harness.ROOT, timeout=60)
    assert (done.stdout, done.stderr) == ("", f"{program.__doc__}\n")


def test_page_is_the_same_when_it_is_written_again(tmp_path: Path) -> None:
    tables = {"server": make_table(SCENARIOS[0], _rows())}
    once = report.fill(PAGE, tables, ["a machine"])
    assert report.fill(once, tables, ["a machine"]) == once


def test_samples_are_kept_for_programs(tmp_path: Path) -> None:
    report.save(make_table(SCENARIOS[0], _rows()), [], None, _rows(), tmp_path)
    whole = json.loads((tmp_path / "server.json").read_text())
    thor, _, haproxy = whole["results"]
    assert thor["median"] == 12.0
    assert thor["samples"][0] == {"user_us": 8.0, "system_us": 4.0, "per_s": 9e4}
    assert haproxy["why_not"] == "missing: haproxy is not installed"


def test_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "stray.json").write_text("[]")
    with pytest.raises(BenchError, match=r"stray\.json is not a result"):
        report.load(tmp_path)


def test_every_table_has_its_place_in_the_documentation() -> None:
    page = report.PAGE.read_text()
    placed = [name for found in report._BLOCK.findall(page) for name in found.split()]
    tables = [scenario.name for scenario in SCENARIOS]
    tables += [f"steps-{what}{more}" for what in ("server", "proxy") for more in ("", "-12")]
    assert sorted(placed) == sorted([*tables, report.FACTS, aims.NAME, instructions.NAME])


def test_names_of_scenarios_and_of_the_peers_of_a_role_are_unique() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    peers = [(peer.role, peer.name) for peer in PEERS]
    assert len(set(peers)) == len(peers)
    assert {skipped for peer in PEERS for skipped in peer.skips} <= set(names)


def test_table_of_steps_has_a_column_for_each_codec() -> None:
    found = [("reads", 3.0), (steps.REST, 1.0), (steps.IN_ALL, 4.0), (steps.READER, 2.0)]
    table: Table = steps.make_table("server", 12, {"thor": found, "pure": found})
    assert table.name == "steps-server-12"
    assert table.header == ["step", "thor: us", "share", "pure: us", "share"]
    assert table.rows[0] == ["reads", "3.00", "75%", "3.00", "75%"]
    assert table.rows[-1] == [steps.READER, "2.00", "", "2.00", ""]


# -- aims ----------------------------------------------------------------------------------------


def test_aims_name_scenarios_and_peers_that_there_are() -> None:
    roles = {scenario.name: scenario.role for scenario in SCENARIOS}
    peers = {(peer.role, peer.name) for peer in PEERS}
    for aim in aims.AIMS:
        assert (roles[aim.scenario], aim.ours) in peers
        assert not aim.theirs or (roles[aim.base or aim.scenario], aim.theirs) in peers


@pytest.mark.parametrize(
    ("aim", "expected"),
    [
        pytest.param(aims.Aim("server", "thor", "nginx", 1.5), 1.25, id="ratio"),
        pytest.param(aims.Aim("idle", "thor", "", 1024), 900.0, id="figure"),
        pytest.param(aims.Aim("crowd", "thor", "thor", 1.15, "server"), 1.2, id="other-scenario"),
        pytest.param(aims.Aim("server", "thor", "node", 1.0), None, id="peer-not-measured"),
        pytest.param(aims.Aim("tls", "thor", "nginx", 1.6), None, id="nothing-measured"),
    ],
)
def test_aim_is_compared_with_what_was_measured(aim: aims.Aim, expected: float | None) -> None:
    medians = {
        "server": {"thor": 10.0, "nginx": 8.0},
        "idle": {"thor": 900.0},
        "crowd": {"thor": 12.0},
    }
    assert aims.reached(aim, medians) == expected


def test_table_of_aims_says_what_was_reached() -> None:
    medians = {"server": {"thor": 10.0, "nginx": 8.0}, "server-12": {"thor": 20.0, "nginx": 8.0}}
    table = aims.make_table(medians, {"server": "Server, 1 field"})
    assert table.rows[0] == ["Server, 1 field", "Thor", "1.5 x nginx", "1.25 x", "yes"]
    assert table.rows[1] == ["server-12", "Thor", "1.55 x nginx", "2.50 x", "no"]
    assert table.rows[2][3:] == ["", ""]


def test_without_the_native_codec_the_figures_are_those_of_pure_python(tmp_path: Path) -> None:
    table = make_table(SCENARIOS[0], _rows())
    report.save(table, ["thor 1 (pure Python)"], None, _rows(), tmp_path)
    assert report.load(tmp_path).medians["server"] == {"nginx": 8.0, "thor-pure": 12.0}
    report.save(table, ["thor 1 (with the native codec)"], None, _rows(), tmp_path)
    assert report.load(tmp_path).medians["server"] == {"nginx": 8.0, "thor": 12.0}

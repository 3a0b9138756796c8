"""The plot of the documentation: CPU time per request of Thor and its peers.

Owns: what it shows and how it looks. It is made from the results that `bench.report` keeps, by
matplotlib, which the extra `thor[bench]` installs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.harness import BenchError
from bench.peers import PEERS
from bench.scenarios import SCENARIOS

#: What is shown: scenarios whose figures are CPU microseconds per request, from top to bottom.
SHOWN = ("server-12", "proxy")
#: What parses nothing is no server that somebody could use.
_LEFT_OUT = {"floor"}
_OURS, _OTHERS = "#c2410c", "#7c8794"
_INCHES_PER_BAR = 0.24


def write_plot(medians: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write the plot as SVG.

    medians: microseconds by scenario and peer
    Raises: BenchError if matplotlib is missing or nothing that is shown was measured; OSError
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise BenchError("no plot: matplotlib is missing (pip install 'thor[bench]')") from None
    panels = [(name, _bars(name, medians[name])) for name in SHOWN if medians.get(name)]
    if not panels:
        raise BenchError(f"no plot: none of {', '.join(SHOWN)} was measured")
    rows = [len(bars) + 2 for _, bars in panels]
    # The same figures give the same file: no date in it, and no random names.
    with rc_context({"svg.hashsalt": "thor", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, sum(rows) * _INCHES_PER_BAR), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=rows)[:, 0]
        for plot, (name, bars) in zip(axes, panels, strict=True):
            drawn = plot.barh(
                [label for label, _, _ in bars],
                [value for _, value, _ in bars],
                color=[_OURS if ours else _OTHERS for _, _, ours in bars],
            )
            plot.bar_label(drawn, fmt="%.1f", padding=3)
            plot.set_title(f"{_title(name)}: CPU microseconds per request", loc="left")
            plot.invert_yaxis()
            plot.margins(x=0.08)
            plot.tick_params(length=0)
            plot.xaxis.set_visible(False)
            plot.spines[:].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _title(scenario: str) -> str:
    return next(each.title for each in SCENARIOS if each.name == scenario)


def _bars(scenario: str, medians: Mapping[str, float]) -> list[tuple[str, float, bool]]:
    """Return the peers of a scenario, cheapest first: (label, microseconds, whether it is ours)."""
    role = next(each.role for each in SCENARIOS if each.name == scenario)
    peers = {peer.name: peer for peer in PEERS if peer.role == role}
    return sorted(
        (
            (peers[name].title, value, peers[name].ours)
            for name, value in medians.items()
            if name in peers and name not in _LEFT_OUT
        ),
        key=lambda bar: bar[1],
    )

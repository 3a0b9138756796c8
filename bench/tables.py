"""Tables: on a terminal, and in the documentation.

Owns: how a table is written. Must not know what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench import harness


@dataclass(frozen=True)
class Table:
    """A table as it is written. absent: what is not in it, and why"""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    absent: list[str]


def as_text(table: Table) -> str:
    """Return the table for a terminal."""
    return "\n".join([table.title, harness.table(table.header, table.rows), *table.absent, ""])


def as_rst(table: Table) -> str:
    """Return the table for the documentation."""
    lines = [f".. csv-table:: {table.title}", "   :header-rows: 1", "   :delim: |", ""]
    header = [table.header[0] or "peer", *table.header[1:]]
    lines += ["   " + " | ".join(cells).strip() for cells in [header, *table.rows]]
    if table.absent:
        lines += ["", "Not measured: " + "; ".join(table.absent) + "."]
    return "\n".join(lines)

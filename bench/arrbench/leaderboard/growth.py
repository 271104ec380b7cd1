"""What rankers cost as a collection grows: one table over several tables' sizes, and its log-log picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arrbench.leaderboard.columns import COSTS_OF_SIZE, Column
from arrbench.leaderboard.markdown import escaped, line
from arrbench.leaderboard.rows import Cell, Table, cell

PICTURE = "growth.png"
MARKERS = "osD^vP*X"


@dataclass(frozen=True, slots=True)
class Point:
    """A ranker at one size: its figures in the order of the columns."""

    name: str
    documents: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """Points by ranker, then by size, and the columns they have; the first is the headline."""

    columns: tuple[Column, ...]
    points: tuple[Point, ...]


def growth(tables: Sequence[Table]) -> Growth | None:
    """The figures of rankers at each size; None unless the tables' collections have several sizes.

    Rankers that never read the query are left out: they have no engine to grow.
    """
    if len({table.about["n_documents"] for table in tables}) < 2:
        return None
    columns = (tables[0].headline, *COSTS_OF_SIZE)
    points = [
        Point(row.name, table.about["n_documents"], tuple(cell(column, row.records) for column in columns))
        for table in tables
        for row in table.rows
        if row.records and not row.query_independent
    ]
    return Growth(columns, tuple(sorted(points, key=lambda p: (p.name, p.documents))))


def growth_markdown(found: Growth) -> str:
    """The table, each ranker's sizes together, under its picture."""
    headings = ["ranker", "documents", *(column.title for column in found.columns)]
    body = [[p.name, f"{p.documents:,}", *(c.full for c in p.cells)] for p in found.points]
    aligned = [":--", *("--:" for _ in headings[1:])]
    grid = [line(headings), line(aligned), *(line(map(escaped, row)) for row in body)]
    return "\n".join([f"![What rankers cost as the collection grows]({PICTURE})", "", *grid, "", ""])


def draw(found: Growth, file: Path) -> None:
    """A panel a cost, documents across, both axes logarithmic; a figure of 0 or none has no point."""
    from matplotlib.figure import Figure

    names = sorted({p.name for p in found.points})
    panels = [(i, c) for i, c in enumerate(found.columns) if c.drawn]
    figure = Figure(figsize=(11, 8), layout="constrained")
    grid = figure.subplots(2, -(-len(panels) // 2), squeeze=False, sharex=True).flat
    for (at, column), axes in zip(panels, grid, strict=True):
        for n, name in enumerate(names):
            points = [(p.documents, p.cells[at].value) for p in found.points if p.name == name]
            known = [(documents, value) for documents, value in points if value]
            style = {"color": f"C{n}", "marker": MARKERS[n % len(MARKERS)], "label": name}
            axes.plot([documents for documents, _ in known], [value for _, value in known], **style)
        axes.set(xscale="log", yscale="log", xlabel="documents", title=column.title)
        axes.grid(visible=True, which="both", alpha=0.25)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=110, metadata={"Software": None})

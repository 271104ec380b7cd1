"""A leaderboard for the terminal, readable from 100 columns on and when piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from arrbench import paths
from arrbench.leaderboard.notes import notes, tuning
from arrbench.leaderboard.rows import Cell, Row, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH = 160
ROOM_FOR_SPREAD = 140


def print_tables(tables: Iterable[Table], file: TextIO) -> None:
    """Print each table and its notes; a file that is no terminal gets 160 columns and no colours."""
    from rich.console import Console

    console = Console(file=file, highlight=False, width=None if file.isatty() else PIPED_WIDTH)
    for table in tables:
        show(table, console)


def show(table: Table, console: Console) -> None:
    """Print one table.

    Where room is scarce, columns of a group are merged and only the headline has spreads.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    wide = console.width >= ROOM_FOR_SPREAD
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    grid.title = _title(table)
    grid.add_column("ranker", overflow="fold", min_width=12)
    merged = _merged(table, wide)
    for title, _ in merged:
        grid.add_column(_stacked(title), justify="right", no_wrap=True)
    statuses = wide and any(row.status != "ok" for row in table.rows)
    if statuses:
        grid.add_column("status", no_wrap=True)
    for row in table.rows:
        cells = [_text([row.cells[i] for i in at], wide or at == [0]) for _, at in merged]
        if statuses:
            grid.add_row(Text(row.name), *cells, _status(row))
        else:
            grid.add_row(Text(f"{row.name} {_status(row)}".strip()), *cells)
    console.print(grid)
    for line in [*notes(table), *tuning(table.rows)]:
        console.print(Text(line))
    console.print()


def _title(table: Table) -> str:
    about = table.about
    title = f"{table.task}: {about['setting']}, {about['n_documents']:,} documents, {about['n_queries']:,} "
    title += f"{about['split']} queries, k = {about['k']}"
    if about.get("candidates"):
        title += f", candidates of {paths.shown(about['candidates'])}"
    if about["limit"] is not None:
        title += f"; limited to {about['limit']} queries a split: a trial run, not a result"
    return title


def _merged(table: Table, wide: bool) -> list[tuple[str, list[int]]]:
    """Titles with the positions of the columns they stand for."""
    numbered = list(enumerate(table.columns))
    if wide:
        return [(column.title, [i]) for i, column in numbered]
    groups = groupby(numbered, key=lambda pair: pair[1].group or pair[1].title)
    return [(title, [i for i, _ in members]) for title, members in groups]


def _stacked(title: str) -> str:
    """A heading on as many lines as its words, `@10` being one."""
    return title.replace(" ", "\n").replace("@", "\n@")


def _text(cells: Sequence[Cell], spreads: bool) -> Text:
    from rich.text import Text

    if not any(cell.text for cell in cells):
        return Text("")
    parts = [Text(c.full if spreads else c.text, style="bold" if c.best else "") for c in cells]
    return Text("/").join(parts)


def _status(row: Row) -> str:
    return "" if row.status == "ok" else row.status

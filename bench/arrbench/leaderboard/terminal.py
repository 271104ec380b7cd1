"""A leaderboard for the terminal, readable from 60 columns on and when piped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from arrbench import paths
from arrbench.leaderboard.notes import notes, tuning
from arrbench.leaderboard.rows import Cell, Row, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

PIPED_WIDTH = 160
WIDE, NARROW = 2, 1  # blanks between columns
STATUS_IMPORTANCE = 90
SPELT = str.maketrans({"±": "+/-", "–": "-", "…": "..."})  # where a terminal lacks the sign

Plain = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column as it is printed: its heading's lines, and for each row the parts between its slashes."""

    title: str
    cells: tuple[tuple[_Part, ...], ...]
    importance: int
    left: bool = False

    @property
    def heading(self) -> str:
        """The title on as many lines as it has words, `@10` being one."""
        return self.title.replace(" ", "\n").replace("@", "\n@").strip("\n")

    @property
    def width(self) -> int:
        from rich.cells import cell_len

        texts = ["/".join(part.text for part in cell) for cell in self.cells]
        return max(map(cell_len, [*self.heading.split("\n"), *texts]), default=0)


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """How wide names are, the columns beside them, the blanks between, and what finds no room."""

    names: int
    columns: tuple[_Shown, ...]
    gap: int
    missing: tuple[str, ...]


def print_tables(tables: Iterable[Table], file: TextIO) -> None:
    """Print each table and its notes; a file that is no terminal gets 160 columns and no colours."""
    from rich.console import Console

    console = Console(file=file, highlight=False, width=None if file.isatty() else PIPED_WIDTH)
    for table in tables:
        show(table, console)


def show(table: Table, console: Console) -> None:
    """Print one table: every name and figure whole, in what columns fit, and below it which did not.

    Where not all fit, columns of a group are merged and only the headline has spreads; where these
    don't fit either, the more important ones get room first. A name is folded only where it leaves no
    room for the headline.
    """
    from rich.text import Text

    plain = _for(console.encoding)
    names = [plain(row.name) for row in table.rows]
    layout = _fitting(table, names, console.width, plain)
    console.print(Text(plain(_title(table)), style="table.title"))
    console.print()
    console.print(_grid(names, layout))
    console.print()
    if layout.missing:
        console.print(Text(f"no room for {', '.join(layout.missing)}: --format csv has everything"))
    for line in [*notes(table), *tuning(table.rows)]:
        console.print(Text(plain(line)))
    console.print()


def _for(encoding: str) -> Plain:
    """Text as a terminal of that encoding can print it: no control characters, and no character lost."""

    def plain(text: str) -> str:
        text = "".join(_escaped(c) if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text)
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(SPELT)
        return text.encode(encoding, "backslashreplace").decode(encoding)

    return plain


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _title(table: Table) -> str:
    about = table.about
    title = f"{table.task}: {about['setting']}, {about['n_documents']:,} documents, {about['n_queries']:,} "
    title += f"{about['split']} queries, k = {about['k']}"
    if about.get("candidates"):
        title += f", candidates of {paths.shown(about['candidates'])}"
    if about["limit"] is not None:
        title += f"; limited to {about['limit']} queries a split: a trial run, not a result"
    return title


def _fitting(table: Table, names: Sequence[str], width: int, plain: Plain) -> _Layout:
    """The layout that shows most in so many columns."""
    from rich.cells import cell_len

    longest = max(map(cell_len, [*names, "ranker"]))
    lost = ("spreads of all but the first figure",) if _has_spreads(table) else ()
    full, merged = (tuple(_columns(table, merged, plain)) for merged in (False, True))
    for every, gap, missing in ((full, WIDE, ()), (merged, WIDE, lost), (merged, NARROW, lost)):
        if longest + sum(gap + column.width for column in every) <= width:
            return _Layout(longest, every, gap, missing)
    chosen = {0}  # the headline
    room = width - longest - NARROW - merged[0].width
    for i in sorted(range(1, len(merged)), key=lambda i: -merged[i].importance):
        if NARROW + merged[i].width <= room:
            chosen.add(i)
            room -= NARROW + merged[i].width
    left_out = tuple(column.title for i, column in enumerate(merged) if i not in chosen)
    beside = tuple(merged[i] for i in sorted(chosen))
    return _Layout(max(1, longest + min(room, 0)), beside, NARROW, left_out + lost)


def _has_spreads(table: Table) -> bool:
    return any(cell.spread_text for row in table.rows for cell in row.cells[1:])


def _columns(table: Table, merged: bool, plain: Plain) -> Iterator[_Shown]:
    """The table's columns, those of a group as one if `merged`, then the rows' status if any is not ok."""
    groups = groupby(
        enumerate(table.columns),
        key=lambda pair: pair[1].group if merged and pair[1].group else pair[0],
    )
    for group, members in groups:
        at = [i for i, _ in members]
        title = group if isinstance(group, str) else table.columns[at[0]].title
        cells = tuple(
            _parts([row.cells[i] for i in at], spreads=not merged or at == [0], plain=plain)
            for row in table.rows
        )
        empty = not any(part.text for cell in cells for part in cell)
        yield _Shown(plain(title), cells, -1 if empty else max(table.columns[i].importance for i in at))
    if any(row.status != "ok" for row in table.rows):
        statuses = tuple((_Part(_status(row)),) for row in table.rows)
        yield _Shown("status", statuses, STATUS_IMPORTANCE, left=True)


def _parts(cells: Sequence[Cell], *, spreads: bool, plain: Plain) -> tuple[_Part, ...]:
    if not any(cell.text for cell in cells):
        return (_Part(""),)
    return tuple(_Part(plain(cell.full if spreads else cell.text), cell.best) for cell in cells)


def _grid(names: Sequence[str], layout: _Layout) -> RichTable:
    """The table as rich draws it; every string in it is a Text, which rich takes as it stands."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    # the box puts one blank between columns
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, layout.gap - 1, 0, 0), pad_edge=False, show_edge=False)
    grid.add_column(Text("ranker"), overflow="fold", width=layout.names)
    for column in layout.columns:
        heading = Text(column.heading)
        if column.left:
            grid.add_column(heading, width=column.width, no_wrap=True)
        else:
            grid.add_column(heading, justify="right", width=column.width, no_wrap=True)
    for name, *cells in zip(names, *(column.cells for column in layout.columns), strict=True):
        grid.add_row(Text(name), *map(_text, cells))
    return grid


def _text(cell: Sequence[_Part]) -> Text:
    from rich.text import Text

    return Text("/").join(Text(part.text, style="bold" if part.best else "") for part in cell)


def _status(row: Row) -> str:
    return "" if row.status == "ok" else row.status

"""A board's folder: board.toml, the records it is made of, and the tables made from them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arrbench import spec
from arrbench.errors import TrialError, UsageError
from arrbench.leaderboard.export import to_csv
from arrbench.leaderboard.growth import PICTURE, draw, growth, growth_markdown
from arrbench.leaderboard.markdown import markdown
from arrbench.leaderboard.rows import tables
from arrbench.measure.method import CORRECTIONS, TESTS, Method
from arrbench.outcome import per_query
from arrbench.record import Record, row
from arrbench.store import Store

BOARD = "board.toml"


@dataclass(frozen=True, slots=True)
class Board:
    """What a board shows: the experiment of its board.toml, under a title and a paragraph."""

    folder: Path
    title: str
    text: str
    tasks: tuple[str, ...]
    candidates: str | None
    rankers: tuple[str, ...]
    seeds: tuple[int, ...]
    method: Method

    @property
    def records(self) -> Store:
        return Store(self.folder / "records")


def read_board(folder: Path) -> Board:
    """The board of a folder; UsageError names what its board.toml lacks."""
    file = folder / BOARD
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    about = values.get("board", {})
    missing = [k for k in ("task", "rankers", "seeds") if k not in values]
    missing += [f"board.{k}" for k in ("title", "text") if k not in about]
    if missing:
        raise UsageError(f"{file} lacks {', '.join(missing)}")
    return Board(
        folder,
        about["title"],
        about["text"],
        _words(values["task"]),
        values.get("candidates"),
        _words(values["rankers"]),
        _seeds(values["seeds"], file),
        _method(values, file),
    )


def _method(values: Mapping[str, Any], file: Path) -> Method:
    """How a board's differences are tested: its `test` and `correction`, as `run --config` reads them."""
    for key, words in (("test", TESTS), ("correction", CORRECTIONS)):
        if values.get(key) not in (None, *words):
            raise UsageError(f"{file}: {key} is {values[key]!r}; known: {', '.join(words)}")
    return Method().replaced(values.get("test"), values.get("correction"))


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    """One word, several joined by commas, or a list of them, as `run --config` reads them."""
    return tuple(spec.split(value if isinstance(value, str) else ",".join(map(str, value))))


def _seeds(value: object, file: Path) -> tuple[int, ...]:
    """One seed, several joined by commas, or a list of them, as `run --config` reads them."""
    words = value if isinstance(value, list) else str(value).split(",")
    try:
        return tuple(int(str(word)) for word in words)
    except ValueError:
        raise UsageError(f"{file}: seeds are {value!r}; give whole numbers, such as [1, 2, 3]") from None


def board_records(board: Board, store: Store) -> Sequence[Record]:
    """The board's records, which lie in `store`; UsageError where it has none yet."""
    records = list(store.all())
    if not records:
        command = f"arrbench run --config {board.folder / BOARD}"
        raise UsageError(f"{board.folder} has no records of {', '.join(board.tasks)}; make some: {command}")
    return records


def headline_values(
    rows: Iterable[Mapping[str, Any]], store: Store
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The headline's value of each test query, by record key, of the rows that are ok.

    Rows whose samples can't be read are left out, with a line on each.
    """
    values: dict[str, np.ndarray] = {}
    faults: list[str] = []
    for r in rows:
        if r["status"] == "ok":
            try:
                values[r["key"]] = per_query(store.path(r["key"]), r["headline"])
            except TrialError as error:
                faults.append(f"{error}; its row is compared with no other (arrbench run --force mends it)")
    return values, faults


def write_tables(board: Board) -> tuple[list[Path], list[str]]:
    """Write the board's README.md and board.csv from its records; over several sizes a picture too.

    Returns the files, and a line on each record that can't be read whole.
    """
    store = board.records
    rows = [row(record, cached=False) for record in board_records(board, store)]
    values, faults = headline_values(rows, store)
    found = tables(rows, values, board.method)
    head = (
        f"# {board.title}\n\n{board.text.strip()}\n\n"
        "Rebuilt from `records/` by `arrbench publish` on this folder; made anew by "
        f"`arrbench run --config {BOARD}` in it, and then `arrbench publish . --runs runs`.\n\n"
    )
    readme, csv = board.folder / "README.md", board.folder / "board.csv"
    written = [readme, csv]
    grown = growth(found)
    if grown is not None:
        head += growth_markdown(grown)
        written.append(board.folder / PICTURE)
        draw(grown, written[-1])
    readme.write_text(head + "\n".join(markdown(table) for table in found), encoding="utf-8")
    csv.write_text(to_csv(found), encoding="utf-8")
    return written, [*store.faults.values(), *faults]

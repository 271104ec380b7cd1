"""A board's folder: board.toml, the records it is made of, and the tables made from them."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arrbench import plugins, spec
from arrbench.choosing import choose
from arrbench.errors import UsageError
from arrbench.leaderboard.export import to_csv
from arrbench.leaderboard.growth import PICTURE, draw, growth, growth_markdown
from arrbench.leaderboard.markdown import markdown
from arrbench.leaderboard.rows import tables
from arrbench.measure.method import CORRECTIONS, TESTS, Method
from arrbench.outcome import per_query
from arrbench.record import Record, row
from arrbench.store import RECORD, Store

BOARD = "board.toml"
PUBLISHED = (RECORD, "run.trec.gz", "samples.npz", "training.jsonl")  # no model, and no log with its paths


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
        tuple(values["rankers"]),
        tuple(values["seeds"]),
        _method(values, file),
    )


def _method(values: Mapping[str, Any], file: Path) -> Method:
    """How a board's differences are tested: its `test` and `correction`, as `run --config` reads them."""
    for key, words in (("test", TESTS), ("correction", CORRECTIONS)):
        if values.get(key) not in (None, *words):
            raise UsageError(f"{file}: {key} is {values[key]!r}; known: {', '.join(words)}")
    return Method().replaced(values.get("test"), values.get("correction"))


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    """One task, several joined by commas, or a list of them, as `run --config` reads them."""
    return tuple(spec.split(value if isinstance(value, str) else ",".join(value)))


def collect(board: Board, runs: Store) -> int:
    """Copy the board's records out of `runs`, each in place of an older one of the same trial; how many."""
    rankers, tasks = _labels(board), _task_labels(board)
    mine = {_trial(r): r for r in board.records.all()}
    copied = 0
    for record in runs.all():  # oldest first: the newest of a trial stays
        if not _belongs(record, board, rankers, tasks) or _same(mine.get(_trial(record)), record):
            continue
        old = mine.get(_trial(record))
        if old is not None:
            shutil.rmtree(board.records.path(old.key))
        target = board.records.path(record.key)
        target.mkdir(parents=True, exist_ok=True)
        for name in PUBLISHED:
            source = runs.path(record.key) / name
            if source.exists():
                shutil.copyfile(source, target / name)
        mine[_trial(record)] = record
        copied += 1
    return copied


def board_records(board: Board) -> Sequence[Record]:
    """The board's records; UsageError where it has none yet."""
    records = list(board.records.all())
    if not records:
        command = f"arrbench run --config {board.folder / BOARD}"
        raise UsageError(f"{board.folder} has no records of {', '.join(board.tasks)}; make some: {command}")
    return records


def _labels(board: Board) -> set[str]:
    """The labels of the board's rankers, and of every baseline installed."""
    baselines = {p.name for p in plugins.installed("baseline")}
    return baselines | {choose(spec.parse(word)).label for word in board.rankers}


def _task_labels(board: Board) -> set[str]:
    """The labels of the board's tasks: their words with defaults left out."""
    asked = [spec.parse(words) for words in board.tasks]
    options = (spec.validated(plugins.task_class(a.name)[1].Options, a, "task") for a in asked)
    return {spec.label(a, o) for a, o in zip(asked, options, strict=True)}


def _belongs(record: Record, board: Board, labels: set[str], tasks: set[str]) -> bool:
    return (
        record.task_label in tasks
        and record.candidates == board.candidates
        and record.limit is None
        and record.label in labels
        and record.seed in board.seeds
    )


def _trial(record: Record) -> tuple[object, ...]:
    """What makes two records two runs of one trial."""
    hardware = record.hardware["fingerprint"]
    c = record
    return (c.task_label, c.label, c.seed, c.k, c.device, c.dtype, c.threads, hardware)


def _same(mine: Record | None, other: Record) -> bool:
    return mine is not None and (mine.key, mine.finished_at) == (other.key, other.finished_at)


def headline_values(rows: Iterable[Mapping[str, Any]], store: Store) -> dict[str, np.ndarray]:
    """The headline's value of each test query, by record key, of the rows that are ok."""
    return {r["key"]: per_query(store.path(r["key"]), r["headline"]) for r in rows if r["status"] == "ok"}


def write_tables(board: Board) -> list[Path]:
    """Write the board's README.md and board.csv from its records; over several sizes a picture too."""
    rows = [row(record, cached=False) for record in board_records(board)]
    found = tables(rows, headline_values(rows, board.records), board.method)
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
    return written

"""From records to tables: one row a ranker as it was run, its seeds taken together."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from arrbench.leaderboard.columns import Column, Record, columns
from arrbench.measure.method import Method
from arrbench.measure.significance import Comparison, compare, interval


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure: the mean over seeds and, with several, their standard deviation; both as they print too.

    A spread of 0 is not printed.
    """

    value: float | None = None
    spread: float | None = None
    text: str = ""
    spread_text: str = ""
    best: bool = False

    @property
    def full(self) -> str:
        return f"{self.text} ±{self.spread_text}" if self.spread_text else self.text


@dataclass(frozen=True, slots=True)
class Row:
    """A ranker with its options on one machine; `cells` follow the table's columns.

    `status` is ok, cached (nothing of it was run now) or failed; `error` holds the first error also
    where only some seeds failed. `records` are those that the figures come from.
    """

    name: str
    label: str
    status: str
    error: str | None
    cells: tuple[Cell, ...]
    records: tuple[Record, ...]
    failed_seeds: int
    tuning: str
    query_independent: bool
    learns: bool
    device: str
    dtype: str
    threads: int
    hardware: Mapping[str, Any]
    command: str

    @property
    def n_seeds(self) -> int:
        return len(self.records)

    @property
    def one_model(self) -> bool:
        """Whether the row is one trained model, which tells nothing of other seeds."""
        return self.learns and self.n_seeds == 1


@dataclass(frozen=True, slots=True)
class Table:
    """A leaderboard: the rows of one task under one setting, best headline first, failed ones last."""

    task: str
    about: Record  # any of its records, for what they all share
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]  # of the headline, by row name
    intervals: Mapping[str, tuple[float, float]]  # of the headline's mean, by row name
    method: Method  # of the comparisons

    @property
    def headline(self) -> Column:
        return self.columns[0]


def tables(
    records: Iterable[Record], per_query: Mapping[str, np.ndarray], method: Method | None = None
) -> list[Table]:
    """One table for each task, content, setting, split, k and limit among the records.

    `per_query` holds the headline's values by record key, shape (queries,), every array over the same
    queries in the same order; records without one are in the table but in no comparison. Of several
    records of one row and seed the latest counts.
    """
    same_task = _grouped(records, _task_key)
    return [_table(group, per_query, method or Method()) for group in same_task]


def _task_key(r: Record) -> tuple[Any, ...]:
    return r["task_label"], r["fingerprint"], r["setting"], r["split"], r["k"], r["limit"]


def _row_key(r: Record) -> tuple[Any, ...]:
    return r["label"], r["device"], r["dtype"], r["threads"], r["hardware"]["fingerprint"]


def _grouped(records: Iterable[Record], key: Callable[[Record], tuple[Any, ...]]) -> list[list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


def _table(records: Sequence[Record], per_query: Mapping[str, np.ndarray], method: Method) -> Table:
    measured = frozenset(name for r in records for name in r["metrics"])
    shown = columns(records[0]["headline"], measured)
    name = _namer(records)
    rows = [_row(name(group[0]), group, shown) for group in _grouped(records, _row_key)]
    rows.sort(key=lambda row: (row.status == "failed", -(row.cells[0].value or 0.0), row.name))
    values = {row.name: v for row in rows if (v := _values(row, per_query)) is not None}
    return Table(
        task=records[0].get("task_title") or records[0]["task_label"],
        about=records[0],
        columns=shown,
        rows=tuple(_best_marked(rows, shown)),
        comparisons=tuple(compare(values, {row.name for row in rows if row.one_model}, method)),
        intervals={row: interval(v) for row, v in values.items()},
        method=method,
    )


def _namer(records: Sequence[Record]) -> Callable[[Record], str]:
    """Titles or labels, with as much of device, dtype, threads and machine as tells rows apart."""
    meant: dict[str, set[str]] = {}
    for r in records:
        meant.setdefault(_called(r), set()).add(r["label"])
    parts: list[Callable[[Record], str]] = [
        lambda r: str(r["device"]),
        lambda r: str(r["dtype"]),
        lambda r: f"{r['threads']} threads",
        lambda r: f"machine {r['hardware']['fingerprint'][:6]}",
    ]
    telling = [part for part in parts if len({part(r) for r in records}) > 1]

    def name(record: Record) -> str:
        called = _called(record)
        if len(meant[called]) > 1:
            called = str(record["label"])
        extra = ", ".join(part(record) for part in telling)
        return f"{called} ({extra})" if extra else called

    return name


def _called(record: Record) -> str:
    return str(record.get("title") or record["label"])


def _row(name: str, records: Sequence[Record], shown: Sequence[Column]) -> Row:
    by_seed: dict[int, Record] = {}
    for record in sorted(records, key=lambda r: str(r.get("finished_at", ""))):
        by_seed[record["seed"]] = record
    latest = [by_seed[seed] for seed in sorted(by_seed)]
    ok = tuple(r for r in latest if r["status"] == "ok")
    failed = [r for r in latest if r["status"] != "ok"]
    status = "failed" if not ok else "cached" if all(r.get("cached", False) for r in latest) else "ok"
    any_record = latest[0]
    return Row(
        name=name,
        label=_called(any_record),
        status=status,
        error=_short(failed[0]["error"]) if failed else None,
        cells=tuple(cell(column, ok) for column in shown),
        records=ok,
        failed_seeds=len(failed),
        tuning=any_record["tuning"],
        query_independent=any_record["query_independent"],
        learns=any_record["learns"],
        device=any_record["device"],
        dtype=any_record["dtype"],
        threads=any_record["threads"],
        hardware=any_record["hardware"],
        command=_command(latest),
    )


def _command(records: Sequence[Record]) -> str:
    """The command that makes all of these again, which differ in their seeds alone."""
    seeds = ",".join(str(r["seed"]) for r in records)
    return re.sub(r"(?<= --seeds )\d+", seeds, records[0]["command"])


def _short(error: str | None) -> str:
    """The line of an error that says most: of a traceback, the last."""
    lines = (error or "").strip().splitlines() or ["no reason recorded"]
    return lines[-1].strip()[:200]


def cell(column: Column, records: Sequence[Record]) -> Cell:
    """A column's figure over the records of one row."""
    values = [v for r in records if (v := column.read(r)) is not None]
    if not values:
        return Cell()
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Cell(mean, None, column.write(mean, mean))
    spread = statistics.stdev(values)
    return Cell(mean, spread, column.write(mean, mean), column.write(spread, mean) if spread else "")


def _values(row: Row, per_query: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A row's per-query headline, shape (seeds, queries); None where some record has none."""
    found = [per_query[r["key"]] for r in row.records if r["key"] in per_query]
    return np.stack(found) if found and len(found) == len(row.records) else None


def _best_marked(rows: Sequence[Row], shown: Sequence[Column]) -> list[Row]:
    """Marks what reads the same as the best of its column; times compete within one machine only."""
    marked = list(rows)
    for c, column in enumerate(shown):
        for race in _races(rows, column):
            figures = {i: v for i in race if (v := rows[i].cells[c].value) is not None}
            if column.better is None or len(figures) < 2:
                continue
            best = (max if column.better == "higher" else min)(figures.values())
            for i in figures:
                if rows[i].cells[c].text == column.write(best, best):
                    cells = list(marked[i].cells)
                    cells[c] = replace(cells[c], best=True)
                    marked[i] = replace(marked[i], cells=tuple(cells))
    return marked


def _races(rows: Sequence[Row], column: Column) -> list[list[int]]:
    """Rows that compete: all of them, or for times those on one machine that read the query."""
    if not column.timed:
        return [list(range(len(rows)))]
    races: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if not row.query_independent:
            races.setdefault(row.hardware["fingerprint"], []).append(i)
    return list(races.values())

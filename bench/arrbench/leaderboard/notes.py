"""The lines under a leaderboard: what the figures do and do not say."""

from __future__ import annotations

from collections.abc import Iterable

from arrbench.leaderboard.rows import Row, Table
from arrbench.measure.significance import METHOD

NAMED_PAIRS = 12  # so many pairs that are not told apart are named one by one; more are counted


def notes(table: Table) -> list[str]:
    """Every line that belongs under the table, warnings first."""
    return [
        *_failures(table.rows),
        *_warning(table),
        *_differences(table),
        *_spread(table.rows),
        *_machines(table.rows),
        *_contended(table.rows),
        *_cached(table.rows),
        *_baselines(table.rows),
        *table.about.get("task_notes", ()),
    ]


def tuning(rows: Iterable[Row]) -> list[str]:
    """One line for each way of tuning, for outputs without room for a column."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.tuning, []).append(row.name)
    return [f"tuning: {', '.join(names)}: {how}" for how, names in groups.items()]


def _failures(rows: Iterable[Row]) -> list[str]:
    lines = []
    for row in rows:
        if row.error is not None:
            which = "" if row.status == "failed" else f" for {row.failed_seeds} of {_seeds_of(row)} seeds"
            lines.append(f"{row.name} failed{which}: {row.error}")
    return lines


def _seeds_of(row: Row) -> int:
    return row.n_seeds + row.failed_seeds


def _warning(table: Table) -> list[str]:
    trained = [
        row for row in table.rows if row.learns and not row.query_independent and row.name in table.intervals
    ]
    if not trained:
        return []
    best = trained[0]
    low, high = table.intervals[best.name]
    near = [
        f"{row.name} ({row.cells[0].text})"
        for row in table.rows
        if row.query_independent and row.cells[0].value is not None and row.cells[0].value >= low
    ]
    if not near:
        return []
    return [
        f"warning: without reading the query, {' and '.join(near)} "
        f"{'reaches' if len(near) == 1 else 'reach'} the 95% interval of the best trained ranker, "
        f"{best.name} ({best.cells[0].text} {_range(table, low, high)}): "
        "the task, not the model, is being shown"
    ]


def _range(table: Table, low: float, high: float) -> str:
    return f"[{table.headline.write(low, low)}, {table.headline.write(high, high)}]"


def _differences(table: Table) -> list[str]:
    """For each ranker those it beats, the closest with its interval, and the pairs not told apart."""
    if not table.comparisons:
        return []
    name = table.headline.heading
    lines = [f"differences in {name} that hold ({METHOD}, {len(table.comparisons)} pairs):"]
    for row in table.rows:
        beaten = sorted(
            (c for c in table.comparisons if c.significant and c.better == row.name),
            key=lambda c: c.difference,
        )
        if beaten:
            least = beaten[0]
            lines.append(
                f"  {row.name} > {', '.join(c.worse for c in beaten)} "
                f"(over {least.worse} by {table.headline.write(least.difference, least.difference)} "
                f"{_range(table, least.low, least.high)})"
            )
    if len(lines) == 1:
        lines = [f"no difference in {name} holds ({METHOD}, {len(table.comparisons)} pairs)"]
    even = [f"{c.better} and {c.worse}" for c in table.comparisons if not c.significant]
    if even and len(lines) > 1:
        shown = "; ".join(even) if len(even) <= NAMED_PAIRS else f"the other {len(even)} pairs"
        lines.append(f"  not told apart: {shown}")
    return lines


def _spread(rows: Iterable[Row]) -> list[str]:
    counts = sorted({row.n_seeds for row in rows if row.n_seeds > 1})
    if not counts:
        return []
    return [f"mean ± standard deviation over {' or '.join(map(str, counts))} seeds, where they differ"]


def _machines(rows: Iterable[Row]) -> list[str]:
    if len({row.hardware["fingerprint"] for row in rows}) < 2:
        return []
    return ["several machines: times are shown for all, but ranked only within one machine"]


def _contended(rows: Iterable[Row]) -> list[str]:
    names = [row.name for row in rows if any(r.get("contended") for r in row.records)]
    return [f"timed on a busy machine, so times may be too long: {', '.join(names)}"] if names else []


def _cached(rows: Iterable[Row]) -> list[str]:
    names = [row.name for row in rows if any(r.get("answers_cached") for r in row.records)]
    if not names:
        return []
    return [f"answer repeated queries from a cache, so their queries/s are not given: {', '.join(names)}"]


def _baselines(rows: Iterable[Row]) -> list[str]:
    names = [row.name for row in rows if row.query_independent]
    return [f"never read the query: {', '.join(names)}"] if names else []

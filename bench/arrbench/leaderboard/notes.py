"""The lines under a leaderboard: what the figures do and do not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from arrbench.leaderboard.rows import Row, Table
from arrbench.measure.significance import LEVEL, POWER, Comparison

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
    name, method = table.headline.heading, _method(table)
    lines = [
        f"  {row.name} > {', '.join(c.worse for c in beaten)} (over {_least(table, beaten[0])})"
        for row in table.rows
        if (beaten := _beaten(table, row))
    ]
    even = [c for c in table.comparisons if not c.significant]
    if not lines:
        return [f"no difference in {name} holds ({method})", *_detectable(table)]
    if even:
        shown = f"the other {len(even)} pairs"
        if len(even) <= NAMED_PAIRS:
            shown = "; ".join(f"{c.better} and {c.worse}" for c in even)
        lines.append(f"  not told apart: {shown}")
    return [f"differences in {name} that hold ({method}):", *lines, *_detectable(table)]


def _beaten(table: Table, row: Row) -> list[Comparison]:
    """What a ranker is better than, the closest first."""
    held = (c for c in table.comparisons if c.significant and c.better == row.name)
    return sorted(held, key=lambda c: c.difference)


def _least(table: Table, c: Comparison) -> str:
    said = f"{c.worse} by {table.headline.write(c.difference, c.difference)}"
    if c.low is not None and c.high is not None:
        said += f" {_range(table, c.low, c.high)}"
    return said if c.effect is None else f"{said}, d = {c.effect:.2f}"


def _detectable(table: Table) -> list[str]:
    """The smallest differences that the split could have shown, from pair to pair."""
    sizes = [c.detectable for c in table.comparisons if c.detectable is not None]
    if not sizes:
        return []
    least, middle, most = (table.headline.write(v, v) for v in (min(sizes), median(sizes), max(sizes)))
    between = least if least == most else f"{least} to {most} from pair to pair, median {middle}"
    m = len(table.comparisons)
    level = f"{LEVEL:g}" if m == 1 else f"{LEVEL:g}/{m}"
    return [f"  smallest difference to be shown here with {POWER:.0%} power at the level {level}: {between}"]


def _method(table: Table) -> str:
    """How the differences were tested, and of what they speak: of these models or of other seeds as well."""
    m = len(table.comparisons)
    by = {"holm": "Holm-corrected", "bh": "Benjamini-Hochberg-corrected"}[table.method.correction]
    corrected = f"{by} over all pairs, {m} pair{'s' if m != 1 else ''}"
    intervals = "" if table.method.test == "wilcoxon" else ", with 95% intervals"
    return f"{_test(table)}, {corrected}{intervals}; d: difference / its standard deviation over queries"


def _test(table: Table) -> str:
    compared = [row for row in table.rows if row.name in table.intervals]
    models = [row for row in compared if row.one_model]
    learnt = [row for row in compared if row.learns]
    if table.method.test != "t":
        name = {"randomization": "randomization test", "wilcoxon": "Wilcoxon's signed-rank test"}
        return f"{name[table.method.test]} over queries{_of_models(learnt)}"
    if all(row.n_seeds == 1 for row in compared) or (models and len(models) == len(learnt)):
        return f"paired t-test over queries{_of_models(learnt)}"
    said = "t-test over queries and seeds"
    if models:
        said += f", {_names(models)} with one seed: over queries alone, of these trained models"
    return said


def _of_models(learnt: Sequence[Row]) -> str:
    """What a test over queries alone leaves out."""
    if not learnt:
        return ""
    several = any(row.n_seeds > 1 for row in learnt)
    ignored = ", on means over seeds, whose variance it ignores" if several else ""
    return f"{ignored}, between these trained models"


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(row.name for row in rows)


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

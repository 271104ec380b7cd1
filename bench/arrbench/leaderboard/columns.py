"""The columns of a leaderboard: where each figure comes from and how it is written, once for all outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """`write` prints a value as finely as a second one asks for, so that a spread fits its mean.

    `group` names columns that a narrow table may show as one; `timed` ones hang on the machine; `drawn`
    ones have a panel in the picture of a growing collection. Where a terminal is narrow, columns of more
    `importance` get room first.
    """

    heading: str
    unit: str
    read: Callable[[Record], float | None]
    write: Callable[[float, float], str]
    better: Literal["higher", "lower"] | None = None
    group: str | None = None
    timed: bool = False
    drawn: bool = False
    importance: int = 0

    @property
    def title(self) -> str:
        """Heading and unit, as printed."""
        return f"{self.heading} {self.unit}".strip()


def columns(headline: str, measured: frozenset[str]) -> tuple[Column, ...]:
    """The columns of a task's table; overlaps only where they were measured."""
    cutoffs = [k for k in (1, 3, 5) if f"overlap@{k}" in measured]
    group = f"overlap@{'/'.join(map(str, cutoffs))}"
    overlaps = [_measure(f"overlap@{k}", f"overlap@{k}", 2, group) for k in cutoffs]
    first = _measure(headline, _printed(headline), 3, None, _MOST_IMPORTANT)
    return (first, *overlaps, *_COSTS)


def _measure(name: str, heading: str, digits: int, group: str | None, importance: int = 60) -> Column:
    read = _at("metrics", name)
    return Column(heading, "", read, _share(digits), "higher", group, importance=importance)


def _printed(name: str) -> str:
    return name.replace("ndcg", "nDCG").replace("mrr", "MRR")


def _share(digits: int) -> Callable[[float, float], str]:
    def write(value: float, like: float) -> str:
        return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"

    return write


def _percent(value: float, like: float) -> str:
    return f"{value:.1f}"


def _three_figures(value: float, like: float) -> str:
    """With as many decimals as three significant figures of `like` have: 0.0123, 1.23, 123, 1234."""
    decimals = 0 if like == 0 else max(0, 2 - math.floor(math.log10(abs(like))))
    return f"{value:.{decimals}f}"


def _count(value: float, like: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(like) >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:.0f}"


def _at(*path: str) -> Callable[[Record], float | None]:
    """Reads a nested field; None where it or what holds it is missing."""

    def read(record: Record) -> float | None:
        found: Any = record
        for step in path:
            found = None if found is None else found.get(step)
        return None if found is None else float(found)

    return read


def _violations(record: Record) -> float | None:
    return None if record.get("cvr") is None else 100.0 * record["cvr"]


def _recall(record: Record) -> float | None:
    """What an approximate search finds of the exact one's documents, at the depth it was asked for."""
    found = [v for name, v in record.get("facts", {}).items() if "recall_against_flat@" in name]
    return float(found[0]) if found else None


_MOST_IMPORTANT = 100
_LATENCY = "p50/p95 ms"
_COSTS = (
    Column("constraint violations", "%", _violations, _percent, "lower", importance=50),
    Column(
        "p50", "ms", _at("latency_ms", "p50"), _three_figures, "lower", _LATENCY, timed=True, importance=80
    ),
    Column(
        "p95", "ms", _at("latency_ms", "p95"), _three_figures, "lower", _LATENCY, timed=True, importance=80
    ),
    Column("queries/s", "", _at("throughput_qps"), _three_figures, "higher", timed=True, importance=70),
    Column("fit", "s", _at("fit_s", "wall"), _three_figures, importance=40),
    Column("parameters", "", _at("memory", "parameters"), _count, importance=20),
    Column("index", "MiB", _at("memory", "index_mb"), _three_figures, importance=30),
)
COSTS_OF_SIZE = (
    Column("index", "s", _at("index_s", "wall"), _three_figures, "lower", timed=True, drawn=True),
    Column("index", "MiB", _at("memory", "index_mb"), _three_figures, "lower", drawn=True),
    Column("memory", "MiB", _at("memory", "rss_increase_mb"), _three_figures, "lower"),
    Column("p50", "ms", _at("latency_ms", "p50"), _three_figures, "lower", timed=True, drawn=True),
    Column("p95", "ms", _at("latency_ms", "p95"), _three_figures, "lower", timed=True),
    Column("queries/s", "", _at("throughput_qps"), _three_figures, "higher", timed=True, drawn=True),
    Column("recall against flat", "", _recall, _share(3), "higher"),
)

"""The two measured scenarios: single-stream (one query after another) and batch (all at once)."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from arrbench.asking import ask, calls, in_order
from arrbench.ranker import Query, Ranker, Ranking
from arrbench.record import LatencySummary

PROTOCOL = 1  # part of every key: a change in how time is taken makes other figures
SINGLE_SAMPLES = 1_000
SINGLE_SECONDS = 20.0
BATCH_REPEATS = 5
BATCH_SECONDS = 3.0
WARM_UP_QUERIES = 10
WARM_UP_BATCH = 32
P99_SAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Timed:
    """Samples in milliseconds, in the order taken, and what the first pass returned."""

    samples_ms: list[float]
    rankings: list[Ranking]


def synchronizer(device: str) -> Callable[[], object]:
    """What waits for the device's queue, so that a clock read comes after the work; no-op on a CPU."""
    if device == "cpu" or "torch" not in sys.modules:
        return lambda: None
    import torch

    return lambda: torch.accelerator.synchronize(torch.device(device))


def warm_up(ranker: Ranker, queries: Sequence[Query], k: int, sync: Callable[[], object]) -> None:
    """Calls in both scenarios that are not timed: caches fill, kernels compile, pages load."""
    for query in queries[:WARM_UP_QUERIES]:
        ask(ranker.rank, [query], k)
    ask(ranker.rank, queries[:WARM_UP_BATCH], k)
    sync()


def single_stream(
    ranker: Ranker,
    queries: Sequence[Query],
    k: int,
    sync: Callable[[], object],
    max_samples: int = SINGLE_SAMPLES,
    max_seconds: float = SINGLE_SECONDS,
) -> Timed:
    """One query a call: at least one pass, then on to `max_samples` or `max_seconds` of timed calls."""
    samples: list[float] = []
    rankings: list[Ranking] = []
    spent = 0.0
    while len(samples) < len(queries) or (len(samples) < max_samples and spent < max_seconds):
        query = [queries[len(samples) % len(queries)]]
        elapsed, answer = _timed(ranker, query, k, sync)
        if len(samples) < len(queries):
            rankings.append(_one(answer, query[0]))
        samples.append(elapsed)
        spent += elapsed / 1e3
    return Timed(samples, rankings)


def batch(ranker: Ranker, queries: Sequence[Query], k: int, sync: Callable[[], object]) -> Timed:
    """All queries at once, up to five times or three seconds; the first answer is the one judged.

    One call where queries exclude about as many documents; see `asking`.
    """
    samples: list[float] = []
    rankings: list[Ranking] = []
    while not samples or (len(samples) < BATCH_REPEATS and sum(samples) < BATCH_SECONDS * 1e3):
        elapsed, answer = _timed(ranker, list(queries), k, sync)
        rankings = rankings or list(answer)
        samples.append(elapsed)
    return Timed(samples, rankings)


def summary(samples_ms: Sequence[float]) -> LatencySummary:
    """Percentiles by linear interpolation between the samples."""
    p50, p90, p95, p99 = (float(p) for p in np.percentile(samples_ms, [50, 90, 95, 99]))
    n = len(samples_ms)
    return LatencySummary(
        p50=p50, p90=p90, p95=p95, p99=p99 if n >= P99_SAMPLES else None, mean=fmean(samples_ms), n=n
    )


def queries_per_second(batch_ms: Sequence[float], n_queries: int) -> float:
    return n_queries / (median(batch_ms) / 1e3)


def _timed(
    ranker: Ranker, queries: list[Query], k: int, sync: Callable[[], object]
) -> tuple[float, Sequence[Ranking]]:
    asked = calls(queries, k)
    gc.disable()
    try:
        sync()
        start = time.perf_counter_ns()
        answers = [ranker.rank(call.queries, call.k) for call in asked]
        sync()
        elapsed = (time.perf_counter_ns() - start) / 1e6
    finally:
        gc.enable()
    return elapsed, in_order(asked, answers)


def _one(answer: Sequence[Ranking], query: Query) -> Ranking:
    if len(answer) != 1:
        raise ValueError(f"rank() answered query {query.id!r} with {len(answer)} rankings instead of 1")
    return answer[0]

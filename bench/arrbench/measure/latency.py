"""The two measured scenarios: single-stream (one query after another) and batch (all at once)."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from arrbench import plain
from arrbench.asking import Call, ask, calls, in_order
from arrbench.errors import ContractError, TrialError, shown
from arrbench.measure.observed import Claimed
from arrbench.measure.repeats import Repeats
from arrbench.ranker import Corpus, Query, Ranker, Ranking
from arrbench.record import LatencySummary

PROTOCOL = 2  # part of every key: a change in how time is taken makes other figures
SINGLE_SAMPLES = 1_000
SINGLE_SECONDS = 20.0
SINGLE_REPEATS = 10  # even where one pass takes longer than SINGLE_SECONDS: they show a cache
BATCH_CALLS = 5
BATCH_SECONDS = 3.0
# Fast calls go on for so long, up to so many: the parent's clock can't bound a shorter scenario.
LEAST_SECONDS = 0.1
MOST_SAMPLES = 5_000
MOST_BATCHES = 50
WARM_UP_QUERIES = 10
WARM_UP_BATCH = 32
WARM_UP_SECONDS = 0.5  # no further round after so long
WARM_UP_GAIN = 0.95  # a round below this share of the fastest was worth it: compilers at run time need many
WARM_UP_STALE = 3  # rounds that were not, and it is warm
P99_SAMPLES = 1_000
# A repeated query that takes so much less than at first is answered from memory, not ranked again.
CACHED_RATIO = 0.25
CACHED_LEAST_MS = 0.01
CACHED_QUERIES = 5  # fewer first calls may all be slow by chance


@dataclass(frozen=True, slots=True)
class Timed:
    """Samples in milliseconds, in the order taken, what the first pass returned, and the whole account."""

    samples_ms: list[float]
    rankings: list[Ranking]
    claimed: Claimed


def synchronizer(device: str) -> Callable[[], object]:
    """What waits for the device's queue, so that a clock read comes after the work; no-op on a CPU."""
    if device == "cpu" or "torch" not in sys.modules:
        return lambda: None
    import torch

    return lambda: torch.accelerator.synchronize(torch.device(device))


def warm_up_queries(judged: Iterable[Query], corpus: Corpus, rerank: bool, k: int) -> list[Query]:
    """Queries to warm up with, none of them a test query: judged ones, else titles of documents.

    `judged` are train and dev queries; those that are asked as the test queries are (with candidates when
    reranking) serve. A title's query has the first k documents as its candidates when reranking.
    """
    alike = [q for q in judged if (q.candidates is not None) == rerank]
    if alike:
        return alike[:WARM_UP_BATCH]
    candidates = corpus.ids[:k] if rerank else None
    return [
        Query(f"warm-up {i}", d.title or d.text, candidates) for i, d in enumerate(corpus[:WARM_UP_BATCH])
    ]


def warm_up(ranker: Ranker, queries: Sequence[Query], k: int, sync: Callable[[], object]) -> None:
    """Rounds of calls in both scenarios that are not timed: caches fill, kernels compile, pages load.

    They go on until several in a row are no faster than one before. What is alive then is left out of
    later garbage collections, which run between timed calls.
    """
    began = time.monotonic()
    fastest, stale = math.inf, 0
    while stale < WARM_UP_STALE and time.monotonic() - began < WARM_UP_SECONDS:
        start = time.monotonic()
        for query in queries[:WARM_UP_QUERIES]:
            ask(ranker.rank, [query], k)
        ask(ranker.rank, queries, k)
        sync()
        took = time.monotonic() - start
        stale = 0 if took < WARM_UP_GAIN * fastest else stale + 1
        fastest = min(fastest, took)
    gc.collect()
    gc.freeze()


def single_stream(
    ranker: Ranker,
    queries: Sequence[Query],
    k: int,
    sync: Callable[[], object],
    repeats: Repeats,
    max_samples: int = SINGLE_SAMPLES,
    max_seconds: float = SINGLE_SECONDS,
) -> Timed:
    """One query a call: a pass in which each query is new, then repeats.

    The first pass is the latency; the repeats, on to `max_samples` or `max_seconds` of timed calls, and for
    at least LEAST_SECONDS, are told apart from it. Raises TrialError for a repeat that breaks the contract.
    """
    started = time.perf_counter_ns()
    samples: list[float] = []
    rankings: list[Ranking] = []
    spent, documents = 0.0, 0
    asked = [calls([q], k) for q in queries]
    least = len(queries) + min(SINGLE_REPEATS, len(queries))
    while len(samples) < least or _goes_on(len(samples), spent, max_samples, max_seconds, MOST_SAMPLES):
        at = len(samples) % len(queries)
        elapsed, (answer,) = _timed(ranker, asked[at], sync)
        if len(samples) < len(queries):
            rankings.append(answer)
        else:
            repeats.check(queries[at], asked[at][0].k, rankings[at], answer)
        samples.append(elapsed)
        spent += elapsed / 1e3
        documents += len(answer.ids)
    return Timed(samples, rankings, _claimed(started, samples, len(samples), documents))


def batch(
    ranker: Ranker, queries: Sequence[Query], k: int, sync: Callable[[], object], repeats: Repeats
) -> Timed:
    """All queries at once, up to five times or three seconds; the first answer is the one judged.

    One call where queries exclude about as many documents; see `asking`. What the ranker counts is counted
    anew each time, so that its facts are of these queries, once.

    Raises TrialError for a repeat that breaks the contract.
    """
    started = time.perf_counter_ns()
    samples: list[float] = []
    asked = calls(queries, k)
    rankings: Sequence[Ranking] = []
    while not samples or _goes_on(len(samples), sum(samples) / 1e3, BATCH_CALLS, BATCH_SECONDS, MOST_BATCHES):
        ranker.count_anew()
        elapsed, answers = _timed(ranker, asked, sync)
        if samples:
            for call in asked:
                for at in call.places:
                    repeats.check(queries[at], call.k, rankings[at], answers[at])
        else:
            rankings = answers
        samples.append(elapsed)
    answers_in_all, documents = len(samples) * len(queries), len(samples) * sum(len(r.ids) for r in rankings)
    return Timed(samples, list(rankings), _claimed(started, samples, answers_in_all, documents))


def _claimed(started_ns: int, samples_ms: Sequence[float], answers: int, documents: int) -> Claimed:
    elapsed = (time.perf_counter_ns() - started_ns) / 1e9
    return Claimed(sum(samples_ms) / 1e3, elapsed, answers, documents)


def _goes_on(calls: int, seconds: float, enough_calls: int, enough_seconds: float, most: int) -> bool:
    """Whether more calls are to be timed: by number and time, or by `most` where they are over in no time."""
    if seconds < LEAST_SECONDS:
        return calls < max(most, enough_calls)
    return calls < enough_calls and seconds < enough_seconds


def summary(samples_ms: Sequence[float]) -> LatencySummary:
    """Percentiles by linear interpolation between the samples."""
    p50, p90, p95, p99 = (float(p) for p in np.percentile(samples_ms, [50, 90, 95, 99]))
    n = len(samples_ms)
    return LatencySummary(
        p50=p50, p90=p90, p95=p95, p99=p99 if n >= P99_SAMPLES else None, mean=fmean(samples_ms), n=n
    )


def queries_per_second(batch_ms: Sequence[float], n_queries: int) -> float:
    return n_queries / (median(batch_ms) / 1e3)


def from_cache(first_ms: Sequence[float], repeats_ms: Sequence[float]) -> bool:
    """Whether calls that were made before are answered from memory instead of being computed again.

    True where the median of `repeats_ms` is below a quarter of the lower quartile of `first_ms`, and by more
    than 10 µs. Never for fewer than 5 first calls.
    """
    if len(first_ms) < CACHED_QUERIES or not len(repeats_ms):
        return False
    first, again = float(np.quantile(first_ms, 0.25)), float(np.median(repeats_ms))
    return again < CACHED_RATIO * first and first - again > CACHED_LEAST_MS


def _timed(
    ranker: Ranker, asked: Sequence[Call], sync: Callable[[], object]
) -> tuple[float, Sequence[Ranking]]:
    """Milliseconds of some calls, what they return read out inside the clock, and that.

    Raises TrialError for a number of rankings other than that of the queries.
    """
    gc.disable()
    try:
        sync()
        start = time.perf_counter_ns()
        answers = [_read(ranker.rank(call.queries, call.k)) for call in asked]
        sync()
        elapsed = (time.perf_counter_ns() - start) / 1e6
    finally:
        gc.enable()
    for call, answer in zip(asked, answers, strict=True):
        if len(answer) != len(call.queries):
            raise TrialError(f"rank() answered {len(call.queries)} queries with {len(answer)} rankings")
        for query, ranking in zip(call.queries, answer, strict=True):
            _refuse_unread(ranking, query)
    return elapsed, in_order(asked, answers)


def _read(answer: Iterable[Ranking]) -> list[Ranking]:
    return [Ranking(_ids(r), _scores(r)) for r in answer]


def _ids(ranking: Ranking) -> list[str]:
    """The ids as a list, as strings where the first is none; what computes them is paid for here."""
    if not isinstance(ranking, Ranking):
        raise ContractError(f"rank() gave {shown(ranking)} as a ranking; it must be a Ranking(ids, scores)")
    read = list(ranking.ids)
    if not read or type(read[0]) is str:
        return read
    return [plain.identifier("an id in a ranking", i) for i in read]


def _scores(ranking: Ranking) -> list[float]:
    """The scores of a list, array, tensor or lazy sequence as a list, as floats where the first is none."""
    scores: Any = ranking.scores
    read: list[float] = scores.tolist() if hasattr(scores, "tolist") else list(scores)
    if not read or type(read[0]) is float:
        return read
    return [float(plain.figure("a score in a ranking", s)) for s in read]


def _refuse_unread(ranking: Ranking, query: Query) -> None:
    """An id or a score that is still to be computed would be computed outside the clock."""
    parts: tuple[tuple[str, Sequence[object], type], ...] = (
        ("id", ranking.ids, str),
        ("score", ranking.scores, float),
    )
    for what, values, kind in parts:
        if set(map(type, values)) <= {kind}:
            continue
        odd = next(v for v in values if type(v) is not kind)
        raise TrialError(
            f"ranking of query {query.id!r}: {what} {odd!r} is of type {type(odd).__name__} "
            f"among others of type {kind.__name__}"
        )

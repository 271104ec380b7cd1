"""How time is taken: how many samples, of which calls, and with what in and out of the clock."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Sequence

import pytest

from arrbench.measure import latency
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking

QUERIES = [Query(f"q{i}", "text") for i in range(7)]


class Recording(Ranker):
    """Remembers every call; takes `pause` seconds a call."""

    pause = 0.0

    def index(self, corpus: Corpus) -> None: ...

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        self.calls.append([q.id for q in queries])
        self.collecting.append(gc.isenabled())
        time.sleep(self.pause)
        return [Ranking([q.id], [1.0]) for q in queries]


@pytest.fixture
def ranker() -> Recording:
    made = Recording(BaseOptions(), Context())
    made.calls, made.collecting = [], []  # type: ignore[attr-defined]
    return made


def nothing() -> None: ...


def test_single_stream_asks_one_query_a_call_up_to_the_sample_count(ranker: Recording) -> None:
    timed = latency.single_stream(ranker, QUERIES, 10, nothing, max_samples=20)
    assert len(timed.samples_ms) == 20
    assert ranker.calls == [[f"q{i % 7}"] for i in range(20)]
    assert [r.ids[0] for r in timed.rankings] == [q.id for q in QUERIES]


def test_single_stream_stops_by_time_but_never_before_one_pass(ranker: Recording) -> None:
    ranker.pause = 0.02
    assert len(latency.single_stream(ranker, QUERIES, 10, nothing, max_seconds=0.01).samples_ms) == 7
    assert 7 < len(latency.single_stream(ranker, QUERIES, 10, nothing, max_seconds=0.2).samples_ms) <= 10


def test_samples_are_milliseconds_of_the_call_and_the_device(ranker: Recording) -> None:
    ranker.pause = 0.005
    waits = itertools.cycle([0.1, 0.005])  # for what was queued before the call, and for the call itself
    timed = latency.single_stream(ranker, QUERIES, 10, lambda: time.sleep(next(waits)), max_samples=7)
    assert 10 <= min(timed.samples_ms) < 100


def test_garbage_is_not_collected_inside_a_timed_call_and_is_again_after(ranker: Recording) -> None:
    latency.single_stream(ranker, QUERIES, 10, nothing, max_samples=7)
    assert ranker.collecting == [False] * 7
    assert gc.isenabled()


def test_batch_hands_everything_over_at_once(ranker: Recording) -> None:
    timed = latency.batch(ranker, QUERIES, 10, nothing)
    assert ranker.calls == [[q.id for q in QUERIES]] * latency.BATCH_REPEATS
    assert len(timed.rankings) == len(QUERIES)
    assert latency.queries_per_second([100.0, 200.0, 300.0], 7) == pytest.approx(35.0)


def test_a_query_that_excludes_thousands_makes_no_other_fetch_more(ranker: Recording) -> None:
    seen = frozenset(str(i) for i in range(3000))
    queries = [
        *QUERIES,
        Query("heavy", "text", excluded=seen),
        Query("itself", "text", excluded=frozenset("x")),
    ]
    asked: dict[str, set[int]] = {}

    def rank(some: Sequence[Query], k: int) -> list[Ranking]:
        for q in some:
            asked.setdefault(q.id, set()).add(k)
        return [Ranking([q.id], [1.0]) for q in some]

    ranker.rank = rank  # type: ignore[method-assign]
    timed = latency.batch(ranker, queries, 100, nothing)
    assert [r.ids[0] for r in timed.rankings] == [q.id for q in queries]
    assert asked == {"heavy": {3100}} | {q.id: {101} for q in queries if q.id != "heavy"}
    asked.clear()
    latency.single_stream(ranker, queries, 100, nothing, max_samples=9)
    assert asked == {"heavy": {3100}, "itself": {101}} | {q.id: {100} for q in QUERIES}


def test_warm_up_calls_both_scenarios(ranker: Recording) -> None:
    latency.warm_up(ranker, QUERIES, 10, nothing)
    assert [len(c) for c in ranker.calls] == [1] * 7 + [7]


def test_p99_is_given_only_from_a_thousand_samples() -> None:
    assert latency.summary(list(range(999))).p99 is None
    summary = latency.summary([float(i) for i in range(1001)])
    assert (summary.p50, summary.p90, summary.p95, summary.p99) == (500, 900, 950, 990)
    assert summary.mean == 500
    assert summary.n == 1001


def test_a_wrong_number_of_rankings_for_one_query_is_an_error(ranker: Recording) -> None:
    ranker.rank = lambda queries, k: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="'q0' with 0 rankings"):
        latency.single_stream(ranker, QUERIES, 10, nothing)

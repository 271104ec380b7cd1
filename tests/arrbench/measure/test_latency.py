"""How time is taken: how many samples, of which calls, and with what in and out of the clock."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Sequence

import pytest

from arrbench.errors import TrialError
from arrbench.measure import latency
from arrbench.measure.repeats import Repeats
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Document, Query, Ranker, Ranking

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


def repeats() -> Repeats:
    return Repeats({q.id for q in QUERIES} | {"heavy", "itself"})


def test_single_stream_asks_one_query_a_call_up_to_the_sample_count(ranker: Recording) -> None:
    ranker.pause = 0.02
    timed = latency.single_stream(ranker, QUERIES, 10, nothing, repeats(), max_samples=20)
    assert len(timed.samples_ms) == 20
    assert ranker.calls == [[f"q{i % 7}"] for i in range(20)]
    assert [r.ids[0] for r in timed.rankings] == [q.id for q in QUERIES]


def test_single_stream_stops_by_time_but_never_before_a_pass_and_some_repeats(ranker: Recording) -> None:
    ranker.pause = 0.02
    few = latency.single_stream(ranker, QUERIES, 10, nothing, repeats(), max_seconds=0.01)
    assert len(few.samples_ms) == 14
    more = latency.single_stream(ranker, QUERIES, 10, nothing, repeats(), max_seconds=0.4)
    assert 14 < len(more.samples_ms) <= 20


def test_fast_calls_go_on_until_another_clock_can_bound_them(ranker: Recording) -> None:
    ranker.pause = 0.001
    timed = latency.single_stream(ranker, QUERIES, 10, nothing, repeats(), max_samples=20)
    assert sum(timed.samples_ms) >= 1e3 * latency.LEAST_SECONDS
    ranker.pause = 0.0
    assert (
        len(latency.single_stream(ranker, QUERIES, 10, nothing, repeats()).samples_ms) <= latency.MOST_SAMPLES
    )


def test_repeats_are_counted_and_checked(ranker: Recording) -> None:
    counted = repeats()
    ranker.pause = 0.02
    latency.single_stream(ranker, QUERIES, 10, nothing, counted, max_samples=20)
    latency.batch(ranker, QUERIES, 10, nothing, counted)
    calls = len(ranker.calls) - 20
    assert counted.checked == 13 + 7 * (calls - 1)
    assert counted.agreement == 1
    assert repeats().agreement is None


@pytest.mark.parametrize(
    ("again", "fault"),
    [
        (Ranking([], []), "2 documents at first and 0 when repeated"),
        (Ranking(["nowhere", "q0"], [2.0, 1.0]), "'nowhere' is not in the corpus"),
        (Ranking(["q0", "q0"], [2.0, 1.0]), "occurs twice"),
        (Ranking(["q1", "q0"], [float("nan"), 1.0]), "not finite"),
    ],
)
def test_a_repeat_that_is_no_answer_is_refused(again: Ranking, fault: str) -> None:
    with pytest.raises(TrialError, match=fault):
        repeats().check(QUERIES[0], 10, Ranking(["q0", "q1"], [2.0, 1.0]), again)


def test_a_repeat_may_differ_and_is_counted(ranker: Recording) -> None:
    counted = repeats()
    counted.check(QUERIES[0], 10, Ranking(["q0", "q1"], [2.0, 1.0]), Ranking(["q1", "q0"], [2.0, 1.0]))
    counted.check(QUERIES[0], 10, Ranking(["q0", "q1"], [2.0, 1.0]), Ranking(["q0", "q1"], [3.0, 1.0]))
    assert counted.agreement == 0.5


def test_what_is_returned_is_read_inside_the_clock() -> None:
    class Slow(Sequence[float]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, at: int) -> float:
            time.sleep(0.005)
            return [1.0][at]

    class Lazy(Recording):
        def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
            return [Ranking((i for i in [q.id]), Slow()) for q in queries]  # type: ignore[arg-type]

    lazy = Lazy(BaseOptions(), Context())
    timed = latency.single_stream(lazy, QUERIES, 10, nothing, repeats(), max_samples=14)
    assert min(timed.samples_ms) >= 5
    assert timed.rankings[0] == Ranking(["q0"], [1.0])


def test_an_id_that_is_computed_when_read_among_others_is_refused(ranker: Recording) -> None:
    class Word:
        def __str__(self) -> str:
            return "q1"

    ranker.rank = lambda queries, k: [Ranking(["q0", Word()], [2.0, 1.0])]  # type: ignore[method-assign,list-item]
    with pytest.raises(TrialError, match="type Word among others of type str"):
        latency.single_stream(ranker, QUERIES, 10, nothing, repeats())


def test_answers_from_memory_are_told_by_repeats_of_a_fraction_of_the_first_call() -> None:
    first = [40.0, 41.0, 39.0, 400.0, 42.0]
    assert latency.from_cache(first, [0.1] * 10)
    assert not latency.from_cache(first, [30.0] * 10)
    assert not latency.from_cache(first, [])
    assert not latency.from_cache([0.002] * 5, [0.0001] * 10)  # a saving too small to matter
    assert not latency.from_cache([100.0] * 4, [1.0] * 10)
    assert not latency.from_cache([20.0, 30.0, 1.0, 1.0, 1.0], [1.0] * 10)  # some slow first calls


def test_no_test_query_is_warmed_up_with() -> None:
    corpus = Corpus(Document(f"d{i}", f"title {i}" if i else "", "text") for i in range(40))
    with_candidates = Query("w", "text", ("d1",))
    assert latency.warm_up_queries([with_candidates, *QUERIES], corpus, rerank=False, k=5) == QUERIES
    assert latency.warm_up_queries([with_candidates, *QUERIES], corpus, rerank=True, k=5) == [with_candidates]
    titles = latency.warm_up_queries([], corpus, rerank=False, k=5)
    assert [q.text for q in titles[:2]] == ["text", "title 1"]
    assert len(titles) == latency.WARM_UP_BATCH
    assert {q.candidates for q in titles} == {None}
    reranked = latency.warm_up_queries([], corpus, rerank=True, k=5)
    assert {q.candidates for q in reranked} == {corpus.ids[:5]}


def test_samples_are_milliseconds_of_the_call_and_the_device(ranker: Recording) -> None:
    ranker.pause = 0.005
    waits = itertools.cycle([0.1, 0.005])  # for what was queued before the call, and for the call itself
    timed = latency.single_stream(
        ranker, QUERIES, 10, lambda: time.sleep(next(waits)), repeats(), max_samples=7
    )
    assert 10 <= min(timed.samples_ms) < 100


def test_garbage_is_not_collected_inside_a_timed_call_and_is_again_after(ranker: Recording) -> None:
    ranker.pause = 0.02
    latency.single_stream(ranker, QUERIES, 10, nothing, repeats(), max_samples=7)
    assert ranker.collecting == [False] * 14
    assert gc.isenabled()


def test_batch_hands_everything_over_at_once(ranker: Recording) -> None:
    ranker.pause = 0.06
    timed = latency.batch(ranker, QUERIES, 10, nothing, repeats())
    assert ranker.calls == [[q.id for q in QUERIES]] * latency.BATCH_CALLS
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
    timed = latency.batch(ranker, queries, 100, nothing, repeats())
    assert [r.ids[0] for r in timed.rankings] == [q.id for q in queries]
    assert asked == {"heavy": {3100}} | {q.id: {101} for q in queries if q.id != "heavy"}
    asked.clear()
    latency.single_stream(ranker, queries, 100, nothing, repeats(), max_samples=9)
    assert asked == {"heavy": {3100}, "itself": {101}} | {q.id: {100} for q in QUERIES}


def test_warm_up_calls_both_scenarios_in_rounds(ranker: Recording) -> None:
    ranker.pause = 0.1
    latency.warm_up(ranker, QUERIES, 10, nothing)
    assert [len(c) for c in ranker.calls] == [1] * 7 + [7]


def test_warm_up_goes_on_while_rounds_get_faster(ranker: Recording) -> None:
    rounds = iter([0.06, 0.04, 0.02, 0.02, 0.02, 0.02, 0.02])
    latency.warm_up(ranker, QUERIES, 10, lambda: time.sleep(next(rounds)))
    assert len(list(rounds)) == 1  # three that gained, three that did not


def test_p99_is_given_only_from_a_thousand_samples() -> None:
    assert latency.summary(list(range(999))).p99 is None
    summary = latency.summary([float(i) for i in range(1001)])
    assert (summary.p50, summary.p90, summary.p95, summary.p99) == (500, 900, 950, 990)
    assert summary.mean == 500
    assert summary.n == 1001


def test_a_wrong_number_of_rankings_for_one_query_is_an_error(ranker: Recording) -> None:
    ranker.rank = lambda queries, k: []  # type: ignore[method-assign]
    with pytest.raises(TrialError, match="1 queries with 0 rankings"):
        latency.single_stream(ranker, QUERIES, 10, nothing, repeats())

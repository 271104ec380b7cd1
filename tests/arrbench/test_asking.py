"""How many documents each query is asked for, and that no query pays for another's exclusions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrbench.asking import SPREAD, ask, calls, needed
from arrbench.ranker import Query, Ranking


def excluding(n: int, i: int = 0, candidates: tuple[str, ...] | None = None) -> Query:
    return Query(f"q{i}", "", candidates, frozenset(f"x{j}" for j in range(n)))


def test_a_query_needs_as_many_more_as_it_excludes_and_no_more_among_candidates() -> None:
    assert needed(excluding(0), 100) == 100
    assert needed(excluding(3000), 100) == 3100
    assert needed(excluding(3000, candidates=("a", "x1")), 100) == 100


def test_one_heavy_query_does_not_make_the_others_fetch_more() -> None:
    queries = [excluding(n, i) for i, n in enumerate((0, 3000, 1, 0))]
    assert [(call.places, call.k) for call in calls(queries, 100)] == [([0, 2, 3], 101), ([1], 3100)]


def test_queries_that_exclude_few_or_rerank_are_asked_in_one_call() -> None:
    queries = [excluding(n % 3, n) for n in range(50)]
    assert [call.k for call in calls(queries, 100)] == [102]
    reranking = [excluding(3000 * n, n, ("a", "b")) for n in range(50)]
    (call,) = calls(reranking, 2)
    assert (call.queries, call.k) == (reranking, 2)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.integers(1, 1000))
def test_every_query_is_asked_once_for_what_it_needs_and_a_quarter_more_at_most(
    numbers: list[int], k: int
) -> None:
    asked = {
        i: call.k for call in calls([excluding(n, i) for i, n in enumerate(numbers)], k) for i in call.places
    }
    assert sorted(asked) == list(range(len(numbers)))
    assert all(k + n <= asked[i] <= SPREAD * (k + n) for i, n in enumerate(numbers))


def test_calls_stay_few_however_many_numbers_of_exclusions_there_are() -> None:
    assert len(calls([excluding(n, n) for n in range(3001)], 100)) <= 16


def test_answers_come_back_in_the_order_of_the_queries() -> None:
    queries = [excluding(n, i) for i, n in enumerate((50, 0, 9, 50, 1))]
    sizes: list[int] = []

    def rank(some: Sequence[Query], k: int) -> list[Ranking]:
        sizes.append(len(some))
        return [Ranking([q.id], [float(k)]) for q in some]

    answers = ask(rank, queries, 4)
    assert [answer.ids[0] for answer in answers] == [q.id for q in queries]
    assert [answer.scores[0] for answer in answers] == [54.0, 5.0, 13.0, 54.0, 5.0]
    assert sizes == [2, 1, 2]


def test_a_call_that_answers_with_too_few_rankings_is_named() -> None:
    queries = [excluding(0), excluding(99, 1), excluding(99, 2)]
    with pytest.raises(ValueError, match="answered 2 queries with 1 rankings"):
        ask(lambda some, k: [Ranking([], [])], queries, 4)

"""How rankers are asked for k documents beside those that a query excludes.

A ranker need not look at what is excluded: it is asked for as many documents more, and they are dropped
afterwards. A call of `rank` has one k for all its queries, though, and queries exclude different numbers
of documents: with one call for all, a single user who has seen 3,000 documents would make everybody
fetch k + 3,000 inside the timed path. So queries are asked together only where their needs are alike,
within SPREAD. Needs of one call are a geometric step apart from those of the next, so calls stay few:
at most 16 for k=100 and up to 3,000 excluded documents, and one where only few are excluded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arrbench.ranker import Query, Ranking

SPREAD = 1.25  # the largest need of a call over its smallest, at most


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `rank`: its queries, their places among all, and the k to ask for."""

    places: list[int]
    queries: list[Query]
    k: int


def needed(query: Query, k: int) -> int:
    """How many documents to ask for, so that k are left once excluded ones are dropped.

    Candidates hold none that is excluded.
    """
    return k if query.candidates is not None else k + len(query.excluded)


def calls(queries: Sequence[Query], k: int) -> list[Call]:
    """Every query in one call, each call's k the largest need in it; the order within a call is kept."""
    needs = [needed(q, k) for q in queries]
    order = sorted(range(len(queries)), key=needs.__getitem__)
    ascending = [needs[i] for i in order]
    grouped: list[Call] = []
    start = 0
    while start < len(order):
        stop = bisect_right(ascending, ascending[start] * SPREAD)
        places = sorted(order[start:stop])
        grouped.append(Call(places, [queries[i] for i in places], ascending[stop - 1]))
        start = stop
    return grouped


def in_order(asked: Sequence[Call], answers: Sequence[Sequence[Ranking]]) -> Sequence[Ranking]:
    """What each call answered, in the order of all queries; of a single call as it was returned.

    Raises ValueError where one of several calls answered with more or fewer rankings than queries.
    """
    if len(asked) == 1:
        return answers[0]
    rankings = [Ranking([], [])] * sum(len(call.places) for call in asked)
    for call, answer in zip(asked, answers, strict=True):
        if len(answer) != len(call.places):
            raise ValueError(f"rank() answered {len(call.places)} queries with {len(answer)} rankings")
        for place, ranking in zip(call.places, answer, strict=True):
            rankings[place] = ranking
    return rankings


def ask(
    rank: Callable[[Sequence[Query], int], Sequence[Ranking]], queries: Sequence[Query], k: int
) -> Sequence[Ranking]:
    """Rankings that hold at least k documents beside excluded ones, wherever `rank` finds as many."""
    asked = calls(queries, k)
    return in_order(asked, [rank(call.queries, call.k) for call in asked])

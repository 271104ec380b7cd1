"""What a first stage hands on: as many documents of each query, whoever excludes what."""

from __future__ import annotations

from collections.abc import Sequence

from arrbench.asking import ask
from arrbench.ranker import Query, Ranker, Ranking
from arrbench.ties import tie_hash


def handed_on(first: Ranker, queries: Sequence[Query], depth: int) -> list[tuple[str, ...]]:
    """The `depth` best documents of each query that it does not exclude, ties broken as everywhere.

    They come in the order of the tie hash, as candidates do: their places tell nothing of how the first
    stage ranked them.
    """
    rankings = ask(first.rank, queries, depth)
    return [_best(query, ranking, depth) for query, ranking in zip(queries, rankings, strict=True)]


def _best(query: Query, ranking: Ranking, depth: int) -> tuple[str, ...]:
    scored = zip(ranking.ids, ranking.scores, strict=True)
    best = sorted((-s, tie_hash(query.id, d), d) for d, s in scored if d not in query.excluded)[:depth]
    return tuple(d for _, _, d in sorted(best, key=lambda place: place[1]))

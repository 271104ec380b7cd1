"""The candidates of a query out of a run: in an order that tells nothing, without what can't be ranked."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from arrbench.ranker import Corpus
from arrbench.ties import tie_hash


def pool(
    query_id: str, documents: Iterable[str], corpus: Corpus, excluded: Collection[str]
) -> tuple[tuple[str, ...], list[str]]:
    """The documents to rerank, and those that the corpus lacks.

    Excluded documents are no candidates. The order is a hash's: the run's own would tell how its ranker
    ranked.
    """
    ids = list(documents)
    outside = [d for d in ids if d not in corpus.positions]
    inside = (d for d in ids if d in corpus.positions and d not in excluded)
    return tuple(sorted(inside, key=lambda d: tie_hash(query_id, d))), outside

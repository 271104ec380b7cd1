"""nDCG@10 on the dev split, for a training to report and to choose by; boards use ranx instead."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import log2

from arrbench.ranker import Corpus, Ranking
from arrbench.task import Split
from arrbench.ties import tie_hash

CUTOFF = 10
DOCUMENTS = 10_000  # in the corpus of a dev measure


def bounded(split: Split, seed: int, documents: int = DOCUMENTS) -> Split:
    """The split itself, or over a larger corpus than `documents` the split over a part of it.

    The part holds every judged document and every candidate, and a seeded random sample of the others
    up to `documents` in all: a whole corpus of a million takes longer to embed than the training.
    """
    if len(split.corpus) <= documents:
        return split
    own = {d for q in split.queries for d in (*split.judgments.grades.get(q.id, {}), *(q.candidates or ()))}
    others = [i for i, d in enumerate(split.corpus.ids) if d not in own]
    drawn = random.Random(seed).sample(others, min(len(others), max(0, documents - len(own))))
    kept = sorted([*drawn, *(split.corpus.positions[d] for d in own if d in split.corpus.positions)])
    return replace(split, corpus=Corpus(split.corpus[i] for i in kept))


def ndcg_at_10(rankings: Sequence[Ranking], split: Split) -> float:
    """Mean nDCG@10 of rankings in the order of the split's queries: linear gains, excluded ids dropped.

    Sum over the top 10 of gain / log2(rank + 1), over the same sum of the ideal order (Järvelin and
    Kekäläinen 2002); 0 for a query without a relevant document. Ties follow the harness's rule.
    """
    total = 0.0
    for query, ranking in zip(split.queries, rankings, strict=True):
        scored = zip(ranking.scores, ranking.ids, strict=True)
        kept = [(-score, tie_hash(query.id, d), d) for score, d in scored if d not in query.excluded]
        found = [split.judgments.gain(query.id, d) for _, _, d in sorted(kept)[:CUTOFF]]
        wanted = split.judgments.ranked(query.id)[:CUTOFF]
        ideal = _dcg([split.judgments.gain(query.id, d) for d in wanted])
        total += _dcg(found) / ideal if ideal else 0.0
    return total / len(split.queries) if split.queries else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))

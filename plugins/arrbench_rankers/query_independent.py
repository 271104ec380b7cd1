"""Baselines that never read the query: where one comes near the best, the task is being shown.

A baseline may look at the query's id and candidates, never at its text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench.ties import id_hash, tie_hash
from arrbench_rankers.hashing import hash64, uniform

if TYPE_CHECKING:
    from arrbench.task import Split


class Random(Ranker):
    """Scores drawn by a hash of (seed, query id, document id): the floor that every ranker stands on."""

    libraries = ("numpy",)
    query_independent = True

    def index(self, corpus: Corpus) -> None:
        self._hold(corpus.ids)

    def _hold(self, ids: Sequence[str]) -> None:
        import numpy as np

        self._ids = ids
        self._positions = {d: i for i, d in enumerate(ids)}
        self._hashes = np.array([hash64(d) for d in ids], dtype=np.uint64)
        self.index_bytes = self._hashes.nbytes

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [self._rank(query, k) for query in queries]

    def _rank(self, query: Query, k: int) -> Ranking:
        import numpy as np

        ids: Sequence[str] = self._ids
        hashes = self._hashes
        if query.candidates is not None:
            ids = query.candidates
            hashes = hashes[[self._positions[d] for d in ids]]
        scores = uniform(hashes ^ np.uint64(hash64(f"{self.context.seed}\x00{query.id}")))
        k = min(k, len(ids))
        top = np.argpartition(-scores, k - 1)[:k]
        return Ranking([ids[i] for i in top], scores[top].tolist())

    def save(self, folder: Path) -> None:
        super().save(folder)
        _write(folder, "ids.json", self._ids)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        ranker = super().load(folder, context)
        ranker._hold(json.loads((folder / "ids.json").read_text(encoding="utf-8")))
        return ranker


class Prior(Ranker):
    """A document's mean gain over the training queries that could have ranked it: E[gain | candidate].

    When retrieving, every training query could, and this orders documents by the sum of their gains in
    training, frequency weighed by gain. When reranking, those count that had it among their candidates.
    A query could not rank what it excludes, nor, with candidates, what its pool lacks: neither its gain
    there counts nor the query. A document that no training query could rank scores 0.
    """

    query_independent = True
    tuning = "on WordNet's dev: mean gain against counts and reciprocal ranks (3 settings)"

    def fit(self, train: Split, dev: Split) -> None:
        gains: Counter[str] = Counter()
        offered: Counter[str] = Counter()  # beside those that search the whole corpus
        everywhere = 0
        for query in train.queries:
            judged = set(train.judgments.grades.get(query.id, {}))
            if query.candidates is None:
                everywhere += 1
                offered.subtract(query.excluded)
            else:
                offered.update(query.candidates)
                judged.intersection_update(query.candidates)
            for document in judged:
                gains[document] += train.judgments.gain(query.id, document)
        self._mean_gain = {d: gain / (everywhere + offered[d]) for d, gain in gains.items() if gain}

    def index(self, corpus: Corpus) -> None:
        scores = {d: self._mean_gain.get(d, 0.0) for d in corpus.ids}
        # One order of equal scores for all queries: which of them make the top k is nobody's choice.
        order = sorted(corpus.ids, key=lambda d: (-scores[d], id_hash(d)))
        self._hold({d: scores[d] for d in order})

    def _hold(self, scores: Mapping[str, float]) -> None:
        self._scores = scores
        self._order, self._descending = list(scores), list(scores.values())
        self.parameters = sum(score > 0 for score in self._descending)

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [
            Ranking(self._order[:k], self._descending[:k])
            if q.candidates is None
            else _top(q, self._scores, k)
            for q in queries
        ]

    def save(self, folder: Path) -> None:
        super().save(folder)
        _write(folder, "prior.json", self._scores)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        ranker = super().load(folder, context)
        ranker._hold(json.loads((folder / "prior.json").read_text(encoding="utf-8")))
        return ranker


class Chain(Ranker):
    """Finds the candidates that stand together in training lists, and puts them first in those lists' order.

    It takes the largest subset of the candidates that some training list holds, of equally large ones
    the most frequent. The others follow by how high they stand in training lists.
    """

    libraries = ("numpy",)
    settings = frozenset({"rerank"})
    query_independent = True
    tuning = "on WordNet's dev: the largest subset against the most frequent and two mixtures (4 settings)"

    def fit(self, train: Split, dev: Split) -> None:
        from arrbench_rankers.co_occurrence import TrainingLists

        self._lists = TrainingLists.of(train)
        self.parameters = self._lists.size

    def index(self, corpus: Corpus) -> None:
        self.index_bytes = 0  # the training lists are all it looks at

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [self._rank(query, k) for query in queries]

    def _rank(self, query: Query, k: int) -> Ranking:
        candidates = query.candidates or ()
        chosen = self._lists.subset(candidates)
        scores = {d: self._lists.height(d) for d in candidates}
        scores |= {d: 2.0 - place / len(chosen) for place, d in enumerate(chosen)}
        return _top(query, scores, k)

    def save(self, folder: Path) -> None:
        super().save(folder)
        _write(folder, "chain.json", self._lists.plain())

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        from arrbench_rankers.co_occurrence import TrainingLists

        ranker = super().load(folder, context)
        saved = json.loads((folder / "chain.json").read_text(encoding="utf-8"))
        ranker._lists = TrainingLists([(tuple(ids), count) for ids, count in saved])
        ranker.parameters = ranker._lists.size
        ranker.index_bytes = 0
        return ranker


def _top(query: Query, scores: Mapping[str, float], k: int) -> Ranking:
    best = sorted(query.candidates or (), key=lambda d: (-scores[d], tie_hash(query.id, d)))[:k]
    return Ranking(best, [scores[d] for d in best])


def _write(folder: Path, name: str, data: object) -> None:
    (folder / name).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")

"""A third party's ranker in which positions decide whatever scores leave open."""

from collections.abc import Sequence

import numpy as np

from arrbench.ranker import Corpus, Query, Ranker, Ranking
from arrbench.task import Split


class Positional(Ranker):
    """Shared words, of equal scores the document that stands first; the cut at k is its own.

    Of every training query it remembers the first document judged, and the last query's word counts.
    """

    def fit(self, train: Split, dev: Split) -> None:
        self.liked = {next(iter(train.judgments.grades.get(q.id, {})), None) for q in train.queries[:1]}
        self.last = set(train.queries[-1].text.split()) if train.queries else set()

    def index(self, corpus: Corpus) -> None:
        self.ids = corpus.ids
        self.words = {d.id: set(d.text.split()) for d in corpus}

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [self._rank(query, k) for query in queries]

    def _rank(self, query: Query, k: int) -> Ranking:
        pool = self.ids if query.candidates is None else query.candidates
        words = set(query.text.split())
        scores = np.array([self._score(d, words) for d in pool], dtype=np.float64)
        best = np.argsort(-scores, kind="stable")[:k]
        return Ranking([pool[i] for i in best], scores[best].tolist())

    def _score(self, document: str, words: set[str]) -> int:
        text = self.words[document]
        return 4 * len(words & text) + 2 * (document in self.liked) + len(self.last & text)

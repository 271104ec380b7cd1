"""A third party's rankers in which positions decide what scores leave open, and a task with histories."""

from collections.abc import Sequence

import numpy as np

from arrbench.ranker import Corpus, Document, Query, Ranker, Ranking
from arrbench.task import Judgments, Setting, Split, SplitName, Task


class Positional(Ranker):
    """Shared words, of equal scores the document that stands first; the cut at k is its own.

    The first document judged for the first training query counts more, and so do words of the last one.
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


class Asked(Positional):
    """Counts in its facts for how many documents each query was asked, in calls of several queries."""

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        for q in queries if len(queries) > 1 else ():
            self.facts[f"together {q.id}"] = k
        for q in queries if len(queries) == 1 else ():
            self.facts[f"alone {q.id}"] = k
        return super().rank(queries, k)


class Histories(Task):
    """300 films of 10 kinds: users, who ask for a kind, are answered with what they have not seen of it.

    One of them has seen 250 films, another none, the others one each; grades know nothing of that.
    """

    setting: Setting = "retrieve"

    def split(self, name: SplitName) -> Split:
        kinds = {f"film-{i:03}": f"kind{i % 10}" for i in range(300)}
        corpus = Corpus(Document(i, kind, kind) for i, kind in kinds.items())
        seen = [250, 0, 1, 1, 1, 1]
        queries = tuple(
            Query(f"{name}-{user}", f"kind{user}", None, frozenset([*kinds][user : user + n]))
            for user, n in enumerate(seen)
        )
        grades = {q.id: {i: 1 for i, kind in kinds.items() if kind == q.text} for q in queries}
        return Split(queries, Judgments(grades), corpus)

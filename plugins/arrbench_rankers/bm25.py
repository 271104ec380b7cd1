"""BM25 over inverted lists, by bm25s."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench.ties import id_hash, tie_hash
from arrbench_rankers.analysis import Stemming

if TYPE_CHECKING:
    import numpy as np


class BM25Options(BaseOptions):
    k1: float = Field(0.9, ge=0, description="how slowly a term's repetitions saturate")
    b: float = Field(0.4, ge=0, le=1, description="how much a long document is held against it, 0 to 1")
    stemming: Stemming = Field("porter", description="Porter's stemmer, as in Lucene; english: his later one")
    stop: bool = Field(True, description="leave out Lucene's 33 English stop words")


class BM25(Ranker):
    """BM25 as Lucene has it: sum over query terms of idf * tf / (tf + k1 * (1 - b + b * length / mean)).

    idf = ln(1 + (N - n + 0.5) / (n + 0.5)); a term that the query repeats counts each time. Documents
    without a query term have no place when retrieving and score 0 when reranking. Source: Robertson and
    Zaragoza, The probabilistic relevance framework: BM25 and beyond, 2009; variant: Kamphuis et al.,
    Which BM25 do you mean?, ECIR 2020.
    """

    Options: ClassVar[type[BaseOptions]] = BM25Options
    libraries: ClassVar[tuple[str, ...]] = ("bm25s", "Stemmer", "regex", "numba")
    options: BM25Options
    tuning = "none: k1 and b as in Pyserini"

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        from arrbench_rankers.analysis import Analyser

        self._analyser = Analyser(self.options.stemming, self.options.stop)
        self._build(["d"], [array("i", [0])], {"": 0})  # numba compiles now: no cost of indexing or ranking

    def index(self, corpus: Corpus) -> None:
        # bm25s leaves out the later one of two documents that tie for the last place, so the order of
        # documents is one that neither the corpus's order nor the look of ids has a say in.
        ids = sorted(corpus.ids, key=id_hash)
        vocabulary: dict[str, int] = {}
        terms = self._analyser.terms
        tokens = [  # four bytes a token where a list takes eight
            array("i", [vocabulary.setdefault(t, len(vocabulary)) for t in terms(corpus.by_id(d).text)])
            for d in ids
        ]
        self._build(ids, tokens, vocabulary or {"": 0})  # a corpus without a word: no query has this term

    def _build(self, ids: Sequence[str], tokens: list[array[int]], vocabulary: dict[str, int]) -> None:
        import bm25s

        self._bm25 = bm25s.BM25(
            k1=self.options.k1, b=self.options.b, method="lucene", backend="numba", auto_compile=True
        )
        self._bm25.index((tokens, vocabulary), create_empty_token=False, show_progress=False)
        self._ready(ids)

    def _ready(self, ids: Sequence[str]) -> None:
        """Take the index into use and have numba compile all that a query runs through."""
        import numba
        import numpy as np

        self._ids = np.array(ids, dtype=object)
        self._positions = {d: i for i, d in enumerate(ids)}
        self._threads = min(self.context.threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self.index_bytes = sum(self._bm25.scores[part].nbytes for part in ("data", "indices", "indptr"))
        self._retrieve([[0]], 1)
        self._score([0])

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        vocabulary = self._bm25.vocab_dict
        tokens = [[vocabulary[t] for t in self._analyser.terms(q.text) if t in vocabulary] for q in queries]
        rankings = [Ranking([], [])] * len(queries)
        searched = [i for i, q in enumerate(queries) if q.candidates is None and tokens[i]]
        if searched and k > 0:
            found, scores = self._retrieve([tokens[i] for i in searched], min(k, len(self._ids)))
            ids = self._ids.take(found).tolist()
            for i, documents, values in zip(searched, ids, scores.tolist(), strict=True):
                if not values[-1]:  # scores come best first: those without a query term are last
                    n = values.index(0.0)
                    documents, values = documents[:n], values[:n]
                rankings[i] = Ranking(documents, values)
        for i, query in enumerate(queries):
            if query.candidates is not None:
                rankings[i] = self._rerank(query.id, query.candidates, tokens[i], k)
        return rankings

    def _rerank(self, query_id: str, candidates: Sequence[str], tokens: list[int], k: int) -> Ranking:
        scores = [0.0] * len(candidates)
        if tokens:
            scores = self._score(tokens)[[self._positions[d] for d in candidates]].tolist()
        best = sorted(
            zip(candidates, scores, strict=True), key=lambda pair: (-pair[1], tie_hash(query_id, pair[0]))
        )
        return Ranking([d for d, _ in best[:k]], [s for _, s in best[:k]])

    def _retrieve(self, tokens: list[list[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores of the top k, each of shape (queries, k)."""
        found: Any = self._bm25.retrieve(tokens, k=k, show_progress=False, n_threads=self._threads)
        return found.documents, found.scores

    def _score(self, tokens: list[int]) -> np.ndarray:
        """Every document's score, shape (documents,)."""
        scores: np.ndarray = self._bm25.get_scores_from_ids(tokens)
        return scores

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._bm25.save(folder / "index", allow_pickle=False, show_progress=False)
        (folder / "ids.json").write_text(json.dumps(self._ids.tolist(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        import bm25s

        ranker = super().load(folder, context)
        ranker._bm25 = bm25s.BM25.load(folder / "index", allow_pickle=False, show_progress=False)
        ranker._ready(json.loads((folder / "ids.json").read_text(encoding="utf-8")))
        return ranker

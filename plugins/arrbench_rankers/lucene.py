"""BM25 by Lucene itself, as Anserini sets it up."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench.ties import id_hash, tie_hash
from arrbench_rankers import java, lucene_index, saved

_ASKING = "ranker `bm25-lucene`"
_CHUNKS = 4  # a thread, so that one with short queries takes over from one with long ones


class BM25LuceneOptions(BaseOptions):
    k1: float = Field(0.9, ge=0, description="how slowly a term's repetitions saturate")
    b: float = Field(0.4, ge=0, le=1, description="how much a long document is held against it, 0 to 1")
    stemming: Literal["porter", "none"] = Field("porter", description="Porter's stemmer or none")
    stop: bool = Field(True, description="leave out Lucene's 33 English stop words")


class BM25Lucene(Ranker):
    """Lucene's BM25Similarity over Anserini's English analyser.

    Sum over query terms of idf * tf / (tf + k1 * (1 - b + b * length / mean)), in 32-bit floats, with
    idf = ln(1 + (N - n + 0.5) / (n + 0.5)). What sets it apart from an exact BM25 of the same terms:
    the length of a document is kept in one byte, exact up to 40 terms and up to 11 % too short beyond;
    N and the mean are over documents with a term, so that empty ones count for nothing. Over WordNet's
    nouns it agrees with ranker `bm25` to 2e-5 where a document has up to 40 terms, all but 4 of 17,157.
    Documents without a query term have no place when retrieving and score 0 when reranking.
    """

    Options: ClassVar[type[BaseOptions]] = BM25LuceneOptions
    options: BM25LuceneOptions
    tuning = "none: k1 and b as in Pyserini"

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        self._jnius = java.started(_ASKING, context.threads)
        self._analyser = lucene_index.analyser(
            self._jnius, self.options.stemming == "porter", self.options.stop
        )

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """Java and Lucene come with an extra."""
        java.found(_ASKING)

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """Lucene and Java, which no hash of Python code covers, and the bridge to them."""
        home, jar = java.found(_ASKING)
        return {"jar": jar.name, "java": java.release(home), "pyjnius": version("pyjnius")}

    def index(self, corpus: Corpus) -> None:
        # Lucene leaves out the later one of two documents that tie for the last place, so the order of
        # documents is one that neither the corpus's order nor the look of ids has a say in.
        ids = sorted(corpus.ids, key=id_hash)
        folder = Path(tempfile.mkdtemp(prefix="arrbench-lucene-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        lucene_index.write(self._jnius, folder, self._analyser, (corpus.by_id(d).text for d in ids))
        self._ready(folder, ids)

    def _ready(self, folder: Path, ids: Sequence[str]) -> None:
        self._folder = folder
        self._ids = tuple(ids)
        self._numbers = {d: i for i, d in enumerate(self._ids)}
        self._searcher = lucene_index.Searcher(
            self._jnius, folder, self._analyser, self.options.k1, self.options.b
        )
        self.index_bytes = sum(f.stat().st_size for f in folder.iterdir())

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        threads = min(self.context.threads, len(queries))
        if threads <= 1:
            return [self._rank(q, k) for q in queries]
        rankings: list[Ranking] = [Ranking([], [])] * len(queries)
        chunks = threads * _CHUNKS
        with ThreadPoolExecutor(threads) as pool:
            ranked = pool.map(lambda i: self._rank_in_a_thread(queries[i::chunks], k), range(chunks))
            for i, chunk in enumerate(ranked):
                rankings[i::chunks] = chunk
        return rankings

    def _rank_in_a_thread(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        try:
            return [self._rank(q, k) for q in queries]
        finally:
            self._searcher.detach()

    def _rank(self, query: Query, k: int) -> Ranking:
        if query.candidates is not None:
            return self._rerank(query, query.candidates, k)
        hits = self._searcher.search(query.text, k)
        return Ranking([self._ids[i] for i, _ in hits], [score for _, score in hits])

    def _rerank(self, query: Query, candidates: Sequence[str], k: int) -> Ranking:
        numbers = [self._numbers[d] for d in candidates]
        scores = dict(self._searcher.search(query.text, len(numbers), among=numbers))
        places = zip(candidates, (scores.get(i, 0.0) for i in numbers), strict=True)
        best = sorted(places, key=lambda place: (-place[1], tie_hash(query.id, place[0])))[:k]
        return Ranking([d for d, _ in best], [score for _, score in best])

    def save(self, folder: Path) -> None:
        super().save(folder)
        shutil.copytree(self._folder, folder / "index", ignore=shutil.ignore_patterns("write.lock"))
        (folder / "ids.json").write_text(json.dumps(self._ids, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        ranker = super().load(folder, context)
        ids = saved.document_ids(folder / "ids.json")
        with saved.reading(folder / "index"):
            ranker._ready(folder / "index", ids)
        found = ranker._searcher.documents
        saved.require(found == len(ids), folder / "index", f"it holds {found} documents of {len(ids)}")
        return ranker

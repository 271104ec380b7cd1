"""A ranker of your own: copy this folder, rename it, write `index` and `rank`, and pip install it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from arrbench import BaseOptions, Context, Corpus, Query, Ranker, Ranking


class NgramOptions(BaseOptions):
    n: int = Field(3, ge=1, description="letters in an n-gram")


class Ngrams(Ranker):
    """Ranks documents by the Jaccard overlap of their letter n-grams with the query's."""

    Options: ClassVar[type[BaseOptions]] = NgramOptions
    options: NgramOptions

    def index(self, corpus: Corpus) -> None:
        self.grams = {d.id: self._ngrams(d.text) for d in corpus}

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [self._rank(query, k) for query in queries]

    def save(self, folder: Path) -> None:
        super().save(folder)
        lines = [" ".join([i, *sorted(g.encode().hex() for g in grams)]) for i, grams in self.grams.items()]
        (folder / "grams.txt").write_text("\n".join(lines), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> "Ngrams":
        ranker = super().load(folder, context)
        lines = [line.split() for line in (folder / "grams.txt").read_text(encoding="utf-8").splitlines()]
        ranker.grams = {i: {bytes.fromhex(g).decode() for g in grams} for i, *grams in lines}
        return ranker

    def _rank(self, query: Query, k: int) -> Ranking:
        asked = self._ngrams(query.text)
        pool = self.grams if query.candidates is None else query.candidates
        scores = {i: len(asked & self.grams[i]) / (len(asked | self.grams[i]) or 1) for i in pool}
        best = sorted(scores, key=lambda i: -scores[i])[:k]
        return Ranking(best, [scores[i] for i in best])

    def _ngrams(self, text: str) -> set[str]:
        letters, n = text.lower(), self.options.n
        return {letters[i : i + n] for i in range(len(letters) - n + 1)}

"""From prompts to the best documents of a query's candidates, or of the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrbench.ranker import Query
from arrbench_rankers.arr.beam import Allowed, Found, Search, TreeOnDevice, beam_search
from arrbench_rankers.arr.exact import exact_scores, parts
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.reading import PACKED, Reading

Best = tuple[Sequence[str], NDArray[np.float32]]  # ids and scores, best first


class Decoder:
    """A model and the documents that it may write, ready to rank.

    Candidates, and corpora whose prefix tree has at most `exact_nodes` nodes, are scored exactly;
    larger corpora are searched with a beam within the tree.
    """

    def __init__(
        self, model: Any, index: DocIdIndex, end: int, options: ArrOptions, reading: Reading = PACKED
    ) -> None:
        self.model, self.index, self.end, self.options = model, index, end, options
        self._reading = reading
        self._tree = TreeOnDevice(index.tree, model.config.vocab_size, model.device)
        self.exact = len(index.tree) <= options.exact_nodes
        self._corpus_parts = parts(index.docids, model.config.vocab_size) if self.exact else None

    def rank(self, queries: Sequence[Query], prompts: Sequence[list[int]], k: int) -> list[Best]:
        """At most k documents a query."""
        both = list(zip(queries, prompts, strict=True))
        beamed = [q.candidates is None and self._corpus_parts is None for q in queries]
        searched = iter(self._search([p for (_, p), b in zip(both, beamed, strict=True) if b], k))
        scored = iter(self._score([pair for pair, b in zip(both, beamed, strict=True) if not b], k))
        return [next(searched if b else scored) for b in beamed]

    def _score(self, asked: Sequence[tuple[Query, list[int]]], k: int) -> list[Best]:
        whole = self._corpus_parts or []
        vocabulary = self.model.config.vocab_size
        cuts = [
            whole if q.candidates is None else parts(self.index.subset(q.candidates), vocabulary)
            for q, _ in asked
        ]
        mean = self.options.length == "mean"
        scores = exact_scores(self.model, [p for _, p in asked], cuts, mean, self._reading)
        rankings: list[Best] = []
        for (query, _), values in zip(asked, scores, strict=True):
            ids = self.index.ids if query.candidates is None else query.candidates
            best = (-values).argsort(kind="stable")[:k]
            rankings.append(([ids[i] for i in best], values[best]))
        return rankings

    def _search(self, prompts: Sequence[list[int]], k: int) -> list[Best]:
        mean = self.options.length == "mean"
        search = Search(max(self.options.beam, k), k, self.index.longest, mean)
        found = self._beam(prompts, self._tree.children, search)
        return [([self.index.ids[d] for d in documents], scores) for scores, documents in found]

    def generate(self, prompts: Sequence[list[int]], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        search = Search(k, k, self.index.longest + 1, False)
        found = self._beam(prompts, self._tree.everything, search)
        return [[self.index.ids[d] if d >= 0 else None for d in documents] for _, documents in found]

    def _beam(self, prompts: Sequence[list[int]], allowed: Allowed, search: Search) -> list[Found]:
        return beam_search(self.model, prompts, self._tree, allowed, self.end, search, self._reading.reader)

"""From prompts to the best documents of a query's candidates, or of the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrbench.ranker import Query
from arrbench_rankers.arr.beam import Search, TreeOnDevice, beam_search
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.trie import PrefixTree

Best = tuple[Sequence[str], NDArray[np.float32]]  # ids and scores, best first


class Decoder:
    """A model and the documents that it may write, ready to rank.

    Candidates, and corpora whose prefix tree has at most `exact_nodes` nodes, are scored exactly;
    larger corpora are searched with a beam within the tree.
    """

    def __init__(self, model: Any, index: DocIdIndex, end: int, options: ArrOptions) -> None:
        self.model, self.index, self.end, self.options = model, index, end, options
        self._tree = TreeOnDevice(index.tree, model.config.vocab_size, model.device)
        self.exact = len(index.tree) <= options.exact_nodes
        self.halved = 0  # passes that a device had no memory for

    def rank(self, queries: Sequence[Query], prompts: Sequence[list[int]], k: int) -> list[Best]:
        """At most k documents a query."""
        both = list(zip(queries, prompts, strict=True))
        beamed = [q.candidates is None and not self.exact for q in queries]
        searched = iter(self._search([p for (_, p), b in zip(both, beamed, strict=True) if b], k))
        scored = iter(self._score([pair for pair, b in zip(both, beamed, strict=True) if not b], k))
        return [next(searched if b else scored) for b in beamed]

    def _score(self, asked: Sequence[tuple[Query, list[int]]], k: int) -> list[Best]:
        asked = [(_once(query), prompt) for query, prompt in asked]
        trees = [
            self.index.tree if q.candidates is None else PrefixTree.build(self.index.subset(q.candidates))
            for q, _ in asked
        ]
        mean, renormalised = self.options.length == "mean", self.options.normalise == "tree"
        prompts = [prompt for _, prompt in asked]
        scores = exact_scores(self.model, prompts, trees, mean, renormalised, self._count_halved)
        rankings: list[Best] = []
        for (query, _), values in zip(asked, scores, strict=True):
            ids = self.index.ids if query.candidates is None else query.candidates
            best = (-values).argsort(kind="stable")[:k]
            rankings.append(([ids[i] for i in best], values[best]))
        return rankings

    def _count_halved(self) -> None:
        self.halved += 1

    def _search(self, prompts: Sequence[list[int]], k: int) -> list[Best]:
        mean = self.options.length == "mean"
        search = Search(max(self.options.beam, k), k, self.index.longest, mean)
        found = beam_search(self.model, prompts, self._tree, self._tree.children, self.end, search)
        return [([self.index.ids[d] for d in documents], scores) for scores, documents in found]

    def generate(self, prompts: Sequence[list[int]], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        search = Search(k, k, self.index.longest + 1, False)
        found = beam_search(self.model, prompts, self._tree, self._tree.everything, self.end, search)
        return [[self.index.ids[d] if d >= 0 else None for d in documents] for _, documents in found]


def _once(query: Query) -> Query:
    """The query with each of its candidates once."""
    if query.candidates is None or len(set(query.candidates)) == len(query.candidates):
        return query
    return replace(query, candidates=tuple(dict.fromkeys(query.candidates)))

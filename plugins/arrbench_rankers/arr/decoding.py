"""From prompts to the best documents of a query's candidates, or of the whole corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrbench.ranker import Query
from arrbench_rankers.arr.best_first import Found, beam, best_first, search
from arrbench_rankers.arr.block_size import cheapest_block, forward_seconds
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.frontier import Limits
from arrbench_rankers.arr.generation import generate
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.lm_config import vocabulary
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.pass_size import FLOATS, Item, Result, in_passes, pass_floats
from arrbench_rankers.arr.proofs import Proofs
from arrbench_rankers.arr.reading import PACKED, Reading
from arrbench_rankers.arr.search_order import ByScore, Drawn, query_seeds
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

Best = tuple[Sequence[str], NDArray[np.float32]]  # ids and scores, best first
AUDITED = 50  # queries whose beam is held against the exact top k, at most
AUDIT_S = 60.0  # after so many seconds no further query is


@dataclass(frozen=True)
class Asked:
    """A query, its prompt, and the tree of the docIDs that may be its answers."""

    query: Query
    prompt: list[int]
    tree: PrefixTree


class Decoder:
    """A model and the documents that it may write, ready to rank.

    `decode` names one way for every query. Without it a tree is read whole where that is cheaper: up to
    `dense_nodes` inner nodes for each of the k documents asked for, or where every document is asked for;
    a larger one is searched best-first. The tree is that of the query's candidates, or of the corpus. Both
    ways are exact, but for queries whose search spends its budget.
    """

    def __init__(
        self,
        model: Any,
        index: DocIdIndex,
        end: int,
        options: ArrOptions,
        seed: int,
        reading: Reading = PACKED,
    ) -> None:
        self.model, self.index, self.end, self.options, self.seed = model, index, end, options, seed
        self._reading = reading
        self._vocabulary = vocabulary(model.config)
        self.proofs = Proofs()
        self.halved = 0  # passes that a device had no memory for
        # what queries share is made before the first is timed
        if not self._read_whole(index.tree, 1):
            self._limits(1, self._corpus_tree)

    def count_anew(self) -> None:
        """What is counted from here on is of the queries that follow alone."""
        self.proofs, self.halved = Proofs(), 0

    def rank(self, queries: Sequence[Query], prompts: Sequence[list[int]], k: int) -> list[Best]:
        """At most k documents a query."""
        asked = self._asked(queries, prompts)
        whole = [self._read_whole(one.tree, k) for one in asked]
        scored = iter(self._score([one for one, w in zip(asked, whole, strict=True) if w], k))
        searched = iter(self._search([one for one, w in zip(asked, whole, strict=True) if not w], k))
        return [next(scored if w else searched) for w in whole]

    def _asked(self, queries: Sequence[Query], prompts: Sequence[list[int]]) -> list[Asked]:
        asked = []
        for query, prompt in zip(queries, prompts, strict=True):
            if query.candidates is None:
                asked.append(Asked(query, prompt, self.index.tree))
            else:
                once = replace(query, candidates=tuple(dict.fromkeys(query.candidates)))
                asked.append(Asked(once, prompt, PrefixTree.build(self.index.subset(once.candidates or ()))))
        return asked

    def _read_whole(self, tree: PrefixTree, k: int) -> bool:
        """Whether all docIDs of a tree are scored, not searched for the best k."""
        o = self.options
        small = len(tree.inner) <= o.dense_nodes * k or k >= len(tree.ends)
        return o.decode == "exact" or (o.decode is None and small)

    def _score(self, asked: Sequence[Asked], k: int) -> list[Best]:
        prompts, trees = [one.prompt for one in asked], [one.tree for one in asked]
        mean, renormalised = self.options.length == "mean", self.options.normalise == "tree"
        scores = exact_scores(
            self.model, prompts, trees, mean, renormalised, self._count_halved, self._reading
        )
        rankings: list[Best] = []
        for one, values in zip(asked, scores, strict=True):
            best = (-values).argsort(kind="stable")[:k]
            rankings.append(self._named(one.query, best, values[best]))
        return rankings

    def _count_halved(self) -> None:
        self.halved += 1

    def _search(self, asked: Sequence[Asked], k: int) -> list[Best]:
        """Searches the corpus's tree for its queries together, each other query's own by itself."""
        over_corpus = [one for one in asked if one.query.candidates is None]
        together = iter(self._searched(over_corpus, self._corpus_tree, k) if over_corpus else [])
        rankings: list[Best] = []
        for one in asked:
            if one.query.candidates is None:
                found = next(together)
            else:
                (found,) = self._searched([one], self._tensors(one.tree), k)
            rankings.append(self._named(one.query, found.documents, found.scores))
        return rankings

    def _searched(self, asked: Sequence[Asked], tree: TreeTensors, k: int) -> list[Found]:
        """What the search that the options name finds in a tree; counted."""
        limits = self._limits(k, tree)
        found = self._found(asked, tree, limits, self.options.decode == "sample")
        self.proofs.add(found, limits.block)
        return found

    def _found(
        self, asked: Sequence[Asked], tree: TreeTensors, limits: Limits, drawn: bool = False
    ) -> list[Found]:
        """What a search finds, in groups of queries that fit one pass."""

        def read(some: Sequence[Asked]) -> list[Found]:
            seeds = query_seeds([one.query.text for one in some], self.seed).to(self.model.device)
            order = Drawn(seeds) if drawn else ByScore()
            return search(self.model, [one.prompt for one in some], tree, order, limits, self._reading)

        group = max(1, pass_floats(self.model.device) // (limits.block * tree.vocabulary))
        return self._in_groups(asked, group, read)

    def _in_groups(
        self, asked: Sequence[Item], group: int, read: Callable[[Sequence[Item]], list[Result]]
    ) -> list[Result]:
        """What is read for each item, at most `group` at once, half as many where memory runs out."""
        refused = (
            f"{self.model.device} has no memory left to search for one query; "
            "give a smaller block or beam, a smaller backbone or a half-precision dtype"
        )
        return in_passes(asked, lambda _: group, read, lambda _: refused, self._count_halved)

    def _limits(self, k: int, tree: TreeTensors) -> Limits:
        o = self.options
        if o.decode in ("beam", "greedy"):
            return beam(k, o.beam if o.decode == "beam" else 1)
        return self._best_first(k, tree)

    def _best_first(self, k: int, tree: TreeTensors) -> Limits:
        block = self.options.block or cheapest_block(self._forward_seconds, k, tree.mean_depth)
        return best_first(k, block, self.options.budget)

    def _named(self, query: Query, places: NDArray[np.int64], scores: NDArray[np.float32]) -> Best:
        ids = self.index.ids if query.candidates is None else query.candidates
        return [ids[place] for place in places], scores

    @cached_property
    def _forward_seconds(self) -> dict[int, float]:
        return forward_seconds(self.model, self._reading)

    @cached_property
    def _corpus_tree(self) -> TreeTensors:
        return self._tensors(self.index.tree)

    def _tensors(self, tree: PrefixTree) -> TreeTensors:
        o, model = self.options, self.model
        # a draw goes from node to child, so the children's probabilities must sum to 1
        renormalised = o.normalise == "tree" or o.decode == "sample"
        return TreeTensors(tree, self._vocabulary, model.device, renormalised, o.length == "mean")

    def audit(self, queries: Sequence[Query], prompts: Sequence[list[int]], k: int) -> dict[str, float | int]:
        """How much of the exact top k a beam finds, over those of some queries whose top k is proved.

        The first AUDITED queries, or as many as AUDIT_S leaves time for.

        `beam_finds` is the share of those documents found by a beam of the option's width, `beam_finds_all`
        the share of queries all of whose k it finds; `audit_` figures are those of the best-first
        search that they are held against.
        """
        proofs = Proofs()
        shares = []
        until = time.monotonic() + AUDIT_S
        for one in self._asked(queries[:AUDITED], prompts[:AUDITED]):
            if time.monotonic() > until:
                break
            tree = self._corpus_tree if one.query.candidates is None else self._tensors(one.tree)
            asked, limits = [one], self._best_first(k, tree)
            (best,) = self._found(asked, tree, limits)
            proofs.add([best], limits.block)
            if best.exact and len(best.documents):
                (found,) = self._found(asked, tree, beam(k, self.options.beam))
                shares.append(np.isin(best.documents, found.documents).mean())
        figures = {name.replace("search", "audit"): value for name, value in proofs.figures().items()}
        if shares:
            figures["beam_finds"] = float(np.mean(shares))
            figures["beam_finds_all"] = float(np.mean(np.array(shares) == 1))
        return figures

    def generate(self, prompts: Sequence[list[int]], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        tree = self._corpus_tree

        def read(some: Sequence[list[int]]) -> list[list[str | None]]:
            longest = self.index.longest + 1
            _, documents = generate(self.model, some, tree, self.end, k, longest, self._reading)
            return [[self.index.ids[d] if d >= 0 else None for d in row] for row in documents.tolist()]

        return self._in_groups(prompts, max(1, FLOATS // (4 * k * tree.vocabulary)), read)

"""Best-first search against beam searches: Hugging Face's `generate`, constrained to the docIDs, and ours.

Hugging Face's is `generate(num_beams=20, num_return_sequences=20, prefix_allowed_tokens_fn=…,
length_penalty=0)`, whose allowed tokens are looked up in a dict of prefixes; all sides take the best 20 of
the same trained model for the same prompts, one query at a time. Figures:

- `hf_*`: their time over that of best-first search, within 40 candidates that the prompt shows and over
  all 300 and 12,000 docIDs of a made-up corpus;
- `hf_candidates_dense`: over that of reading the candidates' tree whole, which is what `arr` does of itself
  with so few;
- `beam_*_at_k`: best-first search's time over that of our own beam of 20, for the best k;
- `proved_*_at_k`: the share of queries whose best k best-first search proves;
- `bookkeeping_*`: the share of best-first search's time that isn't spent in a backbone's forward.

`tiny` is trained here. With --backbone, that model is trained for a few steps on the few queries that it is
asked, and the figures are its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from figure import show
from interleaved import ratios

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr.best_first import beam, best_first, search
from arrbench_rankers.arr.block_size import cheapest_block, forward_seconds
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.frontier import Limits
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.search_order import ByScore
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

BEAM, BUDGET, CANDIDATES, BRANCHES = 20, 2000, 40, 6
ASKED = 24
LENGTHS = (0.59, 0.32, 0.05, 0.025, 0.01, 0.005)  # shares of WordNet's names of one to six words
SYLLABLES = [c + v + e for c in "bcdfghjklmnprstvwz" for v in "aeiou" for e in ("", "n", "r", "s")]
WORDS = 3  # to draw from for each name: about as many occur as there are names, as in WordNet


class World:
    """A made-up corpus and an `arr` that has learnt the queries to be asked, so that it is sure of them.

    Names are alike WordNet's in their lengths and in how many words they share. Documents form a tree, as
    nouns do under hypernyms: a query is a name, its list that document and those above it.
    """

    def __init__(self, size: int, asked: int, options: ArrStoical.Options) -> None:
        rng = np.random.default_rng(0)
        names: set[tuple[str, ...]] = set()
        while len(names) < size:
            words = (WORDS * size * rng.random(1 + rng.choice(6, p=LENGTHS)) ** 3).astype(int)
            names.add(tuple(map(_word, words)))
        self.names = rng.permutation([" ".join(name) for name in sorted(names)]).tolist()
        self.corpus = Corpus(Document(name, name, name) for name in self.names)
        self.rng, shows = rng, options.prompt == "candidates"
        train, grades = [], {}
        for i in rng.choice(size, asked, replace=False):
            query = self.query(int(i), shows)
            ranked = [name for name in self._ranked(int(i)) if name in (query.candidates or self.names)]
            train.append(query)
            grades[query.id] = {name: len(ranked) - r for r, name in enumerate(ranked)}
        self.ranker = ArrStoical(options, Context())
        nothing = Split((), Judgments({}), self.corpus)
        self.ranker.fit(Split(tuple(train), Judgments(grades), self.corpus), nothing)
        self.ranker.index(self.corpus)
        self.model = self.ranker._model
        self.asked = train

    def query(self, place: int, candidates: bool) -> Query:
        listed = [self.names.index(name) for name in self._ranked(place)]
        others = {*self.rng.choice(len(self.names), CANDIDATES - 10, replace=False).tolist(), *listed}
        shown = tuple(self.names[i] for i in sorted(others)) if candidates else None
        return Query(f"q{self.rng.integers(2**60)}", f"the {self.names[place]}", shown)

    def _ranked(self, place: int) -> list[str]:
        """A document and those above it, the nearest first; the first document is the root."""
        return [self.names[place], *(self._ranked((place - 1) // BRANCHES) if place else [])]

    def sides(self) -> list[Side]:
        prompts = self.ranker._prompts(self.asked)
        whole = self.ranker._index.tree
        found = []
        for query, prompt in zip(self.asked, prompts, strict=True):
            docids = self.ranker._index.subset(query.candidates) if query.candidates else None
            tree = whole if docids is None else PrefixTree.build(docids)
            found.append((prompt, tree, docids or self.ranker._index.docids))
        seconds = forward_seconds(self.model)
        tensors = {id(tree): self._tensors(tree) for _, tree, _ in found}
        allowed = {id(docids): _allowed(docids) for _, _, docids in found}
        return [
            Side(self.model, prompt, tree, tensors[id(tree)], allowed[id(docids)], seconds)
            for prompt, tree, docids in found
        ]

    def _tensors(self, tree: PrefixTree) -> TreeTensors:
        return TreeTensors(tree, self.model.config.vocab_size, self.model.device, False, False)


class Side:
    """One query, to be answered by each search."""

    def __init__(
        self,
        model: Any,
        prompt: list[int],
        prefixes: PrefixTree,
        tree: TreeTensors,
        allowed: dict[tuple[int, ...], list[int]],
        seconds: dict[int, float],
    ) -> None:
        self.model, self.prompt, self.prefixes, self.tree = model, prompt, prefixes, tree
        self.allowed, self.seconds = allowed, seconds

    def best_first(self, k: int = BEAM) -> Limits:
        return best_first(k, cheapest_block(self.seconds, k, self.tree.mean_depth), BUDGET)

    def run(self, limits: Limits) -> Any:
        return search(self.model, [self.prompt], self.tree, ByScore(), limits)[0]

    def ours(self) -> Any:
        return self.run(self.best_first())

    def dense(self) -> Any:
        return exact_scores(self.model, [self.prompt], [self.prefixes], mean=False)

    @torch.inference_mode()
    def theirs(self) -> Any:
        start = len(self.prompt)
        ids = torch.tensor([self.prompt])
        end = self.model.config.eos_token_id
        return self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_beams=BEAM,
            num_return_sequences=BEAM,
            prefix_allowed_tokens_fn=lambda _, read: self.allowed.get(tuple(read[start:].tolist()), [end]),
            length_penalty=0.0,
            max_new_tokens=self.tree.depth,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )


def _word(number: int) -> str:
    more, last = divmod(int(number), len(SYLLABLES))
    return (_word(more) if more else "") + SYLLABLES[last]


def _allowed(docids: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """The next tokens behind every prefix."""
    behind: dict[tuple[int, ...], set[int]] = {}
    for docid in docids:
        for t, token in enumerate(docid):
            behind.setdefault(docid[:t], set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in behind.items()}


def check(side: Side) -> None:
    """What they find is scored as ours, and never better than what is proved."""
    ours, theirs = side.ours(), side.theirs().sequences_scores.max().item()
    assert not ours.exact or theirs <= ours.scores[0] + 1e-3
    if side.tree.documents < BUDGET:
        (everything,) = side.dense()
        assert np.abs(everything - theirs).min() < 1e-3
        assert ours.scores[0] <= everything.max() + 1e-3


def bookkeeping(sides: Sequence[Side]) -> list[float]:
    """The share of each query's time that isn't spent in the model's forward."""
    model, shares = sides[0].model, []
    original, inside = model.forward, [0.0]

    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        output = original(*arguments, **named)
        inside[0] += time.process_time() - start
        return output

    model.forward = timed
    try:
        for side in sides:
            inside[0], start = 0.0, time.process_time()
            side.ours()
            shares.append(1 - inside[0] / (time.process_time() - start))
    finally:
        model.forward = original
    return shares


def measure(name: str, sides: Sequence[Side], goal: float, queries: int, repeats: int, as_json: bool) -> None:
    few = sides[:queries]
    check(few[0])
    ours = [side.ours for side in few]
    show(f"hf_{name}", ratios([s.theirs for s in few], ours, repeats), goal, "x", as_json, "higher")
    if name == "candidates":
        dense = ratios([s.theirs for s in few], [s.dense for s in few], repeats)
        show(f"hf_{name}_dense", dense, goal, "x", as_json, "higher")
    for k in (10, 20):
        searches = [partial(side.run, side.best_first(k)) for side in sides]
        beams = [partial(side.run, beam(k, BEAM)) for side in sides]
        show(f"beam_{name}_at_{k}", ratios(searches, beams, repeats), 1.2, "x", as_json)
        proved = [float(find().exact) for find in searches]
        show(f"proved_{name}_at_{k}", [float(np.mean(proved))], 0.99, "of queries", as_json, "higher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="longer training, more queries and repeats")
    parser.add_argument("--backbone", help="a causal LM to use in place of tiny: an id or a folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked, queries, repeats = (ASKED, 16, 7) if arguments.full else (ASKED, 4, 3)
    if arguments.backbone:
        names, goal = ("12000", "candidates"), 1.5
        asked, queries, repeats = (8, 8, 3) if arguments.full else (2, 2, 1)
        learning = {
            "backbone": arguments.backbone,
            "epochs": 20,
            "batch": 4,
            "learning_rate": 5e-4,
            "warmup": 2,
        }
    else:
        names, goal = ("300", "12000", "candidates"), 3.0
        learning = {"epochs": 120 if arguments.full else 40, "batch": 8, "learning_rate": 3e-3, "warmup": 10}
    for name in names:
        shown = name == "candidates"
        options = ArrStoical.Options(**learning, prompt="candidates" if shown else "query")
        world = World(300 if name == "300" else 12_000, asked, options)
        sides = world.sides()
        measure(name, sides, 8.0 if shown else goal, queries, repeats, arguments.json)
        if arguments.backbone:
            shares = bookkeeping(sides[:queries])
            show(f"bookkeeping_{name}", shares, 0.05, "of the time", arguments.json)


if __name__ == "__main__":
    main()

"""Best-first search against beam searches: Hugging Face's `generate`, constrained to the docIDs, and ours.

Hugging Face's is `generate(num_beams=20, num_return_sequences=20, prefix_allowed_tokens_fn=…,
length_penalty=0)`, whose allowed tokens are looked up in a dict of prefixes; all sides take the best 20 of
the same trained model for the same prompts, one query at a time. Figures:

- `hf_*`: their time over that of best-first search, within 40 candidates that the prompt shows and over
  all 300 and 12,000 docIDs of a made-up corpus, whose names share first words and are asked for by theirs;
- `beam_*`: best-first search's time over that of our own beam of 20;
- `proved_*`: the share of queries whose best 10 and 20 a best-first search proves;
- `bookkeeping`: the share of best-first search's time that isn't spent in the model's forward.

`tiny` is trained here. With --backbone, that model is trained for a few steps on the larger corpus and the
figures are its own.
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
from arrbench_rankers.arr.frontier import Limits
from arrbench_rankers.arr.order import ByScore
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

BEAM, BUDGET, CANDIDATES, LISTED, ASKED = 20, 2000, 40, 10, 32
VOCABULARY = 6000  # words, the first ones far more frequent, as in names


class World:
    """A made-up corpus and an `arr` that has learnt the queries to be asked, so that it is sure of them.

    Names have one to six words; a query is a name, its list the names that begin like it.
    """

    def __init__(self, size: int, options: ArrStoical.Options, training: int) -> None:
        rng = np.random.default_rng(0)
        names: set[tuple[str, ...]] = set()
        while len(names) < size:
            words = (VOCABULARY * rng.random(6) ** 3).astype(int)
            names.add(tuple(f"word{word}" for word in words[: min(6, 1 + rng.poisson(1.5))]))
        self.names = [" ".join(name) for name in sorted(names)]
        self.corpus = Corpus(Document(name, name, name) for name in self.names)
        self.rng, shows = rng, options.prompt == "candidates"
        train, grades = [], {}
        for i in rng.choice(size, training):
            query = self.query(int(i), shows)
            ranked = self._ranked(int(i), query.candidates or self.names)
            train.append(query)
            grades[query.id] = {name: LISTED - r for r, name in enumerate(ranked)}
        self.ranker = ArrStoical(options, Context())
        nothing = Split((), Judgments({}), self.corpus)
        self.ranker.fit(Split(tuple(train), Judgments(grades), self.corpus), nothing)
        self.ranker.index(self.corpus)
        self.model = self.ranker._model
        self.asked = train[:ASKED]

    def query(self, place: int, candidates: bool) -> Query:
        others = {*self.rng.choice(len(self.names), CANDIDATES - 1, replace=False).tolist(), place}
        shown = tuple(self.names[i] for i in sorted(others)) if candidates else None
        return Query(f"q{self.rng.integers(2**60)}", f"the {self.names[place]}", shown)

    def _ranked(self, place: int, names: Sequence[str]) -> list[str]:
        """The names that share the most first words, the shorter first."""
        words = self.names[place].split()

        def differs(name: str) -> tuple[int, int]:
            other = name.split()
            shared = next((i for i, (a, b) in enumerate(zip(words, other, strict=False)) if a != b), 9)
            return -min(shared, len(words), len(other)), len(other)

        return sorted(names, key=lambda name: (name != self.names[place], differs(name)))[:LISTED]

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
            Side(self.model, prompt, tensors[id(tree)], allowed[id(docids)], seconds)
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
        tree: TreeTensors,
        allowed: dict[tuple[int, ...], list[int]],
        seconds: dict[int, float],
    ) -> None:
        self.model, self.prompt, self.tree, self.allowed = model, prompt, tree, allowed
        self.seconds = seconds

    def best_first(self, k: int = BEAM) -> Limits:
        return best_first(k, cheapest_block(self.seconds, k, self.tree.mean_depth), BUDGET)

    def run(self, limits: Limits) -> Any:
        return search(self.model, [self.prompt], self.tree, ByScore(), limits)[0]

    def ours(self) -> Any:
        return self.run(self.best_first())

    def our_beam(self) -> Any:
        return self.run(beam(BEAM, BEAM))

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
    everything = side.run(side.best_first(side.tree.documents)) if side.tree.documents < BUDGET else ours
    assert not ours.exact or theirs <= ours.scores[0] + 1e-3
    assert everything is ours or np.abs(everything.scores - theirs).min() < 1e-3


def bookkeeping(sides: Sequence[Side]) -> list[float]:
    """The share of each query's time that isn't spent in the model's forward."""
    model, shares = sides[0].model, []
    original, inside = model.forward, [0.0]

    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        output = original(*arguments, **named)
        inside[0] += time.perf_counter() - start
        return output

    model.forward = timed
    try:
        for side in sides:
            inside[0], start = 0.0, time.perf_counter()
            side.ours()
            shares.append(1 - inside[0] / (time.perf_counter() - start))
    finally:
        model.forward = original
    return shares


def measure(name: str, world: World, goal: float, queries: int, repeats: int, as_json: bool) -> None:
    sides = world.sides()
    few = sides[:queries]
    check(few[0])
    ours = [side.ours for side in few]
    show(f"hf_{name}", ratios([s.theirs for s in few], ours, repeats), goal, "x", as_json, "higher")
    ours_again = [partial(side.ours) for side in sides]
    show(f"beam_{name}", ratios(ours_again, [s.our_beam for s in sides], repeats), 1.2, "x", as_json)
    for k in (10, 20):
        found = [side.run(side.best_first(k)) for side in sides]
        proved = [float(one.exact) for one in found]
        show(f"proved_{name}_at_{k}", [float(np.mean(proved))], 0.99, "of queries", as_json, "higher")
    show(f"bookkeeping_{name}", bookkeeping(few), 0.05, "of the time", as_json)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="longer training, more queries and repeats")
    parser.add_argument("--backbone", help="a causal LM to use in place of tiny: an id or a folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    queries, repeats, training = (16, 7, 1024) if arguments.full else (4, 3, 320)
    if arguments.backbone:
        some = {"backbone": arguments.backbone, "epochs": 1, "batch": 4, "learning_rate": 3e-4, "warmup": 2}
        learnt = 128 if arguments.full else 64
        settings = [("12000", 12_000, 1.5, ArrStoical.Options(**some), learnt)]
        shows = ArrStoical.Options(**some, prompt="candidates")
        settings.append(("candidates", 12_000, 8.0, shows, learnt))
    else:
        some = {"epochs": 4, "learning_rate": 3e-3, "warmup": 10, "batch": 8}
        settings = [
            ("300", 300, 3.0, ArrStoical.Options(**some), training),
            ("12000", 12_000, 3.0, ArrStoical.Options(**some), training),
            ("candidates", 12_000, 8.0, ArrStoical.Options(**some, prompt="candidates"), training),
        ]
    for name, size, goal, options, learnt in settings:
        measure(name, World(size, options, learnt), goal, queries, repeats, arguments.json)


if __name__ == "__main__":
    main()

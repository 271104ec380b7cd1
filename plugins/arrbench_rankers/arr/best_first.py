"""Best-first search for the best docIDs of a prefix tree, with a proof that they are the best.

The score of a docID only falls along its path, so what is open bounds all that is below it. The best
open nodes are read in blocks, one forward pass a block, until k finished docIDs beat every open bound:
best-first branch and bound. How many nodes a block has touches the cost alone, not the proof.

A beam is the same search when no more nodes stay open than one block reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench.errors import UsageError
from arrbench_rankers.arr.frontier import Frontier, Limits, opened, step
from arrbench_rankers.arr.reading import PACKED, Reader, Reading
from arrbench_rankers.arr.search_order import Order
from arrbench_rankers.arr.tree_tensors import TreeTensors

ASK_EVERY = 4  # steps between two looks at whether a device has finished: each makes it wait
UNLIMITED = 2**62
WHOLE = 4  # an open node is read with all below it where that takes at most this part of a block


@dataclass(frozen=True)
class Found:
    """A query's best documents, best first, and what is known of them.

    The first `certified` places are those of an exhaustive search. `gap` is by how much the best open
    bound exceeds the last place: 0 where all is proved, None where fewer than k documents were found
    although more are open. `nodes` were read in `forwards` passes, the prompt's included.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int64]
    certified: int
    exact: bool
    gap: float | None
    nodes: int
    forwards: int


def best_first(k: int, block: int, budget: int) -> Limits:
    """A search that is exact unless it needs more than `budget` nodes a query.

    It holds as many open nodes as the budget may read, and as the beam that goes on after it.
    """
    return Limits(k, block, budget, max(budget, k, block), max(1, block // WHOLE))


def beam(k: int, width: int) -> Limits:
    """A beam search: all open nodes are read at once, and the best `width` of their children stay open.

    Finished docIDs are kept apart and take no place in the beam; it ends when the k-th best of them beats
    every open node. So it may find more than `width` documents, and fewer than k.
    """
    return Limits(k, width, UNLIMITED, width, 1)


@torch.inference_mode()
def search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    tree: TreeTensors,
    order: Order,
    limits: Limits,
    reading: Reading = PACKED,
) -> list[Found]:
    """The best documents of each prompt, searched side by side.

    Where a budget is spent before k documents are found, a beam of max(k, block) finishes the best open
    nodes, so that there are k documents wherever a beam finds as many; it reads at most that many nodes
    a token of the longest docID on top of the budget.
    """
    if not prompts or not tree.documents or limits.k < 1:
        nothing = Found(np.empty(0, np.float32), np.empty(0, np.int64), 0, True, 0.0, 0, 0)
        return [nothing] * len(prompts)
    reader = reading.reader(model, prompts, tree.depth)
    skips = order.skips and reading.packed
    limits = replace(limits, k=min(limits.k, tree.documents), whole=limits.whole if skips else 1)
    run = _Run(reader, len(prompts), model.device, tree, order, limits)
    run.until_done(run.limits)
    run.leave(run.frontier.settled | run.frontier.filled)
    if len(run.asked):
        run.until_done(beam(run.limits.k, max(run.limits.k, run.limits.block)))
        run.leave(torch.ones_like(run.asked, dtype=torch.bool))
    return [found for found in run.found if found is not None]


class _Run:
    """Queries searched side by side; those that are done leave, so that nothing is read for them."""

    def __init__(
        self,
        reader: Reader,
        queries: int,
        device: torch.device,
        tree: TreeTensors,
        order: Order,
        limits: Limits,
    ) -> None:
        self.reader, self.tree, self.order, self.limits = reader, tree, order, limits
        self.waits = device.type == "cpu"  # a host that computes itself waits for nobody
        self.frontier = opened(self.reader, tree, order, limits, self._most(1))
        self.asked = torch.arange(queries, device=device)
        self.found: list[Found | None] = [None] * queries

    def until_done(self, limits: Limits) -> None:
        """Steps until each query has its k best, has nothing open, or its budget is spent."""
        self.frontier = self.frontier.narrowed(limits.held)
        steps = 0
        while True:
            if self.waits or steps % ASK_EVERY == 0:
                settled, spent = self.frontier.settled, self.frontier.nodes >= limits.budget
                left = len(self.asked) - int((settled | spent).sum())
                if not left:
                    return
                if 2 * left <= len(self.asked):  # fewer leavings: each copies the caches of the others
                    self.leave(settled | (spent & self.frontier.filled))
            if self.waits:
                wanted = (self.frontier.bound > self.frontier.key[:, -1:]).sum(1).max()
                self.frontier = self.frontier.narrowed(max(1, int(wanted)))
            most = self._most(limits.block)
            self.frontier = step(self.reader, self.tree, self.order, self.frontier, limits, most)
            steps += 1

    def _most(self, block: int) -> int | None:
        """The most children of a block: counted where waiting is free, else known from the tree."""
        return None if self.waits else self.tree.most_children(block)

    def leave(self, leaving: torch.Tensor) -> None:
        """Keep what was found for the queries marked [queries], and search for the others alone."""
        done, others = leaving.nonzero()[:, 0], (~leaving).nonzero()[:, 0]
        if not len(done):
            return
        for place, found in zip(self.asked[done].tolist(), _found(self.frontier.keep(done)), strict=True):
            self.found[place] = found
        self.asked = self.asked[others]
        if not len(others):
            return
        self.frontier = self.frontier.keep(others)
        self.order = self.order.keep(others)
        self.reader.keep(others)


def _found(frontier: Frontier) -> list[Found]:
    """What each query of a frontier has found. Raises UsageError where a score isn't a number."""
    if bool((frontier.key.isnan().any() | frontier.ceiling.isnan().any()).item()):
        raise UsageError(
            "the model's predictions are not finite numbers; its weights or its dtype are broken"
        )
    certified = (frontier.key >= frontier.ceiling[:, None]) & (frontier.key > -torch.inf)
    open_left = frontier.ceiling > -torch.inf
    columns = (
        frontier.score,
        frontier.document,
        frontier.key > -torch.inf,
        certified.sum(1),
        frontier.filled | ~open_left,
        (frontier.ceiling - frontier.key[:, -1]).clamp(min=0),
        frontier.nodes,
        frontier.forwards,
    )
    found = []
    for scores, documents, real, sure, whole, gap, nodes, forwards in zip(
        *(column.cpu().numpy() for column in columns), strict=True
    ):
        exact = bool(sure == real.sum() and whole)
        found.append(
            Found(
                scores=scores[real],
                documents=documents[real],
                certified=int(sure),
                exact=exact,
                gap=0.0 if exact else float(gap) if whole else None,
                nodes=int(nodes),
                forwards=int(forwards),
            )
        )
    return found

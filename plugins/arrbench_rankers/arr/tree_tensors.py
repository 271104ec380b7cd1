"""A prefix tree where the model is: steps from blocks of nodes to their children, without a host's help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench_rankers.arr.trie import PrefixTree


@dataclass(frozen=True)
class Children:
    """All children of a block of nodes; each tensor is [queries, most children of a query's block].

    `parent` is the place of a child's parent in the block, `node` the child (0 where there is no more),
    `log_prob` the log-probability of its token behind the parent (-inf where there is no more).
    `predicted` [queries, block, vocabulary] are the log-probabilities of all tokens behind the block's nodes,
    or, where tokens compete with their siblings alone, the logits that are log-probabilities less
    `normaliser` [queries, block].
    """

    parent: torch.Tensor
    node: torch.Tensor
    log_prob: torch.Tensor
    predicted: torch.Tensor
    normaliser: torch.Tensor | None


class TreeTensors:
    """A prefix tree's arrays on a device.

    With `renormalised`, tokens compete with their siblings alone (normalise=tree); with `mean`, scores
    are divided by the tokens of a docID (length=mean).
    """

    def __init__(
        self, tree: PrefixTree, vocabulary: int, device: torch.device, renormalised: bool, mean: bool
    ) -> None:
        def there(array: NDArray[np.integer]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.vocabulary, self.renormalised = vocabulary, renormalised
        self.token, self.document = there(tree.token), there(tree.document)
        self.first_child = there(tree.first_child)
        self._inner = there(tree.inner).to(self.first_child.dtype)
        lengths = tree.lengths
        self.documents, self.depth = len(lengths), len(tree.levels)
        self.mean_depth = float(lengths.mean()) if self.documents else 0.0
        self.lengths = there(lengths) if mean else None
        self._longest = there(_longest_below(tree)) if mean else None
        self._fan_outs = -np.sort(-np.diff(tree.first_child))  # the most first

    def subtrees(self, nodes: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inner nodes at and below each node: ranks of a level's first ones, and how many a level has.

        Both are [queries, nodes, 1 + levels]. Ranks count the tree's inner nodes but its root in order; below
        one node those of a level stand in a row, for a tree's nodes stand level by level.
        """
        first, stop = nodes, nodes + 1
        starts, counts = [], []
        for _ in range(1 + levels):
            start, end = torch.searchsorted(self._inner, torch.stack([first, stop]).to(self._inner.dtype))
            starts.append(start)
            counts.append(end - start)
            first, stop = self.first_child[first], self.first_child[stop]
        return torch.stack(starts, -1), torch.stack(counts, -1)

    def ranked(self, ranks: torch.Tensor) -> torch.Tensor:
        """The inner node of each rank."""
        return self._inner[ranks.clamp(max=len(self._inner) - 1)].long()

    def parents(self, nodes: torch.Tensor) -> torch.Tensor:
        """The parent of each node but the root."""
        return torch.searchsorted(self.first_child, nodes.to(self.first_child.dtype), right=True) - 1

    def most_children(self, block: int) -> int:
        """The most children that any block of that many nodes can have together."""
        return max(1, int(self._fan_outs[:block].sum()))

    def bounds(self, sums: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        """The highest score that a docID through each node may reach, given the node's sum.

        A sum only falls along a path, so it bounds what is below; a mean is highest where the rest costs
        nothing and the docID is the longest.
        """
        return sums if self._longest is None else sums / self._longest[nodes]

    def scores(self, sums: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Scores of finished docIDs; `documents` may be -1 where sums are -inf."""
        return sums if self.lengths is None else sums / self.lengths[documents.clamp(min=0)]

    def open(self, nodes: torch.Tensor) -> torch.Tensor:
        """Whether each node has children."""
        return self.first_child[nodes + 1] > self.first_child[nodes]

    def children(self, nodes: torch.Tensor, most: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Parents' places and nodes of all children, as in Children; the node is -1 where there is no more.

        `nodes` [queries, block] are -1 where the block has no more. `most` bounds the children of a
        query's block; None counts them, which makes a device wait for its host.
        """
        first = self.first_child[nodes.clamp(min=0)]
        counts = torch.where(nodes >= 0, self.first_child[nodes.clamp(min=0) + 1] - first, 0)
        stops = counts.cumsum(1)
        total = stops[:, -1:]
        width = int(total.max()) if most is None else most
        place = torch.arange(width, device=nodes.device).expand(len(nodes), -1).contiguous()
        parent = torch.searchsorted(stops, place, right=True).clamp_(max=nodes.shape[1] - 1)
        child = (first - stops + counts).gather(1, parent) + place
        return parent, torch.where(place < total, child, -1)

    def expand(self, nodes: torch.Tensor, logits: torch.Tensor, most: int | None) -> Children:
        """The children of a block, scored by the logits [queries, block, vocabulary] behind its nodes.

        Rounding never lifts a log-probability above 0, so that sums never rise along a path.
        """
        parent, child = self.children(nodes, most)
        real, node = child >= 0, child.clamp(min=0)
        token = self.token[node].clamp(min=0)
        queries = torch.arange(len(nodes), device=nodes.device)[:, None]
        predicted = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if not self.renormalised:
            predicted = predicted.log_softmax(-1)  # one kernel, where a logsumexp is four
        log_prob = predicted[queries, parent, token].masked_fill_(~real, -torch.inf)
        normaliser = None
        if self.renormalised:
            normaliser = _sums_by_parent(log_prob, parent, nodes.shape[1])
            log_prob = (log_prob - normaliser.gather(1, parent)).masked_fill_(~real, -torch.inf)
        return Children(parent, node, log_prob.clamp_(max=0), predicted, normaliser)

    def child(self, nodes: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The child of each node by that token; -1 where there is none, or the node is -1.

        Halves the node's children until one is left: as many steps as the largest fan-out has bits.
        """
        first = self.first_child[nodes.clamp(min=0)]
        stop = torch.where(nodes >= 0, self.first_child[nodes.clamp(min=0) + 1], first)
        low, high = first, stop
        for _ in range(int(self._fan_outs[0]).bit_length()):
            middle = (low + high) // 2
            below = (low < high) & (self.token[middle.clamp(max=len(self.token) - 1)] < tokens)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        there = (low < stop) & (self.token[low.clamp(max=len(self.token) - 1)] == tokens)
        return torch.where(there, low, -1)


def _sums_by_parent(chosen: torch.Tensor, parent: torch.Tensor, block: int) -> torch.Tensor:
    """log Σ exp of the children's logits of each node of the block [queries, block]; 0 of none."""
    shape = (len(chosen), block)
    highest = chosen.new_full(shape, -torch.inf).scatter_reduce(1, parent, chosen, "amax")
    highest = highest.masked_fill(highest == -torch.inf, 0)
    mass = chosen.new_zeros(shape).scatter_add(1, parent, (chosen - highest.gather(1, parent)).exp())
    return torch.where(mass > 0, mass.log() + highest, 0)


def _longest_below(tree: PrefixTree) -> NDArray[np.int64]:
    """Tokens of the longest docID through each node [nodes], level by level from the deepest."""
    longest = np.where(tree.document >= 0, tree.depth, 0).astype(np.int64)
    for level in reversed(tree.levels):
        np.maximum.at(longest, tree.parent[level], longest[level])
    return np.maximum(longest, 1)

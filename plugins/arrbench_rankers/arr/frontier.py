"""A search within a prefix tree, batched over queries: what is open, what is finished, and one step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.reading import Reader
from arrbench_rankers.arr.search_order import Order
from arrbench_rankers.arr.tree_tensors import TreeTensors


@dataclass(frozen=True)
class Limits:
    """The best `k` docIDs a query, `block` nodes a step, `budget` nodes in all, `held` nodes left open."""

    k: int
    block: int
    budget: int
    held: int


@dataclass(frozen=True)
class Block:
    """Nodes just read [queries, block]; `node` is -1 where a query has no more, `place` is its own."""

    bound: torch.Tensor
    total: torch.Tensor
    node: torch.Tensor
    place: torch.Tensor


@dataclass(frozen=True)
class Frontier:
    """Where a search stands; the first axis of every tensor is the queries.

    Open nodes [queries, open], the highest bounds first: `bound` (-inf where there is no more), `total`
    (summed log-probabilities), `node`, `place` (of its parent in the cache). Finished docIDs
    [queries, k], the highest keys first: `key` (-inf where there is no more), `score`, `document`.
    `dropped` [queries] is the highest bound that found no place among the open; `nodes` and `forwards`
    [queries] count what was read.
    """

    bound: torch.Tensor
    total: torch.Tensor
    node: torch.Tensor
    place: torch.Tensor
    key: torch.Tensor
    score: torch.Tensor
    document: torch.Tensor
    dropped: torch.Tensor
    nodes: torch.Tensor
    forwards: torch.Tensor

    @property
    def ceiling(self) -> torch.Tensor:
        """The highest key that a docID not yet finished may have [queries]."""
        return torch.maximum(self.dropped, self.bound[:, 0])

    @property
    def settled(self) -> torch.Tensor:
        """Whether nothing open can come among each query's k best any more [queries]."""
        return ~(self.bound[:, 0] > self.key[:, -1])  # NaN is found once a search has ended

    @property
    def filled(self) -> torch.Tensor:
        """Whether k docIDs are finished [queries]."""
        return self.key[:, -1] > -torch.inf

    def keep(self, queries: torch.Tensor) -> Frontier:
        return Frontier(*(getattr(self, field.name)[queries] for field in fields(self)))

    def narrowed(self, held: int) -> Frontier:
        """With the best `held` open nodes alone."""
        if self.bound.shape[1] <= held:
            return self
        return replace(
            self,
            bound=self.bound[:, :held],
            total=self.total[:, :held],
            node=self.node[:, :held],
            place=self.place[:, :held],
            dropped=torch.maximum(self.dropped, self.bound[:, held]),
        )


def opened(reader: Reader, tree: TreeTensors, order: Order, limits: Limits, most: int | None) -> Frontier:
    """The frontier once the prompts are read: the root's children."""
    device, queries = reader.first.device, len(reader.first)
    none = torch.zeros(queries, 0, dtype=torch.long, device=device)
    nothing = torch.zeros(queries, 0, device=device)
    worst = torch.full((queries, limits.k), -torch.inf, device=device)
    empty = Frontier(
        bound=nothing,
        total=nothing,
        node=none,
        place=none,
        key=worst,
        score=worst,
        document=torch.full((queries, limits.k), -1, device=device),
        dropped=torch.full((queries,), -torch.inf, device=device),
        nodes=torch.zeros(queries, dtype=torch.long, device=device),
        forwards=torch.ones(queries, dtype=torch.long, device=device),
    )
    root = torch.zeros(queries, 1, dtype=torch.long, device=device)
    read = Block(root.float(), root.float(), root, torch.full_like(root, PROMPT))
    return _extended(empty, read, reader.first, tree, order, limits, most)


def step(
    reader: Reader,
    tree: TreeTensors,
    order: Order,
    frontier: Frontier,
    limits: Limits,
    most: int | None,
) -> Frontier:
    """Read each query's best open nodes, as its budget allows, and put their children in place.

    `most` bounds the children of a block of `limits.block` nodes; nothing here asks the device for a
    value unless it is None (see TreeTensors.children).
    """
    bound, node = frontier.bound[:, : limits.block], frontier.node[:, : limits.block]
    within = torch.arange(bound.shape[1], device=bound.device) < limits.budget - frontier.nodes[:, None]
    read = (bound > frontier.key[:, -1:]) & within
    logits, places = reader.read(
        torch.where(read, tree.token[node], 0),
        torch.where(read, frontier.place[:, : limits.block], PROMPT),
    )
    block = Block(bound, frontier.total[:, : limits.block], torch.where(read, node, -1), places)
    rest = replace(
        frontier,
        bound=torch.cat([bound.masked_fill(read, -torch.inf), frontier.bound[:, limits.block :]], 1),
        nodes=frontier.nodes + read.sum(1),
        forwards=frontier.forwards + read.any(1),
    )
    return _extended(rest, block, logits, tree, order, limits, most)


def _extended(
    frontier: Frontier,
    read: Block,
    logits: torch.Tensor,
    tree: TreeTensors,
    order: Order,
    limits: Limits,
    most: int | None,
) -> Frontier:
    """The frontier with the children of the nodes read.

    At most `held` open nodes stay. Where that is the budget or more, nothing is lost that the budget
    could have read: what is dropped stands behind as many nodes with higher bounds, each of
    which would be read before it. The bounds of what is dropped go on counting.
    """
    children = tree.expand(read.node, logits, most)
    total = read.total.gather(1, children.parent) + children.log_prob
    keys, bounds = order.keys(tree, children, total, read.bound)

    document = tree.document[children.node]
    key, chosen = torch.cat([frontier.key, keys.masked_fill(document < 0, -torch.inf)], 1).topk(limits.k)
    score = torch.cat([frontier.score, tree.scores(total, document)], 1).gather(1, chosen)
    document = torch.cat([frontier.document, document], 1).gather(1, chosen)

    bounds = bounds.masked_fill(~tree.open(children.node), -torch.inf)
    joined = torch.cat([frontier.bound, bounds], 1)
    bound, chosen = joined.topk(min(limits.held + 1, joined.shape[1]))
    place = read.place.gather(1, children.parent)
    return replace(
        frontier,
        bound=bound,
        total=torch.cat([frontier.total, total], 1).gather(1, chosen),
        node=torch.cat([frontier.node, children.node], 1).gather(1, chosen),
        place=torch.cat([frontier.place, place], 1).gather(1, chosen),
        key=key,
        score=score,
        document=document.masked_fill(key == -torch.inf, -1),
    ).narrowed(limits.held)

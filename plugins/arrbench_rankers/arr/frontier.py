"""A search within a prefix tree, batched over queries: what is open, what is finished, and one step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.reading import Reader
from arrbench_rankers.arr.search_order import Order
from arrbench_rankers.arr.tree_tensors import Children, TreeTensors


@dataclass(frozen=True)
class Limits:
    """The best `k` docIDs a query, `block` nodes a step, `budget` nodes in all, `held` nodes left open.

    An open node with at most `whole` inner nodes at and below it is read with all of them.
    """

    k: int
    block: int
    budget: int
    held: int
    whole: int


@dataclass(frozen=True)
class Block:
    """Nodes to be read in one step [queries, block].

    `node` is -1 where a query has no more. `bound` and `total` are those of the open node that a node is, or
    stands below; `above` is the place of its parent in the block (its own for an open node), `parent`
    in the cache. `whole` marks nodes whose inner children are in the block too; of a path the block holds
    at most `generations` nodes.
    """

    bound: torch.Tensor
    total: torch.Tensor
    node: torch.Tensor
    above: torch.Tensor
    parent: torch.Tensor
    whole: torch.Tensor
    generations: int


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
    places = torch.full_like(root, PROMPT)
    read = Block(root.float(), root.float(), root, root, places, root.bool(), 1)
    return _extended(empty, read, places, reader.first, tree, order, limits, most)


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
    taken, block = _block(frontier, tree, limits, reader.nodes, most is None)
    token = torch.where(block.node >= 0, tree.token[block.node.clamp(min=0)], 0)
    logits, places = reader.read(token, block.parent, block.generations)
    reading = block.node >= 0
    kept = frontier.bound[:, : taken.shape[1]].masked_fill(taken, -torch.inf)
    rest = replace(
        frontier,
        bound=torch.cat([kept, frontier.bound[:, taken.shape[1] :]], 1),
        nodes=frontier.nodes + reading.sum(1),
        forwards=frontier.forwards + reading.any(1),
    )
    return _extended(rest, block, places, logits, tree, order, limits, most)


def _block(
    frontier: Frontier, tree: TreeTensors, limits: Limits, first_place: int, counted: bool
) -> tuple[torch.Tensor, Block]:
    """Which of the best open nodes are read [queries, up to block], and these with what is read with them.

    The block has `limits.block` nodes, or, `counted`, as many as some query reads.
    """
    left = (limits.budget - frontier.nodes)[:, None]
    bound, node = frontier.bound[:, : limits.block], frontier.node[:, : limits.block]
    wanted = bound > frontier.key[:, -1:]
    levels_below = min(limits.whole, tree.depth)  # the last of them is empty below what is read whole
    starts, counts = tree.subtrees(torch.where(wanted, node, 0), levels_below)
    whole = counts.sum(-1) <= left.clamp(max=limits.whole)
    counts[..., 1:] *= whole[..., None]
    sizes = counts.sum(-1) * wanted
    stops = sizes.cumsum(1)
    taken = wanted & (stops <= left.clamp(max=limits.block))
    total = (sizes * taken).sum(1, keepdim=True)

    width = max(1, int(total.max())) if counted else limits.block
    place = torch.arange(width, device=node.device).expand(len(node), -1).contiguous()
    top = torch.searchsorted(stops, place, right=True).clamp_(max=node.shape[1] - 1)
    within = place - (stops - sizes).gather(1, top)  # of the top's nodes, level by level
    levels = top[..., None].expand(-1, -1, counts.shape[2])
    counts, starts = counts.gather(1, levels), starts.gather(1, levels)
    level_stops = counts.cumsum(2)
    level = (level_stops <= within[..., None]).sum(2, keepdim=True).clamp_(max=levels_below)
    rank = starts.gather(2, level) + within[..., None] - (level_stops - counts).gather(2, level)
    generations = 1 + int((level[..., 0] * (place < total)).max()) if counted else levels_below
    real, below = place < total, level[..., 0] > 0
    read = torch.where(real, tree.ranked(rank[..., 0]), -1)

    same = read[:, None] == tree.parents(read.clamp(min=0))[..., None]  # [queries, block, of its parent]
    above = torch.where(below & real, same.byte().argmax(2), place)
    parent = torch.where(below, first_place + above, frontier.place.gather(1, top))
    return taken, Block(
        bound=bound.gather(1, top),
        total=frontier.total.gather(1, top),
        node=read,
        above=above,
        parent=torch.where(real, parent, PROMPT),
        whole=whole.gather(1, top),
        generations=generations,
    )


def _totals(block: Block, tree: TreeTensors, children: Children) -> torch.Tensor:
    """Summed log-probabilities of a block's nodes [queries, block], generation by generation."""
    if block.generations == 1:
        return block.total
    queries = torch.arange(len(block.node), device=block.node.device)[:, None]
    token = tree.token[block.node.clamp(min=0)].clamp(min=0)
    step = children.predicted[queries, block.above, token]
    if children.normaliser is not None:
        step = step - children.normaliser.gather(1, block.above)
    step = step.clamp_(max=0)
    own = torch.arange(block.node.shape[1], device=block.node.device)
    total = block.total
    for _ in range(block.generations - 1):
        total = torch.where(block.above == own, block.total, total.gather(1, block.above) + step)
    return total


def _extended(
    frontier: Frontier,
    read: Block,
    places: torch.Tensor,
    logits: torch.Tensor,
    tree: TreeTensors,
    order: Order,
    limits: Limits,
    most: int | None,
) -> Frontier:
    """The frontier with the children of a block that was read at these places of the cache.

    At most `held` open nodes stay. Where that is the budget or more, nothing is lost that the budget
    could have read: what is dropped stands behind as many nodes with higher bounds, each of
    which would be read before it. The bounds of what is dropped go on counting.
    """
    children = tree.expand(read.node, logits, most)
    above = _totals(read, tree, children)
    total = above.gather(1, children.parent) + children.log_prob
    keys, bounds = order.keys(tree, children, total, read.bound)

    document = tree.document[children.node]
    key, chosen = torch.cat([frontier.key, keys.masked_fill(document < 0, -torch.inf)], 1).topk(limits.k)
    score = torch.cat([frontier.score, tree.scores(total, document)], 1).gather(1, chosen)
    document = torch.cat([frontier.document, document], 1).gather(1, chosen)

    opens = tree.open(children.node) & ~read.whole.gather(1, children.parent)
    bounds = bounds.masked_fill(~opens, -torch.inf)
    joined = torch.cat([frontier.bound, bounds], 1)
    bound, chosen = joined.topk(min(limits.held + 1, joined.shape[1]))
    place = places.gather(1, children.parent)
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

"""Lines for a causal LM: prompts, each with a whole prefix tree of docIDs, read in one forward pass.

A row is one query's [prompt, nodes of the tree]; rows stand end to end in lines. The nodes stand in
depth-first order, so whatever a token is seen by lies in one stretch from it to its `stop`: a prompt's
token is seen by the rest of its row, a node by its subtree. One rule then keeps rows, and branches of a
tree, apart: query q sees key k where k <= q < stop(k). A node stands at position prompt length + depth
- 1, so it is read just as in a row that holds its docID alone; docIDs that share a prefix share its nodes.
Nodes below which nothing is asked for are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from heapq import heapreplace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.parallel import DistributedDataParallel

from arrbench_rankers.arr.attention import attention_mask
from arrbench_rankers.arr.trie import Ints, PrefixTree

LINE = 96  # tokens a line: attention pays for the square of its width, and fewer lines leave less padding
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Edges:
    """Steps that are asked for: from the prefix at node `parent` [edges] by `token` [edges]."""

    parent: Ints
    token: Ints


@dataclass(frozen=True)
class Block:
    """A row's tokens as they stand in a line that starts with them.

    `ids`, `positions` and `stops` are [length]; `read` [prefixes] are the places whose prediction is
    asked for, the prompt's end first; edge e goes from the prefix at read[parents[e]] by tokens[e] [edges].
    """

    ids: Ints
    positions: Ints
    stops: Ints
    read: Ints
    parents: Ints
    tokens: Ints


@dataclass(frozen=True)
class Row:
    """A prompt's tokens, the tree of the docIDs behind it, and what is asked for: all its edges if None.

    All edges means those into the nodes 1, 2, … of the tree, in that order.
    """

    prompt: Sequence[int]
    tree: PrefixTree
    edges: Edges | None = None

    @cached_property
    def block(self) -> Block:
        tree, edges = self.tree, self.edges or Edges(self.tree.parent[1:], self.tree.token[1:])
        end = len(self.prompt) - 1
        asked = np.zeros(len(tree), bool)
        asked[edges.parent] = asked[0] = True
        places, sizes = _depth_first(tree, asked)
        places += end
        nodes = np.flatnonzero(sizes[1:]) + 1
        length = end + int(sizes[0])
        ids, positions, stops = np.empty(length, np.int64), np.arange(length), np.full(length, length)
        ids[: end + 1] = self.prompt
        ids[places[nodes]] = tree.token[nodes]
        positions[places[nodes]] = end + tree.depth[nodes]
        stops[places[nodes]] = places[nodes] + sizes[nodes]
        read = np.sort(places[asked])
        return Block(ids, positions, stops, read, np.searchsorted(read, places[edges.parent]), edges.token)

    @property
    def width(self) -> int:
        """Tokens that the model reads."""
        return len(self.block.ids)


def _depth_first(tree: PrefixTree, asked: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Each node's place among those that lead to asked ones, depth first, and how many its subtree has.

    [nodes] both; the root has place 0, and a node that leads to none size 0.
    """
    sizes = asked.astype(np.int64)
    for level in reversed(tree.levels):
        sizes[level][(sizes[level] > 0) & ~asked[level]] += 1  # read for what is below
        np.add.at(sizes, tree.parent[level], sizes[level])
    places = np.zeros(len(tree), np.int64)
    for level in tree.levels:
        parents = tree.parent[level]
        before = np.cumsum(sizes[level]) - sizes[level]
        places[level] = places[parents] + 1 + before - before[tree.first_child[parents] - level.start]
    return places, sizes


def collate(rows: Sequence[Row], pad: int, width: int = LINE) -> Tensors:
    """The model's inputs for a batch of rows, and where its predictions hold their edges.

    Rows share as many lines as make them `width` tokens wide on average, or as wide as the longest row
    where that is more; with width 0 row i is line i. W is the widest line.

    - `input_ids`, `position_ids`, `stops` [lines, W]; padding comes last and is seen by itself alone;
    - `read` [prefixes]: places in the flattened [lines * W] whose next token is to be predicted, row
      after row, the end of each row's prompt first;
    - `parents`, `tokens` [edges]: edge e is the step from prefix read[parents[e]] by tokens[e], row
      after row, each row's as in its `edges`;
    - `counts` [rows]: how many of the edges each row has, so that edge_log_probs(…).split(counts.tolist())
      are the rows'.
    """
    blocks = [row.block for row in rows]
    lengths = np.array([len(block.ids) for block in blocks])
    line, start = _balanced(lengths, width)
    lines, widest = int(line.max()) + 1, int((start + lengths).max())
    offset = line * widest + start
    at = np.concatenate([place + np.arange(n) for place, n in zip(offset, lengths, strict=True)])
    input_ids = np.full(lines * widest, pad)
    position_ids = np.zeros(lines * widest, np.int64)
    stops = np.tile(np.arange(1, widest + 1), lines)
    input_ids[at] = np.concatenate([block.ids for block in blocks])
    position_ids[at] = np.concatenate([block.positions for block in blocks])
    stops[at] = np.concatenate([block.stops + first for block, first in zip(blocks, start, strict=True)])
    prefixes = np.cumsum([0, *(len(block.read) for block in blocks)])
    arrays = {
        "input_ids": input_ids.reshape(lines, widest),
        "position_ids": position_ids.reshape(lines, widest),
        "stops": stops.reshape(lines, widest),
        "read": np.concatenate([block.read + place for block, place in zip(blocks, offset, strict=True)]),
        "parents": np.concatenate([b.parents + n for b, n in zip(blocks, prefixes[:-1], strict=True)]),
        "tokens": np.concatenate([block.tokens for block in blocks]),
        "counts": np.array([len(block.tokens) for block in blocks]),
    }
    return {name: torch.from_numpy(np.asarray(array, np.int64)) for name, array in arrays.items()}


def _balanced(lengths: Ints, width: int) -> tuple[Ints, Ints]:
    """The line of each row and its place there [rows]: the longest first, each where most room is left.

    (LPT, Graham 1969. Lines as even as they get leave less padding than lines filled one by one.)
    """
    line, start = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)
    if width == 0:
        return line, start
    lines = -(-int(lengths.sum()) // max(width, int(lengths.max())))
    filled = [(0, number) for number in range(lines)]
    for row in np.argsort(-lengths, kind="stable").tolist():
        start[row], line[row] = filled[0]
        heapreplace(filled, (filled[0][0] + int(lengths[row]), filled[0][1]))
    return line, start


def visible(stops: torch.Tensor) -> torch.Tensor:
    """[lines, queries, keys]: whether each place of a line sees each other, from `stops` [lines, W]."""
    places = torch.arange(stops.shape[1], device=stops.device)
    return (places <= places[:, None]) & (places[:, None] < stops[:, None, :])


def _own(model: Any) -> Any:
    """The model itself, where Trainer spreads it over several devices."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def predicting(model: Any, read: torch.Tensor) -> Iterator[None]:
    """Within it, the model projects onto its vocabulary at places `read` alone: logits [1, prefixes, V].

    `read` are places in the flattened [lines * W]. What a model does to its logits after the
    projection (scaling, soft-capping) still happens.
    """

    def gather(_: Any, hidden: tuple[torch.Tensor]) -> torch.Tensor:
        return hidden[0].flatten(0, 1).index_select(0, read)[None]

    handle = _own(model).get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def edge_log_probs(model: Any, batch: Tensors) -> torch.Tensor:
    """log p(token | prompt, prefix) of each edge [edges], in float32 or the model's float64."""
    own, positions = _own(model), batch["position_ids"]
    with predicting(model, batch["read"]):
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=positions,
            attention_mask=attention_mask(
                visible(batch["stops"]), positions, positions, own.config, own.dtype
            ),
            use_cache=False,
        ).logits[0]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    chosen = logits[batch["parents"], batch["tokens"]]
    log_probs: torch.Tensor = chosen - logits.logsumexp(-1)[batch["parents"]]
    return log_probs

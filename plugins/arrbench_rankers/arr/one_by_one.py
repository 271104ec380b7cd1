"""Rows that hold one path each: what every causal LM reads rightly, at the price of a row a docID.

The twin of `packing` and of the search's reader, for models that misread a packed tree: alibi, whose
distances are places in the row, and recurrent layers, which read whatever stands before. A row is
[prompt, path, padding], with the model's own causal mask and positions; padding on the right reaches
nothing before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench_rankers.arr.lm_config import padding, vocabulary
from arrbench_rankers.arr.packing import Edges, Row, Tensors
from arrbench_rankers.arr.pass_size import FLOATS
from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.trie import Ints, PrefixTree


def collate(rows: Sequence[Row], pad: int) -> Tensors:
    """The model's inputs for one row a path of each query's tree, and where the edges are read.

    A path leads to the last node that something is asked of (or is empty: the root alone), so that every
    edge hangs on some path. With S paths in all and W the longest prompt with its path: `input_ids` and
    `attention_mask` [S, W] (2-D, 1 where a token is); `sequence`, `place` and `tokens` [edges], row after
    row: edge e's log-probability is that of tokens[e] behind place[e] of sequence[e]; `counts` [rows].
    """
    made: list[NDArray[np.int64]] = []
    sequence, place, tokens, counts = [], [], [], []
    for row in rows:
        tree, edges = row.tree, row.edges or Edges(row.tree.parent[1:], row.tree.token[1:])
        ends, path_of = _paths(tree, edges.parent)
        sequence.append(len(made) + path_of[edges.parent])
        place.append(len(row.prompt) - 1 + tree.depth[edges.parent])
        tokens.append(edges.token)
        counts.append(len(edges.token))
        made += [np.array([*row.prompt, *_spelt(tree, end)], np.int64) for end in ends]
    input_ids, attention_mask = _padded(made, pad)
    flat = {"sequence": sequence, "place": place, "tokens": tokens, "counts": [np.array(counts)]}
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        **{name: torch.from_numpy(np.concatenate(parts).astype(np.int64)) for name, parts in flat.items()},
    }


def edge_log_probs(model: Any, batch: Tensors) -> torch.Tensor:
    """log p(token | prompt, prefix) of each edge [edges], as `packing.edge_log_probs`."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    chosen, place, tokens = (batch[name] for name in ("sequence", "place", "tokens"))
    found, order = [], []
    for group in _groups(model, ids):
        logits, first = _logits(model, ids[group], mask[group], int(place.min()))
        here = ((chosen >= group.start) & (chosen < group.stop)).nonzero()[:, 0]
        at = chosen[here] - group.start, place[here] - first
        found.append(logits[*at, tokens[here]] - logits.logsumexp(-1)[at])
        order.append(here)
    return torch.cat(found)[torch.cat(order).argsort()]


def next_logits(model: Any, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits [sequences, vocabulary] of what follows each sequence of tokens, none empty."""
    pad = padding(model.config)
    ids, mask = (t.to(model.device) for t in _padded([np.array(s, np.int64) for s in sequences], pad))
    shortest = min(map(len, sequences))
    found = []
    for group in _groups(model, ids):
        logits, first = _logits(model, ids[group], mask[group], shortest - 1)
        last = mask[group].sum(1) - 1 - first
        found.append(logits[torch.arange(len(last), device=last.device), last])
    return torch.cat(found)


class OneByOneReader:
    """Reads prompts, then nodes of a tree behind them, each with its prompt and prefix once again.

    The interface of `reader.NodeReader`, without a cache.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], depth: int) -> None:
        self.model = model
        self._sequences = [[list(prompt)] for prompt in prompts]  # the prompt, then what has been read
        self.first = next_logits(model, [own[0] for own in self._sequences])[:, None]

    @property
    def nodes(self) -> int:
        """How many nodes of a query are read: the place of the next one."""
        return len(self._sequences[0]) - 1

    def read(
        self, tokens: torch.Tensor, parents: torch.Tensor, generations: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [queries, block, vocabulary] behind new nodes, and the nodes' places [queries, block].

        Parents stand before their children, so a block may hold any number of generations.
        """
        queries, block = tokens.shape
        first = self.nodes
        for own, new, behind in zip(self._sequences, tokens.tolist(), parents.tolist(), strict=True):
            for token, parent in zip(new, behind, strict=True):
                own.append([*own[parent - PROMPT], token])
        places = torch.arange(first, first + block, device=tokens.device).expand(queries, -1)
        asked = [sequence for own in self._sequences for sequence in own[-block:]]
        return next_logits(self.model, asked).unflatten(0, (queries, block)), places

    def keep(self, queries: torch.Tensor) -> None:
        """Forget all but those queries (their places, ascending)."""
        self._sequences = [self._sequences[query] for query in queries.tolist()]


def _paths(tree: PrefixTree, asked: Ints) -> tuple[Ints, Ints]:
    """The nodes where paths end [paths], and for each node asked for, or above one, a path through it."""
    needed = np.zeros(len(tree), bool)
    needed[0] = needed[asked] = True
    for level in reversed(tree.levels):
        needed[tree.parent[level][needed[level]]] = True
    inner = np.flatnonzero(needed)
    passed = np.zeros(len(tree), bool)
    passed[tree.parent[inner[1:]]] = True
    ends = inner[~passed[inner]]
    path_of = np.zeros(len(tree), np.int64)
    path_of[ends] = np.arange(len(ends))
    for node in inner[:0:-1]:  # children stand behind their parents
        path_of[tree.parent[node]] = path_of[node]
    return ends, path_of


def _spelt(tree: PrefixTree, node: int) -> list[int]:
    tokens: list[int] = []
    while node > 0:
        tokens.append(int(tree.token[node]))
        node = int(tree.parent[node])
    return tokens[::-1]


def _padded(sequences: Sequence[NDArray[np.int64]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as rows padded on the right, and which places are theirs (int64)."""
    lengths = np.array([len(tokens) for tokens in sequences])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(real.shape, pad, np.int64)
    ids[real] = np.concatenate(sequences)
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


def _groups(model: Any, ids: torch.Tensor) -> list[slice]:
    """The sequences [S, W] that one forward pass may read together."""
    size = max(1, FLOATS // (ids.shape[1] * vocabulary(model.config)))
    return [slice(start, min(start + size, len(ids))) for start in range(0, len(ids), size)]


def _logits(model: Any, ids: torch.Tensor, mask: torch.Tensor, first: int) -> tuple[torch.Tensor, int]:
    """Logits, in float32 at least, from about place `first` of the sequences on, and the exact place."""
    keep = ids.shape[1] - first
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
    # counted from the end, for a model may give all of them whatever it is asked to keep
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), ids.shape[1] - logits.shape[1]

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

from arrbench_rankers.arr.packing import Row, Tensors
from arrbench_rankers.arr.trie import PrefixTree

FLOATS = 2**26  # what one forward pass may hold in logits: 256 MiB of float32


def collate(rows: Sequence[Row], pad: int) -> Tensors:
    """The model's inputs for one row a path of each query's tree, and where the trees' edges are read.

    A path leads to an inner node without inner children (or is empty: the root alone), so that every
    edge hangs on some path. With S paths in all, W the longest prompt with its path, E the most
    edges of a query: `input_ids` and `attention_mask` [S, W] (2-D, 1 where a token is), `sequence`,
    `place` and `tokens` [rows, E]: edge e's log-probability is that of tokens[e] behind place[e] of
    sequence[e].
    """
    shape = len(rows), max(len(row.tree) - 1 for row in rows)
    sequence, tokens = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    place = np.full(shape, min(len(row.prompt) for row in rows) - 1)
    made: list[NDArray[np.int64]] = []
    for i, (prompt, tree) in enumerate((row.prompt, row.tree) for row in rows):
        ends, path_of = _paths(tree)
        parents = tree.parent[1:]
        sequence[i, : len(parents)] = len(made) + path_of[parents]
        place[i, : len(parents)] = len(prompt) - 1 + tree.depth[parents]
        tokens[i, : len(parents)] = tree.token[1:]
        made += [np.array([*prompt, *_spelt(tree, end)], np.int64) for end in ends]
    input_ids, attention_mask = _padded(made, pad)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "sequence": torch.from_numpy(sequence),
        "place": torch.from_numpy(place),
        "tokens": torch.from_numpy(tokens),
    }


def edge_log_probs(model: Any, batch: Tensors) -> torch.Tensor:
    """log p(token | prompt, prefix) of each tree edge [rows, edges], as `packing.edge_log_probs`."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    chosen, place, tokens = (batch[name].flatten() for name in ("sequence", "place", "tokens"))
    found, order = [], []
    for group in _groups(model, ids):
        logits, first = _logits(model, ids[group], mask[group], int(place.min()))
        here = ((chosen >= group.start) & (chosen < group.stop)).nonzero()[:, 0]
        at = chosen[here] - group.start, place[here] - first
        found.append(logits[*at, tokens[here]] - logits.logsumexp(-1)[at])
        order.append(here)
    return torch.cat(found)[torch.cat(order).argsort()].view(batch["tokens"].shape)


def next_log_probs(model: Any, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probabilities [sequences, vocabulary] of what follows each sequence of tokens, none empty."""
    pad = model.config.get_text_config(decoder=True).pad_token_id or 0
    ids, mask = (t.to(model.device) for t in _padded([np.array(s, np.int64) for s in sequences], pad))
    shortest = min(map(len, sequences))
    found = []
    for group in _groups(model, ids):
        logits, first = _logits(model, ids[group], mask[group], shortest - 1)
        last = mask[group].sum(1) - 1 - first
        found.append(logits[torch.arange(len(last), device=last.device), last].log_softmax(-1))
    return torch.cat(found)


class OneByOneReader:
    """Reads prompts, then beams' tokens behind them, each with its prompt and prefix once again.

    The interface of `beam.PrefixReader`, without a cache.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.prompts = [list(prompt) for prompt in prompts]
        self.first = next_log_probs(model, self.prompts)[:, None]
        self.tokens = torch.zeros(len(prompts), 0, dtype=torch.long, device=model.device)

    def read(self, tokens: torch.Tensor, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Next-token log-probabilities behind new tokens [queries, beams] -> [queries, beams, vocabulary].

        `slots` [queries, beams, depth - 1] are places among all tokens read so far; they come back
        with the new token's added.
        """
        queries, beams = tokens.shape
        read = self.tokens.shape[1]
        self.tokens = torch.cat([self.tokens, tokens], 1)
        own = torch.arange(read, read + beams, device=tokens.device).expand(queries, -1)[..., None]
        slots = torch.cat([slots, own], -1)
        paths = self.tokens[:, None].expand(-1, beams, -1).gather(2, slots).tolist()
        sequences = [
            [*prompt, *path] for prompt, beam in zip(self.prompts, paths, strict=True) for path in beam
        ]
        return next_log_probs(self.model, sequences).unflatten(0, (queries, beams)), slots


def _paths(tree: PrefixTree) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nodes where paths end [paths], and for each node a path that passes it, if it has children."""
    inner = np.concatenate([[0], tree.inner]).astype(np.int64)
    passed = np.zeros(len(tree), bool)
    passed[tree.parent[tree.inner]] = True
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
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    size = max(1, FLOATS // (ids.shape[1] * vocabulary))
    return [slice(start, min(start + size, len(ids))) for start in range(0, len(ids), size)]


def _logits(model: Any, ids: torch.Tensor, mask: torch.Tensor, first: int) -> tuple[torch.Tensor, int]:
    """Logits, in float32 at least, from about place `first` of the sequences on, and the exact place."""
    keep = ids.shape[1] - first
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
    # counted from the end, for a model may give all of them whatever it is asked to keep
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), ids.shape[1] - logits.shape[1]

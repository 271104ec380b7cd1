"""Rows for a causal LM: a prompt and a whole prefix tree of docIDs, read in one forward pass.

A row is [padding, prompt, inner nodes of the tree, padding]. A node attends to the prompt, to its
ancestors and to itself, and stands at position prompt length + depth - 1, so it is read just as in a
row that holds its docID alone; docIDs that share a prefix share its nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from arrbench_rankers.arr.attention import attention_mask
from arrbench_rankers.arr.trie import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Tensors = dict[str, torch.Tensor]


def longest_row(config: PreTrainedConfig) -> int:
    """How many positions a prompt and a docID may take together."""
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None) or 2048


@dataclass(frozen=True)
class Row:
    """A prompt's tokens and the tree of the docIDs to be read behind it."""

    prompt: Sequence[int]
    tree: PrefixTree


def collate(rows: Sequence[Row], pad: int) -> Tensors:
    """The model's inputs for a batch of rows, and where its logits hold the trees' edges.

    With P the longest prompt, N the most inner nodes, E the most edges: `input_ids` and
    `position_ids` [rows, P + N], `visible` [rows, P + N, P + N] (whether a place may see another),
    `parents` and `tokens` [rows, E]: edge e's log-probability is at logits[parents[e], tokens[e]]
    once logits are cut to the positions `keep` [1 + N], the prompt's last one and the nodes.
    Padding attends to itself alone, which keeps its softmax finite.
    """
    prompt = max(len(row.prompt) for row in rows)
    width = prompt + max(len(row.tree.inner) for row in rows)
    edges = max(len(row.tree) - 1 for row in rows)
    input_ids = np.full((len(rows), width), pad)
    position_ids = np.zeros((len(rows), width), np.int64)
    visible = np.zeros((len(rows), width, width), bool)
    visible[:, np.arange(width), np.arange(width)] = True
    parents, tokens = (np.zeros((len(rows), edges), np.int64) for _ in range(2))
    causal = np.tri(prompt, dtype=bool)
    for i, (ids, tree) in enumerate((row.prompt, row.tree) for row in rows):
        start, stop = prompt - len(ids), prompt + len(tree.inner)
        input_ids[i, start:stop] = np.concatenate([ids, tree.token[tree.inner]])
        position_ids[i, start:prompt] = np.arange(len(ids))
        position_ids[i, prompt:stop] = len(ids) - 1 + tree.depth[tree.inner]
        visible[i, start:prompt, start:prompt] = causal[: len(ids), : len(ids)]
        visible[i, prompt:stop, start:prompt] = True
        visible[i, prompt:stop, prompt:stop] = tree.ancestors
        parents[i, : len(tree) - 1] = tree.slot[tree.parent[1:]]
        tokens[i, : len(tree) - 1] = tree.token[1:]
    return {
        "input_ids": torch.from_numpy(input_ids),
        "position_ids": torch.from_numpy(position_ids),
        "visible": torch.from_numpy(visible),
        "parents": torch.from_numpy(parents),
        "tokens": torch.from_numpy(tokens),
        "keep": torch.arange(prompt - 1, width),
    }


def edge_log_probs(model: Any, batch: Tensors) -> torch.Tensor:
    """log p(token | prompt, prefix) of each tree edge [rows, edges], in float32 or the model's float64.

    Logits are made only at the prompts' last tokens and at the nodes. Padded edges hold some
    finite number.
    """
    positions = batch["position_ids"]
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=positions,
        attention_mask=attention_mask(batch["visible"], positions, positions, model.config, model.dtype),
        use_cache=False,
        logits_to_keep=batch["keep"],
    ).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    chosen = logits[rows, batch["parents"], batch["tokens"]]
    log_probs: torch.Tensor = chosen - logits.logsumexp(-1).gather(1, batch["parents"])
    return log_probs

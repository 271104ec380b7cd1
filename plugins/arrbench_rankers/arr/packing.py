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

from arrbench.errors import UsageError
from arrbench_rankers.arr.trie import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Families whose modelling code was seen to honour a 4-D additive mask and explicit positions.
FULL_ATTENTION = frozenset(
    {
        "llama",
        "qwen2",
        "qwen3",
        "phi3",
        "olmo2",
        "granite",
        "gpt_neox",
        "gpt2",
        "opt",
        "falcon",
        "gemma",
        "mistral",
    }
)
Tensors = dict[str, torch.Tensor]


def check_backbone(config: PreTrainedConfig) -> None:
    """Raises UsageError for a backbone that might read a packed row wrongly without a word."""
    kind = config.model_type
    named = f"{kind} with alibi" if getattr(config, "alibi", False) else kind
    if named not in FULL_ATTENTION:
        raise UsageError(
            f"arr can't pack docIDs for a backbone of type {named!r}; "
            f"types that work: {', '.join(sorted(FULL_ATTENTION))}"
        )


def longest_row(config: PreTrainedConfig) -> int:
    """How many positions a prompt and a docID may take together: the model's, or its window."""
    positions = getattr(config, "max_position_embeddings", None) or 2048
    windowed = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    plain_window = getattr(config, "layer_types", None) is None and getattr(
        config, "use_sliding_window", True
    )
    return min(positions, window) if window and (windowed or plain_window) else positions


@dataclass(frozen=True)
class Row:
    """A prompt's tokens and the tree of the docIDs to be read behind it."""

    prompt: Sequence[int]
    tree: PrefixTree

    @property
    def width(self) -> int:
        """Tokens that the model reads."""
        return len(self.prompt) + len(self.tree.inner)


def collate(rows: Sequence[Row], pad: int) -> Tensors:
    """The model's inputs for a batch of rows, and where its logits hold the trees' edges.

    With P the longest prompt, N the most inner nodes, E the most edges: `input_ids` and
    `position_ids` [rows, P + N], `attention_mask` [rows, 1, P + N, P + N] (float32, added to the
    attention scores; a boolean one is silently misread under eager attention), `parents` and
    `tokens` [rows, E]: edge e's log-probability is at logits[parents[e], tokens[e]] once logits are cut
    to the positions `keep` [1 + N], the prompt's last one and the nodes.
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
        "attention_mask": additive(torch.from_numpy(visible)[:, None]),
        "parents": torch.from_numpy(parents),
        "tokens": torch.from_numpy(tokens),
        "keep": torch.arange(prompt - 1, width),
    }


def additive(visible: torch.Tensor) -> torch.Tensor:
    """A float32 mask to add to attention scores: 0 where visible, else the lowest finite number."""
    mask = torch.zeros(visible.shape, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(torch.float32).min)


def edge_log_probs(model: Any, batch: Tensors) -> torch.Tensor:
    """log p(token | prompt, prefix) of each tree edge [rows, edges], in float32 or the model's float64.

    Logits are made only at the prompts' last tokens and at the nodes. Padded edges hold some
    finite number.
    """
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=batch["attention_mask"].to(getattr(model, "module", model).dtype),
        use_cache=False,
        logits_to_keep=batch["keep"],
    ).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    chosen = logits[rows, batch["parents"], batch["tokens"]]
    log_probs: torch.Tensor = chosen - logits.logsumexp(-1).gather(1, batch["parents"])
    return log_probs

"""From who may see whom to the attention mask that a model's forward takes.

Rows that hold trees break what models assume of a mask: that a key's distance is its place in the
row. Windows and chunks are therefore drawn here, over logical positions, for each kind of layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from arrbench_rankers.arr.lm_config import text_config

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Mask = torch.Tensor | dict[str, torch.Tensor]


def attention_mask(
    visible: torch.Tensor,
    queries: torch.Tensor,
    keys: torch.Tensor,
    config: PreTrainedConfig,
    dtype: torch.dtype,
) -> Mask:
    """What a causal LM of this config takes as `attention_mask`.

    `visible` [rows, q, k] says which keys a query may see where no layer has a window; `queries`
    [rows, q] and `keys` [rows, k] are logical positions. Gives a mask [rows, 1, q, k] to add to the
    attention scores, 0 where visible and else the lowest finite number: a boolean one is silently
    misread under eager attention. Where layers differ, gives one by layer type. The cache that goes
    with it must keep every key: a plain `DynamicCache()`, not one made of the config.

    Raises ValueError for a type of layer that no mask can serve, such as a recurrent one.
    """
    kinds = set(getattr(text_config(config), "layer_types", None) or ())
    if len(kinds) < 2:
        return _additive(visible & _near(config, kinds, queries, keys), dtype)
    return {kind: _additive(visible & _near(config, {kind}, queries, keys), dtype) for kind in kinds}


def _near(
    config: PreTrainedConfig, kinds: set[str], queries: torch.Tensor, keys: torch.Tensor
) -> torch.Tensor:
    """Which keys [rows, q, k] lie within reach of a layer's queries."""
    text = text_config(config)
    (kind,) = kinds or {"sliding_attention" if _one_window(text) else "full_attention"}
    at, seen = queries[:, :, None], keys[:, None, :]
    if kind == "full_attention":
        return torch.ones(1, 1, 1, dtype=torch.bool, device=queries.device)
    if kind == "sliding_attention":
        return at - seen < text.sliding_window
    if kind == "chunked_attention":
        return at // text.attention_chunk_size == seen // text.attention_chunk_size
    raise ValueError(f"layers of type {kind!r} can't read a tree")


def _one_window(text: PreTrainedConfig) -> bool:
    """Whether all layers share a window that no layer type names, as Mistral's do."""
    return getattr(text, "sliding_window", None) is not None and getattr(text, "use_sliding_window", True)


def _additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]

"""What is asked of a causal LM's config, wherever a multimodal one keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The config of the part that writes text."""
    return config.get_text_config(decoder=True)


def vocabulary(config: PreTrainedConfig) -> int:
    """How many tokens a prediction is over."""
    return text_config(config).vocab_size


def padding(config: PreTrainedConfig) -> int:
    """The token that fills rows up; any will do, for nothing sees it."""
    return text_config(config).pad_token_id or 0


def longest_row(config: PreTrainedConfig) -> int:
    """How many positions a prompt and a docID may take together."""
    return getattr(text_config(config), "max_position_embeddings", None) or 2048

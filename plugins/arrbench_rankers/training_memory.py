"""What a training holds in memory, and the refusal of one that doesn't fit; for every ranker that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from arrbench.errors import UsageError

GIB = 2**30
ADAM_STATES = 2  # running means of the gradient and of its square, float32 as the trained weights
SCORE_COPIES = 3  # of attention scores where they are dropped out: softmax, what drops, what is left
DROPOUT_OF_ATTENTION = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "attn_dropout")


@dataclass(frozen=True)
class Need:
    """Bytes of a training, by what they hold."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    @classmethod
    def of(
        cls, trained: int, frozen: int, held: torch.dtype, computed: torch.dtype, activations: int
    ) -> Need:
        """The bytes of `trained` numbers in float32 and `frozen` ones in the dtype `held`, under AdamW.

        Gradients and AdamW's two states take 4 bytes a trained number each; under autocast to `computed`
        every weight that isn't held in it also has a copy in it.
        """
        cast = trained * (computed.itemsize if computed != torch.float32 else 0)
        if held != computed:
            cast += frozen * computed.itemsize
        kept = frozen * held.itemsize + trained * 4
        return cls(kept + cast, 4 * trained, 4 * ADAM_STATES * trained, activations)


def layer_numbers(config: Any, width: int) -> int:
    """Numbers a token that a layer keeps for the backward pass, in a row of `width` tokens.

    After Korthikanti et al. (arXiv 2205.05198), section 4: about 8 h + 2 kv + 4 f (h the hidden size, kv
    that of keys, f the feed-forward size, of a gated part), attention without its scores (a fused kernel).
    With dropout on attention no fused kernel is taken, and each head keeps SCORE_COPIES numbers for every
    token of the row.
    """
    text = config.get_text_config()
    hidden = text.hidden_size
    heads = getattr(text, "num_attention_heads", None) or 1  # recurrent layers have none
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    feed_forward = getattr(text, "intermediate_size", None) or 4 * hidden
    dropped = any(getattr(text, name, None) for name in DROPOUT_OF_ATTENTION)
    scores = SCORE_COPIES * heads * width if dropped else 0
    return 8 * hidden + 2 * hidden * key_heads // heads + 4 * feed_forward + scores


def available(device: torch.device) -> int:
    """Bytes free on a device, as its driver or the operating system says."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    return torch.accelerator.get_memory_info(device)[0]


def refuse_unless_fits(
    needed: Need, free: int, backbone: str, device: str, of: str, helps: Sequence[str]
) -> None:
    """Raises UsageError, with the numbers and what would help, where a training needs more than `free` bytes.

    `of` says what a step reads, such as "16 rows of 96 tokens".
    """
    if needed.total <= free:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in asdict(needed).items())
    raise UsageError(
        f"training backbone {backbone!r} on {device} needs about {needed.total / GIB:.1f} GiB ({parts}) "
        f"for {of}, and {free / GIB:.1f} GiB are free; what helps: "
        f"{', '.join([*helps, 'a smaller backbone', 'a device with more memory'])}"
    )

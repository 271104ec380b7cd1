"""What a training needs in memory, computed from the backbone's config before any weight is read."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers.arr import lora
from arrbench_rankers.arr.options import ArrOptions

GIB = 2**30
ADAM_STATES = 2  # running means of the gradient and of its square, float32 as the trained weights
LOGIT_COPIES = 4  # float32: the logits, their softmax, the gradients through it and through the chosen ones


@dataclass(frozen=True)
class Load:
    """How a model is trained: what is held in which dtype, and the size of a forward pass.

    `held` is the frozen weights' dtype (trained weights are float32), `computed` the forward pass's;
    `rows` of `width` tokens pass at once.
    """

    held: torch.dtype
    computed: torch.dtype
    lora_rank: int | None
    gradient_checkpointing: bool
    rows: int
    width: int


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


def need(config: Any, tokens: int, load: Load) -> Need:
    """The bytes that training a causal LM of `config`, with `tokens` in its vocabulary, takes at its peak.

    Parameters are counted on torch's meta device. Weights that are trained, their gradients and
    AdamW's two states take 4 bytes a number each; under autocast every weight that isn't held in
    the forward pass's dtype also has a copy in it.
    """
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.vocab_size = max(text.vocab_size, tokens)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        whole = list(model.parameters())
        if load.lora_rank:
            model = lora.adapt(model, load.lora_rank)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in whole) if load.lora_rank else 0
    kept = frozen * load.held.itemsize + trained * 4
    cast = trained * (load.computed.itemsize if load.computed != torch.float32 else 0)
    if load.held != load.computed:
        cast += frozen * load.computed.itemsize
    return Need(kept + cast, 4 * trained, 4 * ADAM_STATES * trained, _activations(config, load))


def _activations(config: Any, load: Load) -> int:
    """Numbers kept for the backward pass, after Korthikanti et al. (arXiv 2205.05198), section 4.

    A layer with a gated feed-forward part keeps about 8 h + 2 kv + 4 f numbers a token (h the hidden
    size, kv that of keys, f the feed-forward size), attention without its scores (a fused kernel).
    Checkpointing keeps a layer's input, h, and one layer's numbers at a time. The head keeps logits
    in float32, the mask is [rows, width, width].
    """
    text = config.get_text_config()
    hidden, layers, tokens = text.hidden_size, text.num_hidden_layers, load.rows * load.width
    heads = getattr(text, "num_attention_heads", None) or 1  # recurrent layers have none
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    feed_forward = getattr(text, "intermediate_size", None) or 4 * hidden
    layer = 8 * hidden + 2 * hidden * key_heads // heads + 4 * feed_forward
    numbers = layers * hidden + layer if load.gradient_checkpointing else layers * layer
    head = tokens * text.vocab_size * 4 * LOGIT_COPIES
    mask = load.rows * load.width**2 * (4 + load.computed.itemsize)
    return tokens * numbers * load.computed.itemsize + head + mask


def available(device: torch.device) -> int:
    """Bytes free on a device, as its driver or the operating system says."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    return torch.accelerator.get_memory_info(device)[0]


def check_fits(
    options: ArrOptions, context: Context, config: Any, tokens: int, width: int, free: int
) -> None:
    """Raises UsageError, with the numbers and what would help, where a training can't fit into `free` bytes.

    `config` is the backbone's, `tokens` the size of the vocabulary, `width` the longest row's tokens.
    """
    load = Load(
        getattr(torch, held_dtype(options, context)),
        getattr(torch, context.dtype),
        options.lora_rank,
        options.gradient_checkpointing,
        options.batch,
        width,
    )
    needed = need(config, tokens, load)
    if needed.total <= free:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in asdict(needed).items())
    raise UsageError(
        f"training backbone {options.backbone!r} on {context.device} needs about "
        f"{needed.total / GIB:.1f} GiB ({parts}) for {load.rows} rows of {width} tokens, "
        f"and {free / GIB:.1f} GiB are free; what helps: {', '.join(_helps(load))}"
    )


def held_dtype(options: ArrOptions, context: Context) -> str:
    """The dtype in which weights are loaded for training: float32, but for frozen ones under bfloat16."""
    return "bfloat16" if options.lora_rank and context.dtype == "bfloat16" else "float32"


def _helps(load: Load) -> list[str]:
    helps = {
        "lora_rank=16": load.lora_rank is None,
        "--dtype bfloat16": load.computed == torch.float32,
        "gradient_checkpointing=true": not load.gradient_checkpointing,
        f"batch={load.rows // 2} with twice the accumulation": load.rows > 1,
        "a smaller backbone": True,
        "a device with more memory": True,
    }
    return [words for words, apply in helps.items() if apply]

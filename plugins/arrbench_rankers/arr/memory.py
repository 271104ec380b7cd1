"""What a training of `arr` needs in memory, computed from the backbone's config before any weight is read."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from arrbench.ranker import Context
from arrbench_rankers.arr import lora
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.training_memory import Need, layer_numbers, refuse_unless_fits

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


def need(config: Any, tokens: int, load: Load) -> Need:
    """The bytes that training a causal LM of `config`, with `tokens` in its vocabulary, takes at its peak.

    Parameters are counted on torch's meta device.
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
    return Need.of(trained, frozen, load.held, load.computed, _activations(config, load))


def _activations(config: Any, load: Load) -> int:
    """Bytes kept for the backward pass: every layer's, the head's logits in float32, and the mask.

    Checkpointing keeps a layer's input and one layer's numbers at a time; the mask is [rows, width, width].
    """
    text = config.get_text_config()
    hidden, layers, tokens = text.hidden_size, text.num_hidden_layers, load.rows * load.width
    layer = layer_numbers(config, load.width)
    numbers = layers * hidden + layer if load.gradient_checkpointing else layers * layer
    head = tokens * text.vocab_size * 4 * LOGIT_COPIES
    mask = load.rows * load.width**2 * (4 + load.computed.itemsize)
    return tokens * numbers * load.computed.itemsize + head + mask


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
    refuse_unless_fits(
        need(config, tokens, load),
        free,
        options.backbone,
        context.device,
        f"{load.rows} rows of {width} tokens",
        _helps(load),
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
    }
    return [words for words, apply in helps.items() if apply]

"""Texts to token ids to padded tensors: what the encoders do before a forward pass, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

CPU_TOKENS, DEVICE_TOKENS = 1024, 65536  # padded tokens of a forward pass: a CPU's cache, a GPU's width

UNCUT = 2**31 - 1  # tokens: tokenizers that name no length name a number that Rust can't hold


def token_ids(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int, special: bool = True
) -> list[list[int]]:
    """Tokens of each text, cut at `length`; at least one, so that every text has an embedding.

    With special tokens it is the text that is cut, as far as there is room for both: a closing token stays.
    Straight from the Rust tokenizer: the wrapper's __call__ costs more than the tokens.
    """
    core = tokenizer.backend_tokenizer
    core.no_padding()
    if length > core.num_special_tokens_to_add(False):
        core.enable_truncation(min(length, UNCUT), direction=tokenizer.truncation_side)
    else:
        core.no_truncation()
    if len(texts) == 1:  # no thread pool for one query
        encoded = [core.encode(texts[0], add_special_tokens=special)]
    else:
        encoded = core.encode_batch_fast(list(texts), add_special_tokens=special)
    nothing = [tokenizer.pad_token_id] if special else []
    return [encoding.ids[:length] or nothing for encoding in encoded]


def by_length(
    lengths: Sequence[int], device: torch.device, most: Callable[[int], int] | None = None
) -> Iterator[list[int]]:
    """Positions in batches of similar length, longest first, each as large as suits the device.

    `most` says how many texts of a length a batch may have at most.
    """
    tokens = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, min(tokens // longest, most(longest) if most else len(order)))
        yield order[start : start + size]
        start += size


def padded(rows: Sequence[Sequence[int]], filler: int, device: torch.device) -> torch.Tensor:
    """Rows of any length as one int64 tensor (rows, longest), filled up on the right."""
    import torch

    longest = max(len(row) for row in rows)
    full = [[*row, *[filler] * (longest - len(row))] for row in rows]
    return torch.tensor(full, dtype=torch.long, device=device)

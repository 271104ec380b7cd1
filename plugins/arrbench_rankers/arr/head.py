"""A causal LM's output projection, narrowed to the tokens that matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from arrbench_rankers.arr.trie import Ints


@contextmanager
def narrowed(model: Any, tokens: Ints) -> Iterator[None]:
    """Within it the model's logits are those of `tokens` [tokens] alone, in their order.

    What a model does to its logits afterwards (scaling, soft-capping) goes on token by token, so they
    are the same numbers. A head that isn't a plain linear layer stays whole; `columns` knows both.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        yield
        return
    chosen = torch.from_numpy(tokens).to(head.weight.device, torch.long)
    few = torch.nn.Linear(head.in_features, len(chosen), bias=head.bias is not None, device="meta")
    few.weight = torch.nn.Parameter(head.weight.index_select(0, chosen), requires_grad=False)
    if head.bias is not None:
        few.bias = torch.nn.Parameter(head.bias.index_select(0, chosen), requires_grad=False)
    model.set_output_embeddings(few)
    try:
        yield
    finally:
        model.set_output_embeddings(head)


def columns(logits: torch.Tensor, asked: torch.Tensor, tokens: Ints) -> torch.Tensor:
    """Where the logits of the tokens `asked` stand in what a model made under `narrowed(model, tokens)`.

    `tokens` ascend. A model that projects without its head's module gives its whole vocabulary.
    """
    if logits.shape[-1] != len(tokens):
        return asked
    return torch.searchsorted(torch.from_numpy(tokens).to(asked), asked)

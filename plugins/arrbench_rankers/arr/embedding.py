"""Embeddings of texts by a causal language model that was trained for something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench_rankers.arr.docids.spelling import spelt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENS = 64  # read of each text
BATCH_TOKENS = 4096  # padding included, of one forward pass


@torch.inference_mode()
def embeddings(model: Any, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> NDArray[np.float32]:
    """The mean of the model's last hidden states over a text's first tokens [texts, width].

    Texts are read in batches of about one length. A text without a token has the embedding 0.
    """
    rows = spelt(tokenizer, texts).first(TOKENS)
    found = np.zeros((len(rows), model.config.get_text_config().hidden_size), np.float32)
    order = rows.lengths.argsort(kind="stable")
    order = order[rows.lengths[order] > 0]
    while len(order):
        batch = order[-max(1, BATCH_TOKENS // int(rows.lengths[order[-1]])) :]
        order = order[: -len(batch)]
        found[batch] = _means(model, [rows[i] for i in batch.tolist()])
    return found


def _means(model: Any, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows], device=model.device)
    lengths = torch.tensor([[len(row)] for row in rows], device=model.device)
    real = torch.arange(longest, device=model.device) < lengths
    # padding stands behind a text, where a causal model's text never looks
    states = model.base_model(input_ids=ids, attention_mask=real.long(), use_cache=False).last_hidden_state
    sums = torch.where(real[..., None], states, 0).float().sum(1)
    means: NDArray[np.float32] = (sums / lengths).cpu().numpy()
    return means

"""A listwise loss on the order of documents' scores."""

from __future__ import annotations

import torch


def plackett_luce(scores: torch.Tensor, listed: torch.Tensor) -> torch.Tensor:
    """ListMLE: -log of the Plackett-Luce likelihood of each list's order, a place, averaged over lists.

    For a list d_1 … d_n, best first, with scores s: 1/n Σ_i [log Σ_(j ≥ i) exp s_j - s_i] (Xia et al.,
    Listwise approach to learning to rank, ICML 2008; the mean over places keeps long lists from
    outweighing short ones). `scores` and `listed` are [lists, longest]; what isn't listed is padding
    at a row's end.
    """
    lowest = torch.finfo(scores.dtype).min  # -inf would make the gradient of an all-padding tail NaN
    tails = scores.masked_fill(~listed, lowest).flip(-1).logcumsumexp(-1).flip(-1)
    places = (tails - scores).masked_fill(~listed, 0.0).sum(-1) / listed.sum(-1)
    return places.mean()

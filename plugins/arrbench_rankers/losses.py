"""Ranking losses of the encoders: how much of the probability each ranked document should get."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EXCLUDED = -1  # in a matrix of ranks: a document that may not be ranked for the query


def position_targets(ranks: Tensor, alpha: float) -> Tensor:
    """Target distribution over documents: 1 / r^alpha for rank r, normalised over each query's list.

    `ranks`, shape (queries, documents), holds ranks from 1, 0 for a document that is not relevant and
    EXCLUDED for one that may not be ranked; the latter two get 0. Weights: the paper's fractional
    item weights (arXiv 2601.05588, section on SToICaL). Every row needs a ranked document.
    """
    ranked = ranks > 0
    weights = torch.where(ranked, ranks.clamp(min=1).float().pow(-alpha), 0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def position_weighted_softmax(scores: Tensor, ranks: Tensor, alpha: float) -> Tensor:
    """Mean over queries of -sum_r w(r) log softmax(scores)[d_r], with w as in position_targets.

    `scores` and `ranks` have shape (queries, documents); the softmax is over all documents of a row
    that are not EXCLUDED. At alpha=0 every ranked document counts alike; as alpha grows only the
    first does. This is ListNet's cross entropy (Cao et al. 2007) with log labels -alpha ln r.
    """
    log_probabilities = scores.float().masked_fill(ranks == EXCLUDED, -math.inf).log_softmax(dim=1)
    kept = log_probabilities.masked_fill(ranks <= 0, 0.0)
    return -(position_targets(ranks, alpha) * kept).sum(dim=1).mean()


def listnet_labels(ranked: int, others: int, alpha: float) -> list[float]:
    """Labels whose softmax is position_targets: -alpha ln r for ranks 1..ranked, then -inf for others."""
    return [-alpha * math.log(rank) for rank in range(1, ranked + 1)] + [-math.inf] * others

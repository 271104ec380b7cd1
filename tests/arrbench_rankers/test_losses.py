"""The encoders' losses against numbers worked by hand and their limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arrbench_rankers.losses import EXCLUDED, listnet_labels, position_targets, position_weighted_softmax


def test_targets_of_three_ranks_by_hand() -> None:
    """1, 1/4, 1/9 over 49/36: 36/49, 9/49, 4/49."""
    targets = position_targets(torch.tensor([[2, 0, 1, 3, EXCLUDED]]), alpha=2.0)
    expected = torch.tensor([[9 / 49, 0, 36 / 49, 4 / 49, 0]])
    torch.testing.assert_close(targets, expected)


def test_loss_by_hand() -> None:
    """Scores ln 1, ln 2, ln 3, ln 4; the last may not be ranked, so Z = 6."""
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log()
    loss = position_weighted_softmax(scores, torch.tensor([[2, 0, 1, EXCLUDED]]), alpha=1.0)
    expected = -(2 / 3) * math.log(3 / 6) - (1 / 3) * math.log(1 / 6)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_mean_over_queries() -> None:
    scores = torch.randn(3, 5)
    ranks = torch.tensor([[1, 2, 0, 0, 0], [0, 0, 1, 0, 0], [3, 2, 1, EXCLUDED, 0]])
    each = [position_weighted_softmax(scores[i : i + 1], ranks[i : i + 1], 2.0) for i in range(3)]
    torch.testing.assert_close(position_weighted_softmax(scores, ranks, 2.0), torch.stack(each).mean())


def test_alpha_zero_counts_every_ranked_document_alike_and_a_large_one_only_the_first() -> None:
    ranks = torch.tensor([[1, 2, 3, 0]])
    torch.testing.assert_close(position_targets(ranks, 0.0), torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0]]))
    torch.testing.assert_close(position_targets(ranks, 60.0), torch.tensor([[1.0, 0, 0, 0]]))


def test_gradient_is_softmax_minus_target_and_none_reaches_an_excluded_document() -> None:
    scores = torch.randn(1, 4, requires_grad=True)
    ranks = torch.tensor([[1, EXCLUDED, 2, 0]])
    position_weighted_softmax(scores, ranks, 2.0).backward()
    allowed = scores.detach().masked_fill(ranks == EXCLUDED, -math.inf)
    torch.testing.assert_close(scores.grad, allowed.softmax(1) - position_targets(ranks, 2.0))
    assert scores.grad is not None
    assert scores.grad[0, 1] == 0


@given(ranked=st.integers(1, 8), others=st.integers(0, 12), alpha=st.floats(0, 4))
def test_listnet_labels_are_logarithms_of_the_targets(ranked: int, others: int, alpha: float) -> None:
    labels = torch.tensor([listnet_labels(ranked, others, alpha)])
    ranks = torch.tensor([[*range(1, ranked + 1), *[0] * others]])
    torch.testing.assert_close(labels.softmax(1), position_targets(ranks, alpha))

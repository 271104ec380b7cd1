"""What a training of `arr` minimises: the SToICaL loss, and the options that add to it or follow it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arrbench_rankers.arr.order import plackett_luce
from arrbench_rankers.arr.packing import Tensors
from arrbench_rankers.arr.stoical import stoical_loss


@dataclass(frozen=True)
class Objective:
    """L + order · Plackett-Luce, then, for the last `finish` (0..1) of the steps, the NTP loss alone.

    The NTP loss is -score(d_1), the top document's summed log-probability with its sign turned.
    """

    order: float = 0.0
    finish: float = 0.0

    def finishing(self, step: int, steps: int) -> bool:
        """Whether step 0 … steps - 1 belongs to the last part."""
        return step >= round(steps * (1 - min(1.0, self.finish)))

    def loss(self, log_probs: torch.Tensor, batch: Tensors, finishing: bool) -> torch.Tensor:
        """The mean over a batch's queries.

        `log_probs` [edges] and `targets` [edges] are those of the rows' edges; `paths` [queries, listed,
        longest docID] holds each listed docID's edges, counted from 1, 0 being padding.
        """
        paths = batch["paths"]
        if finishing:
            return -_scores(log_probs, paths[:, :1]).mean()
        loss = stoical_loss(log_probs, batch["targets"], len(paths))
        if self.order:
            loss = loss + self.order * plackett_luce(_scores(log_probs, paths), paths[..., 0] > 0)
        return loss


def _scores(log_probs: torch.Tensor, paths: torch.Tensor) -> torch.Tensor:
    """score(d) of each listed docID [queries, listed]."""
    return torch.nn.functional.pad(log_probs, (1, 0))[paths].sum(-1)

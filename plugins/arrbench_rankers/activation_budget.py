"""Which forward passes of a training step keep their activations: as many as a budget of memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from arrbench_rankers.training_memory import GIB, layer_numbers

PASS_SHARE = 4  # one pass takes at most this part of the budget
MASK_BYTES = 4  # a number of an additive mask, float32


class ActivationBudget:
    """Bounds what the forward passes of one step keep for its backward pass, however many they are.

    Passes keep their activations until the budget is spent. Later ones keep their inputs and the state of
    the random generators, and are run again, one at a time, when the gradients of their outputs are known:
    cached gradients (GradCache, Gao et al., arXiv 2101.06983). The gradients are those of keeping
    everything, dropout included; a pass that runs again costs a third more. A step that fits is run as it
    would be without a budget.
    """

    def __init__(self, config: Any, gib: float, computed: torch.dtype) -> None:
        """`config` is the transformer's, `computed` the dtype of its forward pass."""
        self.config = config
        self.bytes = int(gib * GIB)
        self.itemsize = computed.itemsize
        self.spent = 0
        self.run_again = 0  # passes of this step

    def cost(self, rows: int, width: int) -> int:
        """Bytes that a pass of `rows` texts of `width` tokens keeps."""
        layers = self.config.get_text_config().num_hidden_layers
        numbers = layers * layer_numbers(self.config, width)
        return rows * width * (numbers * self.itemsize + width * MASK_BYTES)

    def most(self, width: int) -> int:
        """Texts of `width` tokens that a pass may have: at least one."""
        return max(1, int(self.bytes / PASS_SHARE) // self.cost(1, width))

    def peak(self, shapes: Sequence[tuple[int, int]]) -> int:
        """Bytes that a step holds at most whose passes have these shapes (rows, width)."""
        costs = [self.cost(rows, width) for rows, width in shapes]
        return sum(costs) if sum(costs) <= self.bytes else self.bytes + max(costs)

    def start(self) -> None:
        """A step begins: nothing is kept yet."""
        self.spent = self.run_again = 0

    def run(self, forward: Callable[[], Tensor], rows: int, width: int) -> Tensor:
        """What `forward` gives, which reads `rows` texts of `width` tokens and may be called twice."""
        cost = self.cost(rows, width)
        if self.spent + cost <= self.bytes:
            self.spent += cost
            return forward()
        self.run_again += 1
        output: Tensor = checkpoint(forward, use_reentrant=False)
        return output

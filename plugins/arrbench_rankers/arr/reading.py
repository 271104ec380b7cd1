"""How a model reads docIDs behind prompts: whole trees at once, or a path a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from arrbench_rankers.arr import one_by_one, packing
from arrbench_rankers.arr.beam import PrefixReader
from arrbench_rankers.arr.packing import Row, Tensors


class Reader(Protocol):
    """Prompts that have been read, and prefixes behind them as a search asks for them.

    `first` [queries, 1, vocabulary] are the log-probabilities of the first token.
    """

    first: torch.Tensor

    def read(self, tokens: torch.Tensor, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...


@dataclass(frozen=True)
class Reading:
    """Chosen once for a model. `edge_log_probs` reads what `collate` made, as `packing`'s do."""

    packed: bool
    collate: Callable[[Sequence[Row], int], Tensors]
    edge_log_probs: Callable[[Any, Tensors], torch.Tensor]
    reader: Callable[[Any, Sequence[Sequence[int]]], Reader]


PACKED = Reading(True, packing.collate, packing.edge_log_probs, PrefixReader)
ONE_BY_ONE = Reading(False, one_by_one.collate, one_by_one.edge_log_probs, one_by_one.OneByOneReader)

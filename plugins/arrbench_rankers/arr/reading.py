"""How a model reads docIDs behind prompts: whole trees at once, or a path a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from arrbench_rankers.arr import one_by_one, packing
from arrbench_rankers.arr.packing import Row, Tensors
from arrbench_rankers.arr.reader import NodeReader


class Reader(Protocol):
    """Prompts that have been read, and nodes behind them as a search asks for them.

    `first` [queries, 1, vocabulary] are the logits behind the prompts; the rest is as in NodeReader.
    """

    first: torch.Tensor

    @property
    def nodes(self) -> int: ...

    def read(
        self, tokens: torch.Tensor, parents: torch.Tensor, generations: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]: ...

    def keep(self, queries: torch.Tensor) -> None: ...


@dataclass(frozen=True)
class Reading:
    """Chosen once for a model. `edge_log_probs` reads what `collate` made, as `packing`'s do.

    `reader` reads prompts, for nodes to come at most so many tokens behind them.
    """

    packed: bool
    collate: Callable[[Sequence[Row], int], Tensors]
    edge_log_probs: Callable[[Any, Tensors], torch.Tensor]
    reader: Callable[[Any, Sequence[Sequence[int]], int], Reader]


PACKED = Reading(True, packing.collate, packing.edge_log_probs, NodeReader)
ONE_BY_ONE = Reading(False, one_by_one.collate, one_by_one.edge_log_probs, one_by_one.OneByOneReader)

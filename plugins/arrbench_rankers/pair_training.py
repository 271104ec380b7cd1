"""How a cross encoder is trained: a dual encoder first, then ranked documents against its mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch import Tensor, nn, tensor

from arrbench.task import Split
from arrbench_rankers.activation_budget import ActivationBudget
from arrbench_rankers.embedding_model import embeddings
from arrbench_rankers.losses import listnet_labels
from arrbench_rankers.negatives import draw_negatives, hardest

if TYPE_CHECKING:
    from arrbench_rankers.cross_encoder import CrossEncoderOptions


CPU_PAIRS = 48  # pairs of a forward pass: on a CPU small ones stay in the cache and need less padding


class BoundedPasses(nn.Module):
    """A cross encoder for a loss of the library's: the same scores, its passes within a budget."""

    def __init__(self, model: CrossEncoder, budget: ActivationBudget) -> None:
        super().__init__()
        self.model = model
        self.budget = budget
        self.num_labels = model.num_labels

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def preprocess(self, pairs: Sequence[tuple[str, str]], **_: Any) -> dict[str, Any]:
        features: dict[str, Any] = self.model.preprocess(pairs)
        return features

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        rows, width = features["input_ids"].shape
        size = self.budget.most(width)
        parts = [
            {name: part[start : start + size] for name, part in features.items()}
            for start in range(0, rows, size)
        ]
        scores = [
            self.budget.run(partial(self._scores, part), len(part["input_ids"]), width) for part in parts
        ]
        return {"scores": torch.cat(scores)}

    def _scores(self, features: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.model({**features})["scores"].view(-1)
        return scores


class RankedPairs(nn.Module):
    """ListNet over each query's ranked documents and negatives that are drawn anew at every pass.

    A query with candidates has its negatives among them.
    """

    def __init__(
        self,
        model: CrossEncoder,
        start: SentenceTransformer,
        split: Split,
        options: CrossEncoderOptions,
        seed: int,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        body: Any = model[0]
        self.budget = ActivationBudget(body.model.config, options.activations_gib, getattr(torch, dtype))
        size = CPU_PAIRS if model.device.type == "cpu" else -1
        bounded: Any = BoundedPasses(model, self.budget)
        self.loss = ListNetLoss(bounded, mini_batch_size=size)
        self.options = options
        self.random = np.random.default_rng(seed)
        self.queries = [q.text for q in split.queries]
        self.documents = [d.text for d in split.corpus]
        at = split.corpus.positions
        everything = range(len(split.corpus))
        self.ranked = [[at[d] for d in split.judgments.ranked(q.id)] for q in split.queries]
        self.barred = [
            {*ranked, *(at[d] for d in q.excluded if d in at)}
            for q, ranked in zip(split.queries, self.ranked, strict=True)
        ]
        self.pools: list[Sequence[int]] = [
            everything if q.candidates is None else [at[d] for d in q.candidates] for q in split.queries
        ]
        self.hard = self._hard(start)

    def _hard(self, start: SentenceTransformer) -> list[list[int]]:
        documents = embeddings(start, self.documents, self.options.length)
        queries = embeddings(start, self.queries, self.options.length)
        return [
            hardest(documents[pool] @ query if isinstance(pool, list) else documents @ query, pool, barred)
            for query, pool, barred in zip(queries, self.pools, self.barred, strict=True)
        ]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        self.budget.start()
        queries, documents, labels = [], [], []
        for row in sorted(rows.tolist(), key=lambda row: len(self.queries[row])):
            ranked, negatives = self.ranked[row], self._negatives(row)
            queries.append(self.queries[row])
            documents.append([self.documents[d] for d in (*ranked, *negatives)])
            targets = listnet_labels(len(ranked), len(negatives), self.options.alpha)
            labels.append(tensor(targets, device=rows.device))
        return {"loss": self.loss((queries, documents), labels)}

    def _negatives(self, row: int) -> list[int]:
        count = self.options.negatives
        hard_count = round(count * self.options.hard)
        return draw_negatives(
            self.random, self.hard[row], hard_count, self.pools[row], self.barred[row], count
        )

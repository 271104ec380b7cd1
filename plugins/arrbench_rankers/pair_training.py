"""How a cross encoder is trained: a dual encoder first, then ranked documents against its mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch import Tensor, nn, tensor

from arrbench.ranker import Context
from arrbench.task import Split
from arrbench_rankers.activation_budget import ActivationBudget
from arrbench_rankers.backbones import load_config
from arrbench_rankers.embedding_model import (
    embeddings,
    length_read,
    most_tokens,
    pipeline,
    tokenizer_of,
    with_answers,
)
from arrbench_rankers.encoder_memory import check_dual_fits, check_pairs_fit
from arrbench_rankers.losses import listnet_labels
from arrbench_rankers.negatives import draw_negatives, hardest
from arrbench_rankers.token_batches import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.cross_encoder import CrossEncoderOptions


CPU_PAIRS = 48  # pairs of a forward pass: on a CPU small ones stay in the cache and need less padding


def untrained_start(options: CrossEncoderOptions, split: Split, context: Context) -> SentenceTransformer:
    """The dual encoder that a cross encoder starts from: backbone, mean over tokens, projection.

    Raises UsageError where its training or the cross encoder's would not fit into memory.
    """
    torch.set_num_threads(context.threads)
    of_start = options.start()
    in_full = replace(context, dtype="float32")
    tokenizer = tokenizer_of(options.backbone, split, context)
    config = load_config(options.backbone, tokenizer, context)
    judged = with_answers(split)
    length = min(options.length // 2, most_tokens(None, tokenizer, config))
    check_dual_fits(of_start, config, tokenizer, length, judged, in_full)
    check_pairs_fit(options, config, tokenizer, _largest_step(options, judged, tokenizer, context), context)
    start = pipeline(options.backbone, of_start.dim, split, in_full, tokenizer)
    start.max_seq_length = length_read(start, length)
    return start


def _largest_step(
    options: CrossEncoderOptions, split: Split, tokenizer: PreTrainedTokenizerFast, context: Context
) -> list[tuple[int, int]]:
    """The forward passes, as pairs and tokens, of a step over the queries with the most ranked documents.

    A document not ranked is taken to be as long as the longest ranked one.
    """
    at = split.corpus.positions
    ranked = {q: [d for d in split.judgments.ranked(q.id) if d in at] for q in split.queries}
    chosen = sorted(split.queries, key=lambda q: -len(ranked[q]))[: options.batch]
    texts = [split.corpus.by_id(d).text for q in chosen for d in ranked[q]]
    if not texts:
        return []
    room = options.length // 2
    query, document = (
        max(map(len, token_ids(tokenizer, part, room))) for part in ([q.text for q in chosen], texts)
    )
    pools = [len(split.corpus) if q.candidates is None else len(q.candidates) for q in chosen]
    pairs = sum(
        max(len(ranked[q]), min(pool, len(ranked[q]) + options.negatives))
        for q, pool in zip(chosen, pools, strict=True)
    )
    size = CPU_PAIRS if torch.device(context.device).type == "cpu" else pairs
    return [(min(size, pairs - start), query + document) for start in range(0, pairs, size)]


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

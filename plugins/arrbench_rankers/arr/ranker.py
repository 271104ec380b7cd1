"""Autoregressive ranking: a causal LM scores documents by the probability of writing their docIDs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Generative, Query, Ranking, asked_for
from arrbench.task import Split
from arrbench_rankers.arr.docid import NameDocIds
from arrbench_rankers.arr.options import ArrNtpOptions, ArrOptions

if TYPE_CHECKING:
    from arrbench_rankers.arr.decoding import Decoder
    from arrbench_rankers.arr.index import DocIdIndex
    from arrbench_rankers.arr.prompt import Prompter
    from arrbench_rankers.arr.reading import Reading


class Arr(Generative):
    """Autoregressive ranking (arXiv 2601.05588) with the SToICaL loss.

    Candidates, and corpora whose prefix tree has at most `exact_nodes` nodes, are scored exactly;
    larger corpora are searched with a beam within the tree.
    """

    Options: ClassVar[type[BaseOptions]] = ArrOptions
    libraries: ClassVar[tuple[str, ...]] = (
        "torch",
        "transformers",
        "transformers.trainer",
        "transformers.models.llama.modeling_llama",
        "accelerate",
    )
    tuning: ClassVar[str] = (
        "on dev nDCG@10 of wordnet, one seed: learning rate (7 values, 5e-4 to 1e-2), weight decay (2), "
        "alpha and beta (4; none better than alpha=2 by more than .001)"
    )
    options: ArrOptions

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        self._model: Any = None
        self._tokenizer: Any = None
        self._reading: Reading
        self._index: DocIdIndex
        self._scheme = NameDocIds(self.options.docid_tokens)
        self._prompter: Prompter
        self._decoder: Decoder

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        from arrbench_rankers import backbones

        assert isinstance(options, ArrOptions)
        return backbones.weights(options.backbone, context)

    def fit(self, train: Split, dev: Split) -> None:
        """Train on every training query's ranked list. Raises UsageError where every list is empty."""
        import torch

        from arrbench_rankers import backbones
        from arrbench_rankers.arr.examples import examples
        from arrbench_rankers.arr.training import Schedule
        from arrbench_rankers.arr.training import train as train_model
        from arrbench_rankers.dev_measure import CUTOFF, ndcg_at_10

        o = self.options
        in_full = dataclasses.replace(self.context, dtype="float32")
        texts = (q.text for q in train.queries)
        self._tokenizer = backbones.load_tokenizer(
            o.backbone, texts, self._scheme.words(train.corpus), self.context
        )
        self._take(backbones.load_causal_lm(o.backbone, self._tokenizer, in_full))
        self.index(train.corpus)
        made = examples(train, self._prompts, self._index, o)
        self.facts["train_queries_without_list"] = len(train.queries) - len(made)
        schedule = Schedule(o.epochs, o.batch, o.accumulation, o.learning_rate, o.warmup, o.weight_decay)

        def dev_ndcg() -> float:
            return ndcg_at_10(self.rank(dev.queries, asked_for(dev.queries, CUTOFF)), dev)

        train_model(
            self._model,
            made,
            self._tokenizer.pad_token_id,
            schedule,
            self.context,
            dev_ndcg if dev.queries else None,
            self._reading,
        )
        self._model.to(getattr(torch, self.context.dtype))

    def _take(self, model: Any) -> None:
        from arrbench_rankers.arr.probe import reading

        self._model = model
        self._reading, fault = reading(model)
        self.facts["packed"] = self._reading.packed
        if fault:
            self.facts["not_packed_because"] = fault

    def index(self, corpus: Corpus) -> None:
        """Write the documents' docIDs and build their prefix tree."""
        from arrbench_rankers.arr.index import DocIdIndex

        self._use(DocIdIndex.build(self._scheme, self._tokenizer, corpus))

    def _use(self, index: DocIdIndex) -> None:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr.decoding import Decoder
        from arrbench_rankers.arr.packing import longest_row
        from arrbench_rankers.arr.prompt import Prompter

        config = self._model.config
        room = longest_row(config) - index.longest - 1
        if room < 1:
            raise UsageError(
                f"backbone {self.options.backbone!r} reads {longest_row(config)} positions; "
                f"that leaves no room for a prompt before docIDs of {index.longest} tokens"
            )
        self._index = index
        self._prompter = Prompter(
            self._tokenizer, self.options.prompt, self.options.query_tokens, room, self.context.seed
        )
        self._decoder = Decoder(self._model, index, self._tokenizer.eos_token_id, self.options, self._reading)
        self.parameters = backbones.parameter_count(self._model)
        self.index_bytes = index.nbytes
        self.facts["docid_tree_nodes"] = len(index.tree)
        self.facts["scored_exactly"] = self._decoder.exact

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        best = self._decoder.rank(queries, self._prompts(queries), k)
        return [Ranking(ids, scores.tolist()) for ids, scores in best]

    def _prompts(self, queries: Sequence[Query]) -> list[list[int]]:
        prompts = self._prompter.write(queries, self._index.docid)
        self.facts["query_texts_cut"] = len(self._prompter.cut_texts)
        self.facts["candidate_prompts_cut"] = len(self._prompter.cut_candidates)
        return prompts

    def generate(self, queries: Sequence[Query], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        return [
            [d if q.candidates is None or d in q.candidates else None for d in ids]
            for q, ids in zip(queries, self._decoder.generate(self._prompts(queries), k), strict=True)
        ]

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._model.save_pretrained(folder / "model")
        self._tokenizer.save_pretrained(folder / "model")
        self._index.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr.index import DocIdIndex

        ranker = super().load(folder, context)
        model = str(folder / "model")
        ranker._tokenizer = backbones.load_tokenizer(model, [], [], context)
        ranker._take(backbones.load_causal_lm(model, ranker._tokenizer, context))
        ranker._use(DocIdIndex.load(folder))
        return ranker


class ArrStoical(Arr):
    """Autoregressive ranking with rank-aware item weights 1/r^2 and one-hot tokens (SToICaL)."""


class ArrNtp(Arr):
    """Autoregressive ranking with next-token prediction of the top document alone (NTP)."""

    Options: ClassVar[type[BaseOptions]] = ArrNtpOptions
    tuning: ClassVar[str] = (
        "on dev nDCG@10 of wordnet, one seed: learning rate (4 values, 5e-4 to 2e-3), weight decay (2)"
    )

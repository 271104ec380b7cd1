"""Autoregressive ranking: a causal LM scores documents by the probability of writing their docIDs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Generative, Query, Ranking, asked_for
from arrbench.task import Split
from arrbench_rankers.arr.docid import NameDocIds

if TYPE_CHECKING:
    from arrbench_rankers.arr.index import DocIdIndex
    from arrbench_rankers.arr.prompt import Prompter
    from arrbench_rankers.arr.training import Example


class ArrOptions(BaseOptions):
    """Options of autoregressive ranking; the defaults are those of `arr-stoical`."""

    backbone: str = Field("tiny", description="causal LM: tiny, a Hugging Face id or a local folder")
    item: Literal["fractional", "stepwise", "top1"] = Field(
        "fractional", description="item weights λ(r): 1/r^alpha, (n-r+1)/n, or the top document alone"
    )
    alpha: float = Field(2.0, ge=0, description="exponent of item=fractional; unused by the others")
    beta: float | None = Field(
        None, ge=0, description="exponent of the prefix-tree token targets; none: one-hot targets"
    )
    length: Literal["sum", "mean"] = Field("sum", description="score: sum or mean of token log-probabilities")
    prompt: Literal["query", "candidates"] = Field(
        "query", description="what is read before writing: the query, or also its shuffled candidates"
    )
    docid_tokens: int | None = Field(
        None, ge=1, description="tokens of a title that a docID keeps; equal docIDs are numbered"
    )
    query_tokens: int = Field(64, ge=1, description="tokens kept of a query's text")
    epochs: float = Field(12, gt=0, description="passes over the training queries")
    batch: int = Field(16, ge=1, description="training queries in one forward pass")
    accumulation: int = Field(1, ge=1, description="forward passes in one training step")
    learning_rate: float = Field(7e-4, gt=0, description="AdamW's peak learning rate")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up before the linear decay")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    beam: int = Field(100, ge=1, description="least width of the beam search; never under what is asked for")
    exact_nodes: int = Field(
        4096,
        ge=0,
        description="largest prefix tree (nodes) of a corpus that is scored exactly, without a beam",
    )


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
        self._index: DocIdIndex
        self._scheme = NameDocIds(self.options.docid_tokens)
        self._prompter: Prompter

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        from arrbench_rankers import backbones

        assert isinstance(options, ArrOptions)
        return backbones.weights(options.backbone, context)

    def fit(self, train: Split, dev: Split) -> None:
        """Train on every training query's ranked list. Raises UsageError where every list is empty."""
        import torch

        from arrbench_rankers import backbones
        from arrbench_rankers.arr.packing import check_backbone
        from arrbench_rankers.arr.training import Schedule
        from arrbench_rankers.arr.training import train as train_model
        from arrbench_rankers.dev_measure import CUTOFF, ndcg_at_10

        o = self.options
        in_full = dataclasses.replace(self.context, dtype="float32")
        texts = (q.text for q in train.queries)
        self._tokenizer = backbones.load_tokenizer(
            o.backbone, texts, self._scheme.words(train.corpus), self.context
        )
        self._model = backbones.load_causal_lm(o.backbone, self._tokenizer, in_full)
        check_backbone(self._model.config)
        self.index(train.corpus)
        examples = self._examples(train)
        schedule = Schedule(o.epochs, o.batch, o.accumulation, o.learning_rate, o.warmup, o.weight_decay)

        def dev_ndcg() -> float:
            return ndcg_at_10(self.rank(dev.queries, asked_for(dev.queries, CUTOFF)), dev)

        train_model(
            self._model,
            examples,
            self._tokenizer.pad_token_id,
            schedule,
            self.context,
            dev_ndcg if dev.queries else None,
        )
        self._model.to(getattr(torch, self.context.dtype))

    def _examples(self, train: Split) -> list[Example]:
        from arrbench_rankers.arr.packing import Row
        from arrbench_rankers.arr.stoical import edge_targets, item_weights
        from arrbench_rankers.arr.training import Example
        from arrbench_rankers.arr.trie import PrefixTree

        o = self.options
        lists = {
            q.id: [d for d in train.judgments.ranked(q.id) if d not in q.excluded] for q in train.queries
        }
        listed = [q for q in train.queries if lists[q.id]]
        self.facts["train_queries_without_list"] = len(train.queries) - len(listed)
        if not listed:
            raise UsageError(
                f"none of the {len(train.queries)} training queries has a relevant document to write"
            )
        examples = []
        for query, prompt in zip(listed, self._prompter.write(listed, self._index.docid), strict=True):
            weights = item_weights(len(lists[query.id]), o.item, o.alpha)
            ranked = self._index.subset(lists[query.id])
            tree = PrefixTree.build(ranked[:1] if o.item == "top1" and o.beta is None else ranked)
            examples.append(
                Example(Row(prompt, tree), edge_targets(tree, weights[: len(tree.paths)], o.beta))
            )
        return examples

    def index(self, corpus: Corpus) -> None:
        """Write the documents' docIDs and build their prefix tree."""
        from arrbench_rankers.arr.index import DocIdIndex

        self._use(DocIdIndex.build(self._scheme, self._tokenizer, corpus))

    def _use(self, index: DocIdIndex) -> None:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr.beam import TreeOnDevice
        from arrbench_rankers.arr.decoding import parts
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
        self._tree = TreeOnDevice(index.tree, config.vocab_size, self._model.device)
        exact = len(index.tree) <= self.options.exact_nodes
        self._corpus_parts = parts(index.docids, config.vocab_size) if exact else None
        self.parameters = backbones.parameter_count(self._model)
        self.index_bytes = index.nbytes
        self.facts["docid_tree_nodes"] = len(index.tree)
        self.facts["scored_exactly"] = exact

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Candidates and small corpora by exact scores, larger corpora by beam search."""
        prompts = self._prompts(queries)
        both = list(zip(queries, prompts, strict=True))
        beamed = [q.candidates is None and self._corpus_parts is None for q in queries]
        searched = iter(self._search([p for (_, p), b in zip(both, beamed, strict=True) if b], k))
        scored = iter(self._score([pair for pair, b in zip(both, beamed, strict=True) if not b], k))
        return [next(searched if b else scored) for b in beamed]

    def _prompts(self, queries: Sequence[Query]) -> list[list[int]]:
        prompts = self._prompter.write(queries, self._index.docid)
        self.facts["query_texts_cut"] = len(self._prompter.cut_texts)
        self.facts["candidate_prompts_cut"] = len(self._prompter.cut_candidates)
        return prompts

    def _score(self, asked: Sequence[tuple[Query, list[int]]], k: int) -> list[Ranking]:
        from arrbench_rankers.arr.decoding import exact_scores, parts

        whole = self._corpus_parts or []
        vocabulary = self._model.config.vocab_size
        cuts = [
            whole if q.candidates is None else parts(self._index.subset(q.candidates), vocabulary)
            for q, _ in asked
        ]
        scores = exact_scores(self._model, [p for _, p in asked], cuts, self.options.length == "mean")
        rankings = []
        for (query, _), values in zip(asked, scores, strict=True):
            ids = self._index.ids if query.candidates is None else query.candidates
            best = (-values).argsort(kind="stable")[:k]
            rankings.append(Ranking([ids[i] for i in best], values[best].tolist()))
        return rankings

    def _search(self, prompts: Sequence[list[int]], k: int) -> list[Ranking]:
        from arrbench_rankers.arr.beam import Search, beam_search

        mean = self.options.length == "mean"
        search = Search(max(self.options.beam, k), k, self._index.longest, mean)
        found = beam_search(
            self._model, prompts, self._tree, self._tree.children, self._tokenizer.eos_token_id, search
        )
        return [
            Ranking([self._index.ids[d] for d in documents], scores.tolist()) for scores, documents in found
        ]

    def generate(self, queries: Sequence[Query], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        from arrbench_rankers.arr.beam import Search, beam_search

        search = Search(k, k, self._index.longest + 1, False)
        found = beam_search(
            self._model,
            self._prompts(queries),
            self._tree,
            self._tree.everything,
            self._tokenizer.eos_token_id,
            search,
        )
        spelt = [[self._index.ids[d] if d >= 0 else None for d in documents] for _, documents in found]
        return [
            [d if q.candidates is None or d in q.candidates else None for d in ids]
            for q, ids in zip(queries, spelt, strict=True)
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
        ranker._model = backbones.load_causal_lm(model, ranker._tokenizer, context)
        ranker._use(DocIdIndex.load(folder))
        return ranker


class ArrStoical(Arr):
    """Autoregressive ranking with rank-aware item weights 1/r^2 and one-hot tokens (SToICaL)."""


class ArrNtpOptions(ArrOptions):
    """Options of `arr-ntp`."""

    item: Literal["fractional", "stepwise", "top1"] = Field(
        "top1", description="item weights λ(r): 1/r^alpha, (n-r+1)/n, or the top document alone"
    )


class ArrNtp(Arr):
    """Autoregressive ranking with next-token prediction of the top document alone (NTP)."""

    Options: ClassVar[type[BaseOptions]] = ArrNtpOptions
    tuning: ClassVar[str] = (
        "on dev nDCG@10 of wordnet, one seed: learning rate (4 values, 5e-4 to 2e-3), weight decay (2)"
    )

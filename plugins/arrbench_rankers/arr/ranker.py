"""Autoregressive ranking: a causal LM scores documents by the probability of writing their docIDs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from arrbench.asking import ask
from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Generative, Query, Ranking
from arrbench.task import Split
from arrbench_rankers.arr.docids.scheme import AskedScheme
from arrbench_rankers.arr.options import ArrNtpOptions, ArrOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from arrbench_rankers.arr.decoding import Decoder
    from arrbench_rankers.arr.examples import Example
    from arrbench_rankers.arr.index import DocIdIndex
    from arrbench_rankers.arr.lora import Adapters
    from arrbench_rankers.arr.prompt import Prompter
    from arrbench_rankers.arr.reading import Reading


class Arr(Generative):
    """Autoregressive ranking (arXiv 2601.05588) with the SToICaL loss.

    Small prefix trees of docIDs are scored whole, larger ones searched best-first for the exact top k.
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
        self._adapters: Adapters | None = None
        self._reading: Reading
        self._index: DocIdIndex
        self._scheme = AskedScheme.of(self.options.docid).made(context.seed)
        self._prompter: Prompter
        self._decoder: Decoder

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """The docID scheme is known, and so are its options; adapters have something to adapt."""
        from arrbench_rankers import backbones

        assert isinstance(options, ArrOptions)
        AskedScheme.of(options.docid)
        if options.lora_rank and options.backbone == backbones.TINY:
            raise UsageError(
                f"lora_rank={options.lora_rank} adapts a pretrained backbone; {backbones.TINY!r} is made "
                "from scratch and must be trained whole (no lora_rank)"
            )

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        from arrbench_rankers import backbones

        assert isinstance(options, ArrOptions)
        return backbones.weights(options.backbone, context)

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """The docID scheme's code, which may be another distribution's; libraries that options ask for."""
        from arrbench_rankers import backbones

        assert isinstance(options, ArrOptions)
        scheme = AskedScheme.of(options.docid)
        adapters = {"peft": version("peft")} if options.lora_rank else {}
        return {**scheme.inputs(), **adapters, **backbones.inputs(options.backbone)}

    def fit(self, train: Split, dev: Split) -> None:
        """Train on every training query's ranked list.

        Raises UsageError where every list is empty, or the training would not fit into memory.
        """
        import torch

        from arrbench_rankers import backbones
        from arrbench_rankers.arr import memory
        from arrbench_rankers.arr.examples import examples
        from arrbench_rankers.dev_measure import CUTOFF, ndcg_at_10
        from arrbench_rankers.training_memory import available

        o = self.options
        texts = (q.text for q in train.queries)
        self._tokenizer = backbones.load_tokenizer(
            o.backbone, texts, self._scheme.words(train.corpus), self.context
        )
        known = len(self._tokenizer)
        self._scheme.extend(self._tokenizer, train.corpus)
        config = backbones.load_config(o.backbone, self._tokenizer, self.context)
        free = available(torch.device(self.context.device))
        needs = (o, self.context, config, len(self._tokenizer))
        memory.check_fits(*needs, width=o.query_tokens, free=free)
        held = dataclasses.replace(self.context, dtype=memory.held_dtype(o, self.context))
        self._take(backbones.load_causal_lm(o.backbone, self._tokenizer, held))
        self.index(train.corpus)
        made = examples(train, self._prompts, self._index, o, self.context.seed)
        memory.check_fits(*needs, width=max(example.row.width for example in made), free=free)
        self.facts["train_queries_without_list"] = len(train.queries) - len(made)

        def dev_ndcg() -> float:
            return ndcg_at_10(ask(self._ranked, dev.queries, CUTOFF), dev)

        self._train(made, range(known, len(self._tokenizer)), dev_ndcg if dev.queries else None)
        self._calibrate(dev)
        self._model.to(getattr(torch, self.context.dtype))
        self._use(self._index)  # what was counted and timed so far was another model's

    def _take(self, model: Any) -> None:
        from arrbench_rankers.arr.probe import reading

        self._model = model
        self._reading, fault = reading(model)
        self.facts["packed"] = self._reading.packed
        if fault:
            self.facts["not_packed_because"] = fault

    def _calibrate(self, dev: Split) -> None:
        """Say in `facts` how the trained model fits the tree of docIDs, at prefixes of the dev split."""
        from arrbench_rankers.arr import calibration

        known = {document: position for position, document in enumerate(self._index.ids)}
        queries = dev.queries[: calibration.QUERIES]
        asked = []
        rankings = self._ranked(queries, calibration.OWN)
        for query, prompt, own in zip(queries, self._prompts(queries), rankings, strict=True):
            listed = [known[d] for d in dev.judgments.ranked(query.id) if d in known]
            asked.append(calibration.Asked(prompt, listed, [known[d] for d in own.ids]))
        self.facts |= calibration.facts(self._model, self._index, asked, self.options, self._reading)

    def _train(
        self, made: Sequence[Example], new_tokens: Sequence[int], dev_ndcg: Callable[[], float] | None
    ) -> None:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr import lora
        from arrbench_rankers.arr.checkpoints import checkpoints
        from arrbench_rankers.arr.objective import Objective
        from arrbench_rankers.arr.training import Schedule, train

        o = self.options
        objective = Objective(o.order, o.finish / o.epochs)
        schedule = Schedule(
            o.epochs,
            o.batch,
            o.accumulation,
            o.learning_rate,
            o.warmup,
            o.weight_decay,
            o.gradient_checkpointing,
        )
        model = lora.adapt(self._model, o.lora_rank, new_tokens) if o.lora_rank else self._model
        starts_from = {**self.weights(o, self.context), **self.inputs(o, self.context)}
        kept = checkpoints(made, o, starts_from, self.context) if o.checkpoint_minutes else None
        pad = self._tokenizer.pad_token_id
        events = train(model, made, pad, schedule, objective, self.context, dev_ndcg, kept, self._reading)
        if o.lora_rank:
            read = backbones.weights(o.backbone, self.context)
            self._model, self._adapters = lora.merge(model, read)
        self.facts |= dataclasses.asdict(events)

    def index(self, corpus: Corpus) -> None:
        """Write the documents' docIDs and build their prefix tree.

        docIDs that come from embeddings are not written a second time for the same corpus.
        """
        from arrbench_rankers.arr.index import DocIdIndex, fingerprint

        written = self._scheme.embeds and hasattr(self, "_index")
        if written and fingerprint(corpus) == self._index.corpus:
            return
        self._use(DocIdIndex.build(self._scheme, self._tokenizer, corpus, self._embed))

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings by the backbone as it was before training: docIDs may not change with it."""
        from arrbench_rankers import backbones
        from arrbench_rankers.arr.embedding import embeddings

        in_full = dataclasses.replace(self.context, dtype="float32", seed=self._scheme.seed)
        model = backbones.load_causal_lm(self.options.backbone, self._tokenizer, in_full)
        return embeddings(model, self._tokenizer, texts)

    def _use(self, index: DocIdIndex) -> None:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr.decoding import Decoder
        from arrbench_rankers.arr.lm_config import longest_row
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
        end, seed = self._tokenizer.eos_token_id, self.context.seed
        self._decoder = Decoder(self._model, index, end, self.options, seed, self._reading)
        self.parameters = backbones.parameter_count(self._model)
        self.index_bytes = index.nbytes
        self.facts["docids_numbered"] = index.numbered
        self.facts["docid_tree_nodes"] = len(index.tree)

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        rankings = self._ranked(queries, k)
        self.facts.update(self._decoder.proofs.figures())
        self.facts["scoring_batch_halved"] = self._decoder.halved
        return rankings

    def count_anew(self) -> None:
        self._decoder.count_anew()
        self._prompter.count_anew()
        for name in self._decoder.proofs.names():
            self.facts.pop(name, None)

    def _ranked(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        best = self._decoder.rank(queries, self._prompts(queries), k)
        return [Ranking(ids, scores.tolist()) for ids, scores in best]

    def audit(self, queries: Sequence[Query], k: int) -> Mapping[str, float | int | str | bool]:
        """What a beam misses of the exact top k, and what the proof of that cost (see Decoder.audit)."""
        return self._decoder.audit(queries, self._prompts(queries), k)

    def _prompts(self, queries: Sequence[Query]) -> list[list[int]]:
        prompts = self._prompter.write(queries, self._index.name)
        self.facts["query_texts_cut"] = len(self._prompter.cut_texts)
        self.facts["candidate_prompts_cut"] = len(self._prompter.cut_candidates)
        self.facts["candidates_left_out"] = sum(self._prompter.cut_candidates.values())
        return prompts

    def generate(self, queries: Sequence[Query], k: int) -> list[list[str | None]]:
        """A plain beam search of width k over every token, by summed log-probabilities."""
        return [
            [d if q.candidates is None or d in q.candidates else None for d in ids]
            for q, ids in zip(queries, self._decoder.generate(self._prompts(queries), k), strict=True)
        ]

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self._adapters:
            self._adapters.save(folder / "adapters")
        else:
            self._model.save_pretrained(folder / "model")
        self._tokenizer.save_pretrained(folder / "model")
        self._index.save(folder)
        self._scheme.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        from arrbench_rankers import backbones
        from arrbench_rankers.arr import lora
        from arrbench_rankers.arr.index import DocIdIndex
        from arrbench_rankers.arr.lm_config import vocabulary

        ranker = super().load(folder, context)
        model, o = str(folder / "model"), ranker.options
        ranker._tokenizer = backbones.load_tokenizer(model, [], [], context)
        if o.lora_rank:
            base = backbones.load_causal_lm(o.backbone, ranker._tokenizer, context)
            read = backbones.weights(o.backbone, context)
            merged, ranker._adapters = lora.load_merged(base, folder / "adapters", read)
            ranker._take(merged)
        else:
            ranker._take(backbones.load_causal_lm(model, ranker._tokenizer, context))
        ranker._scheme.load(folder)
        ranker._use(DocIdIndex.load(folder, vocabulary(ranker._model.config)))
        return ranker


class ArrStoical(Arr):
    """Autoregressive ranking with rank-aware item weights 1/r^2 and one-hot tokens (SToICaL)."""


class ArrNtp(Arr):
    """Autoregressive ranking with next-token prediction of the top document alone (NTP)."""

    Options: ClassVar[type[BaseOptions]] = ArrNtpOptions
    tuning: ClassVar[str] = (
        "on dev nDCG@10 of wordnet, one seed: learning rate (4 values, 5e-4 to 2e-3), weight decay (2)"
    )

"""Cascade: a first stage finds documents, a second one reranks them; measured as one ranker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from arrbench import plugins, spec
from arrbench.errors import UsageError
from arrbench.options import BaseOptions, named_files
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench.task import Split
from arrbench_rankers.bm25 import BM25
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.first_stage import handed_on

STAGES = ("first", "then")


class CascadeOptions(BaseOptions):
    first: str = Field("bm25", description='ranker that finds documents; with options: "bm25:k1=1.2"')
    then: str = Field("ce", description='ranker that reranks them; with options: "ce:epochs=1"')
    depth: int = Field(100, ge=1, description="documents that the first ranker hands on")

    def stage(self, name: str) -> tuple[plugins.Plugin, type[Ranker], BaseOptions]:
        """The plugin, class and options of stage `first` or `then`; UsageError as for a ranker asked for."""
        asked = spec.parse(getattr(self, name))
        plugin, cls = plugins.ranker_class(asked.name)
        return plugin, cls, spec.validated(cls.Options, asked, "ranker")


class Cascade(Ranker):
    """Two rankers one after the other: the latency is that of both, measured whole.

    Each is trained as it would be alone. What the first hands on is all that is ranked, so no ranking
    is longer than `depth`. Source: Wang, Lin and Metzler, A cascade ranking model for efficient ranked
    retrieval, SIGIR 2011.
    """

    Options: ClassVar[type[BaseOptions]] = CascadeOptions
    libraries: ClassVar[tuple[str, ...]] = (*BM25.libraries, *CrossEncoder.libraries)
    options: CascadeOptions
    tuning = "that of its stages"

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        made = (self.options.stage(name) for name in STAGES)
        self._hold(*(cls(of_stage, context) for _, cls, of_stage in made))

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """Both stages are known, have what they need, and the second can rerank."""
        assert isinstance(options, CascadeOptions)
        for name in STAGES:
            _, ranker, of_stage = options.stage(name)
            if name == "then" and "rerank" not in ranker.settings:
                raise UsageError(f"cascade: then={options.then} can't rerank; choose a ranker that can")
            ranker.check(of_stage)

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """What the stages load."""
        assert isinstance(options, CascadeOptions)
        loads: dict[str, str] = {}
        for name in STAGES:
            _, ranker, of_stage = options.stage(name)
            loads |= {f"{name}: {key}": value for key, value in ranker.weights(of_stage, context).items()}
        return loads

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """Which code the stages are, and on what they depend: another distribution's is in no other hash."""
        assert isinstance(options, CascadeOptions)
        inputs: dict[str, str] = {}
        for name in STAGES:
            plugin, ranker, of_stage = options.stage(name)
            inputs[name] = f"{plugin.distribution} {plugin.version} {plugin.source_hash()}"
            of_this = {**plugin.versions(ranker.libraries), **named_files(of_stage)}
            of_this |= ranker.inputs(of_stage, context)
            inputs |= {f"{name}: {key}": value for key, value in of_this.items()}
        return inputs

    @classmethod
    def learns(cls, options: BaseOptions) -> bool:
        """Whether a stage does."""
        assert isinstance(options, CascadeOptions)
        stages = (options.stage(name) for name in STAGES)
        return any(ranker.learns(of_stage) for _, ranker, of_stage in stages)

    def fit(self, train: Split, dev: Split) -> None:
        for stage in (self._first, self._then):
            if type(stage).fit is not Ranker.fit:
                stage.fit(train, dev)
        self._tell()

    def index(self, corpus: Corpus) -> None:
        self._first.index(corpus)
        self._then.index(corpus)
        self._tell()

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        pools = handed_on(self._first, queries, self.options.depth)
        narrowed = [replace(q, candidates=pool) for q, pool in zip(queries, pools, strict=True)]
        ranked = iter(self._then.rank([q for q in narrowed if q.candidates], k))
        rankings = [next(ranked) if q.candidates else Ranking([], []) for q in narrowed]
        self._tell()
        return rankings

    def count_anew(self) -> None:
        for stage in (self._first, self._then):
            stage.count_anew()
        self.facts = {}
        self._tell()

    def audit(self, queries: Sequence[Query], k: int) -> Mapping[str, float | int | str | bool]:
        told = self._first.audit(queries, self.options.depth)
        return {f"first: {name}": figure for name, figure in told.items()}

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._first.save(folder / "first")
        self._then.save(folder / "then")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        ranker = super().load(folder, context)
        saved = (ranker.options.stage(name)[1].load(folder / name, context) for name in STAGES)
        ranker._hold(*saved)
        ranker._tell()
        return ranker

    def _hold(self, *stages: Ranker) -> None:
        self._first, self._then = stages

    def _tell(self) -> None:
        """Sums over the stages, and their counted events under their stage's name."""
        self.parameters = _sum(stage.parameters for stage in (self._first, self._then))
        self.index_bytes = _sum(stage.index_bytes for stage in (self._first, self._then))
        for name, stage in zip(STAGES, (self._first, self._then), strict=True):
            self.facts |= {f"{name}: {event}": count for event, count in stage.facts.items()}


def _sum(figures: Any) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None

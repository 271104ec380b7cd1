"""The task contract: a corpus, three splits of judged queries, and how they are to be measured."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from arrbench.errors import UsageError
from arrbench.options import BaseOptions, checked
from arrbench.ranker import Corpus, Query
from arrbench.ties import tie_hash

Setting = Literal["retrieve", "rerank"]
SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Judgments:
    """Graded judgments: query id -> document id -> grade, and the integer gain of each grade.

    `gains` None means that a grade is its own gain. A grade of gain 0 is not relevant.
    """

    grades: Mapping[str, Mapping[str, int]]
    gains: Mapping[int, int] | None = None

    def gain(self, query_id: str, document_id: str) -> int:
        grade = self.grades.get(query_id, {}).get(document_id, 0)
        return grade if self.gains is None else self.gains.get(grade, 0)

    def ranked(self, query_id: str) -> list[str]:
        """The relevant documents, best first; equal gains in the order of the tie rule."""
        gains = {d: self.gain(query_id, d) for d in self.grades.get(query_id, {})}
        relevant = [d for d, gain in gains.items() if gain > 0]
        return sorted(relevant, key=lambda d: (-gains[d], tie_hash(query_id, d)))


def counted(queries: Iterable[Query], judgments: Judgments) -> Judgments:
    """The judgments that count: none of a document that its query excludes."""
    remaining: dict[str, Mapping[str, int]] = {}
    for q in queries:
        grades = judgments.grades.get(q.id, {})
        if any(d in grades for d in q.excluded):
            remaining[q.id] = {d: grade for d, grade in grades.items() if d not in q.excluded}
    return replace(judgments, grades={**judgments.grades, **remaining}) if remaining else judgments


@dataclass(frozen=True)
class Split:
    """Judged queries over a corpus: all that a ranker sees of train and dev.

    Whatever was given, no query has a judgment of a document that it excludes (see `counted`).
    A task's judgments may name documents that the corpus lacks: they stay in the ideal of a test query.
    What a ranker sees of train and dev judges documents of the corpus alone.
    """

    queries: tuple[Query, ...]
    judgments: Judgments
    corpus: Corpus

    def __post_init__(self) -> None:
        if all(isinstance(q, Query) for q in self.queries):  # of others a task is told when it is checked
            object.__setattr__(self, "judgments", counted(self.queries, self.judgments))


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a task may look for its data, and whether it may fetch what is missing."""

    data_dir: Path | None
    cache: Path
    offline: bool = False


class Task(ABC):
    """A ranking problem with its data. Subclasses register an entry point in `arrbench.tasks`.

    The constructor finds (or fetches) the data and raises UsageError where it can't.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions
    headline: ClassVar[str] = "ndcg@10"
    measures: ClassVar[tuple[str, ...]] = ("ndcg@10", "ndcg", "mrr")
    licence: ClassVar[str] = "unknown"
    texts_may_be_republished: ClassVar[bool | None] = None  # None: not known, or the user's own matter
    data_are: ClassVar[str] = ""  # where, when an option names them: nothing for `find` and `fetch` to do

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        self.options = checked(self, options)
        self.source = source
        self.facts: dict[str, float | int | str | bool] = {}  # edition, counts, what was dropped
        self.notes: tuple[str, ...] = ()  # sentences for under every table: gains, published figures
        self.warnings: tuple[str, ...] = ()  # what is likely a mistake in the data; said before any work

    @property
    @abstractmethod
    def setting(self) -> Setting:
        """Whether the whole corpus is searched or each query's candidates are reranked."""

    @abstractmethod
    def split(self, name: SplitName) -> Split:
        """The judged queries of a split; all splits share one corpus; no test query is in train."""

    @classmethod
    def find(cls, source: DataSource) -> Path | None:
        """Where the task's data lie on this machine, None where they are nowhere."""
        return None

    @classmethod
    def fetch(cls, cache: Path) -> Path:
        """Bring the task's data into the cache and say where; UsageError where that can't be done."""
        way = f"its data are {cls.data_are}" if cls.data_are else "give a folder with --data-dir"
        raise UsageError(f"{cls.__name__} fetches no data of its own; {way}")

    def fingerprint(self) -> str:
        """SHA-256 over corpus, queries, candidates, grades and gains, whatever their order."""
        digest = hashlib.sha256()
        for line in self._canonical():
            digest.update(json.dumps(line, sort_keys=True, ensure_ascii=False).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def _canonical(self) -> Iterator[object]:
        corpus = self.split("test").corpus
        for d in sorted(corpus, key=lambda d: d.id):
            yield ["document", d.id, d.title, d.text]
        for name in SPLITS:
            split = self.split(name)
            yield ["gains", name, sorted((split.judgments.gains or {}).items())]
            for q in sorted(split.queries, key=lambda q: q.id):
                candidates = None if q.candidates is None else sorted(q.candidates)
                grades = sorted(split.judgments.grades.get(q.id, {}).items())
                yield ["query", name, q.id, q.text, candidates, sorted(q.excluded), grades]

"""A third party's task that goes wrong in one way, or in several joined by +, before anything is run."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Document, Query
from arrbench.task import DataSource, Judgments, Setting, Split, SplitName, Task


class MuddleOptions(BaseOptions):
    wrong: str = Field("nothing", description="what goes wrong, several joined by +")


@dataclass
class Parts:
    """What a task is made of, for a fault to change."""

    documents: list[Any] = field(default_factory=lambda: [Document(f"d{i}", f"t{i}", "x") for i in range(4)])
    queries: dict[str, list[Any]] = field(
        default_factory=lambda: {n: [Query(f"{n}{i}", "x") for i in (0, 1)] for n in ("train", "dev", "test")}
    )
    grade: Any = 1
    judged: str = "d0"
    gains: Any = None
    setting: Any = "retrieve"
    another_corpus: bool = False
    split: Any = None

    def change(self, query: str, **changed: Any) -> None:
        """One query of the split that its id begins with, changed."""
        name = query.rstrip("01")
        self.queries[name] = [replace(q, **changed) if q.id == query else q for q in self.queries[name]]


def _rerank(parts: Parts, *candidates: str) -> None:
    parts.setting = "rerank"
    for name in ("test0", "test1"):
        parts.change(name, candidates=candidates or ("d0", "d1"))


def _set(**values: Any) -> Callable[[Parts], None]:
    return lambda parts: parts.__dict__.update(values)


CHANGES: Mapping[str, Callable[[Parts], object]] = {
    "nothing": lambda p: None,
    "float-grade": _set(grade=0.5),
    "bool-grade": _set(grade=True),
    "negative-grade": _set(grade=-1),
    "huge-grade": _set(grade=10**30),
    "float-gain": _set(gains={1: 0.5}),
    "bool-gain": _set(gains={1: True}),
    "float-gain-key": _set(gains={1.5: 1}),
    "query-twice": lambda p: p.queries["test"].append(p.queries["test"][0]),
    "test-in-train": lambda p: p.queries["train"].append(p.queries["test"][0]),
    "test-in-dev": lambda p: p.queries["dev"].append(p.queries["test"][0]),
    "candidate-twice": lambda p: _rerank(p, "d0", "d1", "d0"),
    "candidate-outside": lambda p: _rerank(p, "d0", "d9"),
    "retrieve-candidates": lambda p: p.change("test1", candidates=("d0",)),
    "rerank-without": _set(setting="rerank"),
    "rerank": _rerank,
    "setting": _set(setting="sort"),
    "empty-id": lambda p: p.change("test0", id=""),
    "blank-id": lambda p: p.documents.append(Document("a b", "", "x")),
    "number-id": lambda p: p.documents.append(Document(7, "", "x")),  # type: ignore[arg-type]
    "surrogate-id": lambda p: p.documents.append(Document("\ud83d", "", "x")),
    "comment-id": lambda p: p.change("test0", id="#1"),
    "blank-judged": _set(judged="a b"),
    "judged-outside": _set(judged="d9"),
    "excluded-outside": lambda p: p.change("test0", excluded=frozenset({"d9"})),
    "no-text": lambda p: p.documents.append(Document("d9", "", None)),  # type: ignore[arg-type]
    "surrogate-title": lambda p: p.documents.append(Document("d9", "\udc80", "x")),
    "query-no-text": lambda p: p.change("test0", text=3),
    "another-corpus": _set(another_corpus=True),
    "no-documents": lambda p: p.documents.clear(),
    "no-split": _set(split={"queries": ()}),
    "no-query": lambda p: p.queries["test"].append("test2"),
}
CLASS: Mapping[str, dict[str, Any]] = {
    "measure": {"measures": ("ndcg@10", "ndgc")},
    "cutoff": {"measures": ("overlap",)},
    "measures-text": {"measures": "ndcg@10"},
    "headline": {"headline": "bpref"},
    "headline-outside": {"headline": "mrr", "measures": ("ndcg@10",)},
    "licence": {"licence": None},
    "notes-text": {"notes": "a note"},
    "notes-surrogate": {"notes": ("\udc80",)},
    "fact-nan": {"facts": {"share": math.nan}},
    "fact-object": {"facts": {"share": object()}},
}


class Muddle(Task):
    """Four documents and two queries a split, all of them wrong where asked."""

    Options: ClassVar[type[BaseOptions]] = MuddleOptions
    options: MuddleOptions
    measures = ("ndcg@10", "mrr")

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        self.parts = Parts()
        wrong = self.options.wrong.split("+")
        if "constructor" in wrong:
            raise ZeroDivisionError("a fault\nof two lines")
        if "usage" in wrong:
            raise UsageError("its own words")
        if "exit" in wrong:
            sys.exit(0)
        for word in wrong:
            CHANGES.get(word, lambda p: None)(self.parts)
            for name, value in CLASS.get(word, {}).items():
                setattr(self, name, value)
        self.corpus = Corpus(self.parts.documents)

    @property
    def setting(self) -> Setting:
        setting: Setting = self.parts.setting
        return setting

    def split(self, name: SplitName) -> Split:
        if "split" in self.options.wrong.split("+"):
            raise KeyError(name)
        p = self.parts
        if p.split is not None:
            no_split: Split = p.split
            return no_split
        corpus = Corpus(p.documents[:-1]) if p.another_corpus and name == "train" else self.corpus
        grades = {q.id: {p.judged: p.grade} for q in p.queries[name] if isinstance(q, Query)}
        return Split(tuple(p.queries[name]), Judgments(grades, p.gains), corpus)

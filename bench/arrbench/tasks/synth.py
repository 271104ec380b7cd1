"""Synth: retrieval in a made-up collection of any size, for what engines cost as collections grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Query
from arrbench.task import SPLITS, DataSource, Judgments, Setting, Split, SplitName, Task

if TYPE_CHECKING:
    from arrbench.tasks.synth_text import Synth


class SynthOptions(BaseOptions):
    docs: int = Field(10_000, ge=30, description="documents")
    words: int = Field(24, ge=8, description="words of a document")
    vocabulary: int = Field(50_000, ge=100, description="words there are")
    train: int = Field(400, ge=1, description="training queries, at most a third of docs/10")
    dev: int = Field(50, ge=1, description="dev queries, likewise")
    test: int = Field(200, ge=1, description="test queries, likewise")
    seed: int = Field(1, ge=0, description="what everything is drawn from")

    def law(self) -> Synth:
        from arrbench.tasks.synth_text import Synth

        return Synth(self.docs, self.words, self.vocabulary, self.seed)

    def count(self, name: SplitName) -> int:
        return int(getattr(self, name))


class SynthTask(Task):
    """Made-up words under Zipf and Mandelbrot's law, in topics; what it shows is cost, not language."""

    Options: ClassVar[type[BaseOptions]] = SynthOptions
    options: SynthOptions
    measures = ("ndcg@10", "ndcg", "recall@100", "mrr")
    licence = "made up; free of rights"
    texts_may_be_republished = True
    data_are = "made up from its options"

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        law = self.options.law()
        corpus = Corpus(law.texts())
        self._splits = {name: _split(law, name, self.options.count(name), corpus) for name in SPLITS}
        self.facts = {
            "documents": len(corpus),
            "topics": law.topics,
            **{f"queries_{name}": len(split.queries) for name, split in self._splits.items()},
        }
        self.notes = ("made-up words: quality here shows that an engine works, and says nothing of language",)

    @property
    def setting(self) -> Setting:
        return "retrieve"

    def split(self, name: SplitName) -> Split:
        return self._splits[name]


def write(options: SynthOptions, folder: Path) -> None:
    """The collection as files in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv.

    Documents are written as they are drawn, so memory doesn't grow with them. Raises UsageError where
    the folder isn't empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; a collection is written into a new folder")
    law = options.law()
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        for d in law.texts():
            rest = d.text.removeprefix(f"{d.title} ")  # in BEIR's layout a document is its title and its text
            corpus.write(json.dumps({"_id": d.id, "title": d.title, "text": rest}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as queries:
        for name in SPLITS:
            with (folder / "qrels" / f"{name}.tsv").open("w", encoding="utf-8") as qrels:
                qrels.write("query-id\tcorpus-id\tscore\n")
                for query, text, grades in law.queries(name, options.count(name)):
                    queries.write(json.dumps({"_id": query, "text": text}) + "\n")
                    qrels.writelines(f"{query}\t{d}\t{grade}\n" for d, grade in grades.items())


def _split(law: Synth, name: SplitName, count: int, corpus: Corpus) -> Split:
    drawn = list(law.queries(name, count))
    queries = tuple(Query(query, text) for query, text, _ in drawn)
    return Split(queries, Judgments({query: grades for query, _, grades in drawn}), corpus)

"""ESCI, Amazon's Shopping Queries data set: rank products by how well they answer a query.

Reddy et al. 2022, arXiv 2206.06588. A product is an exact match (E), a substitute (S), a complement
(C) or irrelevant (I); grades 3, 2, 1, 0. `esci` is the data set's Task 1, each query's judged
products reranked; `esci/retrieve` searches the whole catalogue of the locale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Query
from arrbench.task import SPLITS, DataSource, Judgments, Setting, Split, SplitName, Task
from arrbench.tasks import esci_fetch, esci_notes
from arrbench.tasks.chance import fraction, number
from arrbench.tasks.collection import MISSING
from arrbench.tasks.collection_notes import Missing, missing_documents
from arrbench.tasks.esci_files import (
    LOCALES,
    Examples,
    Locale,
    Products,
    Version,
    read_examples,
    read_products,
)
from arrbench.tasks.esci_notes import GAINS, Gains

Text = Literal["title", "title+brand+color", "title+brand+color+bullets+description"]

DEV = 0.10  # of the train queries: the official files have train and test alone

_COLUMNS = {
    "title": "product_title",
    "brand": "product_brand",
    "color": "product_color",
    "bullets": "product_bullet_point",
    "description": "product_description",
}


class ESCIOptions(BaseOptions):
    locale: Literal["us", "es", "jp", "all"] = Field(
        "us", description="the marketplace; all has ids locale:product"
    )
    version: Version = Field("small", description="the difficult queries of Task 1, or all of the data set")
    text: Text = Field("title", description="the fields of a product that are its text")
    gains: Gains = Field("paper", description="E/S/C/I = 100/10/1/0, or script: 100/1/10/0")
    missing: Missing = MISSING


class ESCI(Task):
    """Task 1 of ESCI: each query's judged products, best first; nDCG over the whole pool."""

    Options: ClassVar[type[BaseOptions]] = ESCIOptions
    options: ESCIOptions
    headline = "ndcg"
    measures = ("ndcg", "ndcg@10", "recall@10", "mrr")
    licence = "Apache-2.0"

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        asked = self.options.locale
        locales: tuple[Locale, ...] = LOCALES if asked == "all" else (asked,)
        folder = esci_fetch.locate(source)
        examples = read_examples(folder / esci_fetch.EXAMPLES, locales, self.options.version)
        products = read_products(
            folder / esci_fetch.PRODUCTS,
            locales,
            [_COLUMNS[name] for name in self.options.text.split("+")],
            examples.documents,
            judged_only=self.setting == "rerank",
        )
        corpus = Corpus(products.documents)
        lacking = _lacking(examples, corpus)
        if self.options.missing == "drop":
            _drop(examples, lacking)
        ids = _assign(examples, {query_id for query_id, query in lacking.items() if query.alone})
        if not any(d in corpus.positions for query in ids["test"] for d in examples.queries[query].grades):
            raise UsageError(
                f"{folder}: no test query with a product of the files for locale={asked}, "
                f"version={self.options.version}; choose a locale and version that the files hold"
            )
        self._splits = {name: self._split(examples, ids[name], corpus) for name in SPLITS}
        self.facts = self._facts(examples, products, lacking)
        self.notes = (*self._notes(), *missing_documents(self.options.missing, *_counted(lacking, "test")))

    @classmethod
    def find(cls, source: DataSource) -> Path | None:
        """The folder of the two files on this machine, if they are there."""
        return esci_fetch.find(source)

    @classmethod
    def fetch(cls, cache: Path) -> Path:
        """The official files, downloaded into the cache (1.1 GB) unless they lie there."""
        return esci_fetch.fetch(cache)

    @property
    def setting(self) -> Setting:
        return "rerank"

    def split(self, name: SplitName) -> Split:
        return self._splits[name]

    def _split(self, examples: Examples, ids: Collection[str], corpus: Corpus) -> Split:
        chosen = {query_id: examples.queries[query_id] for query_id in ids}
        rerank = self.setting == "rerank"
        queries = tuple(
            Query(query_id, query.text, _pool(query_id, query.grades, corpus) if rerank else None)
            for query_id, query in chosen.items()
        )
        grades = {query_id: query.grades for query_id, query in chosen.items()}
        return Split(queries, Judgments(grades, GAINS[self.options.gains]), corpus)

    def _facts(
        self, examples: Examples, products: Products, lacking: Mapping[str, Lacking]
    ) -> dict[str, float | int | str | bool]:
        trained = {q.text for name in ("train", "dev") for q in self._splits[name].queries}
        queries = [q for split in self._splits.values() for q in split.queries]
        test = self._splits["test"]
        return {
            "documents": len(products.documents),
            **{f"queries_{name}": len(split.queries) for name, split in self._splits.items()},
            **{f"judgments_{name}": _judged(split) for name, split in self._splits.items()},
            "judgments_repeated": examples.repeated,
            "judgments_contradicting": examples.contradicting,
            "judgments_without_product": sum(len(query.documents) for query in lacking.values()),
            "queries_without_product": sum(query.alone for query in lacking.values()),
            "products_repeated": products.repeated,
            "products_without_title": products.untitled,
            "queries_without_text": sum(not q.text for q in queries),
            "test_queries_without_relevant": sum(not test.judgments.ranked(q.id) for q in test.queries),
            "test_texts_in_train_or_dev": sum(q.text in trained for q in test.queries),
        }

    def _notes(self) -> tuple[str, ...]:
        test, asked = self._splits["test"], self.options
        judged = sum(d in test.corpus.positions for q in test.queries for d in test.judgments.grades[q.id])
        compared = esci_notes.published(asked.locale, asked.version, len(test.queries), judged)
        return (esci_notes.gains(asked.gains), *compared)


class ESCIRetrieve(ESCI):
    """Retrieval over the whole catalogue of the locale, judged by ESCI's pools."""

    headline = "ndcg@10"
    measures = ("ndcg@10", "recall@10", "recall@100", "mrr")

    @property
    def setting(self) -> Setting:
        return "retrieve"

    def _notes(self) -> tuple[str, ...]:
        return (esci_notes.gains(self.options.gains), esci_notes.UNJUDGED)


@dataclass(frozen=True, slots=True)
class Lacking:
    """A query's judged products that the products file lacks, and whether it has no others."""

    split: str
    documents: frozenset[str]
    alone: bool


def _lacking(examples: Examples, corpus: Corpus) -> dict[str, Lacking]:
    missing = {document for document in examples.documents if document not in corpus.positions}
    found: dict[str, Lacking] = {}
    for query_id, query in examples.queries.items() if missing else ():
        documents = frozenset(query.grades.keys() & missing)
        if documents:
            found[query_id] = Lacking(query.split, documents, len(documents) == len(query.grades))
    return found


def _counted(lacking: Mapping[str, Lacking], split: str) -> tuple[int, int]:
    """How many judgments of the official split lack their product, and how many queries have no other."""
    here = [query for query in lacking.values() if query.split == split]
    return sum(len(query.documents) for query in here), sum(query.alone for query in here)


def _drop(examples: Examples, lacking: Mapping[str, Lacking]) -> None:
    """Takes judgments without a product out; a query without any others is in no split."""
    for query_id, query in lacking.items():
        for document in query.documents:
            del examples.queries[query_id].grades[document]


def _assign(examples: Examples, lacking: Collection[str]) -> dict[SplitName, list[str]]:
    """The ids of the queries that have judged products, by split; dev is drawn from train by hash.

    A tenth of train, and at least one query where train has two. From queries `lacking` every product
    nothing can be learnt: they are in test alone.
    """
    ids: dict[SplitName, list[str]] = {"train": [], "dev": [], "test": []}
    for query_id, query in examples.queries.items():
        if query.grades:
            official: SplitName = "test" if query.split == "test" else "train"
            if official == "train" and query_id in lacking:
                continue
            ids["dev" if official == "train" and _chance(query_id) < DEV else official].append(query_id)
    if not ids["dev"] and len(ids["train"]) > 1:
        ids["dev"].append(min(ids["train"], key=_chance))
        ids["train"].remove(ids["dev"][0])
    return ids


def _chance(query_id: str) -> float:
    return fraction("esci", query_id)


def _pool(query_id: str, documents: Collection[str], corpus: Corpus) -> tuple[str, ...]:
    """The candidates, shuffled by hash: the order of the file's rows may follow their labels."""
    there = (document for document in documents if document in corpus.positions)
    return tuple(sorted(there, key=lambda document: number("pool", query_id, document)))


def _judged(split: Split) -> int:
    return sum(map(len, split.judgments.grades.values()))

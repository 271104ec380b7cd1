"""ESCI, Amazon's Shopping Queries data set: rank products by how well they answer a query.

Reddy et al. 2022, arXiv 2206.06588. A product is an exact match (E), a substitute (S), a complement
(C) or irrelevant (I); grades 3, 2, 1, 0. `esci` is the data set's Task 1, each query's judged
products reranked; `esci/retrieve` searches the whole catalogue of the locale.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Query
from arrbench.task import SPLITS, DataSource, Judgments, Setting, Split, SplitName, Task
from arrbench.tasks import esci_fetch, esci_notes
from arrbench.tasks.chance import fraction, number
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
        missing = _drop_missing(examples, corpus)
        ids = _assign(examples)
        if not ids["test"]:
            raise UsageError(
                f"{folder}: no test query with a product of the files for locale={asked}, "
                f"version={self.options.version}; choose a locale and version that the files hold"
            )
        self._splits = {name: self._split(examples, ids[name], corpus) for name in SPLITS}
        self.facts = self._facts(examples, products, missing)
        self.notes = self._notes()

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
            Query(query_id, query.text, _pool(query_id, query.grades) if rerank else None)
            for query_id, query in chosen.items()
        )
        grades = {query_id: query.grades for query_id, query in chosen.items()}
        return Split(queries, Judgments(grades, GAINS[self.options.gains]), corpus)

    def _facts(
        self, examples: Examples, products: Products, missing: int
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
            "judgments_without_product": missing,
            "products_repeated": products.repeated,
            "products_without_title": products.untitled,
            "queries_without_text": sum(not q.text for q in queries),
            "test_queries_without_relevant": sum(not test.judgments.ranked(q.id) for q in test.queries),
            "test_texts_in_train_or_dev": sum(q.text in trained for q in test.queries),
        }

    def _notes(self) -> tuple[str, ...]:
        test, asked = self._splits["test"], self.options
        compared = esci_notes.published(asked.locale, asked.version, len(test.queries), _judged(test))
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


def _drop_missing(examples: Examples, corpus: Corpus) -> int:
    """Takes judgments of products that the products file lacks out of their pools, and counts them."""
    missing = {document for document in examples.documents if document not in corpus.positions}
    dropped = 0
    if missing:
        for query in examples.queries.values():
            for document in query.grades.keys() & missing:
                del query.grades[document]
                dropped += 1
    return dropped


def _assign(examples: Examples) -> dict[SplitName, list[str]]:
    """The ids of the queries that have judged products, by split; dev is drawn from train by hash.

    A tenth of train, and at least one query where train has two.
    """
    ids: dict[SplitName, list[str]] = {"train": [], "dev": [], "test": []}
    for query_id, query in examples.queries.items():
        if query.grades:
            official: SplitName = "test" if query.split == "test" else "train"
            ids["dev" if official == "train" and _chance(query_id) < DEV else official].append(query_id)
    if not ids["dev"] and len(ids["train"]) > 1:
        ids["dev"].append(min(ids["train"], key=_chance))
        ids["train"].remove(ids["dev"][0])
    return ids


def _chance(query_id: str) -> float:
    return fraction("esci", query_id)


def _pool(query_id: str, documents: Collection[str]) -> tuple[str, ...]:
    """The candidates, shuffled by hash: the order of the file's rows may follow their labels."""
    return tuple(sorted(documents, key=lambda document: number("pool", query_id, document)))


def _judged(split: Split) -> int:
    return sum(map(len, split.judgments.grades.values()))

"""Any collection of the ir_datasets package (MacAvaney et al., SIGIR 2021), by its ids."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, Literal

from pydantic import Field

from arrbench.errors import UsageError, one_line
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Document
from arrbench.task import DataSource, Setting, Split, SplitName, Task
from arrbench.tasks import collection
from arrbench.tasks.collection_notes import ExcludeSelf, Missing


class IrdsOptions(BaseOptions):
    id: str = Field(
        "", description="the collection to test on, as irds:id=beir/scifact/test; it must be given"
    )
    train: str | None = Field(None, description="id of the training queries, like beir/scifact/train")
    dev: str | None = Field(None, description="id of the dev queries; without it a tenth of train's")
    candidates: Literal["scoreddocs"] | None = Field(
        None, description="rerank the documents that the collection brings as scoreddocs, in no order"
    )
    exclude_self: ExcludeSelf = collection.EXCLUDE_SELF
    missing: Missing = collection.MISSING


class Irds(Task):
    """A collection of ir_datasets, which downloads it; a grade is its own gain, a negative one is 0.

    Texts are ir_datasets' `default_text()`, a document's title its `title` where it has one. A
    document judged several times for a query (for subtopics) keeps its highest grade.
    """

    Options: ClassVar[type[BaseOptions]] = IrdsOptions
    options: IrdsOptions
    measures = collection.MEASURES
    licence = "the collection's own: see its page at ir-datasets.com"
    data_are = "brought by ir_datasets once irds:id=ID names a collection"

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        ir_datasets = _package()
        ids = self._ids()
        found = {name: _dataset(ir_datasets, i, name) for name, i in ids.items()}
        test = found["test"]
        if self.options.candidates and not test.has_scoreddocs():
            raise UsageError(
                f"{ids['test']!r} of ir_datasets has no scoreddocs to rerank; leave candidates out"
            )
        judged: dict[SplitName, collection.Judged] = {}
        for name, dataset in found.items():
            with _delivery(ir_datasets, ids[name], source.offline):
                judged[name] = collection.Judged(_texts(dataset), _grades(dataset))
        with _delivery(ir_datasets, ids["test"], source.offline):
            pools = self._pools(found)
            texts, repeated = collection.distinct(ids["test"], enumerate(_documents(test), start=1))
        source_of_all = f"ir_datasets' {' + '.join(ids.values())}"
        rules = collection.Rules(self.options.exclude_self, self.options.missing)
        built = collection.build(source_of_all, Corpus(texts), judged, pools, rules)
        self._splits = built.splits
        counts = {**built.facts, "documents_repeated": repeated}
        self.facts = {"ir_datasets": ir_datasets.__version__, **counts}
        self.notes = built.notes
        self.warnings = built.warnings

    @property
    def setting(self) -> Setting:
        return "retrieve" if self.options.candidates is None else "rerank"

    def split(self, name: SplitName) -> Split:
        return self._splits[name]

    def _ids(self) -> dict[SplitName, str]:
        o = self.options
        if not o.id:
            raise UsageError("task 'irds' needs the option id, as in --task irds:id=beir/scifact/test")
        named: dict[SplitName, str | None] = {"train": o.train, "dev": o.dev, "test": o.id}
        return {name: i for name, i in named.items() if i is not None}

    def _pools(self, found: dict[SplitName, Any]) -> dict[str, list[str]] | None:
        if self.options.candidates is None:
            return None
        pools: dict[str, dict[str, None]] = {}
        for dataset in found.values():
            for scored in dataset.scoreddocs_iter() if dataset.has_scoreddocs() else ():
                pools.setdefault(scored.query_id, {})[scored.doc_id] = None
        return {query: list(documents) for query, documents in pools.items()}


def _package() -> Any:
    try:
        import ir_datasets
    except ModuleNotFoundError as error:
        raise UsageError(f"task 'irds' needs ir_datasets: pip install \"arrbench[irds]\" ({error})") from None
    return ir_datasets


def _dataset(ir_datasets: Any, name: str, split: SplitName) -> Any:
    """The dataset of that id, with documents, queries and judgments; UsageError otherwise."""
    known = list(ir_datasets.registry)
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or "none; see ir-datasets.com"
        raise UsageError(f"ir_datasets knows no {name!r} ({split}); nearest: {near}") from None
    lacks = [part for part in ("docs", "queries", "qrels") if not dataset.has(part)]
    if lacks:
        below = ", ".join([i for i in known if i.startswith(f"{name}/")][:5]) or "none"
        raise UsageError(
            f"{name!r} of ir_datasets ({split}) has no {' and no '.join(lacks)}; below it: {below}"
        )
    return dataset


def _documents(dataset: Any) -> Iterator[Document]:
    for document in dataset.docs_iter():
        title = getattr(document, "title", None)
        yield Document(document.doc_id, title if isinstance(title, str) else "", document.default_text())


def _texts(dataset: Any) -> dict[str, str]:
    return {query.query_id: query.default_text() for query in dataset.queries_iter()}


def _grades(dataset: Any) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for judgment in dataset.qrels_iter():
        grade = judgment.relevance
        if not isinstance(grade, int):
            raise ValueError(f"grade {grade!r} of document {judgment.doc_id!r} is no integer")
        documents = grades.setdefault(judgment.query_id, {})
        documents[judgment.doc_id] = max(grade, documents.get(judgment.doc_id, grade))
    return grades


@contextmanager
def _delivery(ir_datasets: Any, name: str, offline: bool) -> Iterator[None]:
    """Turns whatever goes wrong while ir_datasets reads or downloads a collection into one line."""
    try:
        with _no_downloads(ir_datasets) if offline else nullcontext():
            yield
    except UsageError:
        raise
    except Exception as error:  # its readers raise whatever their formats and hosts do
        reason = f"{type(error).__name__}: {one_line(error) or 'no message'}"
        way_out = "; --offline forbids downloads: run once without it" if offline else ""
        raise UsageError(f"ir_datasets could not read {name!r}: {reason}{way_out}") from error


@contextmanager
def _no_downloads(ir_datasets: Any) -> Iterator[None]:
    """Keeps ir_datasets from its HTTP client, which it asks for anew before each download.

    It has no switch of its own for this. Its warnings, one a mirror, are silenced: the error says it all.
    """
    libraries, client = ir_datasets.lazy_libs, ir_datasets.lazy_libs.requests
    silenced = logging.root.manager.disable

    def refuse() -> None:
        raise RuntimeError("it is not on this machine")

    libraries.requests = refuse
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        libraries.requests = client
        logging.disable(silenced)

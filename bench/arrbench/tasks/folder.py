"""A collection of the user's own: a folder of documents, queries and judgments in BEIR's or TREC's layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus
from arrbench.task import SPLITS, DataSource, Setting, Split, SplitName, Task
from arrbench.tasks import collection
from arrbench.tasks.collection_notes import ExcludeSelf, Missing
from arrbench.tasks.folder_files import read_documents, read_queries
from arrbench.trec import read_qrels, read_run

DOCUMENTS = ("corpus.jsonl", "corpus.tsv", "documents.jsonl", "documents.tsv")
QUERIES = ("queries.jsonl", "queries.tsv", "topics.tsv", "topics.txt", "topics")
LAYOUTS = (
    "corpus.jsonl, queries.jsonl and qrels/test.tsv (BEIR's), or corpus.tsv or .jsonl, queries.tsv or "
    "topics.tsv, and test.qrels, qrels.test.txt or qrels (TREC's), each plain or .gz; without judgments for "
    "test those for dev are tested"
)
SHOWN_FILES = 8


class FolderOptions(BaseOptions):
    path: str = Field("", description="the folder; it must be given, as folder:path=DIR")
    candidates: str | None = Field(
        None, description="a TREC run in the folder (or anywhere): rerank its documents, in no order"
    )
    tested: Literal["auto", "test", "dev"] = Field(
        "auto", description="the judgments to test on; auto: test's, or dev's where there are none for test"
    )
    exclude_self: ExcludeSelf = collection.EXCLUDE_SELF
    missing: Missing = collection.MISSING


class Folder(Task):
    """Documents, queries and judgments of a folder; a grade is its own gain, a negative one is 0.

    Files, each plain or .gz: corpus.jsonl and queries.jsonl, qrels/test.tsv and perhaps qrels/train.tsv
    and qrels/dev.tsv (BEIR); documents and queries as TSV, judgments in test.qrels, qrels.test.txt or
    qrels and perhaps train's and dev's (TREC); or what `arrbench export` writes. BEIR's title and text
    are shown together. Without judgments for dev a tenth of train's queries become dev; without
    judgments for test dev's are tested; without candidates in the run a test query counts 0.
    """

    Options: ClassVar[type[BaseOptions]] = FolderOptions
    options: FolderOptions
    measures = collection.MEASURES
    licence = "the folder's own"
    data_are = "in the folder given as folder:path=DIR"

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        folder = _folder(self.options.path)
        documents = _required(folder, DOCUMENTS, "documents")
        queries = _required(folder, QUERIES, "queries")
        judgments, tested = _judgments(folder, self.options.tested)
        asked = read_queries(queries)
        judged: dict[SplitName, collection.Judged] = {
            name: collection.Judged(asked.texts, read_qrels(file), asked.excluded)
            for name, file in judgments.items()
        }
        pools = None if self.options.candidates is None else _pools(folder, self.options.candidates)
        texts, repeated = read_documents(documents)
        rules = collection.Rules(self.options.exclude_self, self.options.missing)
        found = collection.build(str(folder), Corpus(texts), judged, pools, rules)
        self._splits = found.splits
        self.facts = {**found.facts, "documents_repeated": repeated, "queries_repeated": asked.repeated}
        self.notes = (*tested, *found.notes)
        self.warnings = found.warnings

    @property
    def setting(self) -> Setting:
        return "retrieve" if self.options.candidates is None else "rerank"

    def split(self, name: SplitName) -> Split:
        return self._splits[name]


def _folder(path: str) -> Path:
    if not path:
        raise UsageError("task 'folder' needs the option path, as in --task folder:path=DIR")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UsageError(f"option path={path} of task 'folder' is no folder")
    return folder


def _judgments(
    folder: Path, tested: Literal["auto", "test", "dev"]
) -> tuple[dict[SplitName, Path], list[str]]:
    """The file of each split that has one, and a sentence where dev's is the one that is tested."""
    found = {name: file for name in SPLITS if (file := _only(folder, _qrels(name)))}
    if tested == "dev" or (tested == "auto" and "test" not in found and "dev" in found):
        found["test"] = file = _required(folder, _qrels("dev"), "dev judgments")
        found.pop("dev", None)
        why = "tested=dev" if tested == "dev" else "there are no judgments for test"
        return found, [f"tested on the dev split, {file.relative_to(folder)}: {why}"]
    found["test"] = _required(folder, _qrels("test"), "test judgments")
    return found, []


def _qrels(name: SplitName) -> tuple[str, ...]:
    named = (f"qrels/{name}.tsv", f"{name}.qrels", f"qrels.{name}.txt", f"qrels.{name}")
    return (*named, "qrels", "qrels.txt") if name == "test" else named


def _only(folder: Path, names: Iterable[str]) -> Path | None:
    """The one of these files that is there, plain or .gz; UsageError where there are several."""
    found = [n for name in names for n in (name, f"{name}.gz") if (folder / n).is_file()]
    if len(found) > 1:
        raise UsageError(f"{folder} holds both {found[0]} and {found[1]}; keep one")
    return folder / found[0] if found else None


def _required(folder: Path, names: Sequence[str], what: str) -> Path:
    found = _only(folder, names)
    if found is None:
        inside = sorted(f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir())
        more = f" and {len(inside) - SHOWN_FILES} more" if len(inside) > SHOWN_FILES else ""
        shown = ", ".join(inside[:SHOWN_FILES]) or "nothing"
        raise UsageError(f"{folder} holds no {what}; a collection is {LAYOUTS}; there: {shown}{more}")
    return found


def _pools(folder: Path, candidates: str) -> dict[str, list[str]]:
    run = read_run(folder / Path(candidates).expanduser())
    return {query: [document for document, _ in ranked] for query, ranked in run.items()}

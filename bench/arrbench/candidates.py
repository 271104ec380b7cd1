"""Candidates from a run: any retrieval task becomes one of reranking what a first stage found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from arrbench import spec
from arrbench.choosing import choose
from arrbench.errors import UsageError
from arrbench.ranker import Query
from arrbench.record import Record
from arrbench.store import Store
from arrbench.task import SPLITS, Setting, Split, SplitName, Task
from arrbench.tasks import collection_notes as notes
from arrbench.tasks.pools import pool
from arrbench.trec import read_run

RUN = "run.trec.gz"


class Candidates(Task):
    """A task whose queries have the documents of a run as their candidates.

    A test query that the run does not know has none, so it counts 0; a train or dev query without one
    is left to search the whole corpus. Excluded documents are no candidates, nor are those
    that the corpus lacks, which are counted. The order of candidates is a hash's: the run's own would tell
    how the first stage ranked.

    Raises UsageError where the run knows no test query, or none of their documents is in the corpus.
    """

    def __init__(self, task: Task, run: Mapping[str, Sequence[str]], source: str) -> None:
        super().__init__(task.options, task.source)
        outside: list[str] = []
        self._splits = {name: _split(task.split(name), name, run, outside) for name in SPLITS}
        test = self._splits["test"]
        _refuse_empty(test, run, source)
        self.facts = {
            **task.facts,
            "candidates_per_query": sum(len(q.candidates or ()) for q in test.queries) / len(test.queries),
            "candidates_not_in_corpus": len(outside),
            "test_queries_without_candidates": sum(not q.candidates for q in test.queries),
        }
        lost = set(outside)
        alike = notes.same_when_normalised(lost, test.corpus.ids, "candidates that the corpus lacks")
        self.notes = (*task.notes, *notes.candidates_outside(len(outside)), *alike)
        self.warnings = (*task.warnings, *alike)

    @property
    def setting(self) -> Setting:
        return "rerank"

    def split(self, name: SplitName) -> Split:
        return self._splits[name]


def read_candidates(word: str, task: Task, runs: Store, limit: int | None) -> dict[str, list[str]]:
    """Query id -> document ids of a TREC run file, or of a ranker's own record on this task.

    Raises UsageError where the task gives candidates already, and where `word` is no file and no
    ranker, or a ranker without a record in `runs`.
    """
    if task.setting == "rerank":
        raise UsageError(f"--candidates {word}: the task gives each query its candidates already")
    path = Path(spec.recordable(word))
    if path.is_dir() or not path.exists():
        if path.suffix in (".trec", ".gz", ".run", ".txt") or path.parent != Path():
            raise UsageError(f"--candidates {word}: no such file")
        path = runs.path(_record(word, task, runs, limit).key) / RUN
    return {query: [document for document, _ in found] for query, found in read_run(path).items()}


def _record(word: str, task: Task, runs: Store, limit: int | None) -> Record:
    """The ranker's record on this task with the least seed, of several the newest."""
    choice = choose(word)
    fingerprint = task.fingerprint()
    fits = [
        r
        for r in runs.all()
        if r.status == "ok"
        and choice.made(r)
        and (r.fingerprint, r.candidates) == (fingerprint, None)
        and r.limit in (None, limit)
    ]
    if not fits:
        left_out = "".join(f"; {fault}" for fault in runs.faults.values())
        raise UsageError(
            f"--candidates {word}: {runs.folder} holds no record of ranker {choice.label!r} on this task; "
            f"run it first, or name a TREC run file{left_out}"
        )
    return min(reversed(fits), key=lambda r: r.seed)


def _split(split: Split, name: SplitName, run: Mapping[str, Sequence[str]], outside: list[str]) -> Split:
    """The split with its candidates; those that the corpus lacks are added to `outside`."""
    return replace(split, queries=tuple(_query(q, name, split, run, outside) for q in split.queries))


def _query(
    query: Query, name: SplitName, split: Split, run: Mapping[str, Sequence[str]], outside: list[str]
) -> Query:
    if query.id not in run:
        return replace(query, candidates=()) if name == "test" else query
    candidates, lost = pool(query.id, run[query.id], split.corpus, query.excluded)
    outside += lost
    return replace(query, candidates=candidates) if candidates or name == "test" else query


def _refuse_empty(test: Split, run: Mapping[str, Sequence[str]], source: str) -> None:
    if any(q.candidates for q in test.queries):
        return
    named = [d for q in test.queries for d in run.get(q.id, ())]
    if not named:
        raise UsageError(
            f"--candidates {source}: none of the task's {len(test.queries)} test queries is in it"
        )
    raise UsageError(
        f"--candidates {source}: no document that it gives to test queries ({len(named)}, such as "
        f"{named[0]!r}) is in the corpus"
    )

"""The files through which a trial's process gets its data: all a ranker may see, and no more.

Written by the parent, read by the worker: corpus and judged train and dev queries. The test queries are a
file apart, which a worker gets once it has nothing left to do but be timed; their judgments stay with
the parent. Plain JSON lines.

All that has an order is written in the order of a hash of ids, whatever order the task gave: documents,
queries, and a query's candidates and judged documents. So a position tells nothing, and a ranker that
breaks ties by position, as sorting or an index of embeddings does, has the same figures however a file's
lines are permuted, and favours no document for where it stands or for how its id looks. Candidates stand
in the order in which the harness breaks ties; documents that are cut off at a tie in the corpus are
cut off by one order for all queries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arrbench.ranker import Corpus, Document, Query
from arrbench.task import Judgments, Split, SplitName, Task
from arrbench.ties import id_hash, tie_hash

QUERIES = "queries.jsonl"
FILES = (
    "corpus.jsonl",
    "train.jsonl",
    "train.gains.json",
    "dev.jsonl",
    "dev.gains.json",
)


def limited(split: Split, limit: int | None) -> Split:
    """The split's queries in the order of a hash of their ids, the first `limit` of them alone."""
    kept = sorted(split.queries, key=lambda q: hashlib.blake2b(q.id.encode()).digest())[:limit]
    grades = {q.id: split.judgments.grades.get(q.id, {}) for q in kept}
    return Split(tuple(kept), Judgments(grades, split.judgments.gains), split.corpus)


def write(folder: Path, task: Task, limit: int | None) -> None:
    """Write the inputs of every trial on this task: FILES, and QUERIES."""
    folder.mkdir(parents=True)
    test = limited(task.split("test"), limit)
    _write_corpus(folder, test.corpus)
    _write_lines(folder / QUERIES, map(_query, test.queries))
    for name in ("train", "dev"):
        _write_split(folder, name, limited(task.split(name), limit))


@dataclass(frozen=True, slots=True)
class Given:
    """What a trial is given before it is timed."""

    corpus: Corpus
    train: Split
    dev: Split


def read(lines: Callable[[str], Iterable[bytes]]) -> Given:
    """What `write` wrote; `lines` gives a file's lines and is asked once a file, in the order of FILES."""
    corpus = Corpus(Document(**json.loads(line)) for line in lines("corpus.jsonl"))
    train, dev = (_read_split(lines, name, corpus) for name in ("train", "dev"))
    return Given(corpus, train, dev)


def read_queries(lines: Iterable[bytes]) -> list[Query]:
    """The test queries out of the lines of QUERIES."""
    return [_as_query(json.loads(line)) for line in lines]


def _read_split(lines: Callable[[str], Iterable[bytes]], name: str, corpus: Corpus) -> Split:
    queries: list[Query] = []
    grades: dict[str, dict[str, int]] = {}
    for line in map(json.loads, lines(f"{name}.jsonl")):
        grades[line["id"]] = line.pop("grades")
        queries.append(_as_query(line))
    gains = json.loads(b"".join(lines(f"{name}.gains.json")))
    return Split(tuple(queries), Judgments(grades, None if gains is None else dict(gains)), corpus)


def _write_corpus(folder: Path, corpus: Corpus) -> None:
    in_order = sorted(corpus, key=lambda d: id_hash(d.id))
    documents = ({"id": d.id, "title": d.title, "text": d.text} for d in in_order)
    _write_lines(folder / "corpus.jsonl", documents)


def _write_split(folder: Path, name: SplitName, split: Split) -> None:
    """Without judgments of documents that the corpus lacks: nobody can rank those, or learn from them."""
    judged = ({**_query(q), "grades": _grades(q, split)} for q in split.queries)
    _write_lines(folder / f"{name}.jsonl", judged)
    gains = None if split.judgments.gains is None else sorted(split.judgments.gains.items())
    (folder / f"{name}.gains.json").write_text(json.dumps(gains), encoding="utf-8")


def _query(q: Query) -> dict[str, object]:
    candidates = None if q.candidates is None else sorted(q.candidates, key=lambda d: tie_hash(q.id, d))
    return {"id": q.id, "text": q.text, "candidates": candidates, "excluded": sorted(q.excluded)}


def _grades(q: Query, split: Split) -> dict[str, int]:
    grades = split.judgments.grades.get(q.id, {})
    inside = (d for d in grades if d in split.corpus.positions)
    return {d: grades[d] for d in sorted(inside, key=lambda d: tie_hash(q.id, d))}


def _exported(q: Query) -> dict[str, object]:
    line: dict[str, object] = {"id": q.id, "text": q.text}
    return {**line, "excluded": sorted(q.excluded)} if q.excluded else line


def _as_query(line: dict[str, Any]) -> Query:
    candidates = None if line["candidates"] is None else tuple(line["candidates"])
    return Query(line["id"], line["text"], candidates, frozenset(line["excluded"]))


def _write_lines(file: Path, lines: Iterable[object]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_export(folder: Path, test: Split) -> None:
    """Corpus and queries as JSON lines; candidates (any order, score 0) and gains in TREC's formats.

    A query's `excluded` documents stand in its line where it has any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_corpus(folder, test.corpus)
    _write_lines(folder / "queries.jsonl", map(_exported, test.queries))
    with (folder / "test.qrels").open("w", encoding="utf-8") as qrels:
        for q in test.queries:
            for document in sorted(test.judgments.grades.get(q.id, {})):
                qrels.write(f"{q.id} 0 {document} {test.judgments.gain(q.id, document)}\n")
    if any(q.candidates is not None for q in test.queries):
        with (folder / "candidates.trec").open("w", encoding="utf-8") as run:
            for q in test.queries:
                for rank, document in enumerate(q.candidates or (), start=1):
                    run.write(f"{q.id} Q0 {document} {rank} 0 candidates\n")

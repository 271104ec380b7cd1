"""What trials read is in an order that tells nothing, and the parent's test split in the same one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from arrbench import exchange
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Document, Query
from arrbench.task import DataSource, Judgments, Setting, Split, SplitName, Task

DOCUMENTS = [f"d{i:02}" for i in range(40)]
QUERIES = [f"q{i:02}" for i in range(30)]


class Shuffled(Task):
    """One content, in an order drawn from a seed."""

    setting: Setting = "rerank"

    def __init__(self, seed: int | None) -> None:
        super().__init__(BaseOptions(), DataSource(None, Path()))
        self.seed = seed

    def _mixed(self, ids: list[str]) -> list[str]:
        return ids if self.seed is None else random.Random(self.seed).sample(ids, len(ids))

    def split(self, name: SplitName) -> Split:
        corpus = Corpus(Document(d, d, d) for d in self._mixed(DOCUMENTS))
        queries = tuple(
            Query(f"{name}-{q}", q, tuple(self._mixed(DOCUMENTS)), frozenset(self._mixed(DOCUMENTS[:3])))
            for q in self._mixed(QUERIES)
        )
        return Split(
            queries, Judgments({q.id: dict.fromkeys(self._mixed(DOCUMENTS), 1) for q in queries}), corpus
        )


def written(folder: Path, task: Task, limit: int | None) -> dict[str, bytes]:
    exchange.write(folder, task, limit)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def given(folder: Path, task: Task, limit: int | None = None) -> tuple[exchange.Given, list[Query]]:
    """What a worker reads of a task."""
    files = written(folder, task, limit)
    read = exchange.read(lambda name: files[name].splitlines())
    return read, exchange.read_queries(files[exchange.QUERIES].splitlines())


@pytest.mark.parametrize("limit", [None, 7])
def test_the_files_are_the_same_whatever_order_a_task_has(tmp_path: Path, limit: int | None) -> None:
    sorted_first = written(tmp_path / "sorted", Shuffled(None), limit)
    for seed in range(3):
        assert written(tmp_path / str(seed), Shuffled(seed), limit) == sorted_first


def test_no_order_is_that_of_ids_and_each_query_has_one_of_its_own(tmp_path: Path) -> None:
    read, _ = given(tmp_path / "inputs", Shuffled(None))
    corpus, train = read.corpus, read.train
    grades = [list(train.judgments.grades[q.id]) for q in train.queries]
    orders = [list(corpus.ids), [q.id for q in train.queries], *grades]
    assert all(order != sorted(order) for order in orders)
    assert len({q.candidates for q in train.queries}) == len(QUERIES)
    assert len(set(map(tuple, grades))) == len(QUERIES)


@pytest.mark.parametrize("limit", [None, 7])
def test_the_parent_s_test_queries_stand_as_the_worker_s(tmp_path: Path, limit: int | None) -> None:
    task = Shuffled(5)
    _, queries = given(tmp_path / "inputs", task, limit)
    assert [q.id for q in queries] == [q.id for q in exchange.limited(task.split("test"), limit).queries]
    assert len(queries) == (limit or len(QUERIES))


def test_what_is_excluded_is_no_candidate_and_has_no_judgment(tmp_path: Path) -> None:
    exchange.write_export(tmp_path / "export", exchange.limited(Shuffled(None).split("test"), None))
    for name in ("test.qrels", "candidates.trec"):
        documents = {line.split()[2] for line in (tmp_path / "export" / name).read_text().splitlines()}
        assert documents == set(DOCUMENTS[3:])
    dev = given(tmp_path / "inputs", Shuffled(None))[0].dev
    for query in dev.queries:
        assert set(query.candidates or ()) == set(dev.judgments.ranked(query.id)) == set(DOCUMENTS[3:])

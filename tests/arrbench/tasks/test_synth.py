"""The made-up collection: the same everywhere, lawful, without leaks, and the same as files."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from arrbench.errors import UsageError
from arrbench.task import SPLITS, DataSource
from arrbench.tasks.synth import SynthOptions, SynthTask, write
from arrbench.tasks.synth_text import CHUNK, Synth


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SynthTask:
    return SynthTask(SynthOptions(docs=3000, vocabulary=5000), DataSource(None, tmp_path_factory.mktemp("c")))


def test_one_seed_gives_one_collection_and_another_seed_another(task: SynthTask) -> None:
    again = SynthTask(task.options, task.source)
    assert again.fingerprint() == task.fingerprint()
    other = SynthTask(SynthOptions(docs=3000, vocabulary=5000, seed=2), task.source)
    assert other.fingerprint() != task.fingerprint()
    test = task.split("test")
    assert len(test.corpus) == 3000
    assert len({d.id for d in test.corpus}) == 3000
    assert all(len(d.text.split()) == 24 and d.text.startswith(d.title) for d in test.corpus)


def test_no_two_words_are_spelt_alike() -> None:
    spelling = Synth(30, 24, 20_000, 1).spelling
    assert len(set(spelling)) == 20_000
    assert min(map(len, spelling)) == 4


def test_documents_beyond_a_chunk_are_drawn_alike_whatever_stands_before() -> None:
    law = Synth(CHUNK + 40, 10, 1000, 3)
    assert law.topics == (CHUNK + 40) // 10
    texts = list(law.texts())
    assert [d.id for d in texts[-2:]] == [f"d{CHUNK + 38}", f"d{CHUNK + 39}"]
    assert list(islice(law.texts(), 5)) == texts[:5]


def test_word_frequencies_fall_as_zipf_s_law_has_them() -> None:
    law = Synth(20_000, 40, 1000, 1)
    counts = Counter(word for d in law.texts() for word in d.text.split()[4:])
    first, fifth, hundredth = (counts[law.spelling[rank]] for rank in (0, 4, 99))
    # shares are 1 / (rank + 2.7), ranks from 0; topics prefer no word before rank 1000 ** .3 = 7.9
    assert first / fifth == pytest.approx((4 + 2.7) / 2.7, rel=0.05)
    assert fifth > hundredth


def test_splits_share_no_topic_and_each_query_s_source_has_the_best_grade(task: SynthTask) -> None:
    seen: set[str] = set()
    for name in SPLITS:
        split = task.split(name)
        assert split.queries
        for q in split.queries:
            grades = split.judgments.grades[q.id]
            assert sorted(grades.values()) == [1] * 9 + [2]
            assert not seen & grades.keys()
            seen |= grades.keys()
            (source,) = (d for d, grade in grades.items() if grade == 2)
            assert q.text.split()[3] in split.corpus.by_id(source).text.split()


def test_few_documents_have_few_queries(tmp_path: Path) -> None:
    task = SynthTask(SynthOptions(docs=30), DataSource(None, tmp_path))
    assert [len(task.split(name).queries) for name in SPLITS] == [1, 1, 1]


def test_the_files_hold_what_the_task_holds(task: SynthTask, tmp_path: Path) -> None:
    write(task.options, tmp_path / "synth")
    lines = [json.loads(line) for line in (tmp_path / "synth/corpus.jsonl").open()]
    assert [(d["_id"], d["title"], f"{d['title']} {d['text']}") for d in lines] == [
        (d.id, d.title, d.text) for d in task.split("test").corpus
    ]
    qrels = [line.split("\t") for line in (tmp_path / "synth/qrels/test.tsv").read_text().splitlines()[1:]]
    found: dict[str, dict[str, int]] = {}
    for query, document, grade in qrels:
        found.setdefault(query, {})[document] = int(grade)
    assert found == task.split("test").judgments.grades
    with pytest.raises(UsageError, match="not empty"):
        write(task.options, tmp_path / "synth")


@pytest.mark.slow
def test_written_files_are_a_task_of_their_own_with_the_same_figures(arrbench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "synth"
    assert arrbench("data", "synth", folder, "--docs", 300, "--seed", 7).status == 0
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--out", tmp_path / "runs", "--json")
    ours = arrbench(*words, "--task", "synth:docs=300:seed=7").rows()
    theirs = arrbench(*words, "--task", f"folder:path={folder}").rows()
    figures = [{row["label"]: row["metrics"]["ndcg@10"] for row in rows} for rows in (ours, theirs)]
    assert figures[0]["bm25"] == figures[1]["bm25"] > 0.3
    assert figures[0]["random"] < 0.2

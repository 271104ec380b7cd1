"""Collections of ir_datasets, here one that is registered locally: nothing is downloaded."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ir_datasets
import pytest

from arrbench.errors import UsageError
from arrbench.task import SPLITS, DataSource
from arrbench.tasks.folder import Folder
from arrbench.tasks.irds import Irds

REGISTERS = Path(__file__).parents[2] / "distributions" / "collections" / "sitecustomize.py"
WORDS = ("red", "green", "blue", "black", "white")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The collection's files, registered with ir_datasets in this process and in those it starts."""
    folder = tmp_path_factory.mktemp("made")
    documents = ({"doc_id": f"d{i}", "title": w, "text": f"{w} paint"} for i, w in enumerate(WORDS))
    (folder / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    for name, n in (("test", 3), ("train", 4)):
        queries = "".join(f"{name}{i}\t{WORDS[i]} paint\n" for i in range(n))
        (folder / f"{name}.tsv").write_text(queries)
        (folder / f"{name}.qrels").write_text("".join(f"{name}{i} 0 d{i} {i + 1}\n" for i in range(n)))
        (folder / f"{name}.run").write_text("".join(f"{name}{i} Q0 d{i} 1 2 t\n" for i in range(n - 1)))
    with (folder / "test.qrels").open("a") as qrels:
        qrels.write("test0 1 d0 3\ntest0 2 d0 2\ntest0 0 d4 -2\n")
    (folder / "own.tsv").write_text("d1\tpaint\nq\twhite\n")
    (folder / "own.qrels").write_text("d1 0 d0 1\nd1 0 gone 1\nq 0 gone 2\n")
    (folder / "own.run").write_text("q Q0 d1 1 1 t\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MADE_COLLECTION", str(folder))
        patch.setenv("IR_DATASETS_HOME", str(folder / "home"))
        runpy.run_path(str(REGISTERS))
        yield folder


def build(folder: Path, offline: bool = False, **options: str) -> Irds:
    return Irds(Irds.Options(**options), DataSource(None, folder, offline))


def test_a_collection_with_its_texts_and_grades(made: Path) -> None:
    task = build(made, id="made/test")
    split = task.split("test")
    assert task.setting == "retrieve"
    assert [q.text for q in split.queries] == ["red paint", "green paint", "blue paint"]
    assert split.corpus.by_id("d0").title == "red"
    assert split.corpus.by_id("d0").text == "red red paint"
    assert split.judgments.grades == {"test0": {"d0": 3, "d4": 0}, "test1": {"d1": 2}, "test2": {"d2": 3}}
    assert task.facts["negative_grades"] == 1
    assert task.split("train").queries == task.split("dev").queries == ()


def test_training_queries_come_by_their_own_id(made: Path) -> None:
    task = build(made, id="made/test", train="made/train")
    assert [len(task.split(name).queries) for name in SPLITS] == [3, 1, 3]
    with pytest.raises(UsageError, match="3 of the 3 test queries are train queries too, such as 'test0'"):
        build(made, id="made/test", train="made/test")


def test_scoreddocs_are_candidates_to_rerank(made: Path) -> None:
    task = build(made, id="made/test", candidates="scoreddocs")
    assert task.setting == "rerank"
    assert [q.candidates for q in task.split("test").queries] == [("d0",), ("d1",), ()]
    assert task.facts["test_queries_without_candidates"] == 1
    with pytest.raises(UsageError, match="'made/far' of ir_datasets has no scoreddocs"):
        build(made, id="made/far", candidates="scoreddocs")


def test_the_same_files_as_a_folder_are_the_same_task(made: Path, tmp_path: Path) -> None:
    documents = [json.loads(line) for line in (made / "docs.jsonl").read_text().splitlines()]
    rows = "".join(f"{d['doc_id']}\t{d['title']}\t{d['text']}\n" for d in documents)
    (tmp_path / "corpus.tsv").write_text(rows)
    (tmp_path / "topics.tsv").write_text((made / "test.tsv").read_text())
    judged = "test0 0 d0 3\ntest0 0 d4 -2\ntest1 0 d1 2\ntest2 0 d2 3\n"
    (tmp_path / "test.qrels").write_text(judged)
    folder = Folder(Folder.Options(path=str(tmp_path)), DataSource(None, tmp_path))
    assert folder.fingerprint() == build(made, id="made/test").fingerprint()


def test_a_query_that_is_a_document_excludes_itself(made: Path) -> None:
    assert not any(q.excluded for q in build(made, id="made/own").split("test").queries)  # d1's text differs
    task = build(made, id="made/own", exclude_self="yes")
    assert [(q.id, q.excluded) for q in task.split("test").queries] == [("d1", {"d1"}), ("q", set())]
    assert task.notes[0].endswith("not ranked for them: 1 of 2")


def test_judgments_of_missing_documents_stay_in_the_ideal_unless_dropped(made: Path) -> None:
    task = build(made, id="made/own")
    assert task.split("test").judgments.grades == {"d1": {"d0": 1, "gone": 1}, "q": {"gone": 2}}
    assert task.facts["test_judgments_of_missing_documents"] == 2
    assert any("documents the corpus lacks: 2; " in note for note in task.notes)
    dropped = build(made, id="made/own", missing="drop")
    assert dropped.split("test").judgments.grades == {"d1": {"d0": 1}}


def test_a_document_told_twice_counts_once_unless_its_texts_differ(made: Path) -> None:
    assert build(made, id="made/test").facts["documents_repeated"] == 0
    text = (made / "docs.jsonl").read_text()
    first = text.splitlines()[0]
    try:
        (made / "docs.jsonl").write_text(f"{text}{first}\n")
        assert build(made, id="made/test").facts["documents_repeated"] == 1
        (made / "docs.jsonl").write_text(text + first.replace("red paint", "other paint") + "\n")
        with pytest.raises(UsageError, match=r"made/test:6: document id 'd0' occurs twice, with two texts"):
            build(made, id="made/test")
    finally:
        (made / "docs.jsonl").write_text(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs the option id"),
        ({"id": "made/tset"}, r"knows no 'made/tset' \(test\); nearest: made/test"),
        ({"id": "made/test", "train": "made/trian"}, r"knows no 'made/trian' \(train\); nearest: made/train"),
        ({"id": "made"}, r"'made' of ir_datasets \(test\) has no queries and no qrels; below it: made/test"),
    ],
)
def test_an_id_that_will_not_do_gets_the_nearest(made: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build(made, **options)


def test_offline_nothing_is_downloaded(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> None:
        raise AssertionError("reached for the network")

    monkeypatch.setattr("requests.get", reached)
    with pytest.raises(UsageError, match=r"read 'made/far': .*not on this machine; --offline forbids"):
        build(made, offline=True, id="made/far")
    assert build(made, offline=True, id="made/test").facts["queries_test"] == 3
    assert ir_datasets.lazy_libs.requests().get is reached


def test_a_download_that_fails_is_one_clear_line(made: Path) -> None:
    with pytest.raises(UsageError, match=r"could not read 'made/far': ConnectionError: .*127\.0\.0\.1"):
        build(made, id="made/far")


def test_a_file_that_breaks_off_names_the_collection(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (made / "test.qrels").read_text()
    (made / "test.qrels").write_text(text + "test1 0\n")
    try:
        with pytest.raises(UsageError, match="could not read 'made/test': RuntimeError: expected 4 columns"):
            build(made, id="made/test")
    finally:
        (made / "test.qrels").write_text(text)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(UsageError, match=r"pip install \"arrbench\[irds\]\""):
        build(tmp_path, id="beir/scifact/test")


def test_a_run_on_a_collection_from_the_command_line(arrbench: Any, made: Path, tmp_path: Path) -> None:
    words = (
        "run",
        "--rankers",
        "random",
        "--task",
        "irds:id=made/test",
        "--device",
        "cpu",
        "--out",
        tmp_path,
    )
    row = arrbench(*words, "--json", distributions=("collections",)).rows()[-1]
    assert (row["status"], row["n_queries"], row["n_documents"]) == ("ok", 3, 5)
    assert row["task_label"] == "irds:id=made/test"
    assert row["licence"].startswith("the collection's own")

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from arrbench import exchange
from arrbench.errors import UsageError
from arrbench.task import SPLITS, DataSource
from arrbench.tasks.folder import Folder

TITLES = ("Red apple", "Green frog", "", "Über snow")
TEXTS = ("grows on trees", "sits in ponds", "no title here", "falls — white")
TEST = {"q0": {"d0": 2, "d1": 0}, "q1": {"d1": 1}, "q2": {"d3": 1, "d2": 1}}
TRAIN = {f"t{i}": {f"d{i % 4}": 1} for i in range(30)}
QUERIES = {q: f"words of {q}" for q in (*TEST, *TRAIN, "unjudged")}


def build(folder: Path, **options: str) -> Folder:
    return Folder(Folder.Options(path=str(folder), **options), DataSource(None, folder))


def lines(file: Path, rows: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row}\n" for row in rows)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")


def judgments(grades: dict[str, dict[str, int]], row: str) -> list[str]:
    return [row.format(q=q, d=d, g=g) for q, documents in grades.items() for d, g in documents.items()]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    documents = enumerate(zip(TITLES, TEXTS, strict=True))
    corpus = [json.dumps({"_id": f"d{i}", "title": t, "text": x, "metadata": {}}) for i, (t, x) in documents]
    lines(folder / "corpus.jsonl", corpus)
    lines(folder / "queries.jsonl", [json.dumps({"_id": q, "text": t}) for q, t in QUERIES.items()])
    for name, grades in (("test", TEST), ("train", TRAIN)):
        header = ["query-id\tcorpus-id\tscore"]
        lines(folder / "qrels" / f"{name}.tsv", header + judgments(grades, "{q}\t{d}\t{g}"))
    return folder


@pytest.fixture
def trec(tmp_path: Path) -> Path:
    folder = tmp_path / "trec"
    documents = enumerate(zip(TITLES, TEXTS, strict=True))
    lines(folder / "documents.tsv.gz", [f"d{i}\t{title}\t{text}" for i, (title, text) in documents])
    lines(folder / "topics.tsv", [f"{q}\t{text}" for q, text in QUERIES.items()])
    lines(folder / "qrels", judgments(TEST, "{q} 0 {d} {g}"))
    lines(folder / "qrels.train.txt.gz", judgments(TRAIN, "{q} 0 {d} {g}"))
    return folder


def test_both_layouts_are_the_same_task(beir: Path, trec: Path) -> None:
    one, other = build(beir), build(trec)
    assert one.fingerprint() == other.fingerprint()
    assert one.facts == other.facts
    assert one.setting == "retrieve"
    split = one.split("test")
    assert [q.id for q in split.queries] == list(TEST)
    assert split.judgments.grades == TEST
    assert split.corpus.by_id("d0").title == "Red apple"
    assert split.corpus.by_id("d0").text == "Red apple grows on trees"
    assert split.corpus.by_id("d2").text == "no title here"
    assert one.facts["queries_without_judgments"] == 1


def test_without_a_dev_split_a_tenth_of_train_is_held_out(beir: Path) -> None:
    task = build(beir)
    train, dev, _ = (task.split(name) for name in SPLITS)
    assert len(train.queries) == 27
    assert len(dev.queries) == task.facts["dev_queries_held_out_of_train"] == 3
    assert {q.id for q in (*train.queries, *dev.queries)} == set(TRAIN)
    lines(beir / "qrels" / "dev.tsv", ["query-id\tcorpus-id\tscore", "unjudged\td0\t1"])
    task = build(beir)
    assert [q.id for q in task.split("dev").queries] == ["unjudged"]
    assert len(task.split("train").queries) == 30


def test_without_training_judgments_both_are_empty(beir: Path) -> None:
    (beir / "qrels" / "train.tsv").unlink()
    task = build(beir)
    assert task.split("train").queries == task.split("dev").queries == ()
    assert task.facts["queries_without_judgments"] == 31


def test_what_export_writes_is_the_same_test_split(beir: Path, tmp_path: Path) -> None:
    (beir / "qrels" / "train.tsv").unlink()
    lines(beir / "run.trec", judgments(TEST, "{q} Q0 {d} 1 0 t"))
    task = build(beir, candidates="run.trec")
    exchange.write_export(tmp_path / "out", task.split("test"))
    again = build(tmp_path / "out", candidates="candidates.trec")
    assert again.fingerprint() == task.fingerprint()
    assert build(tmp_path / "out").setting == "retrieve"


def test_judgments_that_fit_nothing_are_dropped_and_counted(beir: Path) -> None:
    odd = ["q0\td0\t-1", "q0\tgone\t1", "q1\tgone\t3", "q2\td1\t1", "nobody\td1\t1"]
    lines(beir / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *odd])
    task = build(beir)
    assert task.split("test").judgments.grades == {"q0": {"d0": 0}, "q2": {"d1": 1}}
    counts = {
        "negative_grades": 1,
        "judgments_of_missing_documents": 2,
        "queries_with_missing_documents_only": 1,
        "judged_queries_without_text": 1,
        "queries_test": 2,
    }
    assert {name: task.facts[name] for name in counts} == counts


def test_a_run_makes_it_a_task_to_rerank(beir: Path, tmp_path: Path) -> None:
    run = ["q0 Q0 d1 1 9 t", "q0 Q0 d0 2 8 t", "q0 Q0 gone 3 7 t", "t3 Q0 d2 1 1 t", "q1 Q0 d1 1 1 t"]
    lines(tmp_path / "first.trec.gz", run)
    inside, outside = beir / "first.trec.gz", tmp_path / "first.trec.gz"
    inside.write_bytes(outside.read_bytes())
    task = build(beir, candidates="first.trec.gz")
    assert task.setting == "rerank"
    assert task.fingerprint() == build(beir, candidates=str(outside)).fingerprint()
    pools = {q.id: q.candidates for q in task.split("test").queries}
    assert set(pools["q0"] or ()) == {"d0", "d1"}
    assert (pools["q1"], pools["q2"]) == (("d1",), ())
    assert task.facts["candidates_not_in_corpus"] == 1
    assert task.facts["test_queries_without_candidates"] == 1
    train = {q.id: q.candidates for q in task.split("train").queries}
    assert all(pool is None for q, pool in train.items() if q != "t3")
    lines(inside, ["t3 Q0 d2 1 1 t"])
    with pytest.raises(UsageError, match="none of the 3 test queries has candidates"):
        build(beir, candidates="first.trec.gz")


def test_the_order_of_candidates_tells_nothing_of_their_run(beir: Path) -> None:
    orders = []
    for ranks in ((1, 2, 3, 4), (4, 3, 2, 1)):
        lines(beir / "run", [f"q0 Q0 d{i} {r} {-r} t" for i, r in enumerate(ranks)])
        orders.append(build(beir, candidates="run").split("test").queries[0].candidates)
    assert orders[0] == orders[1]


def test_a_query_of_two_splits_is_refused_by_name(beir: Path) -> None:
    lines(beir / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", "q1\td1\t1", "t1\td1\t1"])
    with pytest.raises(UsageError, match=r"1 of the 3 test queries are train queries too, such as 'q1'"):
        build(beir)


def test_facts_name_no_folder(beir: Path) -> None:
    assert str(beir.parent) not in json.dumps(build(beir).facts)


@pytest.mark.parametrize(
    ("file", "row", "says"),
    [
        ("corpus.jsonl", "{", r"corpus\.jsonl:5: not JSON"),
        ("corpus.jsonl", "[1]", r"corpus\.jsonl:5: a JSON list; each line is one object"),
        ("corpus.jsonl", '{"_id": "d9", "title": ""}', r"corpus\.jsonl:5: no 'text'; keys there: '_id'"),
        (
            "corpus.jsonl",
            '{"name": "d9", "text": ""}',
            r"corpus\.jsonl:5: no '_id' or 'id'; keys there",
        ),
        ("corpus.jsonl", '{"_id": 9, "text": ""}', r"corpus\.jsonl:5: '_id' is 9, not a string"),
        ("corpus.jsonl", '{"_id": "a b", "text": ""}', r"corpus\.jsonl:5: id 'a b' .*white space"),
        ("corpus.jsonl", '{"_id": "d0", "text": ""}', r"corpus\.jsonl:5: document id 'd0' occurs twice"),
        ("corpus.jsonl", '{"_id": "d9", "text": "\\ud83d"}', r"corpus\.jsonl:5: 'text' holds half a surr"),
        ("queries.jsonl", '{"_id": "q0", "text": ""}', r"queries\.jsonl:35: query id 'q0' occurs twice"),
        ("qrels/test.tsv", "q0 d0", r"test\.tsv:7: 2 columns where 3 belong"),
    ],
)
def test_a_malformed_line_is_refused_with_its_place(beir: Path, file: str, row: str, says: str) -> None:
    with (beir / file).open("a", encoding="utf-8") as out:
        out.write(row + "\n")
    with pytest.raises(UsageError, match=says):
        build(beir)


@pytest.mark.parametrize(
    ("file", "row", "says"),
    [
        ("documents.tsv", "d9", r"documents\.tsv:1: 1 columns; a document is id<TAB>text"),
        ("documents.tsv", "a\tb\tc\td", r"documents\.tsv:1: 4 columns"),
        ("topics.tsv", "<top>", r"topics\.tsv:1: 1 columns; a query is id<TAB>text"),
    ],
)
def test_malformed_tsv_is_refused_with_its_place(trec: Path, file: str, row: str, says: str) -> None:
    (trec / "documents.tsv.gz").rename(trec / "documents.tsv")
    lines(trec / file, [row])
    with pytest.raises(UsageError, match=says):
        build(trec)


def test_a_folder_of_no_known_layout_is_told_both(tmp_path: Path) -> None:
    lines(tmp_path / "docs.csv", ["a"])
    with pytest.raises(UsageError, match=r"no documents; .*BEIR.*TREC.*there: docs\.csv"):
        build(tmp_path)


def test_two_files_of_one_part_are_refused(beir: Path) -> None:
    lines(beir / "corpus.jsonl.gz", [])
    with pytest.raises(UsageError, match=r"holds both corpus\.jsonl and corpus\.jsonl\.gz; keep one"):
        build(beir)


def test_judgments_of_another_collection_are_refused(beir: Path) -> None:
    lines(beir / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "x\td0\t1", "q0\ty\t1"])
    with pytest.raises(UsageError, match="none of the 2 queries judged for test has both"):
        build(beir)


def test_the_folder_must_be_named_and_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the option path"):
        Folder(Folder.Options(), DataSource(None, tmp_path))
    with pytest.raises(UsageError, match=r"option path=.*nowhere.* is no folder"):
        build(tmp_path / "nowhere")

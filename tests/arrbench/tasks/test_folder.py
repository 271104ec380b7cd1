from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from arrbench import exchange
from arrbench.errors import UsageError
from arrbench.task import SPLITS, DataSource
from arrbench.tasks.folder import Folder

Form = Literal["NFC", "NFD"]

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


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_judgments_that_fit_nothing_are_counted_and_dropped_only_where_asked(
    beir: Path, missing: str
) -> None:
    odd = ["q0\td0\t-1", "q0\tgone\t1", "q1\tgone\t3", "q2\td1\t1", "nobody\td1\t1"]
    lines(beir / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *odd])
    task = build(beir, missing=missing)
    kept = {"q0": {"d0": 0, "gone": 1}, "q1": {"gone": 3}, "q2": {"d1": 1}}
    dropped = {"q0": {"d0": 0}, "q2": {"d1": 1}}
    test = task.split("test")
    assert test.judgments.grades == (kept if missing == "keep" else dropped)
    assert [q.id for q in test.queries] == list(test.judgments.grades)
    counts = {
        "negative_grades": 1,
        "judgments_of_missing_documents": 2,
        "queries_with_missing_documents_only": 1,
        "test_judgments_of_missing_documents": 2,
        "test_queries_with_missing_documents_only": 1,
        "judged_queries_without_text": 1,
        "queries_test": 3 if missing == "keep" else 2,
    }
    assert {name: task.facts[name] for name in counts} == counts
    lost, without_text = task.notes
    said = {
        "keep": "test judgments whose documents the corpus lacks: 2; .* have no others and count 0: 1 ",
        "drop": "missing=drop, which raises the figures: .* documents: 2; .* have no others: 1$",
    }
    assert re.match(said[missing], lost)
    assert without_text == "judged test queries left out, since they have no text: 1"


def test_what_nobody_can_rank_is_not_shown_to_rankers(beir: Path, tmp_path: Path) -> None:
    judged = ["t1\td0\t1", "t1\tgone\t1", "t2\tgone\t2", "t3\td1\t0"]
    lines(beir / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", *judged])
    lines(beir / "qrels" / "dev.tsv", ["query-id\tcorpus-id\tscore", "t4\td0\t1", "t4\tgone\t1"])
    task = build(beir)
    exchange.write(tmp_path / "inputs", task, None)
    given = exchange.read(lambda name: (tmp_path / "inputs" / name).read_bytes().splitlines())
    assert given.train.judgments.grades == {"t1": {"d0": 1}, "t2": {}, "t3": {"d1": 0}}
    assert given.dev.judgments.grades == {"t4": {"d0": 1}}


@pytest.mark.parametrize(
    ("corpus", "judged", "asked", "warned"),
    [
        ("NFC", "NFD", "NFD", "judged documents that the corpus lacks: 2 of 3 would be there"),
        ("NFD", "NFC", "NFC", "judged documents that the corpus lacks: 2 of 3 would be there"),
        ("NFC", "NFC", "NFD", "judged queries that have no text: 1 of 1 would be there"),
        ("NFC", "NFC", "NFC", None),
        ("NFD", "NFD", "NFD", None),
    ],
)
def test_ids_that_normalisation_would_match_are_told_and_not_matched(
    tmp_path: Path, corpus: Form, judged: Form, asked: Form, warned: str | None
) -> None:
    lines(tmp_path / "corpus.tsv", [normalize(corpus, f"{d}\twords") for d in ("café", "süß", "plain")])
    lines(tmp_path / "topics.tsv", [normalize(asked, f"{q}\twords") for q in ("één", "q2", "q3")])
    pairs = [("één", "café"), ("q2", "süß"), ("q2", "gone"), ("q3", "plain")]
    lines(tmp_path / "qrels", [normalize(judged, f"{q} 0 {d} 1") for q, d in pairs])
    task = build(tmp_path)
    told = [note for note in task.notes if "normalisation" in note]
    assert told == list(task.warnings)
    if warned is None:
        assert told == []
    else:
        assert len(told) == 1
        assert warned in told[0]
        assert told[0].isascii()  # so that the two forms look different
        assert task.facts["queries_test"] == (2 if asked != judged else 3)


def test_ids_that_are_all_in_another_form_are_refused_with_the_reason(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.tsv", [normalize("NFC", "café\twords")])
    lines(tmp_path / "topics.tsv", ["q\ttext"])
    lines(tmp_path / "qrels", [normalize("NFD", "q 0 café 1")])
    with pytest.raises(UsageError, match=r"none of the 1 queries .* after Unicode normalisation \(NFC\)"):
        build(tmp_path)


OWN = {  # document id -> title, text; each is a query's id, too
    "same": ("A title", "Some  text"),
    "whole": ("A title", "Some text"),
    "title": ("A title", "Some text"),
    "accents": ("", "un café"),
    "chance": ("A title", "Some text"),
    "wanted": ("", "Some text"),
    "empty": ("", "Some text"),
}
ASKED = {
    "same": "some text",
    "whole": "a title some text",
    "title": "A Title",
    "accents": normalize("NFD", "un café"),
    "chance": "another text",
    "wanted": "Some text",
    "empty": "",
    "other": "Some text",
}


@pytest.mark.parametrize(
    ("rule", "excluding"),
    [
        ("auto", {"same", "whole", "title", "accents"}),
        ("yes", set(OWN)),
        ("no", set()),
    ],
)
def test_a_query_that_is_a_document_excludes_itself(tmp_path: Path, rule: str, excluding: set[str]) -> None:
    corpus = [json.dumps({"_id": d, "title": t, "text": x}) for d, (t, x) in OWN.items()]
    lines(tmp_path / "corpus.jsonl", [*corpus, json.dumps({"_id": "d", "text": "x"})])
    queries = {**ASKED, **{f"t{i}": "x" for i in range(20)}}
    lines(tmp_path / "queries.jsonl", [json.dumps({"_id": q, "text": t}) for q, t in queries.items()])
    judged = {q: {"d": 1, **({q: 1} if q == "wanted" else {"chance": 1})} for q in ASKED}
    lines(tmp_path / "test.qrels", judgments(judged, "{q} 0 {d} {g}"))
    lines(tmp_path / "train.qrels", [f"t{i} 0 d 1" for i in range(20)])
    task = build(tmp_path, exclude_self=rule)
    assert {q.id for q in task.split("test").queries if q.excluded} == excluding
    assert all(q.excluded <= {q.id} for name in SPLITS for q in task.split(name).queries)
    assert task.facts["test_queries_that_are_documents"] == len(excluding)
    assert task.facts["test_queries_with_a_ranked_document_s_id"] == len(OWN) - len(excluding)
    said = " ".join(task.notes)
    assert (f"not ranked for them: {len(excluding)} of 8" in said) == bool(excluding)
    left = len(OWN) - len(excluding)
    assert bool(re.search(rf"with the id of a document that is ranked .*: {left} of 8", said)) == bool(left)


def test_queries_of_every_split_exclude_themselves_and_are_no_candidates(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.tsv", [*(f"q{i}\twords {i}" for i in range(30)), "d\tthe answer"])
    lines(tmp_path / "topics.tsv", [f"q{i}\twords {i}" for i in range(30)])
    lines(tmp_path / "qrels", [f"q{i} 0 d 1" for i in range(10)])
    lines(tmp_path / "qrels.train", [f"q{i} 0 d 1" for i in range(10, 30)])
    lines(
        tmp_path / "run",
        [f"q{i} Q0 {d} 1 1 t" for i in range(30) for d in (f"q{i}", "d", f"q{(i + 1) % 30}")],
    )
    for options in ({}, {"candidates": "run"}):
        task = build(tmp_path, **options)
        for name in SPLITS:
            queries = task.split(name).queries
            assert queries
            assert all(q.excluded == {q.id} for q in queries)
            assert all(q.candidates is None or q.id not in q.candidates for q in queries)
    plain = build(tmp_path, exclude_self="no")
    assert not any(q.excluded for name in SPLITS for q in plain.split(name).queries)
    assert plain.fingerprint() != build(tmp_path).fingerprint()


def test_documents_excluded_by_an_export_come_back_with_it(beir: Path, tmp_path: Path) -> None:
    split = build(beir).split("test")
    queries = (replace(split.queries[0], excluded=frozenset({"d2", "d3"})), *split.queries[1:])
    exchange.write_export(tmp_path / "out", replace(split, queries=queries))
    again = build(tmp_path / "out").split("test")
    assert [q.excluded for q in again.queries] == [{"d2", "d3"}, set(), set()]
    lines(beir / "queries.jsonl", ['{"_id": "q0", "text": "x", "excluded": "d1"}'])
    with pytest.raises(UsageError, match=r"queries\.jsonl:1: 'excluded' is 'd1', not a list"):
        build(beir)


def test_documents_and_queries_told_twice_count_once(beir: Path) -> None:
    before = build(beir)
    for name in ("corpus", "queries"):
        file = beir / f"{name}.jsonl"
        rows = file.read_text(encoding="utf-8").splitlines()
        lines(file, [rows[1], *rows, rows[0]])
    task = build(beir)
    assert task.fingerprint() == before.fingerprint()
    assert (task.facts["documents_repeated"], task.facts["queries_repeated"]) == (2, 2)
    assert (before.facts["documents_repeated"], before.facts["queries_repeated"]) == (0, 0)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_one_id_of_two_texts_is_refused_whatever_the_order(beir: Path, name: str) -> None:
    for rows in (('{"_id": "x", "text": "a"}', '{"_id": "x", "text": "b"}'),):
        for first, second in (rows, rows[::-1]):
            lines(beir / name, [first, first, second])
            with pytest.raises(UsageError, match=rf"{name}:3: .* id 'x' occurs twice, with two texts"):
                build(beir)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id\ttext", "{id}\t{text}"),
        ("docid\ttitle\ttext", "{id}\t\t{text}"),
        ("id\ttext\ttitle", "{id}\t{text}\t"),
        ("\ufeffPID\tPassage", "{id}\t{text}"),
    ],
)
def test_a_line_that_names_the_columns_is_no_document(tmp_path: Path, header: str, row: str) -> None:
    texts = {"1": "red paint", "2": "id"}
    lines(tmp_path / "corpus.tsv", [header, *(row.format(id=i, text=t) for i, t in texts.items())])
    lines(tmp_path / "topics.tsv", ["qid\tquery", "q\tred", "id\ttext"])
    lines(tmp_path / "qrels", ["q 0 1 1", "id 0 2 1"])
    test = build(tmp_path).split("test")
    assert {d.id: d.text for d in test.corpus} == texts
    assert {q.id: q.text for q in test.queries} == {"q": "red", "id": "text"}


def test_titles_stand_where_the_header_says(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.tsv", ["id\ttext\ttitle", "1\tgrows on trees\tRed apple"])
    lines(tmp_path / "topics.tsv", ["q\tred"])
    lines(tmp_path / "qrels", ["q 0 1 1"])
    document = build(tmp_path).split("test").corpus.by_id("1")
    assert (document.title, document.text) == ("Red apple", "Red apple grows on trees")


def test_an_empty_corpus_is_called_that(beir: Path) -> None:
    (beir / "corpus.jsonl").write_text("\n")
    with pytest.raises(UsageError, match="beir: the corpus is empty"):
        build(beir)


def test_without_test_judgments_those_for_dev_are_tested(beir: Path) -> None:
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "dev.tsv")
    task = build(beir)
    assert [q.id for q in task.split("test").queries] == list(TEST)
    assert task.notes[0] == "tested on the dev split, qrels/dev.tsv: there are no judgments for test"
    assert {q.id for name in ("train", "dev") for q in task.split(name).queries} == set(TRAIN)
    assert task.fingerprint() == build(beir, tested="dev").fingerprint()
    with pytest.raises(UsageError, match="holds no test judgments"):
        build(beir, tested="test")
    lines(beir / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "unjudged\td0\t1"])
    assert [q.id for q in build(beir).split("test").queries] == ["unjudged"]
    chosen = build(beir, tested="dev")
    assert [q.id for q in chosen.split("test").queries] == list(TEST)
    assert "tested=dev" in chosen.notes[0]


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

"""ESCI's two protocols on a made-up ESCI: pools, gains, splits, notes, and a run from the command line."""

import json
import re
from math import log2

import pytest

from arrbench import task_check
from arrbench.errors import UsageError
from arrbench.measure.quality import evaluate
from arrbench.ranker import Ranking
from arrbench.task import SPLITS, DataSource
from arrbench.tasks import esci_notes
from arrbench.tasks.esci import ESCI, ESCIRetrieve


def load(folder, cls=ESCI, **options):
    return cls(cls.Options(**options), DataSource(folder, cache=folder.parent / "cache"))


def by_id(split):
    return {query.id: query for query in split.queries}


def test_task_1_reranks_the_judged_products_of_the_small_version(made_up_esci):
    task = load(made_up_esci.write())
    test = task.split("test")
    assert set(by_id(test)) == {"1", "2", "3"}
    query = by_id(test)["1"]
    assert (query.text, task.setting) == ("find 1", "rerank")
    assert set(query.candidates) == {"B1E", "B1S", "B1C", "B1I"}
    assert test.judgments.grades["1"] == {"B1E": 3, "B1S": 2, "B1C": 1, "B1I": 0}
    assert "unjudged" not in test.corpus.ids
    assert test.corpus.by_id("B1E").title == "title B1E"
    task_check.check(task, "esci")


def test_the_large_version_has_queries_that_the_small_one_lacks(made_up_esci):
    task = load(made_up_esci.write(), version="large")
    assert set(by_id(task.split("test"))) == {"1", "2", "3", "4"}


def test_retrieval_searches_the_whole_catalogue_of_the_locale(made_up_esci):
    task = load(made_up_esci.write(), ESCIRetrieve)
    test = task.split("test")
    assert task.setting == "retrieve"
    assert all(query.candidates is None for query in test.queries)
    assert len(test.corpus) == 13
    assert "unjudged" in test.corpus.ids
    assert "recall@100" in task.measures
    assert "lower bounds" in " ".join(task.notes)


def test_a_product_sold_in_two_locales_is_two_documents(made_up_esci):
    folder = made_up_esci.write()
    spanish = load(folder, locale="es").split("test")
    assert [(d.id, d.title) for d in spanish.corpus] == [("B1E", "título")]
    everywhere = load(folder, locale="all").split("test")
    assert {"us:B1E", "es:B1E", "jp:J"} < set(everywhere.corpus.ids)
    assert everywhere.corpus.by_id("es:B1E").title == "título"
    assert everywhere.judgments.grades["10"] == {"es:B1E": 2}
    assert by_id(everywhere)["11"].text == "探す"


@pytest.mark.parametrize(
    ("profile", "second", "fourth", "printed"), [("paper", 10, 1, 0.6884), ("script", 1, 10, 0.6404)]
)
def test_ndcg_by_hand_under_both_gain_profiles(made_up_esci, profile, second, fourth, printed):
    test = load(made_up_esci.write(), gains=profile).split("test")
    ranking = Ranking(["B1S", "B1E", "B1I", "B1C"], [4.0, 3.0, 2.0, 1.0])
    measured = evaluate(["ndcg", "mrr"], [by_id(test)["1"]], test.judgments, {"1": ranking})
    gained = second + 100 / log2(3) + fourth / log2(5)
    best = 100 + 10 / log2(3) + 1 / log2(4)
    assert measured["ndcg"] == pytest.approx([gained / best])
    assert gained / best == pytest.approx(printed, abs=5e-5)
    assert measured["mrr"] == [1.0]


def test_no_query_is_in_two_splits_and_dev_is_a_tenth_of_train(made_up_esci):
    judgments = tuple(made_up_esci.judgment(q, "B1E", "E") for q in range(1, 1020))
    task = load(made_up_esci.write(judgments))
    ids = {name: set(by_id(task.split(name))) for name in SPLITS}
    assert ids["test"] == {str(q) for q in range(1, 20)}
    assert ids["train"] | ids["dev"] == {str(q) for q in range(20, 1020)}
    assert not ids["train"] & ids["dev"]
    assert 70 <= len(ids["dev"]) <= 130
    assert {name: set(task.split(name).judgments.grades) for name in SPLITS} == ids


def test_dev_has_a_query_however_few_train_has(made_up_esci):
    for first in range(20, 60, 2):
        judgments = tuple(made_up_esci.judgment(q, "B1E", "E") for q in (1, first, first + 1))
        task = load(made_up_esci.write(judgments))
        assert (task.facts["queries_train"], task.facts["queries_dev"]) == (1, 1)


def test_candidates_do_not_follow_the_rows_of_the_file(made_up_esci):
    judged = tuple(made_up_esci.judgment(1, f"B{i}", "E") for i in range(20))
    catalogue = tuple(made_up_esci.product(f"B{i}") for i in range(20))
    forward = load(made_up_esci.write(judged, catalogue))
    backward = load(made_up_esci.write(judged[::-1], catalogue[::-1]))
    pool = forward.split("test").queries[0].candidates
    assert pool == backward.split("test").queries[0].candidates
    assert pool != tuple(f"B{i}" for i in range(20))
    assert forward.fingerprint() == backward.fingerprint()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("title", "title B1E"),
        ("title+brand+color", "title B1E brand"),
        ("title+brand+color+bullets+description", "title B1E brand bullet B1E description B1E"),
    ],
)
def test_the_fields_shown_leave_out_what_is_missing(made_up_esci, text, shown):
    document = load(made_up_esci.write(), text=text).split("test").corpus.by_id("B1E")
    assert (document.title, document.text) == ("title B1E", shown)


def test_a_title_shown_alone_is_held_once(made_up_esci):
    assert all(d.title is d.text for d in load(made_up_esci.write()).split("test").corpus)


def test_a_missing_title_is_counted_and_other_fields_stand_in(made_up_esci):
    changed = tuple(
        {**row, "product_title": " " if row["product_id"] == "B1S" else None}
        if row["product_id"] in ("B1E", "B1S")
        else row
        for row in made_up_esci.catalogue
    )
    folder = made_up_esci.write(catalogue=changed)
    task = load(folder)
    assert task.facts["products_without_title"] == 2
    assert task.split("test").corpus.by_id("B1E").text == ""
    assert load(folder, text="title+brand+color").split("test").corpus.by_id("B1E").text == "brand"


def test_judgments_told_again_count_once_and_of_contradicting_ones_the_better_stands(made_up_esci):
    judgment = made_up_esci.judgment
    more = (judgment(1, "B1S", "S"), judgment(1, "B1I", "C"), judgment(1, "B1E", "I"))
    for judgments in ((*made_up_esci.judgments, *more), (*more, *made_up_esci.judgments)):
        task = load(made_up_esci.write(judgments))
        assert task.split("test").judgments.grades["1"] == {"B1E": 3, "B1S": 2, "B1C": 1, "B1I": 1}
        assert task.facts["judgments_repeated"] == 1
        assert task.facts["judgments_contradicting"] == 2
        assert task.facts["judgments_test"] == 12


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_products_that_are_not_there_leave_the_pool_and_the_ideal_only_where_asked(made_up_esci, missing):
    judgment = made_up_esci.judgment
    more = (
        judgment(1, "gone", "E"),
        judgment(5, "gone", "E"),
        judgment(5, "lost", "E"),
        judgment(61, "gone", "E"),
    )
    task = load(made_up_esci.write((*made_up_esci.judgments, *more)), missing=missing)
    test = task.split("test")
    assert task.facts["judgments_without_product"] == 4
    assert task.facts["queries_without_product"] == 2
    assert set(by_id(test)["1"].candidates) == {"B1E", "B1S", "B1C", "B1I"}
    assert ("5" in by_id(test)) == (missing == "keep")
    assert not any("61" in by_id(task.split(name)) for name in ("train", "dev"))
    best = Ranking(["B1E", "B1S", "B1C", "B1I"], [4.0, 3.0, 2.0, 1.0])
    query = by_id(test)["1"]
    perfect = evaluate(["ndcg"], [query], test.judgments, {"1": best})["ndcg"][0]
    gains = (100, 100, 10, 1) if missing == "keep" else (100, 10, 1)
    reached = sum(g / log2(r + 1) for r, g in enumerate((100, 10, 1), start=1))
    assert perfect == pytest.approx(reached / sum(g / log2(r + 1) for r, g in enumerate(gains, start=1)))
    said = task.notes[-1]
    assert re.search(
        "documents the corpus lacks: 3; .*: 1 " if missing == "keep" else "documents: 3; .*: 1$", said
    )
    task_check.check(task, "esci")


def test_where_nothing_is_missing_nothing_is_said(made_up_esci):
    task = load(made_up_esci.write())
    assert task.facts["judgments_without_product"] == task.facts["queries_without_product"] == 0
    assert not any("lacks" in note for note in task.notes)


def test_of_two_products_with_one_id_the_first_stands(made_up_esci):
    again = made_up_esci.product("B1E", product_title="another")
    task = load(made_up_esci.write(catalogue=(*made_up_esci.catalogue, again)))
    assert task.facts["products_repeated"] == 1
    assert task.split("test").corpus.by_id("B1E").title == "title B1E"


def test_queries_without_text_without_answer_or_known_from_train_are_counted(made_up_esci):
    judgment = made_up_esci.judgment
    more = (
        judgment(5, "B1E", "E", query=None),
        judgment(6, "B1E", "I"),
        judgment(7, "B1E", "E", query="find 20"),
    )
    task = load(made_up_esci.write((*made_up_esci.judgments, *more)))
    assert by_id(task.split("test"))["5"].text == ""
    assert task.facts["queries_without_text"] == 1
    assert task.facts["test_queries_without_relevant"] == 1
    assert task.facts["test_texts_in_train_or_dev"] == 1


def test_files_without_a_test_query_of_the_locale_are_refused(made_up_esci):
    us = tuple(row for row in made_up_esci.judgments if row["product_locale"] == "us")
    with pytest.raises(UsageError, match=r"no test query .*locale=jp, version=small"):
        load(made_up_esci.write(us), locale="jp")


def test_notes_say_the_gains_and_that_another_split_is_not_comparable(made_up_esci):
    folder = made_up_esci.write()
    notes = " ".join(load(folder).notes)
    for words in ("100/10/1/0", "0.7483", "0.8292", "0.8562–0.857", "0.9043", "arXiv 2206.06588"):
        assert words in notes
    assert "not the official test split" in notes
    assert "3 queries and 12 judgments of us/small where it has 8,956 queries and 181,701 judgments" in notes
    assert "100/1/10/0" in load(folder, gains="script").notes[0]


@pytest.mark.parametrize(
    ("split", "official"),
    [
        (("us", "small", 8_956, 181_701), True),
        (("us", "large", 8_956, 181_701), False),
        (("all", "small", 8_956, 181_701), False),
        (("us", "small", 8_955, 181_701), False),
        (("us", "small", 8_956, 181_700), False),
    ],
)
def test_only_the_official_split_is_comparable(split, official):
    _, compared = esci_notes.published(*split)
    assert ("is the official one" in compared) is official
    assert ("not comparable" in compared) is not official


@pytest.mark.slow
def test_a_run_from_the_command_line(arrbench, made_up_esci, tmp_path):
    words = ("--device", "cpu", "--data-dir", made_up_esci.write(), "--out", tmp_path / "runs")
    answer = arrbench("run", "--task", "esci:gains=script", "--rankers", "bm25", *words)
    assert answer.status == 0, answer.err
    for shown in ("nDCG ", "gains=script", "not the official test split"):
        assert shown in " ".join(answer.out.split())
    records = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
    metrics = {record["label"]: record["metrics"] for record in records}
    assert {"bm25", "random"} <= set(metrics)
    assert all(0 < figures["ndcg"] <= 1 for figures in metrics.values())


def test_a_run_without_data_names_both_ways_out_and_downloads_nothing(arrbench, tmp_path, monkeypatch):
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ARRBENCH_DATA", raising=False)
    answer = arrbench("run", "--task", "esci", "--rankers", "bm25", "--out", tmp_path / "runs")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    for words in ("--data-dir", "arrbench data fetch esci"):
        assert words in answer.err
    assert not (tmp_path / "cache" / "data").exists()

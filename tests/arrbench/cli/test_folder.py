"""A folder of the user's own, from the command line."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import ir_measures
import pytest

COLOURS = ("red", "green", "blue", "black", "white", "grey")


def figures(answer: Any) -> dict[str, dict[str, float]]:
    assert answer.status == 0, answer.err
    return {row["label"]: row["metrics"] for row in answer.rows()}


@pytest.mark.slow
def test_a_collection_in_another_layout_is_the_same_task_and_not_run_again(
    arrbench: Any, tmp_path: Path
) -> None:
    beir, trec = tmp_path / "beir", tmp_path / "trec"
    (beir / "qrels").mkdir(parents=True)
    trec.mkdir()
    texts = {f"d{i}": f"{a} {b} paint" for i, (a, b) in enumerate(zip(COLOURS, COLOURS[2:], strict=False))}
    queries = {f"q{i}": f"{c} paint" for i, c in enumerate(COLOURS)}
    judged = [(f"q{i}", f"d{i % 4}", 1 + i % 2) for i in range(len(COLOURS))]
    for folder, key in ((beir, "_id"), (trec, None)):
        for name, rows in (("corpus", texts), ("queries", queries)):
            lines = (json.dumps({key: i, "text": t}) if key else f"{i}\t{t}" for i, t in rows.items())
            (folder / f"{name}.{'jsonl' if key else 'tsv'}").write_text("".join(f"{x}\n" for x in lines))
    header = "query-id\tcorpus-id\tscore\n"
    (beir / "qrels" / "test.tsv").write_text(header + "".join(f"{q}\t{d}\t{g}\n" for q, d, g in judged))
    (trec / "test.qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in judged))
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--json", "--out", tmp_path / "runs", "--task")
    found = [arrbench(*words, f"folder:path={folder}") for folder in (beir, trec)]
    assert figures(found[0]) == figures(found[1])
    assert 0 < figures(found[0])["bm25"]["ndcg@10"] <= 1
    assert all(row["cached"] for row in found[1].rows())


@pytest.mark.slow
def test_an_exported_task_comes_back_with_the_same_figures(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", "--device", "cpu", "--json", "--out", tmp_path / "runs")
    task = "toy:setting=rerank"
    before = figures(arrbench(*words, "--task", task))
    assert arrbench("export", task, tmp_path / "out").status == 0
    after = figures(arrbench(*words, "--task", f"folder:path={tmp_path / 'out'}:candidates=candidates.trec"))
    for measure in ("ndcg@10", "mrr"):
        assert after["counter"][measure] == before["counter"][measure]


def write(folder: Path, documents: dict[str, str], queries: dict[str, str], qrels: str) -> Path:
    folder.mkdir()
    for name, rows in (("corpus", documents), ("queries", queries)):
        text = "".join(f"{i}\t{t}\n" for i, t in rows.items())
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    (folder / "test.qrels").write_text(qrels, encoding="utf-8")
    return folder


def test_a_query_that_is_a_document_does_not_find_itself(arrbench: Any, tmp_path: Path) -> None:
    texts = {"p1a": "taxes should rise for the rich", "p1b": "taxes should not rise for anybody"}
    folder = write(tmp_path / "arguments", texts, {"p1a": texts["p1a"]}, "p1a 0 p1b 1\n")
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--out", tmp_path / "runs", "--task")
    found = {}
    for rule in ("auto", "yes", "no"):
        rows = arrbench(*words, f"folder:path={folder}:exclude_self={rule}", "--json").rows()
        found[rule] = next(row["metrics"]["ndcg@10"] for row in rows if row["label"] == "bm25")
    assert found == {"auto": 1.0, "yes": 1.0, "no": pytest.approx(0.6309, abs=1e-4)}
    shown = " ".join(arrbench(*words, f"folder:path={folder}").out.split())
    assert "documents themselves (same id and same text), which are not ranked for them: 1 of 1" in shown


def test_lost_judgments_count_as_trec_eval_counts_them(arrbench: Any, tmp_path: Path) -> None:
    qrels = "q0 0 d0 1\n" + "".join(f"q0 0 gone{i} 1\n" for i in range(9)) + "q1 0 lost 1\nq2 0 lost 2\n"
    texts = {"d0": "red paint", "d1": "green paint"}
    folder = write(tmp_path / "data", texts, dict.fromkeys(("q0", "q1", "q2"), "red paint"), qrels)
    words = ("--device", "cpu", "--out", tmp_path / "runs", "--json", "--task", f"folder:path={folder}")
    row = next(r for r in arrbench("run", "--rankers", "bm25", *words).rows() if r["label"] == "bm25")
    exported = arrbench("export", f"folder:path={folder}", tmp_path / "out")
    judged = list(ir_measures.read_trec_qrels(str(tmp_path / "out" / "test.qrels")))
    assert sorted(judged) == sorted(ir_measures.read_trec_qrels(str(folder / "test.qrels")))
    measures = {"ndcg@10": ir_measures.nDCG @ 10, "recall@10": ir_measures.R @ 10, "mrr": ir_measures.RR}
    with gzip.open(tmp_path / "runs" / row["key"] / "run.trec.gz", "rt") as run:
        theirs = ir_measures.calc_aggregate(list(measures.values()), judged, ir_measures.read_trec_run(run))
    for name, measure in measures.items():
        assert row["metrics"][name] == pytest.approx(theirs[measure], abs=1e-6)
    assert row["metrics"]["ndcg@10"] == pytest.approx(0.0734, abs=1e-4)
    assert row["n_queries"] == 3
    (said,) = row["task_notes"]
    assert "documents the corpus lacks: 11; " in said
    assert "have no others and count 0: 2 " in said
    assert said in exported.err
    dropped = arrbench("run", "--rankers", "bm25", *words[:-1], f"{words[-1]}:missing=drop").rows()[-1]
    assert (dropped["n_queries"], dropped["metrics"]["ndcg@10"]) == (1, 1.0)
    assert "raises the figures" in dropped["task_notes"][0]


def test_ids_that_normalisation_would_match_are_warned_of(arrbench: Any, tmp_path: Path) -> None:
    texts = {"caf\u00e9": "red paint", "d1": "green paint"}
    folder = write(tmp_path / "data", texts, {"q0": "red", "q1": "green"}, "q0 0 cafe\u0301 1\nq1 0 d1 1\n")
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--out", tmp_path / "runs", "--dry-run")
    answer = arrbench(*words, "--task", f"folder:path={folder}")
    assert answer.status == 0
    (line,) = answer.err.splitlines()
    assert line.startswith("arrbench: judged documents that the corpus lacks: 1 of 1 would be there after")
    assert "'cafe\\u0301'" in line


def test_a_name_that_is_not_utf_8_is_refused_in_one_line(arrbench: Any, tmp_path: Path) -> None:
    texts = {"d0": "red paint"}
    folder = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), texts, {"q": "red"}, "q 0 d0 1\n")
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--out", tmp_path / "runs")
    for more in (("--task", f"folder:path={folder}"), ("--task", "toy", "--candidates", folder / "run")):
        answer = arrbench(*words, *more)
        assert (answer.status, answer.out) == (2, "")
        (line,) = answer.err.splitlines()
        assert "is not UTF-8" in line
        assert "\\udcff" in line
    assert not (tmp_path / "runs").exists()
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert arrbench(*words, "--task", f"folder:path={link}", "--dry-run").status == 0
    exported = arrbench("export", f"folder:path={link}", folder / "out")
    assert exported.status == 0, exported.err
    assert (folder / "out" / "corpus.jsonl").exists()


def test_export_says_nothing_of_a_licence_over_a_folder_of_one_s_own(arrbench: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {"d0": "red paint"}, {"q": "red"}, "q 0 d0 1\n")
    answer = arrbench("export", f"folder:path={folder}", tmp_path / "out")
    assert answer.status == 0
    assert "1 documents, 1 queries; licence: the folder's own" in answer.out
    assert "republished" not in answer.out + answer.err


def test_what_is_wrong_with_a_folder_is_one_clear_line(arrbench: Any, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "red"}\n{"_id": "d2"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "red"}\n')
    (tmp_path / "test.qrels").write_text("q1 0 d1 1\n")
    words = ("run", "--rankers", "bm25", "--device", "cpu", "--out", tmp_path / "runs", "--task")
    for task, says in ((f"folder:path={tmp_path}", "corpus.jsonl:2: no 'text'"), ("folder", "option path")):
        answer = arrbench(*words, task)
        assert answer.status == 2
        assert len(answer.err.strip().splitlines()) == 1
        assert says in answer.err


def test_a_task_without_data_of_its_own_says_where_they_are(arrbench: Any) -> None:
    listed = arrbench("data", "list").out.splitlines()
    assert "folder: in the folder given as folder:path=DIR" in listed
    answer = arrbench("data", "fetch", "folder")
    assert answer.status == 2
    assert "folder:path=DIR" in answer.err
    findings = {f["what"]: f for f in json.loads(arrbench("doctor", "--json").out)["findings"]}
    assert findings["data of irds"]["advice"] == ""
    assert "irds:id=ID" in findings["data of irds"]["found"]

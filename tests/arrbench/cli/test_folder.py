"""A folder of the user's own, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue", "black", "white", "grey")


def figures(answer: Any) -> dict[str, dict[str, float]]:
    assert answer.status == 0, answer.err
    return {row["label"]: row["metrics"] for row in answer.rows()}


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


def test_an_exported_task_comes_back_with_the_same_figures(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", "--device", "cpu", "--json", "--out", tmp_path / "runs")
    task = "toy:setting=rerank"
    before = figures(arrbench(*words, "--task", task))
    assert arrbench("export", task, tmp_path / "out").status == 0
    after = figures(arrbench(*words, "--task", f"folder:path={tmp_path / 'out'}:candidates=candidates.trec"))
    for measure in ("ndcg@10", "mrr"):
        assert after["counter"][measure] == before["counter"][measure]


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

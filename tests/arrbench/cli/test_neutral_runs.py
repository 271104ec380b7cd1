"""Whole runs: the order of files decides nothing, and what a query excludes costs nobody else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

COLOURS = ("red", "green", "blue", "black", "white")


def collection(folder: Path, draw: random.Random | None) -> Path:
    """Eight documents a text; the answers are among them. `draw` permutes the lines of every file."""

    def lines(name: str, rows: list[str], header: str = "") -> None:
        mixed = rows if draw is None else draw.sample(rows, len(rows))
        (folder / name).write_text("".join(f"{row}\n" for row in [header, *mixed] if row), encoding="utf-8")

    (folder / "qrels").mkdir(parents=True)
    documents = [(f"{c}-{i}", f"{c} paint") for c in COLOURS for i in range(8)]
    queries = [(f"q{i:02}", COLOURS[i % 5]) for i in range(40)]
    lines("corpus.jsonl", [json.dumps({"_id": d, "text": text}) for d, text in documents])
    lines("queries.jsonl", [json.dumps({"_id": q, "text": c}) for q, c in queries])
    for place, name in enumerate(("train", "dev", "test")):
        judged = [f"{q}\t{c}-{i}\t{1 + i}" for q, c in queries[place::3] for i in (0, 1)]
        lines(f"qrels/{name}.tsv", judged, "query-id\tcorpus-id\tscore")
    pools = [f"{q} Q0 {c}-{i} {i + 1} {9 - i} run" for q, c in queries for i in range(8)]
    lines("pool.trec", pools)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("candidates", ["", ":candidates=pool.trec"], ids=["retrieve", "rerank"])
def test_permuted_files_give_the_same_run_byte_by_byte(
    arrbench: Any, tmp_path: Path, candidates: str
) -> None:
    found = {}
    for name, draw in (("sorted", None), ("mixed", random.Random(1))):
        folder = collection(tmp_path / name, draw)
        words = (
            "run",
            "--rankers",
            "positional,bm25",
            "--task",
            f"folder:path={folder}{candidates}",
            "--k",
            3,
        )
        answer = arrbench(*words, "--out", tmp_path / f"runs-{name}", "--json", distributions=("positional",))
        assert answer.status == 0, answer.err
        for row in answer.rows():
            run = (tmp_path / f"runs-{name}" / row["key"] / "run.trec.gz").read_bytes()
            found.setdefault(row["label"], []).append((row["key"], row["metrics"], run))
    assert set(found) >= {"positional", "bm25", "prior", "random"}
    for label, (one, other) in found.items():
        assert one == other, label
    assert 0 < found["positional"][0][1]["ndcg@10"] < 1


def test_excluded_documents_are_in_no_ideal_and_one_user_s_many_cost_no_other(
    arrbench: Any, tmp_path: Path
) -> None:
    words = ("run", "--rankers", "asked", "--task", "histories", "--out", tmp_path, "--json")
    answer = arrbench(*words, distributions=("positional",))
    assert answer.status == 0, answer.err
    (row,) = [row for row in answer.rows() if row["label"] == "asked"]
    assert row["metrics"]["ndcg"] == 1.0  # a perfect answer, though films were seen that a judgment likes
    facts = {name: k for name, k in row["facts"].items() if "test-" in name}
    alone = {f"alone test-{user}": 100 + n for user, n in enumerate((250, 0, 1, 1, 1, 1))}
    together = {f"together test-{user}": 101 for user in range(1, 6)}
    assert facts == {**alone, **together, "alone test-0": 350}

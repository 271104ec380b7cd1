"""--candidates: a first stage's run, or its record, becomes what is reranked."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOY = ("--task", "toy", "--device", "cpu", "--json")


@pytest.fixture(scope="module")
def out(arrbench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that hold a record of `counter`, which finds both colours of every query, at k = 3."""
    runs = tmp_path_factory.mktemp("runs")
    assert arrbench("run", "--rankers", "counter", *TOY, "--k", 3, "--out", runs).status == 0
    return runs


def run_lines(folder: Path) -> list[str]:
    with gzip.open(folder / "run.trec.gz", "rt") as run:
        return run.read().splitlines()


def labelled(answer: Any) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in answer.rows()}


def test_a_ranker_s_own_record_is_reranked(arrbench: Any, out: Path) -> None:
    words = ("run", "--rankers", "counter", *TOY, "--candidates", "counter", "--out", out)
    rows = labelled(arrbench(*words))
    counter, chance = rows["counter"], rows["random"]
    assert (counter["setting"], counter["k"], counter["candidates"]) == ("rerank", 3, "counter")
    assert counter["task_facts"]["candidates_per_query"] == 3
    assert counter["metrics"]["ndcg@10"] == 1.0
    # 3 of 8 colours, the two right ones among them: a chance order is far above that of retrieving
    assert chance["metrics"]["ndcg@10"] > 0.6
    assert "chain" in rows
    assert "--candidates counter" in counter["command"]
    again = arrbench(*words).rows()
    assert all(row["cached"] for row in again)


@pytest.mark.parametrize("name", ["first.trec", "first.trec.gz"])
def test_a_run_file_is_reranked_and_queries_it_lacks_count_0(
    arrbench: Any, out: Path, tmp_path: Path, name: str
) -> None:
    key = labelled(arrbench("run", "--rankers", "counter", *TOY, "--k", 3, "--out", out))["counter"]["key"]
    lines = run_lines(out / key)
    lost = lines[0].split()[0]
    kept = "\n".join(line for line in lines if line.split()[0] != lost)
    file = tmp_path / name
    file.write_bytes(gzip.compress(kept.encode()) if name.endswith(".gz") else kept.encode())
    row = labelled(arrbench("run", "--rankers", "counter", *TOY, "--candidates", file, "--out", tmp_path))[
        "counter"
    ]
    assert row["task_facts"]["test_queries_without_candidates"] == 1
    assert row["n_empty"] == 1
    assert row["metrics"]["ndcg@10"] == pytest.approx(1 - 1 / row["n_queries"])


def test_documents_that_the_corpus_lacks_are_dropped_counted_and_said(
    arrbench: Any, out: Path, tmp_path: Path
) -> None:
    key = labelled(arrbench("run", "--rankers", "counter", *TOY, "--k", 3, "--out", out))["counter"]["key"]
    lines = run_lines(out / key)
    query = lines[0].split()[0]
    file = tmp_path / "first.trec"
    file.write_text("\n".join(["# from elsewhere", *lines, f"{query} Q0 d-octarine 4 0.5 x"]))
    words = ("run", "--rankers", "counter", "--candidates", file, "--out", tmp_path / "runs")
    row = labelled(arrbench(*words, *TOY))["counter"]
    assert row["task_facts"]["candidates_not_in_corpus"] == 1
    assert row["task_facts"]["candidates_per_query"] == 3
    assert row["metrics"]["ndcg@10"] == 1.0
    shown = arrbench(*words, "--task", "toy", "--device", "cpu")
    assert "candidates left out, since the corpus lacks them: 1" in " ".join(shown.out.split())


def test_a_run_comes_through_a_pipe(
    arrbench_environment: Any, arrbench: Any, out: Path, tmp_path: Path
) -> None:
    key = labelled(arrbench("run", "--rankers", "counter", *TOY, "--k", 3, "--out", out))["counter"]["key"]
    line = (
        f"{sys.executable} -m arrbench run --rankers counter --task toy --device cpu --json "
        f"--out {tmp_path} --candidates <(cat {out / key / 'run.trec.gz'})"
    )
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=arrbench_environment("trouble"), check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
    assert (rows["counter"]["setting"], rows["counter"]["k"]) == ("rerank", 3)
    assert rows["counter"]["metrics"]["ndcg@10"] == 1.0


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ("learner", "no record of ranker 'learner' on this task; run it first"),
        ("contre", "did you mean 'counter'"),
        ("nowhere/first.trec", "nowhere/first.trec: no such file"),
        (
            "{strangers}",
            "no document that it gives to test queries (1, such as 'd-octarine') is in the corpus",
        ),
        ("{others}", "none of the task's 18 test queries is in it"),
    ],
)
def test_what_can_t_be_reranked_is_said_in_one_line(
    arrbench: Any, out: Path, tmp_path: Path, candidates: str, says: str
) -> None:
    rows = arrbench("run", "--rankers", "counter", *TOY, "--k", 3, "--out", out).rows()
    query = run_lines(out / rows[0]["key"])[0].split()[0]
    (tmp_path / "strangers").write_text(f"{query} Q0 d-octarine 1 1.0 x\n")
    (tmp_path / "others").write_text("q Q0 d-red 1 1.0 x\n")
    word = candidates.format(strangers=tmp_path / "strangers", others=tmp_path / "others")
    answer = arrbench("run", "--rankers", "counter", *TOY, "--candidates", word, "--out", out)
    assert answer.status == 2
    assert len(answer.err.strip().splitlines()) == 1
    assert says in answer.err


def test_a_task_with_candidates_of_its_own_takes_no_others(arrbench: Any, out: Path) -> None:
    words = ("--task", "toy:setting=rerank", "--candidates", "counter", "--device", "cpu", "--out", out)
    answer = arrbench("run", "--rankers", "counter", *words)
    assert answer.status == 2
    assert "its candidates already" in answer.err


@pytest.mark.slow
def test_several_tasks_are_run_and_shown_one_after_another(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", "--device", "cpu", "--out", tmp_path)
    answer = arrbench(*words, "--task", "toy,toy:setting=rerank")
    assert answer.status == 0
    assert "toy: retrieve" in answer.out
    assert "toy:setting=rerank: rerank" in answer.out
    wrong = arrbench(*words, "--task", "toy,tay", "--force")
    assert wrong.status == 2
    assert "unknown task 'tay'" in wrong.err


@pytest.mark.slow
def test_an_unreadable_record_beside_the_first_stage_s_is_named_and_left_out(
    arrbench: Any, tmp_path: Path
) -> None:
    words = ("run", "--rankers", "counter", *TOY, "--out", tmp_path)
    assert arrbench(*words).status == 0
    broken = tmp_path / ("0" * 20) / "record.json"
    broken.parent.mkdir()
    broken.write_text("{")
    answer = arrbench(*words, "--candidates", "counter")
    assert answer.status == 0
    assert labelled(answer)["counter"]["setting"] == "rerank"
    assert str(broken) in answer.err
    assert "--force" in answer.err
    missing = arrbench(*words, "--candidates", "learner")
    assert missing.status == 2
    assert str(broken) in missing.err

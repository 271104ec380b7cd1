"""Trials in processes of their own: what a ranker gets, what comes back, and how it may fail."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest

FAULTY = (
    "counter:wrong=nan", "counter:wrong=unknown", "counter:wrong=twice", "counter:wrong=too-many",
    "counter:wrong=raise", "exits", "segfaults", "out-of-memory", "liar", "few", "hangs",
)  # fmt: skip
SAYS = {
    "counter:wrong=nan": "not finite",
    "counter:wrong=unknown": "'nowhere' is not in the corpus",
    "counter:wrong=twice": "occurs twice",
    "counter:wrong=too-many": "at most",
    "counter:wrong=raise": "ValueError: the ranker's own fault",
    "exits": "exited with status 3 in phase 'index'",
    "segfaults": "killed by signal 11",
    "out-of-memory": "killed by signal 9",
    "liar": "clock mismatch",
    "few": "18 queries with 17 rankings",
    "hangs": "hung: phase 'fit' took more than 10 s",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def answer(arrbench: Any, out: Path) -> Any:
    """One run of everything that goes wrong beside what goes right."""
    rankers = ",".join(("learner", *FAULTY, "counter"))
    return arrbench("run", "--rankers", rankers, "--task", "toy", "--out", out, "--timeout", 10, "--json")


@pytest.fixture(scope="module")
def rows(answer: Any) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in answer.rows()}


@pytest.mark.parametrize("label", FAULTY)
def test_a_ranker_that_goes_wrong_is_a_failed_row_with_its_reason(rows: dict[str, Any], label: str) -> None:
    assert rows[label]["status"] == "failed"
    assert SAYS[label] in rows[label]["error"]
    assert rows[label]["metrics"] == {}


def test_a_killed_ranker_leaves_no_temporary_files(rows: dict[str, Any], out: Path) -> None:
    log = (out / rows["out-of-memory"]["key"] / "log.txt").read_text()
    left = Path(log.partition("left behind: ")[2].splitlines()[0])
    assert left.is_absolute()
    assert not left.exists()


def test_the_others_go_on_and_the_status_is_1(answer: Any, rows: dict[str, Any]) -> None:
    assert answer.status == 1
    assert rows["learner"]["status"] == rows["counter"]["status"] == "ok"
    assert rows["counter"]["metrics"]["ndcg@10"] == 1.0


def test_baselines_that_nobody_named_are_on_the_board(rows: dict[str, Any]) -> None:
    assert {label for label, row in rows.items() if row["query_independent"]} == {"random", "prior"}


def test_a_ranker_sees_train_judgments_and_no_test_judgments(rows: dict[str, Any]) -> None:
    facts = rows["learner"]["facts"]
    assert facts["train_queries"] > 0
    assert facts["judged_test_queries"] == 0


def test_a_ranker_s_audit_and_its_task_s_notes_are_recorded(rows: dict[str, Any]) -> None:
    assert rows["learner"]["facts"]["audited_queries"] == rows["learner"]["n_queries"]
    assert "audited_queries" not in rows["counter"]["facts"]
    assert rows["counter"]["task_notes"] == ["colours: a made-up scale"]


def test_output_of_a_ranker_goes_to_the_trial_s_log(answer: Any, rows: dict[str, Any], out: Path) -> None:
    log = (out / rows["learner"]["key"] / "log.txt").read_text()
    assert "a word on stdout" in log
    assert "past Python's own" in log
    assert "a word on stdout" not in answer.out + answer.err
    assert "the ranker's own fault" in (out / rows["counter:wrong=raise"]["key"] / "log.txt").read_text()


def test_figures_of_a_training_are_kept(rows: dict[str, Any], out: Path) -> None:
    lines = (out / rows["learner"]["key"] / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert json.loads(lines[1])["loss"] == 0.5
    assert rows["learner"]["fit_s"]["wall"] >= 0.5
    assert rows["learner"]["fit_s"]["cpu"] < 0.4
    assert rows["counter"]["fit_s"] is None


def test_the_run_is_in_canonical_order_without_the_excluded(rows: dict[str, Any], out: Path) -> None:
    with gzip.open(out / rows["counter"]["key"] / "run.trec.gz", "rt") as run:
        lines = [line.split() for line in run]
    by_query: dict[str, list[tuple[int, float, str]]] = {}
    for query, _, document, rank, score, tag in lines:
        assert tag == "counter"
        by_query.setdefault(query, []).append((int(rank), float(score), document))
    assert len(by_query) == rows["counter"]["n_queries"] == 18
    for query, places in by_query.items():
        assert [rank for rank, _, _ in places] == list(range(1, len(places) + 1))
        scores = [score for _, score, _ in places]
        assert all(a > b for a, b in pairwise(scores))
        assert ("brown" in query) == ("d-brown" in {d for _, _, d in places})


def test_samples_hold_every_latency_and_every_query_s_measures(rows: dict[str, Any], out: Path) -> None:
    row = rows["counter"]
    with np.load(out / row["key"] / "samples.npz", allow_pickle=False) as samples:
        first, repeats = samples["single_stream_ms"][:18], samples["single_stream_ms"][18:]
        assert row["latency_ms"]["n"] == row["n_queries"] == len(first)
        assert row["repeats_ms"]["n"] == len(repeats) >= 1000 - 18
        assert float(np.percentile(first, 95)) == pytest.approx(row["latency_ms"]["p95"])
        assert float(np.percentile(repeats, 99)) == pytest.approx(row["repeats_ms"]["p99"])
        assert float(samples["measure:mrr"].mean()) == pytest.approx(row["metrics"]["mrr"])
        assert len(samples["query_ids"]) == 18
        offsets, scores = samples["raw_offsets"], samples["raw_scores"]
        assert len(scores) == offsets[-1]
        assert set(scores) == {0.0, 1.0, 2.0}
    assert row["latency_ms"]["p99"] is None
    assert row["repeat_agreement"] == 1
    assert row["throughput_qps"] > 0


def test_the_record_says_what_machine_and_how_to_have_it_again(rows: dict[str, Any], arrbench: Any) -> None:
    row = rows["counter"]
    assert row["hardware"]["cores"] >= 1
    assert {"python", "arrbench", "ranx", "numpy"} <= row["software"].keys()
    assert "torch" not in row["software"]  # which `counter` does not use
    assert row["distribution"] == "trouble 1.0"
    assert row["memory"]["parameters"] == 0
    words = row["command"].split()
    plan = json.loads(arrbench(*words[1:], "--dry-run", "--json").out)["plan"]
    assert row["key"] in {line["key"] for line in plan}


@pytest.mark.parametrize("setting", ["retrieve", "rerank"])
def test_figures_can_be_checked_with_ir_measures(arrbench: Any, tmp_path: Path, setting: str) -> None:
    task = f"toy:setting={setting}"
    words = ("run", "--rankers", "counter", "--task", task, "--limit", 12, "--device", "cpu")
    answer = arrbench(*words, "--out", tmp_path / "runs", "--json")
    assert arrbench("export", task, tmp_path / "files", "--limit", 12).status == 0
    assert (tmp_path / "files" / "candidates.trec").exists() == (setting == "rerank")
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "files" / "test.qrels")))
    for row in answer.rows():
        with gzip.open(tmp_path / "runs" / row["key"] / "run.trec.gz", "rt") as run:
            found = ir_measures.calc_aggregate(
                [ir_measures.nDCG @ 10, ir_measures.RR], qrels, ir_measures.read_trec_run(run)
            )
        assert row["metrics"]["ndcg@10"] == pytest.approx(found[ir_measures.nDCG @ 10], abs=1e-6)
        assert row["metrics"]["mrr"] == pytest.approx(found[ir_measures.RR], abs=1e-6)
        assert row["k"] == (8 if setting == "rerank" else 100)


def test_from_python_as_from_the_command_line(tmp_path: Path) -> None:
    import arrbench

    records = arrbench.run(["random"], "wordnet", out=tmp_path, limit=10, device="cpu")
    assert [r.label for r in records] == ["prior", "random"]
    assert all(r.status == "ok" and r.n_queries == 10 for r in records)


def test_what_the_parent_does_with_an_ending_meets_no_timed_phase(tmp_path: Path) -> None:
    from dataclasses import replace

    from arrbench import exchange, launch
    from arrbench.execution import Assignment, Execution, quiet
    from arrbench.inputs import Inputs
    from arrbench.jobs import Limits
    from arrbench.machine_lock import MachineLock
    from arrbench.planning import Experiment, plan
    from arrbench.runner import _environment, _job

    planned = plan(
        Experiment(["random", "prior"], "wordnet", (1, 2), limit=10, device="cpu", out=tmp_path / "runs")
    )
    exchange.write(tmp_path / "inputs", planned.task, 10)
    key = launch.worker_key()
    environment = _environment(planned.experiment, key, "cpu", tmp_path)
    server = launch.launcher({}, environment, tmp_path)
    lock = MachineLock(tmp_path / "lock")
    assignments = []
    for trial in planned.missing:
        folder = tmp_path / trial.key
        folder.mkdir()
        job = replace(_job(trial, planned.experiment, folder), save=False)
        assignments.append(Assignment(trial.name, job, "arrbench", tmp_path))
    test = (exchange.QUERIES,)
    with Inputs(tmp_path / "inputs", exchange.FILES) as inputs, Inputs(tmp_path / "inputs", test) as queries:
        execution = Execution(server, key, quiet(), inputs, queries, Limits(2, 4), lock, 60.0)
        try:
            for ending in execution.run(assignments):
                assert ending.error is None
                assert all(seen.mismatch() is None for seen in ending.scenarios.values())
                assert "alone" not in execution._states()
        finally:
            execution.close()


def test_a_temporary_folder_too_deep_for_a_socket_is_no_hindrance(
    arrbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    answer = arrbench("run", "--rankers", "counter", "--task", "toy", "--out", tmp_path / "runs", "--json")
    assert answer.status == 0, answer.err
    assert not list(deep.iterdir())

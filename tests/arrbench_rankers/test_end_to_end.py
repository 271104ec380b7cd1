"""The rankers in the box through the product's own door, on a small reranking task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RANKERS = "bm25,de:epochs=2,ce:epochs=1:start_epochs=1,arr-ntp:epochs=2,arr-stoical:epochs=2"
TASK = "wordnet/rerank:root=feline.n.01"


def run(rankers: str, out: Path) -> tuple[int, list[dict[str, Any]]]:
    words = [
        "run",
        "--rankers",
        rankers,
        "--task",
        TASK,
        "--device",
        "cpu",
        "--offline",
        "--out",
        str(out),
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "arrbench", *words], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, json.loads(done.stdout)["rows"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def rows(out: Path, wordnet_dir: Path) -> dict[str, dict[str, Any]]:
    status, found = run(RANKERS, out)
    assert status == 0, [row["error"] for row in found]
    return {row["ranker"]: row for row in found}


@pytest.mark.slow
def test_every_ranker_is_trained_measured_and_recorded(rows: dict[str, dict[str, Any]]) -> None:
    assert set(rows) == {"bm25", "de", "ce", "arr-ntp", "arr-stoical", "random", "prior", "chain"}
    for name, row in rows.items():
        assert row["status"] == "ok"
        assert row["setting"] == "rerank"
        assert 0 < row["metrics"]["ndcg@10"] <= 1
        assert row["n_empty"] == 0
        assert row["single_batch_agreement"] > 0.95, name
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
        assert row["learns"] == (row["fit_s"] is not None)
        assert (row["cvr"] is not None) == name.startswith("arr")
    for name in ("de", "ce", "arr-ntp", "arr-stoical"):
        assert rows[name]["memory"]["parameters"] > 100_000
        assert rows[name]["tuning"] != "none"


@pytest.mark.slow
def test_a_saved_model_ranks_as_the_one_that_was_measured(
    rows: dict[str, dict[str, Any]], out: Path, wordnet_dir: Path
) -> None:
    import gzip

    from arrbench.measure.quality import canonical
    from arrbench.plugins import ranker_class
    from arrbench.ranker import Context
    from arrbench.task import DataSource
    from arrbench.tasks.wordnet import WordNetRerank

    task = WordNetRerank(
        WordNetRerank.Options.model_validate({"root": "feline.n.01"}),
        DataSource(wordnet_dir, Path("unused"), offline=True),
    )
    queries = task.split("test").queries
    for name, row in rows.items():
        _, cls = ranker_class(name)
        ranker = cls.load(out / row["key"] / "model", Context(seed=row["seed"]))
        with gzip.open(out / row["key"] / "run.trec.gz", "rt") as run_file:
            recorded: dict[str, list[str]] = {}
            for line in run_file:
                query, _, document, *_ = line.split()
                recorded.setdefault(query, []).append(document)
        rankings = ranker.rank(list(queries), row["k"] + 1)
        loaded = {q.id: list(canonical(q, r, row["k"]).ids) for q, r in zip(queries, rankings, strict=True)}
        assert loaded == recorded, name


@pytest.mark.slow
def test_two_runs_with_one_seed_give_the_same_measures(
    rows: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    _, again = run("arr-stoical:epochs=2", tmp_path)
    for row in again:
        assert row["key"] == rows[row["ranker"]]["key"]
        assert row["metrics"] == rows[row["ranker"]]["metrics"], row["ranker"]
        assert row["cvr"] == rows[row["ranker"]]["cvr"]

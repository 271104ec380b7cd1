"""Rankers that would have their latency measured short: refused, or measured right all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NAMES = ("honest", "cached", "empty-later", "lazy", "foresees", "slow-clock", "no-clock", "two-threads")
WORK_MS = 4.0


@pytest.fixture(scope="module")
def rows(arrbench: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out: Path = tmp_path_factory.mktemp("runs")
    words = ("run", "--rankers", ",".join(NAMES), "--task", "toy", "--out", out, "--device", "cpu", "--json")
    return {row["label"]: row for row in arrbench(*words).rows()}


@pytest.mark.parametrize("name", ["honest", "foresees"])
def test_an_honest_ranker_has_its_latency_and_its_throughput(rows: dict[str, Any], name: str) -> None:
    row = rows[name]
    assert row["status"] == "ok"
    assert row["latency_ms"]["p50"] >= WORK_MS
    assert row["repeats_ms"]["p50"] >= WORK_MS
    assert row["throughput_qps"] <= 1e3 / WORK_MS
    assert not row["answers_cached"]
    assert {"single", "batch"} == set(row["scenarios"])
    assert (
        row["scenarios"]["single"]["wall"]
        >= sum(row[p]["mean"] * row[p]["n"] for p in ("latency_ms", "repeats_ms")) / 1e3
    )


def test_a_cache_shows_in_repeats_and_is_in_no_figure(rows: dict[str, Any]) -> None:
    row = rows["cached"]
    assert row["latency_ms"]["p50"] >= WORK_MS
    assert row["repeats_ms"]["p50"] < WORK_MS / 10
    assert row["answers_cached"]
    assert row["throughput_qps"] is None


def test_work_put_off_until_the_answer_is_read_is_timed(rows: dict[str, Any]) -> None:
    assert rows["lazy"]["latency_ms"]["p50"] >= WORK_MS
    assert rows["lazy"]["throughput_qps"] <= 1e3 / WORK_MS


def test_test_queries_are_nowhere_before_they_are_timed(rows: dict[str, Any]) -> None:
    assert rows["foresees"]["facts"]["test_queries_seen"] == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty-later", "8 documents at first and 0 when repeated"),
        ("slow-clock", "clock mismatch in the single scenario"),
        ("no-clock", "clock mismatch in the single scenario"),
        ("two-threads", "too many threads in the single scenario"),
    ],
)
def test_a_cheat_is_a_failed_row_with_its_reason(rows: dict[str, Any], name: str, reason: str) -> None:
    assert rows[name]["status"] == "failed"
    assert reason in rows[name]["error"]

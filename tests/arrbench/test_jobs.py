"""How many trials run at once: by cores, by memory, or by word; never part of a key."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from arrbench.jobs import GIB, Limits, available_memory, limits


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with so many cores that this process may use, and so many GiB available."""

    def be(cores: int, gib: float) -> None:
        monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: list(range(cores)), raising=False)
        memory = SimpleNamespace(available=int(gib * GIB))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    return be


@pytest.mark.parametrize(
    ("cores", "gib", "threads", "device", "expected"),
    [
        (2, 64, 1, "cpu", Limits(2, 5)),
        (1, 64, 1, "cpu", Limits(1, 1)),
        (64, 1024, 1, "cpu", Limits(64, 129)),
        (64, 1024, 16, "cpu", Limits(4, 9)),
        (4, 1024, 16, "cpu", Limits(1, 1)),
        (64, 16.5, 1, "cpu", Limits(16, 16)),
        (2, 3.5, 1, "cpu", Limits(2, 3)),
        (64, 0.1, 1, "cpu", Limits(1, 1)),
        (64, 1024, 1, "cuda:0", Limits(1, 1)),
    ],
)
def test_the_default_is_what_cores_and_memory_carry(
    machine: Any, cores: int, gib: float, threads: int, device: str, expected: Limits
) -> None:
    machine(cores, gib)
    assert limits(None, device, threads, 0) == expected


def test_large_inputs_take_memory_of_every_worker(machine: Any) -> None:
    machine(64, 100)
    assert limits(None, "cpu", 1, GIB) == Limits(20, 20)


def test_what_is_asked_for_holds_whatever_the_machine_is(machine: Any) -> None:
    machine(2, 1)
    assert limits(7, "cpu", 1, 0) == limits(7, "cuda:0", 1, GIB) == Limits(7, 7)


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        (
            {"memory.max": 8 * GIB, "memory.current": 6 * GIB, "memory.stat": f"anon 5\ninactive_file {GIB}"},
            3,
        ),
        ({"memory.max": "max", "memory.current": 6 * GIB, "memory.stat": "inactive_file 0"}, 10),
        ({"memory.max": 100 * GIB, "memory.current": GIB, "memory.stat": ""}, 10),
        (
            {
                "memory/memory.limit_in_bytes": 4 * GIB,
                "memory/memory.usage_in_bytes": 4 * GIB,
                "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
            },
            1,
        ),
        ({}, 10),
    ],
)
def test_a_container_s_limit_counts(machine: Any, tmp_path: Path, files: dict[str, Any], gib: int) -> None:
    machine(2, 10)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(str(content))
    assert available_memory(tmp_path) == gib * GIB


@pytest.mark.slow
def test_jobs_change_no_key_and_no_measure(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter,learner", "--task", "toy", "--device", "cpu", "--json")
    alone = arrbench(*words, "--jobs", 1, "--out", tmp_path / "one").rows()
    many = arrbench(*words, "--jobs", 4, "--out", tmp_path / "many").rows()
    assert [(r["key"], r["metrics"]) for r in alone] == [(r["key"], r["metrics"]) for r in many]


@pytest.mark.slow
def test_no_more_trials_are_alive_than_asked_for(arrbench: Any, tmp_path: Path) -> None:
    words = (
        "run",
        "--rankers",
        "witness",
        "--seeds",
        "1,2,3,4",
        "--task",
        "toy",
        "--device",
        "cpu",
        "--json",
    )
    for jobs in (1, 3):
        out = tmp_path / str(jobs)
        rows = arrbench(*words, "--jobs", jobs, "--out", out).rows()
        seen = [row["facts"]["living_workers"] for row in rows if row["ranker"] == "witness"]
        assert len(seen) == 4
        assert max(seen) == jobs, json.dumps(seen)

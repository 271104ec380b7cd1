"""What one trial can do to the files of a run: harm itself, not the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOT_OURS = ("precious.txt", "rankings.jsonl")  # the second is also a name that the harness removes
TOY = ("--task", "toy", "--device", "cpu", "--json")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds all that a run writes, temporary files too: where a vandal looks."""
    for name in ("temporary", "elsewhere"):
        (tmp_path / name).mkdir()
    for name in NOT_OURS:
        (tmp_path / "elsewhere" / name).write_text("not ours")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("TROUBLE_BELOW", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("does", ["rewrite", "delete"])
def test_no_trial_finds_what_others_read(arrbench: Any, shared: Path, does: str) -> None:
    rankers = f"vandal:does={does},counter,learner"
    answer = arrbench("run", "--rankers", rankers, *TOY, "--jobs", 2, "--out", shared / "runs")
    rows = {row["ranker"]: row for row in answer.rows()}
    assert answer.status == 0, rows
    assert rows["vandal"]["facts"]["damaged"] == 0
    for ranker in ("counter", "learner", "vandal"):
        assert rows[ranker]["metrics"]["ndcg@10"] == 1.0


def test_what_others_write_can_be_destroyed_and_fails_them_alone(arrbench: Any, shared: Path) -> None:
    rankers = "vandal:does=wipe,learner,counter"
    answer = arrbench("run", "--rankers", rankers, *TOY, "--jobs", 3, "--out", shared / "runs")
    rows = {row["ranker"]: row for row in answer.rows()}
    assert set(rows) == {"vandal", "learner", "counter", "random", "prior"}
    assert rows["vandal"]["status"] == rows["counter"]["status"] == "ok"
    assert rows["vandal"]["facts"]["damaged"] > 0
    failed = [row for row in rows.values() if row["status"] == "failed"]
    assert rows["learner"] in failed
    for row in failed:
        assert "was removed or replaced while it ran" in row["error"]
    assert answer.status == 1


SELF = {
    "folder": "was removed or replaced while it ran",
    "folder-link": "was removed or replaced while it ran",
    "folder-file": "was removed or replaced while it ran",
    "rankings": "rankings.jsonl, which the worker wrote, is gone",
    "rankings-fifo": "rankings.jsonl, which the worker wrote, is gone or no file any more",
    "timing": "timing.npz, which the worker wrote, can't be read any more",
    "worker": "IsADirectoryError",
    "links": None,
}


def test_a_trial_that_destroys_its_own_files_is_a_failed_row(arrbench: Any, shared: Path) -> None:
    rankers = ",".join([*(f"self-vandal:what={what}" for what in SELF), "counter"])
    answer = arrbench("run", "--rankers", rankers, *TOY, "--timeout", 60, "--out", shared / "runs")
    rows = {row["options"].get("what", row["ranker"]): row for row in answer.rows()}
    assert rows["counter"]["status"] == "ok"
    for what, says in SELF.items():
        assert rows[what]["status"] == ("failed" if says else "ok"), rows[what]
        assert says is None or says in rows[what]["error"]
        assert (shared / "runs" / rows[what]["key"] / "record.json").is_file()
    written = shared / "runs" / rows["links"]["key"]
    assert not any(file.is_symlink() for file in written.iterdir())
    for name in NOT_OURS:
        assert (shared / "elsewhere" / name).read_text() == "not ours"
    assert list((shared / "temporary").iterdir()) == []

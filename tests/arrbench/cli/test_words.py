"""What rows, records and published boards are called, and under which words a cached record is shown."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def folders(arrbench: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of one content."""
    first, second = (tmp_path_factory.mktemp("collections") / name for name in ("first", "second"))
    assert arrbench("export", "toy", first).status == 0
    shutil.copytree(first, second)
    return first, second


def words_of(row: dict[str, Any]) -> list[str]:
    return shlex.split(row["command"])


def test_a_cached_row_is_today_s_in_all_that_names_it(
    arrbench: Any, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = folders
    out = ("--out", tmp_path, *CPU, "--json")
    made = arrbench("run", "--rankers", "counter:name=before", "--task", f"folder:path={first}", *out).rows()
    task = f"folder:path={second}"
    rows = arrbench("run", "--rankers", "counter", "--task", task, *out).rows()
    assert [row["cached"] for row in rows] == [True] * len(rows)
    assert [row["key"] for row in rows] == [row["key"] for row in made]
    row = next(row for row in rows if row["label"] == "counter")
    assert row["title"] is None
    assert row["task_label"] == "folder:path=second"
    assert row["task_options"]["path"] == str(second)
    assert words_of(row)[words_of(row).index("--task") + 1] == task
    assert words_of(row)[words_of(row).index("--rankers") + 1] == "counter"
    unchanged = json.loads((tmp_path / row["key"] / "record.json").read_text())
    assert unchanged["task_options"]["path"] == str(first)
    assert unchanged["title"] == "before"
    assert (
        "folder:path=second: retrieve"
        in arrbench("run", "--rankers", "counter", "--task", task, *out[:-1]).out
    )


def test_a_run_s_candidates_are_found_by_options_whatever_their_row_was_called(
    arrbench: Any, tmp_path: Path
) -> None:
    toy = ("--task", "toy", "--out", tmp_path, *CPU, "--json")
    arrbench("run", "--rankers", "counter:sleep_ms=0.1:name=first stage", *toy)
    answer = arrbench("run", "--rankers", "counter", "--candidates", "counter:sleep_ms=0.1", *toy)
    assert answer.status == 0, answer.err


def test_a_name_is_what_the_row_is_called_and_in_no_key(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--out", tmp_path, *CPU, "--json")
    named = 'counter:sleep_ms=0.1:name="MiniLM, fine-tuned"'
    rows = arrbench(*words, "--rankers", named, "--task", 'toy:name="Colours, two of them"').rows()
    row = next(row for row in rows if row["ranker"] == "counter")
    assert (row["label"], row["title"]) == ("counter:sleep_ms=0.1", "MiniLM, fine-tuned")
    assert (row["task_label"], row["task_title"]) == ("toy", "Colours, two of them")
    assert "name" not in row["options"] | row["task_options"]
    plain = arrbench(*words, "--rankers", "counter:sleep_ms=0.1", "--task", "toy").rows()
    assert {r["key"] for r in plain} == {r["key"] for r in rows}
    again = arrbench(*words_of(row)[1:], "--out", tmp_path, "--json").rows()
    assert [r for r in again if r["title"]] == [{**row, "cached": True}]
    shown = arrbench(*words[:-1], "--rankers", named, "--task", 'toy:name="Colours, two of them"').out
    assert "MiniLM, fine-tuned" in shown
    assert "Colours, two of them: retrieve" in shown
    assert "counter" not in shown
    with gzip.open(tmp_path / row["key"] / "run.trec.gz", "rt") as run:
        assert {line.split()[5] for line in run} == {"MiniLM,_fine-tuned"}


def test_one_ranker_under_two_names_is_one_row_and_says_so(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--task", "toy", "--out", tmp_path, *CPU, "--json", "--rankers")
    answer = arrbench(*words, "counter:name=A,counter:name=B,counter:name=A")
    assert [row["title"] for row in answer.rows() if row["ranker"] == "counter"] == ["A"]
    assert "asked for under two names, 'A' and 'B'" in answer.err
    refused = arrbench(*words, "counter:name=random")
    assert refused.status == 2
    assert "2 rankers are called 'random'" in refused.err


def test_a_path_in_an_option_shows_as_its_last_part(arrbench: Any, tmp_path: Path) -> None:
    rankers = [
        "counter:remark=/home/me/a/model",
        "counter:remark=/home/me/b/model",
        "counter:remark=/home/me/other",
    ]
    words = ("run", "--task", "toy", "--out", tmp_path, *CPU, "--json", "--rankers")
    rows = [r for r in arrbench(*words, ",".join(rankers)).rows() if r["ranker"] == "counter"]
    assert [row["label"] for row in rows] == [
        "counter:remark=a/model",
        "counter:remark=b/model",
        "counter:remark=other",
    ]
    assert [words_of(row)[words_of(row).index("--rankers") + 1] for row in rows] == rankers
    assert [row["options"]["remark"] for row in rows] == [word.partition("=")[2] for word in rankers]


def test_tasks_whose_folders_have_one_name_are_told_apart(
    arrbench: Any, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders[0], tmp_path / "one" / "data")
    shutil.copytree(folders[0], tmp_path / "two" / "data")
    task = f"folder:path={tmp_path}/one/data,folder:path={tmp_path}/two/data,folder:path={tmp_path}/one/data"
    words = ("run", "--rankers", "counter", "--task", task, *CPU, "--out", tmp_path / "runs")
    plan = json.loads(arrbench(*words, "--dry-run", "--json").out)["plan"]
    assert list(dict.fromkeys(line["task"] for line in plan)) == [
        "folder:path=one/data",
        "folder:path=two/data",
    ]


BOARD = """
task = "folder:path={task}"
rankers = [{rankers}]
seeds = [1]

[board]
title = "Colours"
text = "A board."
"""


def a_board(folder: Path, task: Path, *rankers: str) -> Path:
    folder.mkdir()
    text = BOARD.format(task=task, rankers=", ".join(json.dumps(r) for r in rankers))
    (folder / "board.toml").write_text(text)
    return folder


def published(board: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(f.read_text()) for f in board.glob("records/*/record.json")]
    return {r["title"] or r["label"]: r for r in records}


@pytest.mark.slow
def test_a_board_of_what_was_served_from_another_folder_s_records_is_published(
    arrbench: Any, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = folders
    runs = tmp_path / "runs"
    arrbench("run", "--rankers", "counter", "--task", f"folder:path={first}", "--out", runs, *CPU)
    arrbench("run", "--rankers", "counter", "--task", "toy", "--out", runs, *CPU)
    board = a_board(tmp_path / "board", second, "counter:name=Counted")
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0, answer.err
    found = published(board)
    assert set(found) == {"Counted", "random", "prior"}
    assert {r["task_label"] for r in found.values()} == {"folder:path=second"}
    assert found["Counted"]["task_options"]["path"] == "second"
    assert "--task folder:path=second" in found["Counted"]["command"]
    assert "0 new records" in arrbench("publish", board, "--runs", runs).out


def test_what_is_published_holds_no_path_of_the_machine(
    arrbench: Any, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    rankers = ("counter:remark=/home/me/a/model", "counter:wrong=raise:remark=/home/me/b/model", "exits")
    task = f"folder:path={folders[0]}"
    arrbench("run", "--rankers", ",".join(rankers), "--task", task, "--out", runs, *CPU)
    for file in runs.glob("*/record.json"):  # as an error or a note of a plugin's would have it
        record = json.loads(file.read_text())
        record["error"] = (
            record["error"] and f"no file {folders[0]}/x or /opt/some/lib.so, see https://a.b/c/d"
        )
        record["task_notes"] = [f"read from {folders[0]}"]
        record["weights"] = {"/home/me/a/model": "0" * 8, "first: /home/me/b/model": "1" * 8}
        file.write_text(json.dumps(record))
    board = a_board(tmp_path / "board", folders[0], *rankers)
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0, answer.err
    (board / "board.toml").unlink()
    for file in filter(Path.is_file, board.rglob("*")):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for part in ("/home/", "/opt/", str(folders[0]), str(tmp_path), "/tmp/"):
            assert part.encode() not in content, (file, part)
    found = published(board)
    assert set(found) >= {"counter:remark=model", "counter:wrong=raise:remark=model", "exits"}
    assert found["exits"]["error"] == "no file first/x or lib.so, see https://a.b/c/d"
    assert found["exits"]["weights"] == {"model": "0" * 8, "first: model": "1" * 8}
    with (board / "board.csv").open(newline="") as lines:
        assert "counter:remark=model" in {line["ranker"] for line in csv.DictReader(lines)}

"""A board is rebuilt from its records alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arrbench.leaderboard.board import read_board

BOARD = """
task = "toy:setting=retrieve"
rankers = ["counter", "counter:wrong=raise"]
seeds = [1, 2]

[board]
title = "Colours"
text = "A board of colours."
"""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "board.toml").write_text(BOARD)
    return folder


def test_a_byte_order_mark_before_a_board_changes_nothing(board: Path) -> None:
    plain = read_board(board)
    (board / "board.toml").write_text(f"\ufeff{BOARD}", encoding="utf-8")
    assert read_board(board) == plain


def test_a_board_holds_its_trials_and_is_rebuilt_without_the_runs(
    arrbench: Any, board: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    arrbench("run", "--config", board / "board.toml", "--device", "cpu", "--out", runs)
    arrbench("run", "--rankers", "learner", "--task", "toy", "--device", "cpu", "--out", runs)
    arrbench("run", "--rankers", "counter", "--task", "toy", "--device", "cpu", "--out", runs, "--limit", 5)
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0, answer.err
    assert "8 new records" in answer.out  # two rankers and two baselines, two seeds
    readme = (board / "README.md").read_text()
    assert readme.startswith("# Colours\n\nA board of colours.\n")
    for word in (
        "counter",
        "prior",
        "random",
        "ValueError",
        "nDCG@10",
        "arrbench run --rankers counter --task toy",
    ):
        assert word in readme, word
    assert "learner" not in readme
    with (board / "board.csv").open(newline="") as lines:
        found = {line["ranker"]: line for line in csv.DictReader(lines)}
    assert set(found) == {"counter", "counter:wrong=raise", "prior", "random"}
    assert float(found["counter"]["nDCG@10"]) == 1.0
    assert found["counter"]["seeds"] == "1 2"
    assert not list(board.glob("records/*/model"))
    assert not list(board.glob("records/*/log.txt"))
    before = readme, (board / "board.csv").read_text()
    (board / "README.md").unlink()
    answer = arrbench("publish", board, "--runs", tmp_path / "nothing")
    assert "0 new records" in answer.out
    assert ((board / "README.md").read_text(), (board / "board.csv").read_text()) == before


@pytest.mark.slow
def test_a_newer_record_of_a_trial_takes_the_older_one_s_place(
    arrbench: Any, board: Path, tmp_path: Path
) -> None:
    words = ("run", "--rankers", "counter", "--task", "toy", "--device", "cpu", "--out", tmp_path / "runs")
    for force in ((), ("--force",)):
        arrbench(*words, *force)
        arrbench("publish", board, "--runs", tmp_path / "runs")
    assert len(list((board / "records").iterdir())) == 3


def test_a_board_without_records_says_how_to_make_some(arrbench: Any, board: Path) -> None:
    answer = arrbench("publish", board, "--runs", board)
    assert answer.status == 2
    assert "arrbench run --config" in answer.err
    (board / "board.toml").write_text('task = "toy"')
    answer = arrbench("publish", board)
    assert "lacks rankers, seeds, board.title, board.text" in answer.err


@pytest.mark.parametrize(
    ("rankers", "seeds", "says"),
    [
        ('"counter,random"', "1", ""),
        ('["counter"]', '"1,2"', ""),
        ('"counter"', '"one"', "give whole numbers"),
    ],
)
def test_a_board_s_words_are_read_as_those_of_a_run(
    arrbench: Any, board: Path, runs: Path, rankers: str, seeds: str, says: str
) -> None:
    text = BOARD.replace('["counter", "counter:wrong=raise"]', rankers).replace("[1, 2]", seeds)
    (board / "board.toml").write_text(text)
    answer = arrbench("publish", board, "--runs", runs)
    assert says in answer.err
    assert answer.status == (2 if says else 0)


@pytest.fixture
def runs(arrbench: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    words = ("run", "--rankers", "counter", "--task", "toy", "--device", "cpu", "--out", folder, "--no-save")
    assert arrbench(*words).status == 0
    return folder


def a_victim(folder: Path, record: Path) -> Path:
    """A folder that no board may touch, which looks like a record."""
    shutil.copytree(record, folder)
    (folder / "precious").write_text("mine")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("way", ["above", "absolute", "another's name"])
def test_a_record_that_names_another_folder_has_nothing_removed(
    arrbench: Any, board: Path, runs: Path, tmp_path: Path, way: str
) -> None:
    counter = next(f for f in runs.iterdir() if '"label": "counter"' in (f / "record.json").read_text())
    victim = a_victim(tmp_path / "victim", counter)
    before = content(victim)
    hostile = board / "records" / ("0" * 20)
    shutil.copytree(counter, hostile)
    key = {"above": "../../victim", "absolute": str(victim), "another's name": "f" * 20}[way]
    record = json.loads((hostile / "record.json").read_text())
    (hostile / "record.json").write_text(json.dumps({**record, "key": key, "finished_at": "2020-01-01"}))
    planted = content(hostile)
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0, answer.err
    assert "3 new records" in answer.out
    assert str(hostile / "record.json") in answer.err
    assert content(victim) == before
    assert content(hostile) == planted


def test_links_in_a_board_are_not_followed(arrbench: Any, board: Path, runs: Path, tmp_path: Path) -> None:
    counter = next(f for f in runs.iterdir() if '"label": "counter"' in (f / "record.json").read_text())
    outside = a_victim(tmp_path / "outside" / counter.name, counter)
    older = json.loads((outside / "record.json").read_text()) | {"finished_at": "2020-01-01"}
    (outside / "record.json").write_text(json.dumps(older))
    before = content(outside)
    (board / "records").mkdir()
    (board / "records" / counter.name).symlink_to(outside)
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 2
    assert "is in the way of a record" in answer.err
    assert content(outside) == before
    (board / "records" / counter.name).unlink()
    (board / "records" / counter.name).mkdir()
    for name in ("record.json", "run.trec.gz"):
        (board / "records" / counter.name / name).symlink_to(outside / name)
    assert arrbench("publish", board, "--runs", runs).status == 0
    assert content(outside) == before
    assert not (board / "records" / counter.name / "record.json").is_symlink()
    shutil.rmtree(board / "records")
    secret = tmp_path / "secret"
    secret.write_text("not for publication")
    (counter / "training.jsonl").symlink_to(secret)
    assert arrbench("publish", board, "--runs", runs).status == 0
    assert not (board / "records" / counter.name / "training.jsonl").exists()


def test_what_a_board_did_not_make_stays(arrbench: Any, board: Path, runs: Path) -> None:
    assert arrbench("publish", board, "--runs", runs).status == 0
    notes = board / "records" / "notes"
    notes.mkdir()
    (notes / "record.json").write_text("{}")
    for folder in list((board / "records").iterdir()):
        (folder / "remark.txt").write_text("mine")
    words = ("run", "--rankers", "counter", "--task", "toy", "--device", "cpu", "--out", runs, "--force")
    assert arrbench(*words).status == 0
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0
    assert "3 new records" in answer.out
    assert len(list(board.glob("records/*/remark.txt"))) == 4
    assert (notes / "record.json").read_text() == "{}"
    for folder in runs.glob("*/record.json"):
        assert (board / "records" / folder.parent.name / "record.json").exists()
    assert not list((board / "records").glob(".publishing-*"))


def test_a_trial_of_another_key_takes_its_place_and_leaves_what_else_lies_there(
    arrbench: Any, board: Path, runs: Path
) -> None:
    assert arrbench("publish", board, "--runs", runs).status == 0
    for folder in list((board / "records").iterdir()):  # the same trials, as other code had made them
        old = folder.rename(folder.with_name(folder.name[::-1]))
        record = json.loads((old / "record.json").read_text())
        (old / "record.json").write_text(json.dumps({**record, "key": old.name, "finished_at": "2020"}))
        (old / "remark.txt").write_text("mine")
    answer = arrbench("publish", board, "--runs", runs)
    assert "3 new records" in answer.out
    assert len(list(board.glob("records/*/record.json"))) == 3
    assert all(len(list(f.parent.iterdir())) == 1 for f in board.glob("records/*/remark.txt"))


def test_of_several_records_of_a_trial_the_newest_is_published_once(
    arrbench: Any, board: Path, runs: Path
) -> None:
    for folder in list(runs.glob("*/record.json")):
        older = folder.parent.with_name(folder.parent.name[::-1])
        shutil.copytree(folder.parent, older)
        record = json.loads(folder.read_text())
        changed = {"key": older.name, "finished_at": "2020-01-01T00:00:00+00:00"}
        (older / "record.json").write_text(json.dumps(record | changed))
    assert "3 new records" in arrbench("publish", board, "--runs", runs).out
    before = content(board / "records")
    assert "0 new records" in arrbench("publish", board, "--runs", runs).out
    for folder in runs.glob("*/record.json"):  # now only the older ones are left to be collected
        if '"2020-01-01T' not in folder.read_text():
            shutil.rmtree(folder.parent)
    assert "0 new records" in arrbench("publish", board, "--runs", runs).out
    assert content(board / "records") == before


def test_an_unreadable_record_or_sample_is_named_and_the_rest_is_published(
    arrbench: Any, board: Path, runs: Path
) -> None:
    (runs / ("0" * 20)).mkdir()
    (runs / ("0" * 20) / "record.json").write_text("{")
    assert arrbench("publish", board, "--runs", runs).status == 0
    first, second, *_ = sorted((board / "records").iterdir())
    (first / "record.json").write_text("{")
    (second / "samples.npz").write_bytes(b"PK\x03\x04 broken")
    (runs / first.name / "record.json").write_text("{")
    answer = arrbench("publish", board, "--runs", runs)
    assert answer.status == 0
    for file in (runs / ("0" * 20) / "record.json", first / "record.json", second / "samples.npz"):
        assert str(file) in answer.err, file
    assert "--force" in answer.err
    assert len((board / "board.csv").read_text().splitlines()) == 1 + 2


def test_runs_that_are_no_folder_are_refused(arrbench: Any, board: Path) -> None:
    answer = arrbench("publish", board, "--runs", board / "board.toml")
    assert answer.status == 2
    assert "is not a directory" in answer.err

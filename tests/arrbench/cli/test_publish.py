"""A board is rebuilt from its records alone."""

from __future__ import annotations

import csv
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

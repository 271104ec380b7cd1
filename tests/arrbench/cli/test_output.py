"""What `arrbench run` prints: in each format, in any encoding, with whatever words the user has."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from arrbench.cli import progress

TOY = ("--task", "toy", "--device", "cpu")


@pytest.fixture(scope="module")
def ran(arrbench: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`arrbench run` on one small experiment of two seeds, which after the first call is all recorded."""
    out = tmp_path_factory.mktemp("runs")

    def run(*words: object, **more: Any) -> Any:
        seeds = ("--seeds", "1,2", "--out", out)
        return arrbench("run", "--rankers", "counter,learner", *TOY, *seeds, *words, **more)

    first = run("--json")
    assert first.status == 0, first.err
    return run


def test_each_format_is_all_that_stands_on_stdout(ran: Callable[..., Any]) -> None:
    assert ran("--format", "json").out == ran("--json").out
    assert json.loads(ran("--format", "json").out)["schema"] == 1
    rows = list(csv.DictReader(io.StringIO(ran("--format", "csv").out)))
    assert {row["ranker"] for row in rows} >= {"counter", "learner"}
    assert float(rows[0]["nDCG@10"]) == 1.0
    markdown = ran("--format", "markdown").out
    assert markdown.startswith("**toy** (retrieve): ")
    assert "\n| ranker | nDCG@10 |" in markdown
    assert ran("--format", "table").out == ran().out
    answer = ran("--format", "xml")
    assert answer.status == 2
    assert "'table', 'markdown', 'csv', 'json'" in answer.err


def test_the_test_and_correction_change_what_is_said_and_nothing_recorded(
    ran: Callable[..., Any], tmp_path: Path
) -> None:
    before = ran("--json").out
    for words, expected in (
        ((), "t-test over queries and seeds, Holm-corrected"),
        (("--test", "wilcoxon"), "Wilcoxon's signed-rank test over queries"),
        (("--test", "randomization", "--correction", "bh"), "Benjamini-Hochberg-corrected"),
    ):
        assert expected in ran(*words).out, words
    config = tmp_path / "experiment.toml"
    config.write_text('test = "wilcoxon"\ncorrection = "bh"\n')
    text = ran("--config", config).out
    assert "Wilcoxon" in text
    assert "Benjamini" in text
    assert "randomization test" in ran("--config", config, "--test", "randomization").out
    assert ran("--json", "--test", "wilcoxon").out == before
    answer = ran("--test", "anova")
    assert answer.status == 2
    assert "'t', 'randomization', 'wilcoxon'" in answer.err


def test_a_board_says_how_it_is_tested(arrbench: Any, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    described = (
        'task = "toy"\nrankers = ["counter"]\nseeds = [1]\ntest = "{}"\n[board]\ntitle = "a"\ntext = "b"\n'
    )
    (board / "board.toml").write_text(described.format("wilcoxon"))
    runs = tmp_path / "runs"
    assert arrbench("run", "--config", board / "board.toml", "--device", "cpu", "--out", runs).status == 0
    assert arrbench("publish", board, "--runs", runs).status == 0
    assert (
        "Wilcoxon's signed-rank test over queries, between these trained models, Holm"
        in (board / "README.md").read_text()
    )
    assert arrbench("publish", board, "--test", "t", "--correction", "bh").status == 0
    assert (
        "paired t-test over queries, between these trained models, Benjamini"
        in (board / "README.md").read_text()
    )
    (board / "board.toml").write_text(described.format("anova"))
    answer = arrbench("publish", board)
    assert answer.status == 2
    assert "test is 'anova'; known: t, randomization, wilcoxon" in answer.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_no_plus_minus_sign_gets_its_table(
    arrbench_environment: Callable[..., dict[str, str]], tmp_path: Path, encoding: str
) -> None:
    words = ("run", "--rankers", "learner,counter", *TOY, "--seeds", "1,2", "--out", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "arrbench", *words],
        env=arrbench_environment("trouble") | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    text = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    sign = "+/-" if encoding == "ascii" else "±"
    assert f" {sign}0." in text or f" {sign}." in text
    assert "mean " + sign + " standard deviation over 2 seeds" in text
    assert {line.split()[0] for line in text.splitlines() if line} >= {"learner", "counter", "random"}


@pytest.mark.parametrize("words", [("show", "ranker", "learner"), ("run", "--help"), ("list",)])
def test_no_command_ends_for_a_sign_that_stdout_lacks(
    arrbench_environment: Callable[..., dict[str, str]], words: tuple[str, ...]
) -> None:
    environment = arrbench_environment("trouble") | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "arrbench", *words]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("parent", "name"), [("data[", "v2]"), ("data", "[bold]x[red]")])
def test_brackets_in_a_label_are_printed_as_they_are(
    arrbench: Any, tmp_path: Path, parent: str, name: str
) -> None:
    folder = tmp_path / parent / name
    folder.mkdir(parents=True)
    (folder / "corpus.tsv").write_text("d1\tred\nd2\tblue\n")
    (folder / "queries.tsv").write_text("q1\tred\nq2\tblue\n")
    (folder / "test.qrels").write_text("q1 0 d1 1\nq2 0 d2 1\n")
    words = ("--task", f"folder:path={folder}", "--device", "cpu", "--out", tmp_path / "runs")
    answer = arrbench("run", "--rankers", "counter", *words)
    assert "Error" not in answer.err
    assert f"{name}: retrieve, 2 documents" in answer.out


def test_nobody_s_words_are_markup_while_a_run_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=160)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    for word in ("folder:path=data[/v2]", "[bold]", "[/]", "x\\", "{task}", ":smile:"):
        with progress.watching(2, silent=False) as watcher:
            watcher.started(word)
            watcher.progress(word, f"indexing {word}", 1, 2)
            watcher._progress.refresh()
            watcher.finished(word, f"no {word}")
        assert re.search(rf" {re.escape(word)} +indexing {re.escape(word)} ", file.getvalue())
        assert f"failed {word}: no {word}" in file.getvalue()


@pytest.mark.parametrize("columns", [60, 100])
def test_on_a_terminal_the_table_is_as_wide_as_it_is(
    arrbench_environment: Callable[..., dict[str, str]], columns: int, tmp_path: Path
) -> None:
    words = ["run", "--rankers", "counter", *TOY, "--out", str(tmp_path), "--quiet"]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    environment = arrbench_environment("trouble") | {"TERM": "xterm"}
    del environment["COLUMNS"]
    command = [sys.executable, "-m", "arrbench", *words]
    done = subprocess.Popen(command, env=environment, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(ours, 65536):
            text += part
    os.close(ours)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("counter ") for line in lines)
    assert any("no room for" in line for line in lines) == (columns == 60)

"""What happens to lie in the working folder is no code of a run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import arrbench as package

DISTRIBUTIONS = Path(__file__).parents[1] / "distributions"
TOY = ("--task", "toy", "--device", "cpu", "--json")
STARTS = {
    "module": (sys.executable, "-m", "arrbench"),
    "module, safe path": (sys.executable, "-P", "-m", "arrbench"),
    "script": (sys.executable, str(Path(sys.executable).with_name("arrbench"))),
}
ADDED = "\n\nCounter._rank = lambda self, query, k: Ranking(list(self.names)[:k], [0.0] * len(self.names))\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules that end whoever imports them, and an edited copy of a plugin's."""
    home = tmp_path / "working"
    home.mkdir()
    for name in ("random", "numpy", "psutil", "click", "torch", "pip"):
        (home / f"{name}.py").write_text("raise SystemExit('code of the working folder runs')\n")
    edited = (DISTRIBUTIONS / "trouble" / "trouble.py").read_text(encoding="utf-8") + ADDED
    (home / "trouble.py").write_text(edited, encoding="utf-8")
    monkeypatch.chdir(home)
    return home


def run(*words: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), env=environment, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_it_changes_no_key_and_no_figure(
    arrbench: Any, arrbench_environment: Any, tmp_path: Path, folder: Path, start: str
) -> None:
    if not Path(STARTS[start][-1]).exists() and start == "script":
        pytest.skip("arrbench is not installed as a script beside this interpreter")
    words = ("run", "--rankers", "counter,grandchild", *TOY, "--out")
    done = run(*STARTS[start], *words, tmp_path / "there", environment=arrbench_environment("trouble"))
    assert done.returncode == 0, done.stdout + done.stderr
    os.chdir(tmp_path)
    elsewhere = arrbench(*words, tmp_path / "elsewhere")
    there = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
    for row in elsewhere.rows():
        assert there[row["label"]]["key"] == row["key"]
        assert there[row["label"]]["metrics"] == row["metrics"]
    assert there["counter"]["metrics"]["ndcg@10"] == 1.0


@pytest.mark.parametrize("words", [("list", "--check"), ("doctor",), ("show", "ranker", "counter")])
@pytest.mark.usefixtures("folder")
def test_no_command_runs_it(arrbench: Any, words: tuple[str, ...]) -> None:
    answer = arrbench(*words)
    assert "working folder runs" not in answer.out + answer.err


def test_a_path_that_the_user_names_is_every_process_s(
    arrbench_environment: Any, tmp_path: Path, folder: Path
) -> None:
    for file in folder.glob("*.py"):
        if file.name != "trouble.py":
            file.unlink()
    environment = arrbench_environment("trouble")
    environment["PYTHONPATH"] = os.pathsep.join([".", environment["PYTHONPATH"]])
    words = ("run", "--rankers", "counter", *TOY, "--out", tmp_path / "runs")
    done = run(sys.executable, "-m", "arrbench", *words, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["counter"]["metrics"]["ndcg@10"] < 1.0


def test_code_that_only_the_planning_process_finds_is_no_figure(
    arrbench_environment: Any, tmp_path: Path, folder: Path
) -> None:
    for file in folder.glob("*.py"):
        if file.name != "trouble.py":
            file.unlink()
    (folder / "experiment.py").write_text(
        "import arrbench, pathlib\n"
        f"out = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        "for record in arrbench.run(['counter'], 'toy', device='cpu', out=out):\n"
        "    print(record.label, record.status, record.error)\n"
    )
    done = run(sys.executable, folder / "experiment.py", environment=arrbench_environment("trouble"))
    assert done.returncode == 0, done.stderr
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert said["counter"].startswith("failed TrialError: the code of ranker 'counter' (trouble:Counter)")
    assert said["random"].startswith("ok")


def test_one_place_says_how_python_is_started() -> None:
    for file in Path(package.__file__).parent.rglob("*.py"):
        names = {n.attr for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Attribute)}
        assert "executable" not in names or file.name == "separately.py", file

"""A stranger's package, really installed with pip, is a ranker like any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "plugins" / "arrbench-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed from a copy so that building leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("example")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder),
        str(EXAMPLE),
    ]
    subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
    return folder


@pytest.mark.slow
def test_the_example_is_listed_shown_run_and_asked(arrbench: Any, installed: Path, tmp_path: Path) -> None:
    here = (str(installed),)
    assert "ngrams" in arrbench("list", distributions=here).out
    assert "letters in an n-gram" in arrbench("show", "ranker", "ngrams", distributions=here).out
    words = ("run", "--rankers", "ngrams:n=4", "--limit", 30, "--device", "cpu", "--out", tmp_path, "--json")
    answer = arrbench(*words, distributions=here)
    assert answer.status == 0, answer.err
    row = next(r for r in answer.rows() if r["label"] == "ngrams:n=4")
    assert row["distribution"] == "arrbench-example 0.1.0"
    random = next(r for r in answer.rows() if r["label"] == "random")
    assert row["metrics"]["ndcg@10"] > random["metrics"]["ndcg@10"]
    asked = arrbench(
        "rank", tmp_path / row["key"], "a small wild cat", "--k", 3, "--device", "cpu", distributions=here
    )
    assert len(asked.out.splitlines()) == 3


def test_the_example_is_as_short_as_it_says() -> None:
    lines = (EXAMPLE / "arrbench_example" / "__init__.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60

"""arrbench from Python: the contract at the package's top, and `run` as the command line has it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

import arrbench
from arrbench import UsageError

SMALL = {"limit": 5, "device": "cpu", "save": False}


def test_the_contract_is_at_the_top_and_loads_when_it_is_asked_for() -> None:
    code = (
        "import sys, arrbench\n"
        "assert not [m for m in sys.modules if m.startswith('arrbench.')], sys.modules\n"
        "assert 'pydantic' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert set(arrbench.__all__) <= set(dir(arrbench))\n"
        "from arrbench import *\n"
        "from arrbench import ranker, task, options, errors\n"
        "assert Ranker is ranker.Ranker and Generative is ranker.Generative and Corpus is ranker.Corpus\n"
        "assert Task is task.Task and Split is task.Split and BaseOptions is options.BaseOptions\n"
        "assert UsageError is errors.UsageError and callable(run)\n"
        "heavy = {'torch', 'transformers', 'faiss', 'ranx', 'numba', 'pandas', 'scipy', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Rnaker'"):
        arrbench.Rnaker  # noqa: B018


def test_words_paths_and_seeds_as_one_would_write_them(tmp_path: Path) -> None:
    records = arrbench.run("random", out=str(tmp_path), seeds=1, **SMALL)
    assert [(r.label, r.seed) for r in records] == [("prior", 1), ("random", 1)]
    again = arrbench.run("prior, random", "wordnet,wordnet", out=str(tmp_path), seeds=(1, 1), **SMALL)
    assert [r.key for r in again] == [r.key for r in records]
    assert again == records


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"seed": 1}, "unknown setting 'seed'; did you mean 'seeds'"),
        ({"task_": "toy"}, "unknown setting 'task_'"),
        ({"seeds": "one"}, "seeds='one'"),
        ({"seeds": [2**32]}, "from 0 to 4294967295"),
        ({"seeds": []}, "give one or more"),
        ({"k": "many"}, "k='many'"),
        ({"out": 5}, "out=5"),
        ({"threads": 0}, "threads is 0"),
        ({"timeout_s": float("nan")}, "timeout is nan"),
    ],
)
def test_wrong_settings_are_usage_errors(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("'", "['\"]")):
        arrbench.run("random", **{"out": tmp_path, **SMALL, **settings})


@pytest.mark.parametrize("rankers", [5, None, [5], "", [], ","])
def test_wrong_rankers_are_usage_errors(tmp_path: Path, rankers: Any) -> None:
    with pytest.raises(UsageError, match="rankers"):
        arrbench.run(rankers, out=tmp_path, **SMALL)


def test_what_a_plan_warns_of_is_a_warning(tmp_path: Path) -> None:
    (record, _) = arrbench.run("random", out=tmp_path, **SMALL)
    (tmp_path / record.key / "record.json").write_text("{")
    with pytest.warns(UserWarning, match=record.key):
        arrbench.run("random", out=tmp_path, **SMALL)


def test_a_call_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    process = psutil.Process()
    counts = []
    for n in range(3):
        arrbench.run("random", out=tmp_path / str(n), **SMALL)
        counts.append((threading.active_count(), process.num_fds(), len(process.children())))
    assert counts[1] == counts[2]

"""Imports run one way, and nobody's name is built in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "bench" / "arrbench"
RANKERS = ROOT / "plugins" / "arrbench_rankers"
LAYERS = (  # each imports only what stands before it; those on one line may import each other
    ("errors", "ties", "separately", "lines", "kept", "pip_settings", "pip_archive", "paths"),
    ("inputs", "jobs", "owner", "machine_lock"),
    ("exit_status", "contents", "options", "plain", "source", "versions", "respondent"),
    ("ranker", "task"),
    ("asking", "declared"),
    ("plugins",),
    ("spec", "labels", "record", "check", "exchange", "trec", "devices", "tasks", "models"),
    ("measure", "protocol"),
    ("store", "trial", "worker", "launch", "conversation"),
    ("choosing",),
    ("execution", "candidates", "task_check"),
    ("outcome",),
    ("leaderboard", "planning"),
    ("runner", "from_python"),
    ("cli",),
)
CONTRACT = {"asking", "errors", "kept", "options", "ranker", "task", "ties", "plugins", "spec", "measure"}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts(file: Path) -> set[str]:
    """The parts of arrbench that a file imports."""
    names = {p.stem for p in HARNESS.iterdir()}
    found = {name.split(".")[1] for name in imported(file) if name.startswith("arrbench.") and "." in name}
    return found & names


def test_no_part_of_the_harness_imports_what_stands_above_it() -> None:
    level = {name: i for i, names in enumerate(LAYERS) for name in names}
    for file in HARNESS.rglob("*.py"):
        own = file.relative_to(HARNESS).parts[0].removesuffix(".py")
        if own.startswith("__"):
            continue
        above = {p for p in parts(file) if level[p] > level[own]}
        assert not above, f"{file.relative_to(ROOT)} imports {above}"


def test_the_harness_imports_no_ranker_and_names_none() -> None:
    names = {p.name for p in metadata.entry_points(group="arrbench.rankers")}
    names |= {p.name for p in metadata.entry_points(group="arrbench.baselines")}
    for file in HARNESS.rglob("*.py"):
        assert not {n for n in imported(file) if n.startswith("arrbench_rankers")}, file
        tree = ast.parse(file.read_text(encoding="utf-8"))
        strings = {
            n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        }
        # `random` is also a module's and a task's word: a kind of negatives
        assert not (strings & names) - {"random"}, file


@pytest.mark.parametrize("file", sorted(RANKERS.rglob("*.py")), ids=lambda f: str(f.relative_to(RANKERS)))
def test_rankers_import_the_contract_alone(file: Path) -> None:
    assert parts(file) <= CONTRACT


def test_nothing_is_pickled_or_evaluated() -> None:
    for file in (*HARNESS.rglob("*.py"), *RANKERS.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} & set(imported(file)), (
            file
        )
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        assert not {c.func.id for c in calls if isinstance(c.func, ast.Name)} & {"eval", "exec"}, file
        for call in calls:
            for keyword in call.keywords:
                value = getattr(keyword.value, "value", None)
                assert not (keyword.arg in ("allow_pickle", "trust_remote_code") and value is True), file


def test_device_code_names_no_vendor() -> None:
    for file in (*HARNESS.rglob("*.py"), *RANKERS.rglob("*.py")):
        assert ".cuda()" not in file.read_text(encoding="utf-8"), file

"""list, show, doctor, data: what is here, said without loading it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = (
    "ir_datasets",
    "torch",
    "transformers",
    "sentence_transformers",
    "faiss",
    "ranx",
    "numba",
    "pandas",
    "scipy",
    "jnius",
)


def loaded(*words: str) -> set[str]:
    """Which heavy libraries are in sys.modules after a command."""
    code = (
        "import sys\nfrom arrbench.cli import main\nsys.argv[1:] = sys.argv[2:]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"sys.stderr.write('|'.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "x", *words], capture_output=True, text=True, check=True
    )
    return set(filter(None, done.stderr.split("|")))


def test_help_list_and_show_load_nothing_heavy() -> None:
    assert loaded("--help") == set()
    assert loaded("run", "--help") == set()
    assert loaded("list") == set()
    for ranker in ("bm25", "de", "ce", "arr", "random"):
        assert loaded("show", "ranker", ranker) == set(), ranker
    for scheme in ("name", "atomic", "ordinal", "sparse-code", "kmeans"):
        assert loaded("show", "docid", scheme) == set(), scheme
    for task in ("wordnet", "folder", "irds"):
        assert loaded("show", "task", task) == set(), task


def test_list_names_what_is_installed_and_whose_it_is(arrbench: Any) -> None:
    plugins = json.loads(arrbench("list", "--json").out)["plugins"]
    found = {(p["kind"], p["name"]): p["distribution"] for p in plugins}
    assert found["ranker", "counter"] == "trouble"
    for name in ("bm25", "de", "ce", "arr-ntp", "arr-stoical"):
        assert found["ranker", name] == "arrbench"
    assert found["baseline", "prior"] == "arrbench"
    assert found["task", "wordnet/rerank"] == "arrbench"
    for name in ("name", "atomic", "ordinal", "sparse-code", "kmeans"):
        assert found["docid", name] == "arrbench"
    assert "counter" in arrbench("list").out


def test_list_check_shows_a_broken_plugin_with_its_error(arrbench: Any) -> None:
    answer = arrbench("list", "--check", distributions=("trouble", "broken", "speller"))
    assert answer.status == 1
    lines = {line.split()[1]: line for line in answer.out.splitlines()}
    assert "a_library_that_is_not_there" in lines["broken"]
    assert "no arrbench.Ranker" in lines["no-ranker"]
    assert "speller_that_is_not_there" in lines["unreadable"]
    assert lines["backwards"].endswith("ok")
    assert lines["counter"].endswith("ok")
    assert arrbench("list", "--check").status == 0


def test_show_documents_every_option_with_its_default(arrbench: Any) -> None:
    assert "words=2" in arrbench("show", "docid", "backwards", distributions=("speller",)).out
    answer = arrbench("show", "ranker", "counter")
    assert "sleep_ms=0.0" in answer.out
    assert "how long a call takes" in answer.out
    for name in ("bm25", "de", "ce", "arr", "arr-ntp", "arr-stoical"):
        shown = arrbench("show", "ranker", name)
        assert shown.status == 0
        assert "undocumented" not in shown.out, name
    for scheme in ("name", "atomic", "ordinal", "sparse-code", "kmeans"):
        assert loaded("show", "docid", scheme) == set(), scheme
    for task in ("wordnet", "folder", "irds"):
        assert "undocumented" not in arrbench("show", "task", task).out, task
    assert "root=mammal.n.01" in arrbench("show", "task", "wordnet").out


def test_doctor_names_broken_plugins_with_advice(arrbench: Any) -> None:
    answer = arrbench("doctor", "--json")
    findings = {f["what"]: f for f in json.loads(answer.out)["findings"]}
    assert answer.status == 0, answer.out
    assert {"torch", "device", "faiss", "java", "cache", "machine", "data of wordnet"} <= set(findings)
    answer = arrbench("doctor", distributions=("broken",))
    assert answer.status == 1
    assert "a_library_that_is_not_there" in answer.out


def test_data_are_found_in_a_folder_of_the_user_s(arrbench: Any, wordnet_dir: Path, tmp_path: Path) -> None:
    answer = arrbench("data", "list", "--data-dir", wordnet_dir)
    assert f"wordnet: {wordnet_dir}" in answer.out
    assert arrbench("data", "fetch", "wordnet").status == 0


def test_export_refuses_a_folder_with_files_in_it(arrbench: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = arrbench("export", "toy", tmp_path)
    assert answer.status == 2
    assert "not empty" in answer.err

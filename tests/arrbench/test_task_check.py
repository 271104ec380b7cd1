"""What a task gets wrong is said before any work, a line a fault, with the task's name and the value."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from arrbench.errors import UsageError
from arrbench.task import DataSource, Task
from arrbench.task_check import SHOWN, asking, check, measured

FILE = Path(__file__).parents[1] / "distributions" / "muddle" / "muddle.py"
FAULTS = {
    "float-grade": "grades that are no int: 0.5 of 'd0' for query 'train0' and 5 more",
    "bool-grade": "grades that are no int: True of 'd0' for query 'train0' and 5 more",
    "negative-grade": "gains that are no integers from 0 to 2147483647: -1 of 'd0' for query 'train0'",
    "huge-grade": "gains that are no integers from 0 to 2147483647: 1000000",
    "float-gain": "gains that are no integers from 0 to 2147483647: 0.5 of grade 1",
    "bool-gain": "gains that are no integers from 0 to 2147483647: True of grade 1",
    "float-gain-key": "gains of grades that are no int: 1.5",
    "query-twice": "query ids that occur twice in test: 'test0'",
    "test-in-train": "test queries that are train queries too: 'test0'",
    "test-in-dev": "test queries that are dev queries too: 'test0'",
    "candidate-twice": "queries that have a candidate twice: 'test0' has 'd0' (test) and 1 more",
    "candidate-outside": "queries with candidates that the corpus lacks: 'test0' has 'd9' (test) and 1 more",
    "retrieve-candidates": "queries with candidates, where the setting is retrieve: 'test1' (test)",
    "rerank-without": "test queries without candidates, where the setting is rerank: 'test0' and 1 more",
    "setting": "its setting is 'sort'; it must be one of retrieve, rerank",
    "empty-id": "query ids that are empty or hold white space, which a TREC run can't carry: ''",
    "blank-id": "document ids that are empty or hold white space, which a TREC run can't carry: 'a b'",
    "number-id": "document ids that are no text: 7",
    "surrogate-id": "document ids that can't be written as UTF-8: '\\ud83d'",
    "comment-id": "query ids that begin with #, as comments do in TREC files: '#1'",
    "blank-judged": "judged document ids that are empty or hold white space",
    "no-text": "a title or text that is no text: of document 'd9'",
    "surrogate-title": "a title or text that is no text: of document 'd9'",
    "query-no-text": "a query's text that is no text: 3 of query 'test0'",
    "another-corpus": "its train split has another corpus than test; all splits share one",
    "no-documents": "2 test queries over 0 documents",
    "no-split": "splits that are no arrbench.task.Split: train is a dict and 2 more",
    "no-query": "queries that are no Query: in test",
    "measure": "unknown measure 'ndgc'; known are ndcg",
    "cutoff": "measure 'overlap' needs a cutoff",
    "measures-text": "its measures are 'ndcg@10', no tuple of names",
    "headline": "unknown measure 'bpref'",
    "licence": "its licence is None, no text",
    "notes-text": "its notes are 'a note', no tuple of texts",
    "notes-surrogate": "its notes are ('\\udc80',), no tuple of texts",
    "fact-nan": "facts that are no text, finite number or boolean: 'share' is nan",
    "fact-object": "facts that are no text, finite number or boolean: 'share' is <object",
    "split": "failed before any work started: KeyError: 'train'",
}
SOUND = ("nothing", "rerank", "judged-outside", "excluded-outside", "headline-outside")


def muddle(wrong: str) -> Task:
    spec = importlib.util.spec_from_file_location("muddle", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    task: Task = module.Muddle(module.MuddleOptions(wrong=wrong), DataSource(None, Path()))
    return task


@pytest.mark.parametrize("wrong", FAULTS)
def test_a_fault_is_one_line_that_names_the_task(wrong: str) -> None:
    with pytest.raises(UsageError) as error:
        check(muddle(wrong), "muddle")
    (line,) = str(error.value).splitlines()
    assert line.startswith("task 'muddle'")
    assert FAULTS[wrong] in line
    assert line.isprintable()


@pytest.mark.parametrize("wrong", SOUND)
def test_what_is_sound_passes(wrong: str) -> None:
    check(muddle(wrong), "muddle")


def test_several_faults_are_told_together_and_many_are_counted() -> None:
    with pytest.raises(UsageError) as error:
        check(muddle("query-twice+test-in-train+float-grade"), "muddle")
    told = str(error.value).splitlines()
    assert len(told) == 3
    assert all(line.startswith("task 'muddle': ") for line in told)
    many = [w for w in FAULTS if w not in ("split", "no-split", "no-query", "setting")]
    with pytest.raises(UsageError) as error:
        check(muddle("+".join(many)), "muddle")
    told = str(error.value).splitlines()
    assert len(told) == SHOWN + 1
    assert told[-1].endswith("more kinds of fault")


def test_the_headline_is_measured_though_the_task_forgets_it() -> None:
    assert measured(muddle("headline-outside")) == ("mrr", "ndcg@10")
    assert measured(muddle("nothing")) == ("ndcg@10", "mrr")


def test_what_a_task_raises_becomes_one_line_but_its_own_usage_errors_stand() -> None:
    for raised in (ValueError("a\nb"), SystemExit(0), MemoryError()):
        with (
            pytest.raises(UsageError, match="task 'x' failed before any work started: ") as error,
            asking("x"),
        ):
            raise raised
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(UsageError, match=r"^its own words$"), asking("x"):
        raise UsageError("its own words")
    with pytest.raises(KeyboardInterrupt), asking("x"):
        raise KeyboardInterrupt


def test_a_run_of_a_faulty_task_starts_nothing(arrbench: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = ("run", "--rankers", "counter", "--device", "cpu", "--out", out, "--task")
    for wrong, says in (
        ("float-grade", "grades that are no int: 0.5 of 'd0'"),
        ("measure", "unknown measure 'ndgc'"),
        ("constructor", "ZeroDivisionError: a fault of two lines"),
        ("exit", "SystemExit: 0"),
        ("usage", "arrbench: its own words"),
    ):
        answer = arrbench(*words, f"muddle:wrong={wrong}", distributions=("trouble", "muddle"))
        assert (answer.status, answer.out) == (2, ""), wrong
        assert len(answer.err.strip().splitlines()) == 1
        assert says in answer.err
        assert wrong == "usage" or f"task 'muddle:wrong={wrong}'" in answer.err
    exported = arrbench("export", "muddle:wrong=huge-grade", tmp_path / "x", distributions=("muddle",))
    assert exported.status == 2
    assert not (tmp_path / "x").exists()
    assert not out.exists()


def test_a_headline_that_the_task_forgot_heads_the_table(arrbench: Any, tmp_path: Path) -> None:
    answer = arrbench(
        "run", "--rankers", "bm25", "--task", "muddle:wrong=headline-outside", "--device", "cpu",
        "--out", tmp_path, distributions=("muddle",),
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert "MRR" in answer.out

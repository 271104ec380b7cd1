"""Plugins are asked in a process of their own: none ends a plan, and the guilty one is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HOSTILE = ("trouble", "hostile")
TOY = ("--task", "toy", "--device", "cpu", "--dry-run")
ON_IMPORT = {
    "exit": "calls sys.exit(0) when imported",
    "os-exit": "ended the process that asked it: exited with status 0, when imported",
    "segfault": "ended the process that asked it: killed by signal 11 (SIGSEGV), when imported",
    "hang": "did not finish in 4 s when imported (limit: $ARRBENCH_PLUGIN_TIMEOUT)",
    "interrupt": "raised KeyboardInterrupt: no message, when imported",
}
CLASSES = {
    "no-tuning": "tuning is None; it must be a text (str)",
    "number-independent": "query_independent is 1; it must be True or False",
    "text-libraries": "libraries is 'torch'; it must be a tuple of texts (str)",
    "no-libraries": "libraries is None; it must be a tuple of texts (str)",
    "odd-libraries": "libraries names 'torch; import os'; each must be a module's name",
    "no-settings": "settings is None; it must be a frozenset of retrieve and rerank",
    "odd-settings": "settings is frozenset({'sort'}); it must be a frozenset of retrieve and rerank",
    "no-options": "Options is None; it must be a subclass of arrbench's BaseOptions",
    "options-raise": "Options can't be made from its defaults: RuntimeError: no default today",
    "options-bare": "the defaults of Options are not valid: number: Field required",
    "abstract": "Abstract lacks rank, which the contract asks for",
}
METHODS = {
    "check-raises": "raised ZeroDivisionError: in here, in check()",
    "check-exits": "ended the process that asked it: exited with status 0, in check()",
    "weights-none": "weights() is None; it must be a mapping of names to texts (str)",
    "weights-exit": "calls sys.exit(0) in weights()",
    "inputs-number": "inputs()['jar'] is 3; it must be a text (str)",
}
TASKS = {
    "task-headline": "headline is None; it must be a text (str)",
    "task-measures": "measures is 'ndcg@10'; it must be a tuple of texts (str)",
}
MADE_TASKS = {
    "task-facts": "facts that are no text, finite number or boolean: 'edition' is [1]",
    "task-raises": "failed before any work started: KeyError: 'corpus'",
    "task-exits": "failed before any work started: SystemExit: 0",
}


def refused(answer: Any, plugin: str, says: str) -> None:
    """The answer is one line with status 2 that names the plugin and the fault, and nothing else."""
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.splitlines() == [answer.err.strip()]
    assert answer.err.startswith(f"arrbench: {plugin} of hostile 1.0")
    assert says in answer.err


@pytest.fixture(params=ON_IMPORT)
def on_import(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a plugin whose import does that, under a short limit."""
    monkeypatch.setenv("HOSTILE_IMPORT", request.param)
    monkeypatch.setenv("ARRBENCH_PLUGIN_TIMEOUT", "4" if request.param == "hang" else "60")
    return ON_IMPORT[request.param]


def test_an_import_that_ends_breaks_or_never_ends_is_named_by_run(arrbench: Any, on_import: str) -> None:
    answer = arrbench("run", "--rankers", "counter,on-import", *TOY, distributions=HOSTILE)
    refused(answer, "ranker 'on-import'", on_import)


def test_so_is_a_task_s_wherever_one_is_named(arrbench: Any, on_import: str, tmp_path: Path) -> None:
    for words in (
        ("run", "--rankers", "counter", "--task", "on-import", "--device", "cpu"),
        ("export", "on-import", tmp_path / "files"),
        ("show", "task", "on-import"),
        ("data", "fetch", "on-import"),
    ):
        refused(arrbench(*words, distributions=HOSTILE), "task 'on-import'", on_import)


def test_so_is_a_ranker_s_that_another_ranker_names(arrbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE_IMPORT", "os-exit")
    answer = arrbench("run", "--rankers", "cascade:first=on-import", *TOY, distributions=HOSTILE)
    assert answer.status == 2
    assert "ended the process that asked it: exited with status 0" in answer.err


def test_data_list_and_doctor_go_on_to_the_others(arrbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE_IMPORT", "os-exit")
    lines = arrbench("data", "list", distributions=HOSTILE).out.splitlines()
    assert f"on-import: task 'on-import' of hostile 1.0 {ON_IMPORT['os-exit']}" in lines
    assert any(line.startswith("wordnet: ") for line in lines)
    findings = json.loads(arrbench("doctor", "--json", distributions=HOSTILE).out)["findings"]
    by_name = {f["what"]: f["found"] for f in findings}
    assert by_name["ranker on-import"].endswith(ON_IMPORT["os-exit"])
    assert by_name["data of on-import"].endswith(ON_IMPORT["os-exit"])
    assert "plugins" in by_name


def test_list_check_names_every_faulty_class_and_goes_on(
    arrbench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_IMPORT", "segfault")
    answer = arrbench("list", "--check", "--json", distributions=HOSTILE)
    assert answer.status == 1
    statuses = {(p["kind"], p["name"]): p["status"] for p in json.loads(answer.out)["plugins"]}
    for name, says in CLASSES.items():
        assert statuses["ranker", name].startswith(f"ranker {name!r} of hostile 1.0: {says}")
    assert statuses["ranker", "on-import"].endswith(ON_IMPORT["segfault"])
    assert statuses["task", "on-import"].endswith(ON_IMPORT["segfault"])
    for name in ("task-headline", "task-measures"):
        assert TASKS[name] in statuses["task", name]
    for name in ("counter", "bm25", "check-raises"):
        assert statuses["ranker", name] == "ok"


@pytest.mark.parametrize("name", ["no-tuning", "options-raise", "abstract", *METHODS])
def test_what_a_ranker_may_not_say_or_do_is_one_line(arrbench: Any, name: str) -> None:
    answer = arrbench("run", "--rankers", f"counter,{name}", *TOY, distributions=HOSTILE)
    refused(answer, f"ranker {name!r}", {**CLASSES, **METHODS}[name])


@pytest.mark.parametrize("name", TASKS)
def test_what_a_task_may_not_say_or_do_is_one_line(arrbench: Any, name: str) -> None:
    words = ("run", "--rankers", "random", "--task", name, "--device", "cpu", "--dry-run")
    refused(arrbench(*words, distributions=HOSTILE), f"task {name!r}", TASKS[name])


@pytest.mark.parametrize("name", MADE_TASKS)
def test_so_is_what_it_does_when_it_is_made(arrbench: Any, name: str) -> None:
    words = ("run", "--rankers", "random", "--task", name, "--device", "cpu", "--dry-run")
    answer = arrbench(*words, distributions=HOSTILE)
    assert answer.status == 2
    assert answer.err.splitlines() == [answer.err.strip()]
    assert MADE_TASKS[name] in answer.err
    assert f"task {name!r}" in answer.err


def test_a_broken_baseline_is_left_out_with_a_warning(arrbench: Any, tmp_path: Path) -> None:
    three = ("trouble", "hostile-baseline")
    words = ("run", "--rankers", "counter", "--task", "toy", "--device", "cpu", "--out", tmp_path, "--json")
    answer = arrbench(*words, distributions=three)
    assert answer.status == 0
    assert {row["label"] for row in answer.rows()} == {"counter", "prior", "random", "sound"}
    leaving, unsaid = answer.err.strip().splitlines()
    assert leaving == f"arrbench: left out: baseline 'leaving' of hostile-baseline 1.0 {ON_IMPORT['os-exit']}"
    assert "baseline 'unsaid' of hostile-baseline 1.0: weights()['model'] is 1; it must be a text" in unsaid


def test_what_a_plugin_prints_when_imported_spoils_no_output(
    arrbench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_IMPORT", "print")
    answer = arrbench("run", "--rankers", "on-import", *TOY, "--json", distributions=HOSTILE)
    assert {line["ranker"] for line in json.loads(answer.out)["plan"]} == {"on-import", "prior", "random"}
    assert answer.err == ""


def test_the_harness_s_own_plugins_are_asked_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from arrbench.planning import Experiment, plan
    from arrbench.respondent import Respondent

    def refuse(*_: object) -> None:
        raise AssertionError("another process was asked")

    monkeypatch.setattr(Respondent, "ask", refuse)
    plan(Experiment(["bm25", "cascade", "arr"], "synth:docs=100", device="cpu"))


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "0"])
def test_a_limit_that_is_no_time_is_refused(
    arrbench: Any, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("ARRBENCH_PLUGIN_TIMEOUT", seconds)
    answer = arrbench("run", "--rankers", "counter", *TOY)
    assert answer.status == 2
    assert answer.err == f"arrbench: ARRBENCH_PLUGIN_TIMEOUT={seconds} is no number of seconds above 0\n"

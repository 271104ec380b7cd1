"""What a ranker says while it runs is checked where it comes in, and is its own trial's failure alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

SAYS = {
    "parameters_half": "parameters is 3.5; it must be a whole number",
    "parameters_text": "parameters is 'many'; it must be a whole number",
    "parameters_nan": "parameters is nan; it must be a whole number",
    "parameters_huge": "parameters is 1000000",
    "bytes_text": "index_bytes is '12'; it must be a whole number",
    "bytes_nan": "index_bytes is nan; it must be a whole number",
    "facts_none": "facts is None; it must be a mapping of names to facts",
    "fact_list": "facts['seen'] is [1, 2]; it must be a number, a text, True or False",
    "fact_nan": "facts['seen'] is nan; it must be a finite number",
    "audit_none": "audit() is None; it must be a mapping of names to facts",
    "audit_list": "audit()['recall'] is [1.0]; it must be a number",
    "surrogate_error": "ValueError: bad byte \\udcff and \\x1b[31mred",
    "unprintable_error": "UnprintableError: UnprintableError whose text can't be had (RuntimeError)",
    "report_nan": "report(…, total) is nan; it must be a finite number",
    "report_text": "report(…, total) is 'ten'; it must be a number",
    "report_list": "report(…, losses=…) is [0.1]; it must be a number",
    "real_time_signal": "killed by signal 40 (a real-time signal) in phase 'index'",
    "kills_softly": "killed by signal 15 (SIGTERM) in phase 'index'",
    "stopped_clock": "clock mismatch in the single scenario: its clock ran 0 ms",
    "other_worker_dumps": "a message to the harness is malformed: the whole: ",
    "stray_text": "its connection to the harness carried something that is no message (in phase 'index')",
    "stray_bytes": "a message to the harness is no JSON: b'abc",
    "half_a_message": "hung: phase 'index' took more than 5 s",
    "malformed": "a message to the harness is malformed: progress.phase: input should be a valid string",
    "unknown_event": "a message to the harness is malformed: the whole: input tag 'finished'",
    "out_of_turn": "told the harness 'ready' out of turn (in phase 'index')",
    "removes_its_folder": "the folder that this trial writes into was removed",
    "tuples": "it must be a Ranking(ids, scores)",
    "ids_none": "an id in a ranking is None; it must be a text (str)",
    "ids_surrogate": "an id in the ranking of query 'q-green-blue' holds '\\udcff', which is no character",
    "score_text": "a score in a ranking is '",
    "score_huge": "a score in a ranking is 1000000",
}  # fmt: skip
FINE = ("scalars", "surrogate_fact", "report_loss", "other_dumps")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def answer(arrbench: Any, out: Path) -> Any:
    """One run of everything odd beside a ranker that is not."""
    rankers = ",".join([*(f"says:odd={odd}" for odd in (*SAYS, *FINE)), "counter", "outlived"])
    words = ("run", "--rankers", rankers, "--task", "toy", "--device", "cpu", "--out", out, "--no-save")
    return arrbench(*words, "--timeout", 5, "--json", timeout=400)


@pytest.fixture(scope="module")
def rows(answer: Any) -> dict[str, dict[str, Any]]:
    return {row["label"].removeprefix("says:odd="): row for row in answer.rows()}


def test_the_others_go_on(answer: Any, rows: dict[str, Any]) -> None:
    assert answer.status == 1
    assert {rows[name]["status"] for name in ("counter", "random", "prior")} == {"ok"}
    assert rows["counter"]["metrics"]["ndcg@10"] == 1.0
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("odd", SAYS)
def test_an_odd_word_is_a_failed_row_that_names_it(rows: dict[str, Any], odd: str) -> None:
    assert rows[odd]["status"] == "failed"
    assert SAYS[odd] in rows[odd]["error"]


@pytest.mark.parametrize("odd", FINE)
def test_what_has_a_plain_meaning_is_taken(rows: dict[str, Any], odd: str) -> None:
    assert rows[odd]["status"] == "ok", rows[odd]["error"]
    assert rows[odd]["metrics"] == rows["counter"]["metrics"]


def test_numbers_of_numpy_and_torch_are_numbers(rows: dict[str, Any], out: Path) -> None:
    row = rows["scalars"]
    assert row["memory"]["parameters"] == 7
    assert row["memory"]["index_mb"] == 12 / 2**20
    assert row["facts"] == {"half": 0.5, "yes": True, "two": 2, "x": "y"}
    line = json.loads((out / row["key"] / "training.jsonl").read_text())
    assert (line["step"], line["loss"]) == (1, 0.25)


def test_texts_that_no_file_can_carry_are_escaped(rows: dict[str, Any]) -> None:
    assert rows["surrogate_fact"]["facts"] == {"path": "/data/\\udcff", "\\udcfe": 1}


def test_a_loss_that_diverges_is_kept_as_valid_json(rows: dict[str, Any], out: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (out / rows["report_loss"]["key"] / "training.jsonl").read_text()
    line = json.loads(text, parse_constant=refuse)
    assert (line["loss"], line["norm"]) == ("NaN", "-Infinity")
    assert math.isnan(float(line["loss"]))


def test_a_process_that_outlives_a_worker_hides_no_reason(rows: dict[str, Any]) -> None:
    assert rows["outlived"]["error"] == "ValueError: fails beside a process of its own"


def test_a_worker_that_hangs_up_is_not_waited_for_long(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "says:odd=hangs_up", "--task", "toy", "--device", "cpu", "--out", tmp_path)
    rows = {row["ranker"]: row for row in arrbench(*words, "--json", timeout=60).rows()}
    assert rows["says"]["error"] == "closed its connection to the harness in phase 'index'"


def test_what_a_worker_leaves_under_the_record_s_names_is_not_written_through(
    arrbench: Any, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    words = ("run", "--rankers", f"says:odd=leaves_folders:file={victim}", "--task", "toy", "--device", "cpu")
    rows = {row["ranker"]: row for row in arrbench(*words, "--out", tmp_path / "runs", "--json").rows()}
    assert rows["says"]["status"] == "ok"
    assert victim.read_text() == "mine"
    assert (tmp_path / "runs" / rows["says"]["key"] / "record.json").is_file()


def test_progress_shows_brackets_as_they_are(
    arrbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    words = ("run", "--rankers", "says:odd=report_brackets", "--task", "toy", "--device", "cpu")
    answer = arrbench(*words, "--out", tmp_path)
    assert answer.status == 0, answer.err
    assert "indexing [/data/x] [red]" in answer.err

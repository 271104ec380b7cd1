"""arrbench run as a user meets it: a second run, an interrupt, a configuration file, wrong words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from arrbench.ties import id_hash

TOY = ("--task", "toy", "--device", "cpu")


def test_a_second_run_is_cached_and_force_runs_it_again(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", *TOY, "--out", tmp_path / "runs", "--json")
    first = arrbench(*words)
    assert first.status == 0
    second = arrbench(*words).rows()
    assert all(row["cached"] for row in second)
    assert not any(row["cached"] for row in first.rows())
    assert [{**r, "cached": 0} for r in second] == [{**r, "cached": 0} for r in first.rows()]
    forced = arrbench(*words, "--force").rows()
    assert not any(row["cached"] for row in forced)
    assert len(list((tmp_path / "runs" / "superseded").iterdir())) == len(forced)
    assert [r["metrics"] for r in forced] == [r["metrics"] for r in first.rows()]


def test_a_failed_trial_is_run_again(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "exits", *TOY, "--out", tmp_path, "--json")
    assert arrbench(*words).status == 1
    rows = {row["label"]: row for row in arrbench(*words).rows()}
    assert not rows["exits"]["cached"]
    assert rows["random"]["cached"]


def test_dry_run_shows_the_plan_and_runs_nothing(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", "--seeds", "1,2", *TOY, "--out", tmp_path / "runs", "--dry-run")
    answer = arrbench(*words)
    assert answer.status == 0
    assert sum("to run" in line and "--rankers counter" in line for line in answer.out.splitlines()) == 2
    assert not (tmp_path / "runs").exists()


def test_the_table_has_every_row_and_its_columns(arrbench: Any, tmp_path: Path) -> None:
    answer = arrbench("run", "--rankers", "counter,exits", *TOY, "--out", tmp_path)
    assert answer.status == 1
    for word in ("counter", "exits", "random", "prior", "nDCG@10", "p50", "p95", "queries/s", "constraint"):
        assert word in answer.out, word
    assert "\x1b" not in answer.out
    assert answer.err == "" or "failed" in answer.err


def test_no_save_keeps_no_model_and_rank_says_so(arrbench: Any, tmp_path: Path) -> None:
    rows = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path, "--no-save", "--json").rows()
    key = next(row["key"] for row in rows if row["label"] == "counter")
    assert not (tmp_path / key / "model").exists()
    answer = arrbench("rank", key, "red", "--out", tmp_path)
    assert answer.status == 2
    assert "keeps no model" in answer.err


def test_a_saved_model_answers_a_query(arrbench: Any, tmp_path: Path) -> None:
    rows = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path, "--json").rows()
    key = next(row["key"] for row in rows if row["label"] == "counter")
    answer = arrbench("rank", tmp_path / key, "pink pink grey", "--k", 2, "--json", "--device", "cpu")
    assert json.loads(answer.out) == [{"id": "d-pink", "score": 2.0}, {"id": "d-grey", "score": 1.0}]
    pool = ["d-red", "d-blue", "d-white", "d-black"]
    for candidates in (" ".join(pool), " ".join(pool[::-1])):
        words = (
            "rank",
            tmp_path / key,
            "pink",
            "--k",
            3,
            "--candidates",
            candidates,
            "--json",
            "--device",
            "cpu",
        )
        found = [place["id"] for place in json.loads(arrbench(*words).out)]
        assert found == sorted(pool, key=id_hash)[:3]  # whatever order they are given in


def test_a_configuration_file_gives_defaults_that_words_override(arrbench: Any, tmp_path: Path) -> None:
    config = tmp_path / "experiment.toml"
    config.write_text('rankers = ["counter", "random"]\ntask = "toy"\nseeds = [1, 2]\n[board]\ntitle = "x"\n')
    words = ("run", "--config", config, "--device", "cpu", "--out", tmp_path, "--dry-run", "--json")
    plan = json.loads(arrbench(*words).out)["plan"]
    assert {(line["ranker"], line["seed"]) for line in plan} >= {("counter", 1), ("counter", 2)}
    plan = json.loads(arrbench(*words, "--seeds", "7").out)["plan"]
    assert {line["seed"] for line in plan} == {7}
    config.write_text('\ufeffrankers = ["counter"]\ntask = "toy"\nseeds = [3]\n', encoding="utf-8")
    plan = json.loads(arrbench(*words).out)["plan"]
    assert {line["seed"] for line in plan} == {3}
    config.write_text("rnakers = []")
    answer = arrbench(*words)
    assert answer.status == 2
    assert "rnakers" in answer.err
    assert "rankers" in answer.err


def test_an_interrupt_leaves_what_is_done_and_no_half_record(
    arrbench_environment: Any, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    words = ["run", "--rankers", "learner,hangs", *TOY, "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "arrbench", *words],
        env=arrbench_environment("trouble"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob(".partial-*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("arrbench: interrupted")
    assert "Traceback" not in err
    assert not list(out.glob(".partial-*"))
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--rankers", "cuonter", *TOY), "did you mean 'counter'"),
        (("run", "--rankers", "counter:wrogn=no", *TOY), "did you mean 'wrong'"),
        (("run", "--rankers", "counter:sleep_ms=long", *TOY), "sleep_ms=long"),
        (("run", "--rankers", "counter:sleep_ms=-1", *TOY), "greater than or equal to 0"),
        (("run", "--rankers", "counter", "--task", "toy", "--device", "cuda:7"), "no such device 'cuda:7'"),
        (("run", "--rankers", "counter", *TOY, "--k", "-3"), "k is -3"),
        (("run", "--rankers", "counter", *TOY, "--k", "9" * 20), "it must be 1 to 1000000000"),
        (("run", "--rankers", "counter", *TOY, "--k", "many"), "--k"),
        (("run", "--rankers", "counter", *TOY, "--limit", "0"), "limit is 0"),
        (("run", "--rankers", "counter", *TOY, "--threads", "0"), "threads is 0"),
        (("run", "--rankers", "counter", *TOY, "--jobs", "0"), "jobs is 0"),
        (("run", "--rankers", "counter", *TOY, "--jobs", "some"), "--jobs"),
        (("run", "--rankers", "counter", *TOY, "--dtype", "float8"), "float32, bfloat16, float16"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "one"), "--seeds"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "4294967296"), "each from 0 to 4294967295"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "99999999999999999999"), "from 0 to 4294967295"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "1_0"), "--seeds '1_0'"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "１"), "--seeds '１'"),
        (("run", "--rankers", "counter", *TOY, "--seeds", "-1"), "--seeds '-1'"),
        (("run", "--rankers", "counter", *TOY, "--seeds", ","), "--seeds ','"),
        (("run", "--rankers", "counter", *TOY, "--timeout", "-1"), "timeout is -1"),
        (("run", "--rankers", "counter", *TOY, "--timeout", "0"), "timeout is 0"),
        (("run", "--rankers", "counter", *TOY, "--timeout", "nan"), "timeout is nan"),
        (("run", "--rankers", "counter", *TOY, "--timeout", "inf"), "timeout is inf"),
        (("run", "--rankers", "counter", *TOY, "--threads", "1000000000"), "logical cores of this machine"),
        (("run", "--rankers", "counter", *TOY, "--data-dir", __file__), "is not a directory"),
        (("run", "--rankers", "counter", *TOY, "--candidates", ""), "'' is no name:key=value"),
        (("run", "--rankers", ",", *TOY), "no rankers given; known: "),
        (("run", "--rankers", "counter", "--task", "", "--device", "cpu"), "no task given; known: "),
        (("run", "--rankers", "counter", "--task", " , ", "--device", "cpu"), "no task given; known: "),
        (("run", "--rankers", 'counter:remark="a', *TOY), "written twice"),
        (("run", "--rankers", "counter:name=", *TOY), "on one line"),
        (("run", *TOY), "no rankers given; known: "),
        (("run", "--rankers", "counter", "--device", "cpu", "--task", "toys"), "did you mean 'toy'"),
        (("run", "--rankers", "counter", "--device", "cpu", "--task", "toy:setting=sort"), "setting=sort"),
        (("run", "--rankers", "counter", "--device", "cpu", "--task", "toy:empty=yes"), "0 test queries"),
        (("run", "--rankers", "counter", "--device", "cpu", "--task", "toy:blank_id=yes"), "white space"),
        (("run", "--rankers", "chain", *TOY), "can only rerank"),
        (("run", "--rankers", "counter", "--device", "cpu", "--task", "wordnet:root=mamal.n.01"), "mammal"),
        (
            ("run", "--rankers", "counter", "--device", "cpu", "--data-dir", "/no/such/folder"),
            "/no/such/folder",
        ),
        (("run", "--config", "/no/such/file.toml"), "/no/such/file.toml"),
        (("runn",), "did you mean 'run'"),
        (("run", "--rnkers", "x"), "--rnkers"),
        (("show", "ranker", "counte"), "did you mean 'counter'"),
        (("rank", "no-such-record", "text"), "no record called"),
        (("data", "fetch", "toy"), "fetches no data"),
    ],
)
def test_wrong_input_is_one_clear_line(
    arrbench: Any, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    out = ("--out", tmp_path) if words[0] == "run" else ()
    answer = arrbench(*words, *out)
    assert answer.status == (1 if words[0] == "rank" else 2)
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("arrbench: ")
    assert says in lines[0]
    assert answer.out == ""


@pytest.mark.parametrize("out", ["{file}", "{file}/below", "/proc/nowhere"])
def test_an_out_that_can_t_be_written_is_refused_before_any_work(
    arrbench: Any, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").touch()
    words = ("run", "--rankers", "counter", *TOY, "--out", out.format(file=tmp_path / "file"))
    answer = arrbench(*words)
    assert answer.status == 2
    assert len(answer.err.strip().splitlines()) == 1
    assert "not a directory" in answer.err or "can't be written" in answer.err


def test_a_cache_that_is_no_folder_is_refused(
    arrbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path / "file"))
    answer = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path / "runs")
    assert answer.status == 2
    assert f"the cache is {tmp_path / 'file'}" in answer.err


def test_a_word_given_twice_is_one_trial(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter,counter,counter:sleep_ms=0", "--seeds", "1,1", "--device", "cpu")
    answer = arrbench(*words, "--task", "toy,toy", "--out", tmp_path, "--json")
    assert [row["label"] for row in answer.rows()] == ["prior", "random", "counter"]
    assert not (tmp_path / "superseded").exists()
    assert answer.err == ""


def test_an_unreadable_record_is_named_run_again_and_moved_aside(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", *TOY, "--out", tmp_path, "--json")
    key = next(row["key"] for row in arrbench(*words).rows() if row["label"] == "counter")
    (tmp_path / key / "record.json").write_text('{"schema_version": 2}')
    answer = arrbench(*words)
    assert answer.status == 0
    assert [row["cached"] for row in answer.rows()] == [True, True, False]
    (line,) = answer.err.splitlines()
    assert str(tmp_path / key / "record.json") in line
    assert "--force" in line
    (aside,) = (tmp_path / "superseded").iterdir()
    assert (aside / "record.json").read_text() == '{"schema_version": 2}'
    assert arrbench(*words).err == ""


def test_samples_that_can_t_be_read_leave_the_table(arrbench: Any, tmp_path: Path) -> None:
    words = ("run", "--rankers", "counter", *TOY, "--out", tmp_path)
    key = arrbench(*words, "--json").rows()[-1]["key"]
    (tmp_path / key / "samples.npz").write_bytes(b"PK\x03\x04 broken")
    answer = arrbench(*words)
    assert answer.status == 0
    assert "counter" in answer.out
    assert str(tmp_path / key / "samples.npz") in answer.err


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ("d-red nope", "'nope' is not among the 8 documents"),
        ("d-red d-red", "'d-red' is given twice"),
        (" ", "--candidates is empty"),
    ],
)
def test_candidates_of_a_saved_model_must_be_its_documents(
    arrbench: Any, tmp_path: Path, candidates: str, says: str
) -> None:
    rows = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path, "--json").rows()
    for row in rows:
        words = ("rank", tmp_path / row["key"], "red", "--device", "cpu", "--candidates")
        assert arrbench(*words, "d-red d-blue").status == 0
        answer = arrbench(*words, candidates)
        assert answer.status == 2, row["label"]
        assert len(answer.err.strip().splitlines()) == 1
        assert says in answer.err


def test_debug_shows_where(arrbench: Any) -> None:
    answer = arrbench("run", "--rankers", "cuonter", "--debug")
    assert answer.status == 2
    assert "Traceback" in answer.err


def test_two_distributions_that_claim_a_name_are_both_named(arrbench: Any, tmp_path: Path) -> None:
    both = ("trouble", "rival")
    answer = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path, distributions=both)
    assert answer.status == 2
    assert "trouble 1.0" in answer.err
    assert "rival 2.0" in answer.err
    assert arrbench("run", "--rankers", "learner", *TOY, "--dry-run", distributions=both).status == 0


def test_a_plugin_that_can_t_be_imported_harms_no_other(arrbench: Any, tmp_path: Path) -> None:
    both = ("trouble", "broken")
    answer = arrbench("run", "--rankers", "broken", *TOY, "--out", tmp_path, distributions=both)
    assert answer.status == 2
    assert "a_library_that_is_not_there" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert "no arrbench.Ranker" in arrbench("run", "--rankers", "no-ranker", *TOY, distributions=both).err
    assert arrbench("run", "--rankers", "counter", *TOY, "--dry-run", distributions=both).status == 0


def test_without_faiss_the_extras_are_named_before_any_work_starts(arrbench: Any, tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"  # a machine on which no module called faiss is to be found
    hidden.write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'faiss' else found(name, *more)\n"
    )
    words = ("run", "--rankers", "counter,de", *TOY, "--out", tmp_path / "runs")
    answer = arrbench(*words, distributions=("trouble", str(tmp_path)))
    assert answer.status == 2
    assert len(answer.err.strip().splitlines()) == 1
    assert "arrbench[cpu]" in answer.err
    assert "arrbench[gpu]" in answer.err
    assert not (tmp_path / "runs").exists()

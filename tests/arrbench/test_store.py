"""Records lie in one folder each, appear at once or not at all, and are never lost."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from arrbench.errors import TrialError, UsageError
from arrbench.owner import Owner
from arrbench.record import SCHEMA, Record, read
from arrbench.store import RECORD, Store

KEY = "01234567890123456789"
OTHER = "01299999999999999999"


def a_record(**changed: Any) -> Record:
    fields: dict[str, Any] = {
        "key": KEY, "status": "ok", "ranker": "bm25", "label": "bm25", "options": {"k1": 0.9},
        "tuning": "none", "query_independent": False, "learns": False, "distribution": "some 1.0",
        "weights": {},
        "task": "toy", "task_label": "toy", "task_options": {}, "task_facts": {}, "licence": "none",
        "headline": "ndcg@10", "setting": "retrieve", "fingerprint": "f" * 64, "split": "test",
        "n_queries": 3, "n_documents": 5, "k": 100, "limit": None, "seed": 1, "device": "cpu",
        "dtype": "float32", "threads": 1, "hardware": {"fingerprint": "h"}, "software": {},
        "command": "arrbench run", "finished_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Record(**{**fields, **changed})


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = a_record(metrics={"ndcg@10": 0.1 + 0.2})
    folder = store.commit(store.stage(record.key), record)
    assert folder == tmp_path / record.key
    assert store.find(record.key) == record
    assert store.find(OTHER) is None


def test_a_staged_record_counts_for_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.stage(KEY) / "log.txt").write_text("half done")
    assert store.find(KEY) is None
    assert list(store.all()) == []


def test_what_is_run_again_is_moved_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for attempt in ("first", "second"):
        staged = store.stage(KEY)
        (staged / "log.txt").write_text(attempt)
        store.commit(staged, a_record())
    assert (store.path(KEY) / "log.txt").read_text() == "second"
    assert [f.read_text() for f in (tmp_path / "superseded").glob("*/log.txt")] == ["first"]
    assert len(list(store.all())) == 1


def a_dead_process() -> int:
    """The id of a process that has ended and been waited for."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def left_by(store: Store, owner: Owner) -> Path:
    folder = store.folder / f".partial-{owner}-0123456789"
    folder.mkdir()
    (folder / "log.txt").write_text("half done")
    return folder


def test_what_killed_runs_of_this_host_left_goes_and_nothing_else(tmp_path: Path) -> None:
    store, this = Store(tmp_path), Owner.this()
    living = store.stage("9876543210")
    dead = left_by(store, replace(this, pid=a_dead_process()))
    reused = left_by(store, replace(this, started=this.started - 1))
    elsewhere = left_by(store, replace(this, host="another-host-1", pid=a_dead_process()))
    unknown = tmp_path / ".partial-something-else"
    unknown.mkdir()
    store.discard_leftovers()
    assert living.exists()
    assert not dead.exists()
    assert not reused.exists()
    assert elsewhere.exists()
    assert unknown.exists()


def test_the_name_of_what_is_staged_says_whose_it_is(tmp_path: Path) -> None:
    name = Store(tmp_path).stage("0123456789").name
    assert str(os.getpid()) in name.split("-")
    owner = Owner.parse(name.removeprefix(".partial-").removesuffix("-0123456789"))
    assert owner == Owner.this()
    assert not owner.is_gone()


def test_a_host_s_name_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("node-12-34", "a/../b c\n", ""):
        monkeypatch.setattr(platform, "node", lambda host=host: host)
        owner = Owner.this()
        assert Owner.parse(str(owner)) == owner
        assert "/" not in str(owner)
        assert not owner.is_gone()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="zombies are looked for in /proc")
def test_a_killed_process_that_nobody_waited_for_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        owner = replace(Owner.this(), pid=process.pid, started=started)
        assert not owner.is_gone()
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert owner.is_gone()


@pytest.mark.parametrize("damage", ["removed", "a file", "a link"])
def test_a_staged_folder_that_a_trial_destroyed_is_made_anew(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path / "runs")
    staged = store.stage(KEY)
    staged.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if damage == "a file":
        staged.write_text("")
    elif damage == "a link":
        staged.symlink_to(elsewhere)
    folder = store.commit(staged, a_record())
    assert store.find(KEY) == a_record()
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert list(elsewhere.iterdir()) == []


def test_a_record_is_written_through_no_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("not ours")
    store = Store(tmp_path / "runs")
    staged = store.stage(KEY)
    (staged / RECORD).symlink_to(precious)
    store.commit(staged, a_record())
    assert precious.read_text() == "not ours"
    assert store.find(KEY) == a_record()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "Invalid JSON"),
        ('{"key": "x"}', "key"),
        (a_record().model_dump_json().replace('"ok"', '"fine"'), "status"),
        (a_record().model_dump_json().replace('"seed":1', '"seed":"one"'), "seed"),
        (
            a_record().model_dump_json().replace(f'"schema_version":{SCHEMA}', '"schema_version":99'),
            "schema_version",
        ),
    ],
)
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / RECORD
    file.write_text(content)
    with pytest.raises(TrialError, match=says) as error:
        read(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "0123",
        "../../../victim",
        "/etc/passwd",
        f"{KEY}0",
        KEY.replace("0", "A"),
        f"{KEY[:-1]}\n",
        f"{KEY}\n",
    ],
)
def test_a_key_that_could_name_another_folder_is_refused(tmp_path: Path, key: str) -> None:
    text = json.dumps({**json.loads(a_record().model_dump_json()), "key": key})
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(TrialError, match="key"):
        read(tmp_path / RECORD)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", a_record().model_dump_json().replace(":1,", ":99,", 1).encode(), b""],
    ids=["cut off", "not text", "another schema", "empty"],
)
def test_an_unreadable_record_counts_as_absent_is_named_and_is_never_overwritten(
    tmp_path: Path, content: bytes
) -> None:
    store = Store(tmp_path)
    store.commit(store.stage(OTHER), a_record(key=OTHER))
    store.path(KEY).mkdir()
    (store.path(KEY) / RECORD).write_bytes(content)
    (store.path(KEY) / "samples.npz").write_text("hours of work")
    assert store.find(KEY) is None
    assert [r.key for r in store.all()] == [OTHER]
    (fault,) = store.faults.values()
    assert str(store.path(KEY) / RECORD) in fault
    assert "--force" in fault
    store.commit(store.stage(KEY), a_record())
    assert store.find(KEY) == a_record()
    (aside,) = (tmp_path / "superseded").iterdir()
    assert (aside / RECORD).read_bytes() == content
    assert (aside / "samples.npz").read_text() == "hours of work"


def test_a_record_in_a_folder_of_another_name_is_none_of_the_store_s(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(store.stage(KEY), a_record()).rename(tmp_path / OTHER)
    assert store.find(OTHER) is None
    assert list(store.all()) == []
    assert KEY in store.faults[tmp_path / OTHER]


def test_a_folder_that_can_t_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(UsageError, match="--out"):
            Store(folder).prepare()
    Store(tmp_path / "new" / "runs").prepare()
    assert list((tmp_path / "new" / "runs").iterdir()) == []


def test_a_record_is_found_by_folder_file_key_or_the_start_of_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.commit(store.stage(KEY), a_record())
    for word in (str(folder), str(folder / RECORD), KEY, "0123"):
        assert store.resolve(word) == folder
    store.commit(store.stage(OTHER), a_record(key=OTHER))
    with pytest.raises(TrialError, match="2 records"):
        store.resolve("012")
    with pytest.raises(TrialError, match="no record"):
        store.resolve("zzz")

"""Two runs on one machine never time at once, and the one that waits says for whom."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from arrbench.machine_lock import MachineLock, lock_file

TOY = ("--task", "toy", "--device", "cpu")
HOLD = """
import sys
from pathlib import Path
from arrbench.machine_lock import MachineLock
lock = MachineLock(Path(sys.argv[1]))
assert lock.acquire()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARRBENCH_LOCK", str(tmp_path / "lock" / "arrbench.lock"))
    return lock_file()


@pytest.fixture
def other(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def start(out: Path, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "arrbench", "run", "--rankers", "counter", *TOY, "--out", str(out), *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_one_holds_it_and_the_others_are_told_who(file: Path, other: subprocess.Popen[str]) -> None:
    lock = MachineLock(file)
    assert not lock.acquire()
    assert lock.holder().startswith(f"process {other.pid} (")
    assert Path(sys.executable).name in lock.holder()
    other.kill()  # the operating system frees it
    other.wait()
    assert lock.acquire()
    assert lock.acquire()
    assert not MachineLock(file).acquire()
    assert lock.holder().startswith(f"process {os.getpid()} (")
    lock.release()
    assert lock.holder() == "another run on this machine"
    assert file.exists()


def test_it_is_for_all_users_whatever_the_umask(file: Path) -> None:
    before = os.umask(0o077)
    try:
        lock = MachineLock(file)
        assert lock.acquire()
        lock.release()
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666


def test_nothing_is_written_into_what_another_made_a_second_name_of(file: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("not ours")
    file.parent.mkdir()
    file.hardlink_to(precious)
    lock = MachineLock(file)
    assert lock.acquire()
    lock.release()
    assert precious.read_text() == "not ours"


def test_a_holder_s_words_can_t_move_the_terminal_s_cursor(file: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(file), "\x1b[2J\nred"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        holder = MachineLock(file).holder()
        process.kill()
    assert holder.isprintable()


def test_a_run_waits_for_another_without_being_overdue(
    other: subprocess.Popen[str], arrbench_environment: Any, tmp_path: Path
) -> None:
    run = start(tmp_path / "runs", arrbench_environment("trouble"), "--timeout", "3", "--json")
    said = run.stderr.readline()
    assert said.startswith(f"arrbench: waiting until process {other.pid} (")
    time.sleep(6.0)
    assert run.poll() is None
    assert not list((tmp_path / "runs").glob("*/record.json"))
    other.stdin.close()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert err == ""


def test_a_run_that_waits_can_be_interrupted(
    other: subprocess.Popen[str], arrbench_environment: Any, tmp_path: Path
) -> None:
    run = start(tmp_path / "runs", arrbench_environment("trouble"))
    assert "waiting until" in run.stderr.readline()
    children = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert err.strip().startswith("arrbench: interrupted")
    assert not list((tmp_path / "runs").glob(".partial-*"))
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_a_lock_that_can_t_be_used_is_said_and_ends_nothing(
    arrbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").write_text("a file where a folder is needed")
    monkeypatch.setenv("ARRBENCH_LOCK", str(tmp_path / "folder" / "lock"))
    answer = arrbench("run", "--rankers", "counter", *TOY, "--out", tmp_path / "runs")
    assert answer.status == 0
    assert answer.err.count("timed phases may meet those of other runs") == 1


def test_timed_phases_of_two_runs_never_overlap(
    file: Path, arrbench_environment: Any, tmp_path: Path
) -> None:
    environment = {**arrbench_environment("trouble"), "TROUBLE_TIMES": str(tmp_path / "times.txt")}
    runs = [start(tmp_path / name, environment, "--rankers", "stopwatch", "--seeds", "1,2") for name in "ab"]
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, out + err
    spans = sorted(
        tuple(map(float, line.split())) for line in (tmp_path / "times.txt").read_text().splitlines()
    )
    assert len(spans) == 4
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans

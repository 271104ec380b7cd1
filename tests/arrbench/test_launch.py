"""What libraries do when they are imported, and who it concerns: the rankers that need them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from arrbench.launch import KEY_VARIABLE, Launcher, Start, worker_key
from arrbench.launch.forking import Forker, ForkServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux")

SAYS = {
    "imports-raising": "RuntimeError: this library can't be imported",
    "imports-exiting": "SystemExit: this library wants another Python",
    "imports-dying": "exited with status 5 in phase 'index'",
    "imports-crashing": "killed by signal 11",
}
WELL = ("imports-printing", "imports-threads", "kills-parent", "counter", "learner", "random", "prior")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def answer(arrbench: Any, out: Path) -> Any:
    rankers = ",".join((*SAYS, "imports-printing", "imports-threads", "kills-parent", "counter", "learner"))
    words = ("run", "--rankers", rankers, "--task", "toy", "--device", "cpu", "--timeout", 60, "--json")
    return arrbench(*words, "--out", out, timeout=300)


@pytest.fixture(scope="module")
def rows(answer: Any) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in answer.rows()}


def test_a_library_that_can_t_be_imported_fails_who_needs_it(answer: Any, rows: dict[str, Any]) -> None:
    assert answer.status == 1
    for label, says in SAYS.items():
        assert rows[label]["status"] == "failed"
        assert says in rows[label]["error"]


def test_nobody_else_is_harmed(rows: dict[str, Any]) -> None:
    assert {label for label, row in rows.items() if row["status"] == "ok"} == set(WELL)
    assert rows["counter"]["metrics"]["ndcg@10"] == rows["kills-parent"]["metrics"]["ndcg@10"] == 1.0


def test_the_log_says_which_libraries_were_left_out_and_why(rows: dict[str, Any], out: Path) -> None:
    log = (out / rows["counter"]["key"] / "log.txt").read_text()
    assert "trouble_dies was not imported" in log
    assert "ends with status 5" in log
    assert "trouble_threads was not imported" in log
    assert "threads" in log
    assert "trouble_raises was not imported" not in log  # that one harms nobody


class Servers:
    """ForkServers whose workers connect to nobody: they end at once, with the status of an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, KEY_VARIABLE: worker_key(), "PYTHONPATH": str(folder)}

    def server(self, *libraries: str, import_s: float = 60.0) -> ForkServer:
        return ForkServer(libraries, self.environment, self.folder / "server.log", import_s)

    def module(self, name: str, code: str) -> str:
        (self.folder / f"{name}.py").write_text(code, encoding="utf-8")
        return name

    def worker(self, job: str = "a job") -> Start:
        nobody = str(self.folder / "no-socket")
        return Start(job, nobody, self.folder / f"{job}.log", self.folder, "some")


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    return Servers(tmp_path)


@pytest.fixture
def closing() -> Iterator[Callable[[Any], Any]]:
    opened: list[Any] = []
    yield lambda server: opened.append(server) or server
    for server in opened:
        server.close()


def ends(server: Launcher, n: int = 1, seconds: float = 60.0) -> dict[str, int | None]:
    ended: dict[str, int | None] = {}
    deadline = time.monotonic() + seconds
    while len(ended) < n and time.monotonic() < deadline:
        ended |= server.ended()
        time.sleep(0.01)
    return ended


def test_an_import_that_never_ends_is_left_out(servers: Servers, closing: Any) -> None:
    sleeper = servers.module("sleeper", "import time\ntime.sleep(3600)\n")
    fine = servers.module("fine", "")
    server = closing(servers.server(fine, sleeper, import_s=2.0))
    server.start(servers.worker())
    assert set(server.waiting()) == {"a job"}
    assert ends(server) == {"a job": 70}
    assert not server.waiting()
    assert list(server.left_out) == [sleeper]
    assert "more than 2 s" in server.left_out[sleeper]


def test_a_server_can_be_closed_while_it_imports(servers: Servers) -> None:
    server = servers.server(servers.module("sleeper", "import time\ntime.sleep(3600)\n"))
    server.start(servers.worker())
    before = time.monotonic()
    server.close()
    assert time.monotonic() - before < 5.0
    assert server._server.process.returncode == -signal.SIGKILL


def test_where_no_server_can_live_workers_are_started_without_one(arrbench: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'arrbench.launch.server' in sys.orig_argv:\n"
        "    open(os.path.join(os.path.dirname(__file__), 'ended'), 'a').write('.')\n"
        "    os._exit(9)\n"
    )
    words = ("run", "--rankers", "counter,exits", "--task", "toy", "--device", "cpu", "--json")
    answer = arrbench(*words, "--out", tmp_path / "runs", distributions=("trouble", tmp_path))
    rows = {row["label"]: row for row in answer.rows()}
    assert rows["exits"]["error"] == "exited with status 3 in phase 'index'"
    assert {label for label, row in rows.items() if row["status"] == "ok"} == {"counter", "random", "prior"}
    assert (tmp_path / "ended").read_text() == ".."  # one server a distribution, tried once


def test_a_server_that_dies_is_followed_by_another_with_the_same_libraries(
    servers: Servers, closing: Any
) -> None:
    trace = servers.module(
        "trace", "import os, pathlib\nwith open(pathlib.Path(__file__).with_name('pids'), 'a') as f: "
        "f.write(f'{os.getpid()} ')\n"
    )  # fmt: skip
    server = closing(servers.server(trace))
    server.start(servers.worker("first"))
    assert ends(server) == {"first": 70}
    os.kill(server._server.process.pid, signal.SIGKILL)
    psutil.Process(server._server.process.pid).wait(10)
    server.ended()
    server.start(servers.worker("second"))
    assert ends(server) == {"second": 70}
    assert len((servers.folder / "pids").read_text().split()) == 2
    assert server.left_out == {}


def test_what_a_library_replaces_is_replaced_for_its_own_distribution_alone(
    servers: Servers, closing: Any
) -> None:
    patch = servers.module(
        "patch", "import os, traceback\ntraceback.print_exc = lambda: os.write(2, b'replaced')\n"
    )
    forker = closing(Forker({"one": (patch,), "another": ()}, servers.environment, servers.folder))
    forker.start(replace(servers.worker("a"), distribution="one"))
    forker.start(replace(servers.worker("b"), distribution="another"))
    assert ends(forker, 2) == {"a": 70, "b": 70}
    assert (servers.folder / "a.log").read_text() == "replaced"
    assert "Traceback" in (servers.folder / "b.log").read_text()


@pytest.mark.slow
def test_what_comes_with_arrbench_is_forked_with_all_its_libraries(arrbench: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = (
        "run",
        "--rankers",
        "bm25,de:epochs=0",
        "--task",
        "toy",
        "--device",
        "cpu",
        "--no-save",
        "--json",
    )
    rows = arrbench(*words, "--out", out, timeout=400).rows()
    assert {row["status"] for row in rows} == {"ok"}, json.dumps(rows)
    for row in rows:
        assert "was not imported" not in (out / row["key"] / "log.txt").read_text()

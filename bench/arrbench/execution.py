"""Running trials in processes of their own: trainings side by side, timed phases alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from arrbench import exit_status
from arrbench.conversation import Conversations
from arrbench.errors import one_line
from arrbench.exchange import QUERIES
from arrbench.launch import Launcher
from arrbench.measure import resources
from arrbench.measure.observed import Observed, observed
from arrbench.worker import Job

_POLL_S = 0.05
_LINGER_S = 10.0
_LAST_WORDS_S = 1.0  # for what a worker that ended said last, where a process that it started goes on

State = Literal["training", "waiting", "alone", "done"]
# In which state a worker may say what changes it: one that is not alone can't be timed.
_IN_TURN: Mapping[str, State] = {
    "ready": "training",
    "queries": "alone",
    "timing": "alone",
    "timed": "alone",
    "done": "alone",
}


class Watcher(Protocol):
    """Hears what trials do; the command line shows it."""

    def started(self, name: str) -> None: ...
    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None: ...
    def finished(self, name: str, error: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended: its error if it failed, and its timed scenarios as the parent saw them."""

    name: str
    error: str | None
    scenarios: Mapping[str, Observed]


@dataclass
class _Worker:
    name: str
    file: Path
    state: State = "training"
    connection: Connection | None = None
    silent: bool = False  # whether its end of the connection is closed
    pid: int = 0
    phase: str = "start"
    phase_started: float = field(default_factory=time.monotonic)
    error: str | None = None
    before: resources.Usage = field(default_factory=lambda: resources.Usage(0.0))
    scenarios: dict[str, Observed] = field(default_factory=dict)


class Execution:
    """Runs jobs to their end. At most `side_by_side` train at once; a timed phase has the machine.

    `test_queries` are written into a worker's folder when it has nothing left to do but be timed.
    `background` are processes of the parent's own (compilations) that no timed phase may meet.
    """

    def __init__(
        self,
        launcher: Launcher,
        key: str,
        watcher: Watcher,
        side_by_side: int,
        timeout_s: float,
        test_queries: bytes,
        background: Sequence[subprocess.Popen[Any]] = (),
    ) -> None:
        self._launcher = launcher
        self._watcher = watcher
        self._side_by_side = side_by_side
        self._most_alive = 1 if side_by_side == 1 else 2 * side_by_side + 1
        self._timeout_s = timeout_s
        self._test_queries = test_queries
        self._background = background
        self._conversations = Conversations(bytes.fromhex(key))
        self._alive: dict[str, _Worker] = {}

    def run(self, jobs: Sequence[tuple[str, Job]]) -> Iterator[Ending]:
        """Endings as they come. While the caller handles one, no timed phase is running."""
        pending = list(jobs)
        while pending or self._alive:
            while pending and self._may_start():
                self._start(*pending.pop(0))
            self._grant_turn()
            self._listen()
            yield from self._reap()
            self._end_overdue()

    def close(self) -> None:
        """End every worker still running, and the thread that waits for new ones."""
        self._launcher.close()
        self._conversations.close()

    def _states(self) -> list[State]:
        return [w.state for w in self._alive.values()]

    def _may_start(self) -> bool:
        states = self._states()
        return (
            "alone" not in states
            and states.count("training") < self._side_by_side
            and len(states) < self._most_alive
        )

    def _start(self, name: str, job: Job) -> None:
        out = Path(job.out)
        file = out / "job.json"
        file.write_text(json.dumps(asdict(job)), encoding="utf-8")
        self._alive[str(file)] = _Worker(name, file)
        self._watcher.started(name)
        self._launcher.start(self._conversations.address, file, out / "log.txt")

    def _grant_turn(self) -> None:
        # One that is done is still to be handed to the caller, whose work on it would run beside the next.
        busy = {"training", "alone", "done"} & set(self._states())
        if busy or any(p.poll() is None for p in self._background):
            return
        worker = next((w for w in self._alive.values() if w.state == "waiting"), None)
        if worker:
            worker.state = "alone"
            self._enter(worker, "turn")
            self._answer(worker)

    def _answer(self, worker: _Worker) -> None:
        with contextlib.suppress(OSError):  # it ended meanwhile, which its exit status will say
            assert worker.connection is not None
            worker.connection.send_bytes(b"go")

    def _listen(self) -> None:
        for heard in self._conversations.heard(_POLL_S):
            worker = self._alive.get(heard.job)
            if worker is None or worker.connection not in (None, heard.connection):
                continue  # who speaks for a worker that has ended, or speaks already
            worker.connection = heard.connection
            if heard.message is not None:
                self._hear(worker, heard.message)
                continue
            worker.silent, worker.phase_started = True, time.monotonic()
            if heard.fault is not None:
                self._expel(worker, heard.fault)

    def _expel(self, worker: _Worker, fault: str) -> None:
        worker.error = worker.error or f"{fault} (in phase {worker.phase!r})"
        self._launcher.kill(worker.file)

    def _hear(self, worker: _Worker, message: dict[str, Any]) -> None:
        event = message.pop("event")
        if _IN_TURN.get(event, worker.state) != worker.state:
            self._expel(worker, f"told the harness {event!r} out of turn")
            return
        match event:
            case "hello":
                worker.pid = worker.pid or message["pid"]
            case "phase":
                self._enter(worker, message["phase"])
            case "progress":
                self._watcher.progress(worker.name, message["phase"], message["done"], message["total"])
            case "queries":
                self._hand_over_queries(worker)
            case "timing":
                worker.before = resources.usage(worker.pid)
                self._enter(worker, f"rank ({message['scenario']})")
                self._answer(worker)
            case "ready":
                worker.state = "waiting"
                self._enter(worker, "waiting for its turn")
            case "timed":
                wall = time.monotonic() - worker.phase_started
                used = resources.usage(worker.pid)
                worker.scenarios[message["scenario"]] = observed(
                    wall, worker.before, used, message["milliseconds"] / 1e3, message["calls"]
                )
            case "failed":
                worker.error = message["error"]
            case "done":
                worker.state = "done"
                self._enter(worker, "done")

    def _hand_over_queries(self, worker: _Worker) -> None:
        try:
            worker.file.with_name(QUERIES).unlink(missing_ok=True)  # a link that leads out of the folder
            worker.file.with_name(QUERIES).write_bytes(self._test_queries)
        except OSError as error:
            self._expel(worker, f"its folder can't take the test queries: {one_line(error)}")
            return
        self._answer(worker)

    def _enter(self, worker: _Worker, phase: str) -> None:
        worker.phase, worker.phase_started = phase, time.monotonic()
        self._watcher.progress(worker.name, phase, None, None)

    def _reap(self) -> Iterator[Ending]:
        for file, status in self._launcher.ended().items():
            worker = self._alive[file]
            until = time.monotonic() + _LAST_WORDS_S
            while not worker.silent and time.monotonic() < until:
                self._listen()
                if worker.connection is None:
                    break  # it ended before it could connect
            del self._alive[file]
            if worker.state != "done" and worker.error is None:
                worker.error = f"{exit_status.in_words(status)} in phase {worker.phase!r}"
            yield Ending(worker.name, worker.error, worker.scenarios)

    def _end_overdue(self) -> None:
        for worker in self._alive.values():
            lingers = worker.silent or worker.state == "done"
            if worker.state == "waiting" and not lingers:
                continue
            if time.monotonic() - worker.phase_started > (_LINGER_S if lingers else self._timeout_s):
                if worker.state != "done" and worker.error is None:
                    worker.error = (
                        f"closed its connection to the harness in phase {worker.phase!r}"
                        if worker.silent
                        else f"hung: phase {worker.phase!r} took more than {self._timeout_s:g} s (--timeout)"
                    )
                self._launcher.kill(worker.file)


def quiet() -> Watcher:
    """A watcher that shows nothing."""
    return _Quiet()


class _Quiet:
    def started(self, name: str) -> None: ...
    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None: ...
    def finished(self, name: str, error: str | None) -> None: ...

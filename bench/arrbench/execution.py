"""Running trials in processes of their own: trainings side by side, timed phases alone."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from arrbench import exit_status
from arrbench.conversation import Conversations
from arrbench.inputs import Inputs
from arrbench.jobs import Limits
from arrbench.launch import Launcher, Start
from arrbench.machine_lock import MachineLock
from arrbench.measure import resources
from arrbench.measure.observed import Claimed, Observed, observed
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
    def notice(self, text: str) -> None:
        """Something that whoever waits for the run should know."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job with its name, the distribution of its ranker, and a folder for its temporary files."""

    name: str
    job: Job
    distribution: str
    temporary: Path


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended: its error if it failed, and its timed scenarios as the parent saw them."""

    name: str
    error: str | None
    scenarios: Mapping[str, Observed]


@dataclass
class _Worker:
    name: str
    id: str
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
    """Runs jobs to their end, so many at once as `limits` allow; a timed phase has the machine.

    A worker gets `queries`, those of the test split, when it has nothing left to do but be timed.
    `background` are processes of the parent's own (compilations) that no timed phase may meet; nor
    may it meet a timed phase of another run, which `machine` keeps away.
    """

    def __init__(
        self,
        launcher: Launcher,
        key: str,
        watcher: Watcher,
        inputs: Inputs,
        queries: Inputs,
        limits: Limits,
        machine: MachineLock,
        timeout_s: float,
        background: Sequence[subprocess.Popen[Any]] = (),
    ) -> None:
        self._launcher = launcher
        self._watcher = watcher
        self._inputs = inputs
        self._queries = queries
        self._limits = limits
        self._machine = machine
        self._told_to_wait = False
        self._timing = False
        self._timeout_s = timeout_s
        self._background = background
        self._conversations = Conversations(bytes.fromhex(key), self._welcome)
        self._alive: dict[str, _Worker] = {}
        self._jobs: dict[str, Job] = {}

    def run(self, assignments: Iterable[Assignment]) -> Iterator[Ending]:
        """Endings as they come; an assignment is asked for when it can start.

        While the caller handles an ending, no timed phase is running.
        """
        pending = iter(assignments)
        more = True
        while more or self._alive:
            while more and self._may_start():
                assignment = next(pending, None)
                more = assignment is not None
                if assignment:
                    self._start(assignment)
            self._grant_turn()
            self._listen()
            yield from self._reap()
            self._end_overdue()

    def close(self) -> None:
        """End every worker still running, and the thread that waits for new ones."""
        self._launcher.close()
        self._machine.release()
        self._conversations.close()

    def _welcome(self, worker: str) -> Iterator[bytes | Inputs]:
        """What a worker is sent when it connects: its job, which is given once, and the inputs."""
        if job := self._jobs.pop(worker, None):
            yield json.dumps(asdict(job)).encode()
            yield self._inputs

    def _states(self) -> list[State]:
        return [w.state for w in self._alive.values()]

    def _may_start(self) -> bool:
        states = self._states()
        # Once turns are granted, all that wait get theirs first: those that start then train side by side.
        self._timing = self._timing and not {"waiting", "alone"}.isdisjoint(states)
        return (
            not self._timing
            and states.count("training") < self._limits.training
            and len(states) < self._limits.alive
        )

    def _start(self, assignment: Assignment) -> None:
        worker = _Worker(assignment.name, secrets.token_hex(16))
        self._alive[worker.id] = worker
        self._jobs[worker.id] = assignment.job
        self._watcher.started(worker.name)
        log = Path(assignment.job.out) / "log.txt"
        address = self._conversations.address
        self._launcher.start(Start(worker.id, address, log, assignment.temporary, assignment.distribution))

    def _grant_turn(self) -> None:
        states = set(self._states())
        if "alone" not in states:
            self._machine.release()
        # One that is done is still to be handed to the caller, whose work on it would run beside the next.
        if {"training", "alone", "done"} & states or any(p.poll() is None for p in self._background):
            return
        worker = next((w for w in self._alive.values() if w.state == "waiting"), None)
        if worker and self._has_machine():
            self._timing = True
            worker.state = "alone"
            self._enter(worker, "turn")
            self._answer(worker)

    def _has_machine(self) -> bool:
        """Whether no other run is timing now; where that can't be known, it is said once."""
        try:
            mine = self._machine.acquire()
        except OSError as error:
            if not self._told_to_wait:
                self._watcher.notice(f"timed phases may meet those of other runs on this machine: {error}")
            self._told_to_wait = True
            return True
        if not mine and not self._told_to_wait:
            self._watcher.notice(f"waiting until {self._machine.holder()} has timed its trial")
        self._told_to_wait = not mine
        return mine

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
        self._launcher.kill(worker.id)

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
                    wall, worker.before, used, Claimed(**message["claimed"])
                )
            case "failed":
                worker.error = message["error"]
            case "done":
                worker.state = "done"
                self._enter(worker, "done")

    def _hand_over_queries(self, worker: _Worker) -> None:
        """In a thread of its own, since a worker may be slow to read, or never do."""
        connection = worker.connection
        assert connection is not None

        def send() -> None:
            with contextlib.suppress(OSError):  # it ended meanwhile, which its exit status will say
                self._queries.send(connection)

        self._enter(worker, "receiving the test queries")
        threading.Thread(target=send, daemon=True).start()

    def _enter(self, worker: _Worker, phase: str) -> None:
        worker.phase, worker.phase_started = phase, time.monotonic()
        self._watcher.progress(worker.name, phase, None, None)

    def _reap(self) -> Iterator[Ending]:
        for id_, status in self._launcher.ended().items():
            worker = self._alive[id_]
            until = time.monotonic() + _LAST_WORDS_S
            while not worker.silent and time.monotonic() < until:
                self._listen()
                if worker.connection is None:
                    break  # it ended before it could connect
            del self._alive[id_]
            self._jobs.pop(id_, None)
            if worker.state != "done" and worker.error is None:
                worker.error = f"{exit_status.in_words(status)} in phase {worker.phase!r}"
            yield Ending(worker.name, worker.error, worker.scenarios)

    def _end_overdue(self) -> None:
        waiting = self._launcher.waiting()
        for worker in self._alive.values():
            if worker.id in waiting:
                worker.phase_started = time.monotonic()
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
                self._launcher.kill(worker.id)


def quiet() -> Watcher:
    """A watcher that shows nothing."""
    return _Quiet()


class _Quiet:
    def started(self, name: str) -> None: ...
    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None: ...
    def finished(self, name: str, error: str | None) -> None: ...
    def notice(self, text: str) -> None: ...

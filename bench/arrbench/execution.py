"""Running trials in processes of their own: trainings side by side, timed phases alone."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, Literal, Protocol

from arrbench.inputs import Inputs
from arrbench.jobs import Limits
from arrbench.launch import Launcher, Start
from arrbench.machine_lock import MachineLock
from arrbench.measure import resources
from arrbench.measure.observed import Observed, observed
from arrbench.worker import Job

_POLL_S = 0.05
_LINGER_S = 10.0

State = Literal["training", "waiting", "alone", "done"]


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
        self._listener = _listener(bytes.fromhex(key))
        self._arrivals: queue.SimpleQueue[tuple[str, int, Connection]] = queue.SimpleQueue()
        self._alive: dict[str, _Worker] = {}
        self._jobs: dict[str, Job] = {}
        self._welcomed: dict[str, threading.Thread] = {}
        self._closed = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

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
        self._closed = True
        self._launcher.close()
        with contextlib.suppress(OSError):  # a call wakes the thread, which a closed socket would not
            Client(self._listener.address).close()
        self._accepting.join(_LINGER_S)
        self._machine.release()
        self._listener.close()
        while not self._arrivals.empty():
            self._arrivals.get()[2].close()
        for worker in self._alive.values():
            if worker.connection:
                worker.connection.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except Exception:  # a worker that died while it connected, a stranger without the key
                continue
            threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()

    def _welcome(self, connection: Connection) -> None:
        """Hand a worker its job and the inputs; in a thread of its own, since they may be large."""
        try:
            hello = json.loads(connection.recv_bytes())
            worker, pid = hello["job"], int(hello["pid"])
            job = self._jobs.pop(worker)  # a job is given once
        except Exception:
            connection.close()
            return
        self._welcomed[worker] = threading.current_thread()
        with contextlib.suppress(OSError):  # it ended; what it said before is still to be read
            connection.send_bytes(json.dumps(asdict(job)).encode())
            self._inputs.send(connection)
        self._arrivals.put((worker, pid, connection))

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
        address = str(self._listener.address)
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

    def _take_arrivals(self) -> None:
        while not self._arrivals.empty():
            worker, pid, connection = self._arrivals.get()
            if worker in self._alive:
                self._alive[worker].connection, self._alive[worker].pid = connection, pid

    def _listen(self) -> None:
        self._take_arrivals()
        by_connection = {
            w.connection: w for w in self._alive.values() if w.connection and not w.connection.closed
        }
        if not by_connection:
            time.sleep(_POLL_S)
        for ready in wait(list(by_connection), timeout=_POLL_S):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            try:
                message = json.loads(ready.recv_bytes())
            except (EOFError, OSError):
                ready.close()
                continue
            self._hear(worker, message)

    def _hear(self, worker: _Worker, message: dict[str, Any]) -> None:
        match message.pop("event"):
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
            if welcome := self._welcomed.pop(id_, None):
                welcome.join(_LINGER_S)
            self._take_arrivals()
            worker = self._alive[id_]
            while worker.connection and not worker.connection.closed and worker.connection.poll():
                try:
                    self._hear(worker, json.loads(worker.connection.recv_bytes()))
                except (EOFError, OSError):
                    break
            if worker.connection:
                worker.connection.close()
            del self._alive[id_]
            self._jobs.pop(id_, None)
            if worker.state != "done" and worker.error is None:
                worker.error = f"{_how_it_ended(status)} in phase {worker.phase!r}"
            yield Ending(worker.name, worker.error, worker.scenarios)

    def _end_overdue(self) -> None:
        waiting = self._launcher.waiting()
        for worker in self._alive.values():
            if worker.id in waiting:
                worker.phase_started = time.monotonic()
            if worker.state == "waiting":
                continue
            allowed = _LINGER_S if worker.state == "done" else self._timeout_s
            if time.monotonic() - worker.phase_started > allowed:
                if worker.state != "done" and worker.error is None:
                    worker.error = (
                        f"hung: phase {worker.phase!r} took more than {self._timeout_s:g} s (--timeout)"
                    )
                self._launcher.kill(worker.id)


def _listener(key: bytes) -> Listener:
    try:
        return Listener(authkey=key)
    except OSError:  # $TMPDIR may lie too deep for a socket's path, of 100 characters or so
        return Listener(f"/tmp/arrbench-{secrets.token_hex(8)}", authkey=key)


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "ended, and so did the process that would have heard with which status,"
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; out of memory?" if -status == signal.SIGKILL else ""
        return f"killed by signal {-status} ({name}{hint})"
    return f"exited with status {status}"


def quiet() -> Watcher:
    """A watcher that shows nothing."""
    return _Quiet()


class _Quiet:
    def started(self, name: str) -> None: ...
    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None: ...
    def finished(self, name: str, error: str | None) -> None: ...
    def notice(self, text: str) -> None: ...

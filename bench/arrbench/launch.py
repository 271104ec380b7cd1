"""Starting worker processes: forked from a server that has imported libraries and nothing else.

Importing torch, transformers and sentence-transformers costs seconds of CPU a process; a fork of a
process that has them costs milliseconds and is as fresh: no model, no data, no device touched.
Where forking is unsafe (macOS, Windows) a worker is a new interpreter.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from arrbench.errors import TrialError

KEY_VARIABLE = "ARRBENCH_WORKER_KEY"
_POLL_S = 0.05


class Launcher(Protocol):
    """Starts workers, tells which of them have ended, ends them."""

    def start(self, address: str, job: Path, log: Path) -> None: ...
    def ended(self) -> dict[str, int]:
        """Job file -> exit status of those that ended since last asked; -9 for signal 9."""
        ...

    def kill(self, job: Path) -> None: ...
    def close(self) -> None: ...


def launcher(libraries: Iterable[str], environment: dict[str, str]) -> Launcher:
    """The launcher for this platform; `libraries` are imported once where forking is possible."""
    if sys.platform == "linux":
        return ForkServer(libraries, environment)
    return Spawner(environment)


def worker_key() -> str:
    """The secret that a worker shows when it connects."""
    return secrets.token_hex(16)


class ForkServer:
    """A child process that forks a worker a job and reports how it ended, over its pipes."""

    def __init__(self, libraries: Iterable[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "arrbench.launch", *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # an interrupt at the terminal reaches the parent alone
        )
        self._unread = b""

    def start(self, address: str, job: Path, log: Path) -> None:
        self._tell(["start", address, str(job), str(log)])

    def ended(self) -> dict[str, int]:
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while select.select([out], [], [], 0)[0]:
            chunk = os.read(out, 65536)
            if not chunk:
                raise TrialError(f"the process that starts trials ended with status {self._process.wait()}")
            self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        return dict(json.loads(line) for line in lines)

    def kill(self, job: Path) -> None:
        self._tell(["kill", str(job)])

    def close(self) -> None:
        """End the server, which ends every worker still running."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _tell(self, words: list[str]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()


class Spawner:
    """A new interpreter a worker."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, address: str, job: Path, log: Path) -> None:
        with log.open("ab") as out:
            self._running[str(job)] = subprocess.Popen(
                [sys.executable, "-m", "arrbench.worker", address, str(job)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment,
                start_new_session=True,
            )

    def ended(self) -> dict[str, int]:
        ended = {job: p.returncode for job, p in self._running.items() if p.poll() is not None}
        for job in ended:
            del self._running[job]
        return ended

    def kill(self, job: Path) -> None:
        if str(job) in self._running:
            self._running[str(job)].kill()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


def _serve(libraries: list[str]) -> None:
    """The server's loop: fork on request, reap, and end all workers when the parent is gone."""
    for name in libraries:
        try:
            importlib.import_module(name)
        except ImportError:  # the trial that needs it says so where it matters
            continue
    running: dict[int, str] = {}
    buffered = b""
    while True:
        readable, _, _ = select.select([0], [], [], _POLL_S)
        if readable:
            chunk = os.read(0, 65536)
            if not chunk:
                break
            *lines, buffered = (buffered + chunk).split(b"\n")
            for line in lines:
                _obey(json.loads(line), running)
        _reap(running)
    for pid in running:
        _kill_group(pid)


def _kill_group(pid: int) -> None:
    """End a worker and whatever it started; it may not have its own group yet, or be gone."""
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        with contextlib.suppress(ProcessLookupError):
            kill(target, signal.SIGKILL)


def _obey(words: list[str], running: dict[int, str]) -> None:
    if words[0] == "kill":
        for pid in [pid for pid, job in running.items() if job == words[1]]:
            _kill_group(pid)
        return
    _, address, job, log = words
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = _work(address, job, log)
        except BaseException:  # the child must never return into the server's loop
            traceback.print_exc()
        finally:
            os._exit(status)
    running[pid] = job


def _work(address: str, job: str, log: str) -> int:
    """In the forked child: a process group of its own, the log as output, then the worker."""
    from arrbench import worker

    os.setpgid(0, 0)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    try:
        return worker.main(address, job)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _reap(running: dict[int, str]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in running:
            told = json.dumps([running.pop(pid), os.waitstatus_to_exitcode(status)])
            os.write(1, told.encode() + b"\n")


if __name__ == "__main__":
    _serve(sys.argv[1:])

"""Servers that workers are forked from, one a distribution: what a library does when it is imported, such
as replacing another library's functions, reaches the rankers of the distribution that asks for it alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from arrbench.errors import one_line
from arrbench.launch import Start
from arrbench.launch.server import kill_group
from arrbench.launch.spawning import Spawner
from arrbench.separately import python

IMPORT_SECONDS = 300.0
_CLOSE_SECONDS = 5.0


class Forker:
    """A ForkServer for each distribution, started when its first worker is asked for."""

    def __init__(
        self, libraries: Mapping[str, Sequence[str]], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._libraries = libraries
        self._environment = environment
        self._folder = folder
        self._servers: dict[str, ForkServer] = {}

    def start(self, worker: Start) -> None:
        name = worker.distribution
        if name not in self._servers:
            log = self._folder / f"server-{len(self._servers)}.log"
            self._servers[name] = ForkServer(self._libraries.get(name, ()), self._environment, log)
        self._servers[name].start(worker)

    def ended(self) -> dict[str, int | None]:
        return {job: status for s in self._servers.values() for job, status in s.ended().items()}

    def waiting(self) -> frozenset[str]:
        return frozenset(job for s in self._servers.values() for job in s.waiting())

    def kill(self, job: str) -> None:
        for server in self._servers.values():
            server.kill(job)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


class ForkServer:
    """A child process that imports `libraries`, then forks a worker a job and reports how it ended.

    A library that ends the process when imported, takes longer than `import_s` seconds or makes
    forks unsafe is left out from then on (`left_out` says why); workers import it themselves where
    they need it. Where the server dies later, the workers it started go on, watched by their
    process ids. Where it dies without having started any, workers are started without it.
    """

    def __init__(
        self,
        libraries: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        import_s: float = IMPORT_SECONDS,
    ) -> None:
        self.left_out: dict[str, str] = {}
        self._libraries = list(dict.fromkeys(libraries))
        self._environment = environment
        self._log = log
        self._import_s = import_s
        self._server: _Server | None = None
        self._spawner: Spawner | None = None
        self._asked: dict[str, Start] = {}
        self._running: dict[str, psutil.Process] = {}
        self._orphans: dict[str, psutil.Process] = {}

    def start(self, worker: Start) -> None:
        if self._spawner:
            self._spawner.start(worker)
            return
        self._asked[worker.job] = worker
        if self._server is None:  # only now: its imports would disturb a timed phase
            self._server = _Server.begin(self._libraries, self._environment, self._log)
        elif self._server.ready:
            self._hand_over(worker, self._server)

    def ended(self) -> dict[str, int | None]:
        ended: dict[str, int | None] = self._spawner.ended() if self._spawner else {}
        if server := self._server:
            self._hear(server, ended)
            if server.is_dead(self._import_s):
                self._hear(server, ended)  # what it said meanwhile
                self._go_on_without(server)
        for job in [job for job, process in self._orphans.items() if not _lives(process)]:
            del self._orphans[job]
            ended[job] = None
        return ended

    def waiting(self) -> frozenset[str]:
        return frozenset(self._asked)

    def kill(self, job: str) -> None:
        if self._spawner:
            self._spawner.kill(job)
        process = self._running.get(job) or self._orphans.get(job)
        if process and _lives(process):
            kill_group(process.pid)

    def close(self) -> None:
        """End the server and every worker still running."""
        if self._server:
            self._server.close()
        for job in [*self._running, *self._orphans]:
            self.kill(job)
        if self._spawner:
            self._spawner.close()

    def _hear(self, server: _Server, ended: dict[str, int | None]) -> None:
        for words in server.reports():
            match words:
                case ["importing", name]:
                    server.importing, server.since = name, time.monotonic()
                case ["unfit", name, why]:
                    self._leave_out(name, why)
                case ["ready"]:
                    server.ready = True
                    for worker in self._asked.values():
                        self._hand_over(worker, server)
                case ["started", job, pid]:
                    server.useful = True
                    self._asked.pop(job, None)
                    with contextlib.suppress(psutil.NoSuchProcess):  # its end is reported next
                        self._running[job] = psutil.Process(pid)
                case ["ended", job, status]:
                    self._running.pop(job, None)
                    ended[job] = status

    def _hand_over(self, worker: Start, server: _Server) -> None:
        with contextlib.suppress(OSError), worker.log.open("a", encoding="utf-8") as log:
            for name, why in self.left_out.items():
                log.write(f"arrbench: {name} was not imported before this process started: {why}\n")
        server.tell(worker.address, worker.job, str(worker.log), str(worker.temporary))

    def _go_on_without(self, server: _Server) -> None:
        guilty = server.importing
        status = server.close()
        if server.ready or guilty is None:
            if not server.useful:
                self._spawner = Spawner(self._environment)
        elif guilty not in self.left_out:
            late = f"takes more than {self._import_s:g} s" if server.late else f"ends with status {status}"
            self._leave_out(guilty, f"a process that imports it {late}")
        self._server = None
        self._orphans |= self._running
        self._running = {}
        asked, self._asked = self._asked, {}
        for worker in asked.values():
            self.start(worker)

    def _leave_out(self, name: str, why: str) -> None:
        self._libraries.remove(name)
        self.left_out[name] = one_line(why)


@dataclass
class _Server:
    """A running server and the parent's ends of its pipes."""

    process: subprocess.Popen[bytes]
    commands: int
    told: int
    importing: str | None = None
    since: float = field(default_factory=time.monotonic)
    ready: bool = False
    useful: bool = False  # has started a worker
    late: bool = False
    unread: bytes = b""

    @classmethod
    def begin(cls, libraries: Sequence[str], environment: Mapping[str, str], log: Path) -> _Server:
        theirs, commands = os.pipe()
        told, reports = os.pipe()
        os.set_blocking(told, False)
        with log.open("ab") as out:
            process = subprocess.Popen(
                python("-m", "arrbench.launch.server", str(theirs), str(reports), *libraries),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                pass_fds=(theirs, reports),
                start_new_session=True,  # an interrupt at the terminal reaches the parent alone
            )
        os.close(theirs)
        os.close(reports)
        return cls(process, commands, told)

    def is_dead(self, import_s: float) -> bool:
        """Whether it has ended; it is ended here where one import takes more than `import_s` seconds."""
        if not self.ready and time.monotonic() - self.since > import_s:
            self.late = True
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def reports(self) -> Iterator[list[Any]]:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.told, 65536):
                self.unread += chunk
        *lines, self.unread = self.unread.split(b"\n")
        yield from map(json.loads, lines)

    def tell(self, *words: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died, which the next look at it finds
            os.write(self.commands, json.dumps(words).encode() + b"\n")

    def close(self) -> int:
        """End it, and with it its workers if it is well; its exit status."""
        os.close(self.commands)
        os.close(self.told)
        try:
            return self.process.wait(_CLOSE_SECONDS if self.ready else 0.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _lives(process: psutil.Process) -> bool:
    """False for a zombie, too: whoever adopted it may never ask for its status."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

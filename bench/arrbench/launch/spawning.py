"""A new interpreter a worker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from arrbench.launch import Start
from arrbench.separately import python


class Spawner:
    """Starts each worker as a process of its own, which imports all that it needs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, worker: Start) -> None:
        with _output(worker.log) as out:
            self._running[worker.job] = subprocess.Popen(
                python("-m", "arrbench.worker", worker.address, worker.job),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**self._environment, "TMPDIR": str(worker.temporary)},
                start_new_session=True,
            )

    def ended(self) -> dict[str, int | None]:
        ended = {job: p.returncode for job, p in self._running.items() if p.poll() is not None}
        for job in ended:
            del self._running[job]
        return ended

    def waiting(self) -> frozenset[str]:
        return frozenset()

    def kill(self, job: str) -> None:
        if job in self._running:
            self._running[job].kill()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


def _output(log: Path) -> BinaryIO:
    try:
        return log.open("ab")
    except OSError:  # its folder was removed meanwhile: the trial fails by that, and nobody else
        return Path(os.devnull).open("ab")

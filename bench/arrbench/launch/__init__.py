"""Starting worker processes: forked from a server that has imported libraries and nothing else.

Importing torch, transformers and sentence-transformers costs seconds of CPU a process; a fork of a
process that has them costs milliseconds and is as fresh: no model, no data, no device touched.
Where forking is unsafe (macOS, Windows) a worker is a new interpreter.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

KEY_VARIABLE = "ARRBENCH_WORKER_KEY"


@dataclass(frozen=True, slots=True)
class Start:
    """A worker to be started.

    `job` is what it calls itself when it connects to `address`, a string that no other worker can
    guess. Its output goes to the file `log`, its temporary files to the folder `temporary`.
    `distribution` provides its ranker.
    """

    job: str
    address: str
    log: Path
    temporary: Path
    distribution: str


class Launcher(Protocol):
    """Starts workers, tells which of them have ended, ends them."""

    def start(self, worker: Start) -> None: ...
    def ended(self) -> dict[str, int | None]:
        """Job -> exit status of those that ended since last asked; -9 for signal 9, None for unknown."""
        ...

    def waiting(self) -> Collection[str]:
        """Jobs that are not running yet, since libraries are still being imported for them."""
        ...

    def kill(self, job: str) -> None: ...
    def close(self) -> None: ...


def launcher(
    libraries: Mapping[str, Sequence[str]], environment: Mapping[str, str], folder: Path
) -> Launcher:
    """The launcher for this platform.

    `libraries` are the modules that the rankers of each distribution want imported once, which
    happens where forking is possible; what the imports print goes to files in `folder`.
    """
    if sys.platform == "linux":
        from arrbench.launch.forking import Forker

        return Forker(libraries, environment, folder)
    from arrbench.launch.spawning import Spawner

    return Spawner(environment)


def worker_key() -> str:
    """The secret that a worker shows when it connects."""
    return secrets.token_hex(16)

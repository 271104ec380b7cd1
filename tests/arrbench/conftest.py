"""Running the command line as a user does: in a subprocess, with third parties' distributions on the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DISTRIBUTIONS = Path(__file__).parents[1] / "distributions"


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        found = json.loads(self.out)
        assert found["schema"] == 1
        return list(found["rows"])


Arrbench = Callable[..., Answer]


def environment(*distributions: str) -> dict[str, str]:
    """This process's environment with these distributions of tests/distributions (or paths) installed."""
    paths = [str(DISTRIBUTIONS / d) for d in distributions]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def arrbench() -> Arrbench:
    """Call it with the command's words; `distributions` names folders of tests/distributions."""

    def call(*words: object, distributions: tuple[str, ...] = ("trouble",), timeout: float = 120) -> Answer:
        asked = [sys.executable, "-m", "arrbench", *map(str, words)]
        done = subprocess.run(
            asked,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment(*distributions),
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def arrbench_environment() -> Callable[..., dict[str, str]]:
    """What `arrbench` runs in, for tests that start it themselves."""
    return environment

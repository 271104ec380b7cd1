"""Asking something in a process of its own: what it imports, breaks or prints stays there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from arrbench.errors import UsageError


def python(*arguments: str) -> list[str]:
    """The command `python ARGUMENTS` of this interpreter.

    `-P` keeps the working folder, which `-m` and `-c` put first, off its path: what lies there by
    chance is neither a plugin nor the standard library.
    """
    return [sys.executable, "-P", *arguments]


def answer(what: str, *arguments: str) -> Any:
    """The JSON that `python ARGUMENTS` prints; UsageError with its last line where it fails.

    `what` begins that message: "torch can't be asked for its devices".
    """
    done = subprocess.run(python(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UsageError(f"{what}: {last[0]}")
    return json.loads(done.stdout)

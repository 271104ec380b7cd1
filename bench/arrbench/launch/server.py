"""The process that workers are forked from: `python -m arrbench.launch.server COMMANDS REPORTS LIBRARY…`.

COMMANDS and REPORTS are descriptors of two pipes, one JSON list a line. They belong to the protocol
alone: whatever a library prints goes to standard output, which is a file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence

_POLL_S = 0.05


def serve(commands: int, reports: int, libraries: Sequence[str]) -> None:
    """Import, then fork on request and reap, and end all workers when the parent is gone."""
    for name in libraries:
        _tell(reports, "importing", name)
        try:
            importlib.import_module(name)
        except BaseException:  # SystemExit too; the trial that needs the library says so where it matters
            traceback.print_exc()
        if why := _unfit_for_forks():
            _tell(reports, "unfit", name, why)
            return
    _tell(reports, "ready")
    running: dict[int, str] = {}
    buffered = b""
    while True:
        readable, _, _ = select.select([commands], [], [], _POLL_S)
        if readable:
            chunk = os.read(commands, 65536)
            if not chunk:
                break
            *lines, buffered = (buffered + chunk).split(b"\n")
            for line in lines:
                _fork(json.loads(line), commands, reports, running)
        _reap(reports, running)
    for pid in running:
        kill_group(pid)


def kill_group(pid: int) -> None:
    """End a worker and whatever it started; it may not have its own group yet, or be gone."""
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        with contextlib.suppress(ProcessLookupError):
            kill(target, signal.SIGKILL)


def _unfit_for_forks() -> str | None:
    """What was imported that a fork would not survive: a device in use, a thread."""
    torch = sys.modules.get("torch")
    for kind in ("cuda", "xpu"):
        if getattr(getattr(torch, kind, None), "is_initialized", bool)():
            return "it uses a device when imported, which no fork of the process can use then"
    if threading.active_count() > 1:
        return "it leaves threads running when imported, which a fork of the process does not have"
    return None


def _tell(reports: int, *words: object) -> None:
    os.write(reports, json.dumps(words).encode() + b"\n")


def _fork(words: list[str], commands: int, reports: int, running: dict[int, str]) -> None:
    address, job, log, temporary = words
    with contextlib.suppress(Exception):  # a library may have put anything there
        sys.stdout.flush()  # what is buffered here would be written by the child as well
        sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.close(commands)
            os.close(reports)
            status = _work(address, job, log, temporary)
        except BaseException:  # the child must never return into the server's loop
            traceback.print_exc()
        finally:
            os._exit(status)
    running[pid] = job
    _tell(reports, "started", job, pid)


def _work(address: str, job: str, log: str, temporary: str) -> int:
    """In the forked child: a process group of its own, the log as output, then the worker."""
    from arrbench import worker

    os.setpgid(0, 0)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.environ["TMPDIR"] = temporary
    tempfile.tempdir = None  # asked for by a library, it would be the server's
    try:
        return worker.main(address, job)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _reap(reports: int, running: dict[int, str]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in running:
            _tell(reports, "ended", running.pop(pid), os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

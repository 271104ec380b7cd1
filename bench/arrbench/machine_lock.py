"""One lock a machine, held around timed phases, so that two runs never time at once.

It keeps timed phases of all users' runs apart. It does not keep them apart from what else the
machine does: trainings of another run, other programs, and runs in containers that don't share the
lock's file (ARRBENCH_LOCK names a file that they do). What a timed phase met is seen by its CPU time
alone.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from arrbench.errors import one_line

VARIABLE = "ARRBENCH_LOCK"
_COMMAND_LENGTH = 100


def lock_file() -> Path:
    """$ARRBENCH_LOCK, or a file in the folder for temporary files that all users of this machine share."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", tempfile.gettempdir())) / "arrbench.lock"
    return Path("/tmp/arrbench.lock")  # $TMPDIR is often a user's own


class MachineLock:
    """The lock, asked for without waiting; the operating system frees it when its holder dies."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # For all users to open; the file stays when the lock is free, since removing it would make two.
        self._lock = FileLock(file, timeout=0, mode=0o666, thread_local=False)

    def acquire(self) -> bool:
        """Whether it is held now; OSError where its file can't be used."""
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire()
        except Timeout:
            return False
        self._write(str(os.getpid()))
        return True

    def release(self) -> None:
        if self._lock.is_locked:
            self._write("")
            self._lock.release()

    def holder(self) -> str:
        """Who holds it, for people: the process id and the command."""
        try:
            process = psutil.Process(int(self.file.read_text("ascii")))
            command = one_line(shlex.join(process.cmdline()))
        except (OSError, ValueError, psutil.Error):  # another user's, just ended, on another system
            return "another run on this machine"
        printable = "".join(c if c.isprintable() else "?" for c in command)
        return f"process {process.pid} ({printable[:_COMMAND_LENGTH]})"

    def _write(self, text: str) -> None:
        """Say who holds it; only into a plain file of that one name, since others may have made it."""
        with suppress(OSError):
            descriptor = os.open(self.file, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                described = os.fstat(descriptor)
                if stat.S_ISREG(described.st_mode) and described.st_nlink == 1:
                    out.truncate()
                    out.write(text)

"""Which process something on a disk belongs to, and whether that process is gone."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_WRITTEN = re.compile(r"(?P<host>[\w.-]+)-(?P<pid>\d+)-(?P<started>\d+)")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its host, its id there, and when it started, since ids are used again.

    Processes in containers have ids of their own, so that a container is a host here.
    """

    host: str
    pid: int
    started: int

    @classmethod
    def this(cls) -> Owner:
        return cls(_host(), os.getpid(), _started(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """What `str` wrote; None for anything else."""
        written = _WRITTEN.fullmatch(text)
        return written and cls(written["host"], int(written["pid"]), int(written["started"]))

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}-{self.started}"

    def is_gone(self) -> bool:
        """Whether it ended, as far as this process can know: never for a process of another host."""
        if self.host != _host():
            return False
        if not psutil.pid_exists(self.pid):
            return True
        try:
            return _started(self.pid) != self.started
        except (OSError, psutil.Error):  # another user's, which can't be looked at
            return False


def _host() -> str:
    name = re.sub(r"[^\w.-]", "_", platform.node()) or "unnamed"
    namespace = Path("/proc/self/ns/pid")
    return f"{name}-{namespace.stat().st_ino}" if namespace.exists() else name


def _started(pid: int) -> int | None:
    """When a living process started; None for one that has ended and that nobody asked for its status.

    Seconds since 1970; on Linux ticks since boot, which don't move when the clock is set.
    """
    if sys.platform != "linux":
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    state, *fields = said.rpartition(")")[2].split()  # what stands in the parentheses is any name
    return None if state == "Z" else int(fields[18])

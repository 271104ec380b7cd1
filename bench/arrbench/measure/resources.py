"""What a phase costs and what machine it ran on: clocks, memory, hardware, versions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from arrbench.record import Seconds
from arrbench.versions import installed

MIB = 1024 * 1024
MEASURING = ("ranx", "numba", "numpy")  # what quality is computed with, whatever ranker gave the ranking
VERSIONS = (
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "faiss-cpu",
    "faiss-gpu",
    "bm25s",
    "ranx",
    "numba",
    "numpy",
)


@contextmanager
def clock(into: dict[str, Seconds], phase: str) -> Iterator[None]:
    """Take wall and CPU seconds (all threads of this process) of a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        into[phase] = Seconds(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def contended(seconds: Seconds) -> bool:
    """Whether a phase waited for a processor: wall clock far above the CPU time it got."""
    return seconds.wall > 1.5 * seconds.cpu + 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of a process and all that it started, and how long their threads waited for a processor.

    Both in seconds; `processors` are those that any of the threads may run on. None where the system
    does not say.
    """

    cpu: float
    waited: float | None = None
    processors: int | None = None


def usage(pid: int) -> Usage:
    """What a process and its living descendants have used so far; zero where it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return Usage(0.0)
    cpu = 0.0
    threads: list[Path] = []
    for member in family:
        try:
            times = member.cpu_times()
        except psutil.Error:  # it ended meanwhile; its parent's times hold its own once it is waited for
            continue
        cpu += times.user + times.system
        cpu += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        with contextlib.suppress(OSError):
            threads += Path(f"/proc/{member.pid}/task").iterdir()
    return Usage(cpu, *_waits(threads)) if threads else Usage(cpu)


def _waits(threads: Iterable[Path]) -> tuple[float, int]:
    """Seconds that threads (folders of Linux's /proc) were ready to run and did not, and their processors."""
    waited, processors = 0.0, set[int]()
    for thread in threads:
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
            processors |= os.sched_getaffinity(int(thread.name))
    return waited, len(processors)


def peak_rss() -> int:
    """The largest resident set of this process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def hardware(device: Mapping[str, Any]) -> dict[str, Any]:
    """The machine as far as it can change a figure, and a fingerprint of that."""
    parts: dict[str, Any] = {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        "logical_cores": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "gpu": device.get("name"),
        "gpu_memory_gib": device.get("memory_gib"),
        "gpu_driver": device.get("driver"),
    }
    text = "|".join(f"{k}={v}" for k, v in sorted(parts.items()))
    return {**parts, "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:12]}


def software() -> dict[str, Any]:
    """Versions of what rankers most often build on, read from metadata without importing anything."""
    return _versions(VERSIONS)


def harness() -> dict[str, Any]:
    """The versions that can change any ranker's figures: what runs it, and what measures it."""
    return _versions(MEASURING)


def _versions(distributions: Iterable[str]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "arrbench": metadata.version("arrbench"),
        **{name: version for name in distributions if (version := installed(name))},
        "git_commit": _git_commit(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed wheel."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None

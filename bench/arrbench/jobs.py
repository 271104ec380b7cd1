"""How many trials may train, and how many may be alive, at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 1024**3
WORKER_BYTES = GIB  # a small model in training, with its libraries
INPUT_COPIES = 4  # a worker's texts as objects, and what it makes of them
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = (  # a container's limit, its use, and what of that is only cached files: version 2, version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """`training` trials at once; `alive` with those that have trained and wait to be timed."""

    training: int
    alive: int


def limits(asked: int | None, device: str, threads: int, input_bytes: int) -> Limits:
    """`asked` of both, or else what the machine carries now.

    One trains at a time on an accelerator, one for each `threads` cores on a CPU. Those that wait
    are allowed for, so that no core idles while the last of some trainings ends; and all of them
    have to fit the memory that is available, at 1 GiB and four times the inputs each.
    """
    if asked is not None:
        return Limits(asked, asked)
    training = 1 if device != "cpu" else max(1, _cores() // threads)
    alive = 1 if training == 1 else 2 * training + 1
    fitting = max(1, available_memory() // (WORKER_BYTES + INPUT_COPIES * input_bytes))
    return Limits(min(training, fitting), min(alive, fitting))


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes that processes can still take here, within the limit of the container if there is one."""
    available = int(psutil.virtual_memory().available)
    for limit, used, stat, cache in _CGROUP_FILES:
        try:
            left = int((cgroup / limit).read_text("ascii")) - int((cgroup / used).read_text("ascii"))
            counts = dict(line.split() for line in (cgroup / stat).read_text("ascii").splitlines())
        except (OSError, ValueError):  # no such file; "max" is no limit
            continue
        available = min(available, max(0, left + int(counts.get(cache, 0))))
    return available


def _cores() -> int:
    """Logical cores that this process may run on; a batch system may allow it some of them only."""
    try:
        return len(psutil.Process().cpu_affinity() or ()) or 1
    except AttributeError:  # macOS
        return psutil.cpu_count() or 1

"""A training's own checkpoints: where they lie while it runs, and which of them a restart goes on from.

They are transformers' Trainer's, optimizer state and all, and hold pickles (read back weights-only).
So they are private: a folder only its user can read, gone when the training ends, never part of a
saved model. They lie in the cache and not in a trial's work folder, which goes with a killed trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import BaseFileLock, FileLock, Timeout
from transformers import TrainerCallback

from arrbench.ranker import Context
from arrbench_rankers.arr.examples import Example
from arrbench_rankers.arr.options import ArrOptions

STALE_DAYS = 14
COMPLETE = "complete"  # a file in a checkpoint, written when all the others were
VERSIONS = ("torch", "transformers", "accelerate", "peft", "numpy")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """The folder for all trainings' checkpoints, this training's key, and minutes between two of them."""

    root: Path
    key: str
    minutes: float


def checkpoints(
    examples: Sequence[Example], options: ArrOptions, starts_from: Mapping[str, str], context: Context
) -> Checkpoints:
    """Where a training keeps them; `starts_from` is what it depends on, revisions and versions by name."""
    settings = {
        "options": options.model_dump(mode="json"),
        "starts_from": dict(starts_from),
        "seed": context.seed,
        "device": context.device.partition(":")[0],
        "dtype": context.dtype,
        "threads": context.threads,
    }
    key = training_key(examples, settings)
    return Checkpoints(context.cache / "trainings", key, options.checkpoint_minutes)


def training_key(examples: Sequence[Example], settings: Mapping[str, Any]) -> str:
    """A hash of all that decides a training's weights.

    That is the examples, `settings` (JSON values), the versions of the libraries, this package's source.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for library in VERSIONS:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes() + b"\0")
    for example in examples:
        tree = example.row.tree
        for part in (example.row.prompt, tree.token, tree.parent, example.targets):
            numbers = np.asarray(part)
            digest.update(f"{numbers.dtype} {numbers.shape}\n".encode() + numbers.tobytes())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def training_folder(root: Path, key: str) -> Iterator[Path | None]:
    """The folder of one training, for one process at a time; None where it can't be had.

    It stays when the process is killed or interrupted, or fails for a reason that may pass (memory,
    disk, a parent that went away). It goes when the training is done or fails as it would again.
    """
    folder, lock = root / key, _lock(root, key)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale(root)
        lock.acquire()
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:  # filelock's Timeout is one
        cause = "another process runs it" if isinstance(error, Timeout) else str(error)
        _log.warning("this training keeps no checkpoints: %s", cause)
        yield None
        return
    try:
        yield folder
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:
        shutil.rmtree(folder)
        raise
    else:
        shutil.rmtree(folder)
    finally:
        _release(lock, folder)


def _lock(root: Path, key: str) -> FileLock:
    return FileLock(root / f"{key}.lock", blocking=False)


def _release(lock: BaseFileLock, folder: Path) -> None:
    """Release, and remove the lock's file with the folder: who opened it meanwhile gets no lock on it."""
    if not folder.exists():
        with contextlib.suppress(OSError):  # Windows removes no open file
            Path(lock.lock_file).unlink()
    lock.release()


def _remove_stale(root: Path) -> None:
    oldest = time.time() - STALE_DAYS * 86_400
    for folder in [f for f in root.iterdir() if f.is_dir() and f.stat().st_mtime < oldest]:
        lock = _lock(root, folder.name)
        try:
            lock.acquire()
        except Timeout:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        _release(lock, folder)
        _log.info("removed the checkpoints of a training killed over %d days ago: %s", STALE_DAYS, folder)


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the others are removed."""
    complete = sorted((f.parent for f in folder.glob(f"checkpoint-*/{COMPLETE}")), key=step_of)
    for other in set(folder.glob("checkpoint-*")) - set(complete[-1:]):
        shutil.rmtree(other)
    return complete[-1] if complete else None


def step_of(checkpoint: Path) -> int:
    """The optimizer steps done when a checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])


class KeepLast(TrainerCallback):
    """Has Trainer save at the end of a step when `minutes` have passed, and keeps the last checkpoint.

    An older one goes only when the newer is marked complete: at no moment is a kill without one.
    """

    def __init__(self, folder: Path, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.seconds = 60 * minutes
        self.clock = clock
        self.saved = clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        due = self.clock() - self.saved >= self.seconds
        control.should_save = due and state.global_step < state.max_steps

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        (self.folder / f"checkpoint-{state.global_step}" / COMPLETE).touch()
        last_complete(self.folder)
        self.saved = self.clock()

"""Where records lie: one folder a trial under the output folder, named by its key, written atomically."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from arrbench.errors import TrialError, UsageError
from arrbench.owner import Owner
from arrbench.record import Record, read

RECORD = "record.json"
_PARTIAL = ".partial-"
_SUPERSEDED = "superseded"


class Store:
    """Records under one folder. Nothing recorded is lost: what is run again is moved aside.

    A record that can't be read counts as absent; `faults` has a line on each that was met, by its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[Path, str] = {}

    def find(self, key: str) -> Record | None:
        """The complete record of this key, None where there is none that can be read."""
        folder = self.path(key)
        return self._read(folder) if (folder / RECORD).exists() else None

    def path(self, key: str) -> Path:
        return self.folder / key

    def prepare(self) -> None:
        """Make the folder; UsageError where it is none, or nothing can be written to it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise UsageError(
                f"records can't be written to {self.folder} ({error.strerror}); give another folder: --out"
            ) from error

    def stage(self, key: str) -> Path:
        """An empty folder to build the record of this key in; it counts for nothing until committed."""
        folder = self.folder / f"{_PARTIAL}{Owner.this()}-{key}"
        remove(folder)
        folder.mkdir(parents=True)
        return folder

    def commit(self, staged: Path, record: Record) -> Path:
        """Write record.json into the staged folder and make it the record of its key in one rename.

        The folder is a trial's to write into until then: where it was removed or replaced, it is made anew.
        """
        if not is_folder(staged):
            remove(staged)
            staged.mkdir(parents=True)
        remove(staged / RECORD)
        (staged / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        final = self.path(record.key)
        if os.path.lexists(final):
            aside = self.folder / _SUPERSEDED / f"{record.key}-{time.time_ns()}"
            aside.parent.mkdir(exist_ok=True)
            final.rename(aside)
        staged.rename(final)
        return final

    def discard_leftovers(self) -> None:
        """Remove what runs on this host that were killed left half-built.

        What a living run builds stays, and so does what runs on other hosts left: from here nobody
        can tell whether they live.
        """
        for folder in self.folder.glob(f"{_PARTIAL}*"):
            owner = Owner.parse(folder.name.removeprefix(_PARTIAL).rpartition("-")[0])
            if owner and owner.is_gone():
                shutil.rmtree(folder, ignore_errors=True)

    def all(self) -> Iterator[Record]:
        """Every complete record that can be read, oldest first."""
        folders = [f.parent for f in self.folder.glob(f"*/{RECORD}") if not f.parent.name.startswith(".")]
        records = [record for folder in folders if (record := self._read(folder)) is not None]
        yield from sorted(records, key=lambda r: (r.finished_at, r.key))

    def _read(self, folder: Path) -> Record | None:
        """The record of a folder, which its key must name; None, and a line in `faults`, where it is none."""
        try:
            record = read(folder / RECORD)
        except TrialError as error:
            fault = str(error)
        else:
            if record.key == folder.name:
                return record
            fault = f"{folder / RECORD} has the key {record.key}, not its folder's name"
        self.faults[folder] = (
            f"{fault}; it is left out, and moved to {self.folder / _SUPERSEDED} when its trial runs again "
            "(arrbench run --force)"
        )
        return None

    def resolve(self, word: str) -> Path:
        """A record's folder from a path, a key or the start of one; TrialError where none or several fit."""
        path = Path(word)
        if (path / RECORD).exists():
            return path
        if path.name == RECORD and path.exists():
            return path.parent
        fits = [f.parent for f in self.folder.glob(f"*/{RECORD}") if f.parent.name.startswith(word)]
        if len(fits) != 1:
            what = "no record" if not fits else f"{len(fits)} records"
            raise TrialError(f"{what} called {word!r}: give a record's folder, or a key under {self.folder}")
        return fits[0]


def is_folder(path: Path) -> bool:
    """Whether a folder lies there itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def remove(path: Path) -> None:
    """Remove whatever lies there, a link and not what it leads to; nothing may lie there."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""Hashes of what files hold, whatever folder they lie in and whenever they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path


def of_file(file: Path) -> str:
    """SHA-256 of a file's content. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_files(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over (name, content) of files, whatever order they come in. Raises OSError."""
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + of_file(file).encode() + b"\n")
    return digest.hexdigest()


def inside(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder by its path in it, but not what Python compiled."""
    for file in folder.rglob("*"):
        relative = file.relative_to(folder)
        if file.is_file() and "__pycache__" not in relative.parts and file.suffix != ".pyc":
            yield relative.as_posix(), file


def of(path: Path) -> str:
    """SHA-256 of a file's content, or over all files of a folder. Raises OSError."""
    return of_files(inside(path)) if path.is_dir() else of_file(path)

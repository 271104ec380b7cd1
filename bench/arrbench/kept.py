"""Folders of the cache, which appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from arrbench.errors import UsageError


def keep(home: Path, marker: str, fill: Callable[[Path], None]) -> Path:
    """`home`, filled unless it already holds the file `marker`, which any whole copy has.

    `fill` writes into a folder beside it, which is moved there in one rename: what fails half-way
    leaves nothing, and of several processes at once the first to finish wins. Raises UsageError
    where the cache can't be written, and what `fill` raises.
    """
    if (home / marker).is_file():
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the cache {home.parent} can't be written: {error}") from None
    with tempfile.TemporaryDirectory(prefix="filling-", dir=home.parent) as scratch:
        filled = Path(scratch) / home.name
        filled.mkdir()
        fill(filled)
        if home.exists() and not (home / marker).is_file():
            shutil.rmtree(home)
        try:
            filled.rename(home)
        except OSError:
            if not (home / marker).is_file():  # else another process was faster, with the same files
                raise
    return home

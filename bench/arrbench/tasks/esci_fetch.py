"""Finds ESCI's two files on this machine, or downloads the official ones into the cache when told to."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrbench.errors import UsageError, one_line
from arrbench.task import DataSource

if TYPE_CHECKING:
    from rich.progress import Progress

EXAMPLES = "shopping_queries_dataset_examples.parquet"
PRODUCTS = "shopping_queries_dataset_products.parquet"
BASE_URL = "https://media.githubusercontent.com/media/amazon-science/esci-data/main/shopping_queries_dataset/"
OFFICIAL = {  # file -> bytes, SHA-256
    EXAMPLES: (51_286_808, "4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a"),
    PRODUCTS: (1_108_857_465, "25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265"),
}

_INSIDE = ("", "esci", "shopping_queries_dataset", "esci/shopping_queries_dataset")
_CHUNK_BYTES = 1 << 20
_PATIENCE_S = 30.0  # without a byte


def locate(source: DataSource) -> Path:
    """The folder that holds both files; a run downloads nothing by itself, as they have 1.1 GB.

    Raises UsageError saying both ways out where there is none.
    """
    found = find(source)
    if found is None:
        raise UsageError(
            "ESCI is not on this machine and a run doesn't download its 1.1 GB by itself; name the folder "
            f"that holds {EXAMPLES} and {PRODUCTS} with --data-dir (or $ARRBENCH_DATA), "
            "or run `arrbench data fetch esci`"
        )
    return found


def find(source: DataSource) -> Path | None:
    """The first folder with both files: --data-dir, $ARRBENCH_DATA, the cache.

    Raises UsageError where --data-dir was given and lacks one: another copy would not be what was asked.
    """
    if source.data_dir is not None:
        found = _named(source.data_dir, "--data-dir")
        if found is None:
            raise UsageError(
                f"--data-dir {source.data_dir} holds no ESCI: {_lacking(source.data_dir)} not there, in "
                "esci/ or in shopping_queries_dataset/; name a folder that holds both files, or run "
                "`arrbench data fetch esci` and leave --data-dir out"
            )
        return found
    if (named := os.environ.get("ARRBENCH_DATA")) and (found := _named(Path(named), "ARRBENCH_DATA")):
        return found
    return _inside(_home(source.cache))


def fetch(cache: Path) -> Path:
    """The official files in the cache, downloaded where they lack; what was cut off is resumed.

    Raises UsageError where a file can't be had whole or is another one than the official.
    """
    import pooch

    home = _home(cache)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the cache {cache} can't be written: {error}") from None
    pooch.get_logger().setLevel("WARNING")
    registry = {name: f"sha256:{digest}" for name, (_, digest) in OFFICIAL.items()}
    files = pooch.create(path=home, base_url=BASE_URL, registry=registry)
    for name in OFFICIAL:
        _fetch_one(files, name)
    return home


def _fetch_one(files: Any, name: str) -> None:
    import requests

    again = "run `arrbench data fetch esci` again"
    try:
        files.fetch(name, downloader=_download)
    except requests.RequestException as error:
        said = getattr(error.args[0], "reason", error) if error.args else error  # not urllib3's retries
        raise UsageError(
            f"{BASE_URL}{name} could not be fetched: {one_line(said)}; {again}, which resumes, or name a "
            "folder that holds the files with --data-dir"
        ) from None
    except ValueError:  # pooch's word for a checksum that does not agree
        raise UsageError(
            f"what came from {BASE_URL}{name} is not the official file: its SHA-256 is not "
            f"{OFFICIAL[name][1]}; it was deleted; {again}"
        ) from None
    except OSError as error:
        raise UsageError(f"{name} can't be kept in {files.path}: {one_line(error)}") from None


def _download(url: str, output_file: str, _: object) -> None:
    """pooch's downloader: into a .part file that outlives a cut, moved to `output_file` when whole."""
    import requests

    target = Path(output_file)
    name = url.rsplit("/", 1)[1]
    part = target.parent / f"{name}.part"
    size = OFFICIAL[name][0]
    here = part.stat().st_size if part.exists() else 0
    if here > size:
        part.unlink()
        here = 0
    if here < size:
        headers = {"Range": f"bytes={here}-", "Accept-Encoding": "identity"}
        with requests.get(url, headers=headers, stream=True, timeout=_PATIENCE_S) as answer:
            answer.raise_for_status()
            resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {here}-")
            _receive(answer, part, here if resumed else 0, size)
    if part.stat().st_size < size:
        raise requests.ConnectionError(f"the connection ended after {part.stat().st_size} of {size} bytes")
    part.replace(target)


def _receive(answer: Any, part: Path, here: int, size: int) -> None:
    """Appends what comes to the part, from byte `here` on; a server that can't resume sends all again."""
    with part.open("ab") as file, _watched() as progress:
        file.truncate(here)
        if progress is not None:
            line = progress.add_task(part.stem, total=size, completed=here)
        for chunk in answer.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            if progress is not None:
                progress.advance(line, len(chunk))


def _watched() -> AbstractContextManager[Progress | None]:
    """A bar on stderr; nothing where stderr is no terminal."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _home(cache: Path) -> Path:
    return cache / "data" / "esci"


def _inside(folder: Path) -> Path | None:
    """The folder with both files: this one or one of the usual names below it."""
    return next((folder / name for name in _INSIDE if not _lacking(folder / name)), None)


def _lacking(folder: Path) -> str:
    return " and ".join(name for name in OFFICIAL if not (folder / name).is_file())


def _named(folder: Path, by: str) -> Path | None:
    if not folder.is_dir():
        raise UsageError(f"{by} {folder} is no folder")
    return _inside(folder)

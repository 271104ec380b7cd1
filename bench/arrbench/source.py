"""The files that a plugin is made of, found without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath

from arrbench import contents


def of(module: str, distribution: str) -> str:
    """SHA-256 over the files of a dotted module's package: code, data and compiled parts, by their path.

    The package is the topmost one with an `__init__`: below a namespace package, which many
    distributions share, it is the module's own part. A module that stands alone counts with whatever
    else its distribution installs. Raises ModuleNotFoundError, and OSError for a file that can't be read.
    """
    spec = _topmost(module)
    if spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return contents.of_files(file for folder in folders for file in contents.inside(folder))
    if spec.origin is None or not Path(spec.origin).is_file():
        raise ModuleNotFoundError(f"module {spec.name!r} is not made of files")
    alone = Path(spec.origin)
    return contents.of_files({alone.name: alone, **dict(_beside(distribution))}.items())


def _topmost(module: str) -> ModuleSpec:
    """The spec of the first part of a dotted name that is no namespace package; the last part's at most."""
    path: Sequence[str] | None = None
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:i]), path)
        namespace = spec.origin is None and spec.submodule_search_locations is not None
        if not namespace or i == len(parts):
            return spec
        path = spec.submodule_search_locations
    raise ModuleNotFoundError(f"there is no module {module!r}")


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec:
    """As importlib.util.find_spec, which would import what stands before the last dot."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    raise ModuleNotFoundError(f"there is no module {name!r}")


def _beside(distribution: str) -> Iterator[tuple[str, Path]]:
    """What a distribution installs, by its path below site-packages, but no metadata and no scripts."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        parts = PurePosixPath(file).parts
        compiled = "__pycache__" in parts or file.suffix == ".pyc"
        if compiled or ".." in parts or parts[0].endswith((".dist-info", ".egg-info")):
            continue
        path = Path(str(file.locate()))
        if path.is_file():
            yield file.as_posix(), path

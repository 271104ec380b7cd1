"""One archive from a package index, through pip, its content known beforehand by its hash."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

from arrbench.separately import python

PIP_SECONDS = 300


class CannotFetchError(Exception):
    """One source did not deliver; another may."""


def download(requirement: str, sha256: str, kind: Literal["wheel", "sdist"], folder: Path) -> Path:
    """The file of `requirement` (name==version), put into the empty `folder`.

    pip compares its SHA-256 before it opens it; nothing is installed, built or resolved. Raises
    CannotFetchError with what pip says.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = python("-m", "pip", "download", "--no-deps", "--require-hashes")
    name = requirement.split("==")[0]  # not ":all:", which would hold for an sdist's build tools too
    command += ["--only-binary" if kind == "wheel" else "--no-binary", name]
    command += ["--retries", "2", "--no-input", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CannotFetchError(f"pip took more than {PIP_SECONDS} s") from None
    requirements.unlink()
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said[-1:]
        raise CannotFetchError(f"pip said {errors[0]!r}" if errors else f"pip gave {done.returncode}")
    return next(iter(folder.iterdir()))

"""ranx's compiled measures: loaded without the rest of ranx, compiled once a machine."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

Kernel = Literal["ndcg", "recall", "precision", "reciprocal_rank"]
KERNELS: tuple[Kernel, ...] = ("ndcg", "recall", "precision", "reciprocal_rank")


def use_cache(folder: Path) -> None:
    """Have numba keep compiled code in `folder`, in this process and in those it starts from now on."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def is_warm(folder: Path) -> bool:
    """Whether `warm_up` has finished in `folder` with the ranx, numba, numpy and Python in use."""
    return _marker(folder).exists()


def warm_up(folder: Path) -> None:
    """Compile every kernel into `folder`: some 20 s of one core the first time, 1 s after."""
    use_cache(folder)
    judged = np.array([[[0, 1]]], dtype=np.int64)
    for kernel in KERNELS:
        apply(kernel, judged, judged, 1)
    folder.mkdir(parents=True, exist_ok=True)
    _marker(folder).touch()


def apply(kernel: Kernel, judged: np.ndarray, ranked: np.ndarray, cutoff: int) -> np.ndarray:
    """One float64 value a query.

    `judged` (queries, documents, 2) holds (document number, gain >= 0), best gain first; `ranked`
    (queries, places, 2) holds (document number, anything) in ranked order. Both are int64; queries
    are padded with gain 0 and with numbers that are not judged. Cutoff 0 means no cutoff.
    """
    import numba

    function = getattr(_ranx_metrics(), kernel)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)  # milliseconds of work: more threads cost more than they bring
    try:
        values: np.ndarray = function(judged, ranked, cutoff)
    finally:
        numba.set_num_threads(threads)
    return values


def _ranx_metrics() -> ModuleType:
    """`ranx.metrics` without running `ranx/__init__`, which imports pandas, matplotlib and scipy.stats.

    0.4 s of CPU instead of 3 to 4. The empty parent is taken away again, so that a later `import ranx`
    gets the whole package.
    """
    if "ranx.metrics" in sys.modules:
        return sys.modules["ranx.metrics"]
    if "ranx" in sys.modules:
        return importlib.import_module("ranx.metrics")
    spec = importlib.util.find_spec("ranx")
    if spec is None:
        raise ModuleNotFoundError("ranx is not installed; `pip install ranx` brings it", name="ranx")
    import numba

    # Read when a kernel is declared; numba may have been imported before the variable was set.
    numba.config.CACHE_DIR = os.environ.get("NUMBA_CACHE_DIR", "")  # type: ignore[attr-defined]
    sys.modules["ranx"] = importlib.util.module_from_spec(spec)
    try:
        metrics = importlib.import_module("ranx.metrics")
    finally:
        del sys.modules["ranx"]
    # What ranx/__init__ sets: the one threading layer that is always there.
    numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]
    return metrics


def _marker(folder: Path) -> Path:
    spec = importlib.util.find_spec("ranx")
    parts = (
        *(f"{name} {version(name)}" for name in ("ranx", "numba", "numpy")),
        platform.python_version(),
        platform.machine(),
        str(spec.origin if spec else None),  # numba files compiled code by the source's path
    )
    return folder / f"ranx-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}.compiled"


if __name__ == "__main__":
    warm_up(Path(sys.argv[1]))

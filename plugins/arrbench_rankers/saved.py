"""What a ranker saved, read back and checked: a model's folder may come from anybody.

What searches these files trusts them, compiled code above all: a wrong number could make it read memory
that isn't the index's, or never come to an end. So every reader raises TrialError, one line that names the
file and what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import ZipFile

from arrbench.errors import TrialError, one_line
from arrbench.options import first_fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

T = TypeVar("T")


def wrong(file: Path, what: object) -> TrialError:
    return TrialError(f"saved file {file} can't be used: {one_line(what)}")


def require(holds: bool | np.bool_, file: Path, otherwise: str) -> None:
    """TrialError that says `otherwise` of the file unless a condition holds."""
    if not holds:
        raise wrong(file, otherwise)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever a library raises while it reads the file becomes a TrialError."""
    try:
        yield
    except TrialError:
        raise
    except OSError as error:
        raise wrong(file, error.strerror or error) from error
    except Exception as error:
        raise wrong(file, error) from error


def parsed(file: Path, kind: type[T]) -> T:
    """JSON of a type that pydantic checks, nothing converted: no number from text or the like."""
    from pydantic import TypeAdapter, ValidationError

    with reading(file):
        try:
            return TypeAdapter(kind).validate_json(file.read_bytes(), strict=True)
        except ValidationError as error:
            raise wrong(file, first_fault(error)) from error


def document_ids(file: Path) -> list[str]:
    """A list of ids, each once, and at least one."""
    ids = parsed(file, list[str])
    require(len(ids) > 0, file, "it names no document")
    require(len(set(ids)) == len(ids), file, "a document id occurs twice")
    return ids


def mapped(file: Path, dtype: str, dimensions: int = 1) -> Array:
    """An .npy file as a private mapping: read when touched, shared between processes, never written."""
    import numpy as np

    with reading(file):
        return _typed(file, np.load(file, mmap_mode="c", allow_pickle=False), dtype, dimensions)


def unpacked(file: Path, dtypes: Mapping[str, str]) -> dict[str, Array]:
    """Arrays of an .npz file by name, each of one dimension.

    They must lie in it as numpy.savez leaves them: a compressed one could be of any size.
    """
    import numpy as np

    with reading(file):
        with ZipFile(file) as archive:
            as_is = all(entry.compress_type == 0 for entry in archive.infolist())
        require(as_is, file, "it is compressed")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: _typed(file, arrays[name], dtype, 1) for name, dtype in dtypes.items()}


def _typed(file: Path, array: Any, dtype: str, dimensions: int) -> Array:
    import numpy as np

    require(isinstance(array, np.ndarray), file, "it holds no array")
    there = f"{array.ndim}-dimensional {array.dtype}"
    wanted = np.dtype(dtype)
    require(
        array.ndim == dimensions and array.dtype == wanted,
        file,
        f"it holds {there} where {dimensions}-dimensional {wanted} is wanted",
    )
    return array


def check_range(file: Path, array: Array, low: float, high: float) -> None:
    """TrialError unless every number is at least `low` and at most `high`."""
    if array.size:
        smallest, largest = array.min(), array.max()  # NaN where there is one
        require(
            low <= smallest and largest <= high,
            file,
            f"it holds {smallest} to {largest} where {low} to {high} is wanted",
        )


def check_offsets(file: Path, offsets: Array, rows: int, total: int) -> None:
    """TrialError unless the numbers cut `total` things into rows: from 0 on, never falling [rows + 1]."""
    require(len(offsets) == rows + 1, file, f"it holds {len(offsets)} numbers where {rows + 1} are wanted")
    require(
        offsets[0] == 0 and offsets[-1] == total and (offsets[1:] >= offsets[:-1]).all(),
        file,
        f"its numbers don't rise from 0 to {total}",
    )

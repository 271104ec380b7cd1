"""Embeddings on disk, for an index that reads them more than once and keeps them not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, Any]
else:
    Matrix = Any

BLOCK = 16_384  # rows handled at once


class EmbeddingFile:
    """Float32 rows of one length in a temporary file, gone with this object; iterated in blocks.

    Read rather than mapped: pages of a map would count as memory of the process that is measured.
    """

    def __init__(self, chunks: Iterable[Matrix], dim: int) -> None:
        self.dim = dim
        self.rows = 0
        self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        for chunk in chunks:
            self._file.write(chunk.astype("float32", order="C", copy=False).data)
            self.rows += len(chunk)
        self._file.flush()

    def __iter__(self) -> Iterator[Matrix]:
        for start in range(0, self.rows, BLOCK):
            yield self._read(start, min(BLOCK, self.rows - start))

    def sample(self, most: int, seed: int) -> Matrix:
        """All rows, or `most` of them drawn without replacement, in their order."""
        import numpy as np

        if self.rows <= most:
            return self._read(0, self.rows)
        chosen = np.sort(np.random.default_rng(seed).choice(self.rows, most, replace=False))
        parts, start = [], 0
        for block in self:
            first, last = np.searchsorted(chosen, [start, start + len(block)])
            parts.append(block[chosen[first:last] - start])
            start += len(block)
        return np.concatenate(parts)

    def _read(self, start: int, count: int) -> Matrix:
        import numpy as np

        self._file.seek(start * self.dim * 4)
        return np.frombuffer(self._file.read(count * self.dim * 4), np.float32).reshape(count, self.dim)

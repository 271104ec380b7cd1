"""Many token sequences in two flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from arrbench_rankers import saved

DocId = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[DocId]):
    """Row i is tokens[offsets[i] : offsets[i + 1]]: `tokens` int32 [all], `offsets` int64 [rows + 1]."""

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Sequences flattened; a Ragged as it is."""
        if isinstance(rows, Ragged):
            return rows
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter((token for row in rows for token in row), np.int32, int(lengths.sum()))
        return cls.cut(tokens, lengths)

    @classmethod
    def cut(cls, tokens: NDArray[np.int32], lengths: NDArray[np.int64]) -> Self:
        """Flat tokens cut into rows of these lengths [rows]."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(tokens, offsets)

    @classmethod
    def beside(cls, *parts: Ragged) -> Self:
        """Row i of each part one after the other; all parts have as many rows."""
        lengths = sum((part.lengths for part in parts), np.zeros(len(parts[0]), np.int64))
        made = cls.cut(np.empty(int(lengths.sum()), np.int32), lengths)
        starts = made.offsets[:-1].copy()
        for part in parts:
            shift = np.repeat(starts - part.offsets[:-1], part.lengths)
            made.tokens[np.arange(len(part.tokens)) + shift] = part.tokens
            starts += part.lengths
        return made

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row [rows]."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        return self.tokens.nbytes + self.offsets.nbytes

    def kept(self, keep: NDArray[np.bool_]) -> Ragged:
        """The tokens to keep [all], each in its row; a row may become empty."""
        before = np.zeros(len(keep) + 1, np.int64)
        np.cumsum(keep, out=before[1:])
        return Ragged(self.tokens[keep], before[self.offsets])

    def first(self, most: int) -> Ragged:
        """Every row's first tokens, at most so many."""
        place = np.arange(len(self.tokens)) - np.repeat(self.offsets[:-1], self.lengths)
        return self.kept(place < most)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, row: int) -> DocId: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[DocId]: ...
    def __getitem__(self, row: int | slice) -> DocId | Sequence[DocId]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        return tuple(self.tokens[self.offsets[row] : self.offsets[row + 1]].tolist())

    def save(self, folder: Path, name: str) -> None:
        """Writes NAME_tokens.npy and NAME_offsets.npy."""
        write_array(folder / f"{name}_tokens.npy", self.tokens)
        write_array(folder / f"{name}_offsets.npy", self.offsets)

    @classmethod
    def load(cls, folder: Path, name: str) -> Self:
        """As saved, mapped from its files. Raises TrialError where the offsets cut no rows of the tokens."""
        tokens = saved.mapped(folder / f"{name}_tokens.npy", "int32")
        file = folder / f"{name}_offsets.npy"
        offsets = saved.mapped(file, "int64")
        saved.require(len(offsets) > 0, file, "it is empty")
        saved.check_offsets(file, offsets, len(offsets) - 1, len(tokens))
        return cls(tokens, offsets)


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Writes an .npy file in one step: an array mapped from that very file stays readable."""
    beside = file.with_name(f".{file.name}")
    with beside.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
    beside.replace(file)

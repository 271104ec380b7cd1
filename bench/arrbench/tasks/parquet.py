"""Parquet files read batch by batch: the columns and row groups wanted, and the place of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arrbench.errors import UsageError, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS = 32_768
_BUFFER_BYTES = 1 << 20  # pages come one by one through this, so that a huge row group is never held whole

Ranges = Mapping[str, tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch begins: its file, its row group and its first row in the file, both from 0."""

    file: Path
    group: int
    row: int

    def fault(self, offset: int, what: str) -> UsageError:
        """The error for what is wrong with a row of the batch."""
        return UsageError(f"{self.file}: row {self.row + offset} (row group {self.group}): {what}")


def batches(
    file: Path, columns: Mapping[str, str], needless: Callable[[Ranges], bool] = lambda ranges: False
) -> Iterator[tuple[Place, pa.RecordBatch]]:
    """Every batch of a file with the columns named, each cast to the Arrow type that `columns` names.

    A row group is passed over where `needless` says so of the (least, greatest) value of its columns,
    as far as the file's statistics tell them.

    Raises UsageError naming the file, and the row group where it is known, for a file that is no
    Parquet file or a truncated one, a column missing or of another type, and data that can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _readable(f"{file}: no Parquet file that can be read"):
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    with parquet:
        missing = [name for name in columns if name not in parquet.schema_arrow.names]
        if missing:
            has = ", ".join(parquet.schema_arrow.names)
            raise UsageError(f"{file}: no column {', '.join(missing)}; its columns are {has}")
        schema = pa.schema({name: pa.type_for_alias(kind) for name, kind in columns.items()})
        row = 0
        for group in range(parquet.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            if not needless(_ranges(metadata, columns)):
                yield from _group(parquet, Place(file, group, row), schema)
            row += metadata.num_rows


def _group(
    parquet: pq.ParquetFile, first: Place, schema: pa.Schema
) -> Iterator[tuple[Place, pa.RecordBatch]]:
    row = first.row
    with _readable(f"{first.file}: row group {first.group} can't be read"):
        for batch in parquet.iter_batches(BATCH_ROWS, [first.group], schema.names):
            batch.validate(full=True)
            yield Place(first.file, first.group, row), batch.select(schema.names).cast(schema)
            row += batch.num_rows


@contextmanager
def _readable(says: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{says}: {one_line(error)}") from None


def _ranges(group: pq.RowGroupMetaData, columns: Mapping[str, str]) -> Ranges:
    ranges: dict[str, tuple[object, object]] = {}
    for i in range(group.num_columns):
        column = group.column(i)
        known = column.statistics if column.path_in_schema in columns else None
        if known is not None and known.has_min_max and known.null_count == 0:
            with suppress(UnicodeDecodeError):  # then the texts can't be read either, which is told where
                ranges[column.path_in_schema] = (known.min, known.max)
    return ranges

"""Text files of other people's, a line at a time: plain or gzipped, UTF-8, every fault with its place."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from arrbench.errors import UsageError

_GZIPPED = b"\x1f\x8b"  # how every gzip file begins (RFC 1952)


def numbered(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank with their numbers from 1, without their ends (LF or CRLF) or a BOM.

    A pipe is read, too, gzipped or not. Raises UsageError for a file that can't be read, a broken .gz,
    and a line that is not UTF-8.
    """
    number = 0
    try:
        with file.open("rb") as raw:
            packed = file.suffix == ".gz" or raw.peek(2)[:2] == _GZIPPED
            lines: Iterable[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw
            for number, line in enumerate(lines, 1):
                text = line.decode("utf-8").rstrip("\r\n")
                if number == 1:
                    text = text.removeprefix("\ufeff")
                if text and not text.isspace():
                    yield number, text
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}:{number}: not UTF-8 at byte {error.start + 1}; save the file as UTF-8"
        ) from None
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{file} can't be read beyond line {number}: {error}") from None

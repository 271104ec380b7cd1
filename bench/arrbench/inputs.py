"""What all trials of a run are given, out of any plugin's reach: files without names, sent to each worker.

A plugin's code can write whatever the harness can write, so there is no file for it to find: the
parent keeps the inputs open after their names are gone, and a worker has read them before any of
its ranker's code runs. What arrives is compared with the SHA-256 taken when it was written.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from arrbench.errors import TrialError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content: BinaryIO
    size: int
    sha256: str


class Inputs:
    """The files of a folder in the order of `names`, open; the folder is empty from then on.

    A context manager that closes them. Several threads may send at once.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._reading = threading.Lock()  # a file has one position
        with ExitStack() as opened:
            self._files = tuple(_taken(folder / name, opened) for name in names)
            self._opened = opened.pop_all()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self._files)

    def send(self, connection: Connection) -> None:
        """Send every file in order; raises OSError where the other side has gone."""
        for file in self._files:
            head = {"name": file.name, "size": file.size, "sha256": file.sha256}
            connection.send_bytes(json.dumps(head).encode())
            for start in range(0, file.size, CHUNK):
                with self._reading:
                    file.content.seek(start)
                    chunk = file.content.read(CHUNK)
                connection.send_bytes(chunk)

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def received(connection: Connection, name: str) -> Iterator[bytes]:
    """The lines of the next file that the other side sends, which has to be `name`.

    Raises TrialError after the last line where the content is not what was written.
    """
    head = json.loads(connection.recv_bytes())
    if head["name"] != name:
        raise TrialError(f"the inputs hold {head['name']} where {name} should be")
    digest = hashlib.sha256()
    begun = b""
    for _ in range(0, head["size"], CHUNK):
        chunk = connection.recv_bytes()
        digest.update(chunk)
        *lines, begun = (begun + chunk).split(b"\n")
        yield from lines
    if begun:
        yield begun
    if digest.hexdigest() != head["sha256"]:
        raise TrialError(
            f"the inputs were changed after they were written: {name} had SHA-256 {head['sha256']}, "
            f"and has {digest.hexdigest()}"
        )


def _taken(file: Path, opened: ExitStack) -> _File:
    content = opened.enter_context(file.open("rb"))
    sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    taken = _File(file.name, content, content.tell(), sha256)
    with suppress(PermissionError):  # Windows removes no open file
        file.unlink()
    return taken

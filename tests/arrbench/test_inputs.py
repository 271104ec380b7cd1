"""What a trial is given arrives as it was written, and from no file that has a name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from arrbench import exchange, inputs
from arrbench.errors import TrialError
from arrbench.inputs import Inputs, received
from arrbench.tasks.wordnet import WordNet

Receiving = Callable[[Inputs], Connection]


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    """The other end of a connection to which a thread sends."""
    ends: list[Connection] = []
    threads: list[threading.Thread] = []

    def begin(sent: Inputs) -> Connection:
        here, there = Pipe()
        ends.extend((here, there))
        threads.append(threading.Thread(target=sent.send, args=(there,)))
        threads[-1].start()
        return here

    yield begin
    for thread in threads:
        thread.join(10)
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a", b"a\n", b"a\n\nb", b"x" * 5 + b"\n" + b"y" * 11 + b"\n", b"\xff\n" * 100],
)
def test_lines_arrive_as_written_whatever_the_chunk(
    tmp_path: Path, receiving: Receiving, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    for chunk in (1, 2, 7, 1000):
        monkeypatch.setattr(inputs, "CHUNK", chunk)
        for name in ("first", "second"):
            (tmp_path / name).write_bytes(content)
        with Inputs(tmp_path, ("first", "second")) as sent:
            assert sent.size == 2 * len(content)
            here = receiving(sent)
            for name in ("first", "second"):
                assert list(received(here, name)) == content.splitlines()


def test_a_task_is_given_as_it_is(tmp_path: Path, mammals: WordNet, receiving: Receiving) -> None:
    exchange.write(tmp_path / "inputs", mammals, None)
    folder, test = tmp_path / "inputs", (exchange.QUERIES,)
    with Inputs(folder, exchange.FILES) as sent, Inputs(folder, test) as queries:
        assert list(folder.iterdir()) == []
        for _ in range(2):
            here = receiving(sent)
            given = exchange.read(lambda name, here=here: received(here, name))
            assert given.corpus.positions.keys() == mammals.split("test").corpus.positions.keys()
            later = exchange.read_queries(received(receiving(queries), exchange.QUERIES))
            assert {q.id: q for q in later} == {q.id: q for q in mammals.split("test").queries}
            for name in ("train", "dev"):
                split = mammals.split(name)
                assert getattr(given, name).judgments.grades == split.judgments.grades
                assert {q.id for q in getattr(given, name).queries} == {q.id for q in split.queries}


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="files without names are reached through /proc"
)
def test_inputs_that_were_changed_all_the_same_are_refused(tmp_path: Path, receiving: Receiving) -> None:
    (tmp_path / "corpus").write_bytes(b"one\ntwo\n")
    with Inputs(tmp_path, ("corpus",)) as sent:
        descriptor = sent._files[0].content.fileno()
        Path(f"/proc/self/fd/{descriptor}").write_bytes(b"one\n200\n")
        os.fsync(descriptor)
        with pytest.raises(TrialError, match="the inputs were changed after they were written: corpus"):
            list(received(receiving(sent), "corpus"))

"""Data that the tests share, fetched once a machine and built once a session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# two processes of two spinning threads each would fight over two cores; set before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from arrbench.planning import cache_folder
from arrbench.task import DataSource
from arrbench.tasks import wordnet_fetch
from arrbench.tasks.wordnet import WordNet

PROCESSORS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None  # before any JVM


@pytest.fixture(scope="session", autouse=True)
def _machine_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A lock of this session's own, so that tests wait for nobody else's run on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARRBENCH_LOCK", str(tmp_path_factory.mktemp("lock") / "arrbench.lock"))
        yield


@pytest.fixture(autouse=True)
def _processors() -> Iterator[None]:
    """A JVM binds the thread that starts it; later tests, and all that they start, get every processor."""
    yield
    if PROCESSORS is not None:
        os.sched_setaffinity(0, PROCESSORS)


@pytest.fixture(scope="session")
def wordnet_dir() -> Path:
    """A real WordNet 3.0 `dict` folder."""
    return wordnet_fetch.locate(DataSource(None, cache=cache_folder()))


@pytest.fixture(scope="session")
def mammals(wordnet_dir: Path) -> WordNet:
    """The default WordNet task: retrieval below mammal.n.01."""
    return WordNet(WordNet.Options(), DataSource(wordnet_dir, cache=wordnet_dir.parent))

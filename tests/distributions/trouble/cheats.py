"""A third party's rankers that would have their latency measured short."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from arrbench.ranker import Corpus, Query, Ranker, Ranking

WORK_S = 0.004


def work(seconds: float = WORK_S) -> None:
    """Keep a processor busy."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Honest(Ranker):
    """Scores a document by how often the query says its text, in some milliseconds a query."""

    def index(self, corpus: Corpus) -> None:
        self.texts = {d.id: d.text for d in corpus}

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [self.answer(q, k) for q in queries]

    def answer(self, query: Query, k: int) -> Ranking:
        work()
        return self.counted(query, k)

    def counted(self, query: Query, k: int) -> Ranking:
        words = query.text.split()
        scores = {d: float(words.count(text)) for d, text in self.texts.items()}
        best = sorted(scores, key=lambda d: -scores[d])[:k]
        return Ranking(best, [scores[d] for d in best])


class Cached(Honest):
    """Remembers its answers by the query's text."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        self.remembered = lru_cache(maxsize=None)(
            lambda text, k: super(Cached, self).answer(Query("any", text), k)
        )

    def answer(self, query: Query, k: int) -> Ranking:
        return self.remembered(query.text, k)


class EmptyLater(Honest):
    """Answers a query that it has seen with nothing."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        self.seen: set[str] = set()

    def answer(self, query: Query, k: int) -> Ranking:
        if query.id in self.seen:
            return Ranking([], [])
        self.seen.add(query.id)
        return super().answer(query, k)


class Later(Sequence[str]):
    """Ids that are computed when they are read."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: int) -> str:
        return list(self)[at]

    def __iter__(self) -> Iterator[str]:
        work()
        return iter(self.ids)


class Lazy(Honest):
    """Returns at once, and works when its answer is read."""

    def answer(self, query: Query, k: int) -> Ranking:
        counted = self.counted(query, k)
        return Ranking(Later(list(counted.ids)), counted.scores)


class Foresees(Honest):
    """Looks for the test queries before it is timed, to answer them beforehand."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        files = (f for f in Path(tempfile.gettempdir()).rglob("*") if f.is_file())
        self.facts["test_queries_seen"] = sum(b"q-red-black" in f.read_bytes() for f in files)


class SlowClock(Honest):
    """Has clocks that run at 55 % of their speed."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        real = time.perf_counter_ns
        time.perf_counter_ns = lambda: int(real() * 0.55)


class NoClock(Honest):
    """Has a clock that stands still."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        time.perf_counter_ns = lambda: 0

    def answer(self, query: Query, k: int) -> Ranking:
        return self.counted(query, k)


class TwoThreads(Honest):
    """Works in two threads at once."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        self.pool = ThreadPoolExecutor(2)

    def answer(self, query: Query, k: int) -> Ranking:
        list(self.pool.map(spin, [WORK_S, WORK_S]))
        return self.counted(query, k)


def spin(seconds: float) -> None:
    """Compute outside the interpreter's lock."""
    import hashlib

    block = b"\0" * 4_000_000
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(block)

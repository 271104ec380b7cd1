"""What the harness adds to a query: outside the timed call (goal: 50 µs) and inside it (goal: 1 µs).

The ranker does nothing, so all that is measured is the harness. Its single-stream loop and a bare
loop around the same calls are measured in turn in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from figure import show

from arrbench.measure.latency import single_stream, synchronizer
from arrbench.measure.repeats import Repeats
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking

QUERIES = [Query(f"q{i}", "text") for i in range(100)]
ANSWER = [Ranking(["d"], [1.0])]


class Nothing(Ranker):
    """Answers at once."""

    def index(self, corpus: Corpus) -> None: ...

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return ANSWER


def bare(ranker: Ranker, calls: int) -> list[float]:
    """Microseconds of the same calls, with two clock reads around each and nothing else."""
    samples = []
    for i in range(calls):
        query = [QUERIES[i % len(QUERIES)]]
        start = time.perf_counter_ns()
        ranker.rank(query, 10)
        samples.append((time.perf_counter_ns() - start) / 1e3)
    return samples


def measure(calls: int, repeats: int) -> dict[str, list[float]]:
    """Microseconds a query added outside and inside the clock, one figure a repeat."""
    ranker, sync, again = Nothing(BaseOptions(), Context()), synchronizer("cpu"), Repeats({"d"})
    found: dict[str, list[float]] = {"overhead_outside": [], "overhead_inside": []}
    for _ in range(repeats):
        start = time.perf_counter()
        samples = [s * 1e3 for s in single_stream(ranker, QUERIES, 10, sync, again, calls).samples_ms]
        whole = (time.perf_counter() - start) * 1e6
        found["overhead_outside"].append((whole - sum(samples)) / calls)
        found["overhead_inside"].append(statistics.median(samples) - statistics.median(bare(ranker, calls)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="ten times the calls")
    arguments = parser.parse_args()
    calls, repeats = (100_000 if arguments.full else 10_000), 9
    goals = {"overhead_outside": 50.0, "overhead_inside": 1.0}
    for name, values in measure(calls, repeats).items():
        show(name, values, goals[name], "µs", arguments.json)


if __name__ == "__main__":
    main()

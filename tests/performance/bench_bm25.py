"""`bm25` against bm25s called directly (goal: 1.1 x its time): one query a call, and all in one call.

50,000 documents of words drawn as 1/rank, k 100. Both sides turn text into terms with the same analyser
and retrieve from the same index with bm25s's numba backend; `bm25` also makes rankings of what is found.
Both sides are timed in turn; a figure is the median of ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from figure import show
from interleaved import ratios

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench_rankers.bm25 import BM25

DOCUMENTS, WORDS, LENGTH, K = 50_000, 30_000, 40, 100
GOAL = 1.1


def synthetic(rng: np.random.Generator, texts: int, length: int) -> list[str]:
    """Texts of words whose frequency falls as 1/rank (Zipf)."""
    share = 1 / np.arange(1, WORDS + 1)
    drawn = rng.choice(WORDS, (texts, length), p=share / share.sum())
    return [" ".join(f"w{word}" for word in row) for row in drawn.tolist()]


def measure(documents: int, queries: int, repeats: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    corpus = Corpus(Document(f"d{i}", "", text) for i, text in enumerate(synthetic(rng, documents, LENGTH)))
    asked = [Query(f"q{i}", text) for i, text in enumerate(synthetic(rng, queries, 5))]
    ranker = BM25(BM25.Options(), Context())
    ranker.index(corpus)
    engine, terms = ranker._bm25, ranker._analyser.terms

    def direct(some: Sequence[Query]) -> Any:
        tokens = [terms(q.text) for q in some]
        return engine.retrieve(tokens, k=K, show_progress=False, n_threads=1)

    return {
        "single": ratios(
            [partial(ranker.rank, [q], K) for q in asked], [partial(direct, [q]) for q in asked], repeats
        ),
        "batch": ratios([partial(ranker.rank, asked, K)], [partial(direct, asked)], repeats),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="ten times the documents")
    arguments = parser.parse_args()
    repeats, queries = 21, 300
    for name, values in measure(DOCUMENTS * (10 if arguments.full else 1), queries, repeats).items():
        show(f"bm25_{name}", values, GOAL, "x", arguments.json)


if __name__ == "__main__":
    main()

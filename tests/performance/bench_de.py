"""`de` against the libraries below it: searching against FAISS, encoding against SentenceTransformer.encode.

Searching (goal: 1.05 x the time of index.search): 100,000 random embeddings of length 128, k 100, one
query a call and all queries in one. Encoding (goal: no slower): the tiny model over texts of 1 to 120
words, the same texts and the same model. Both sides are timed in turn; a figure is the median of ratios.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from figure import show
from interleaved import ratios

from arrbench.ranker import Context, Corpus, Document
from arrbench.task import Judgments, Split
from arrbench_rankers import embedding_model
from arrbench_rankers.dense_index import DenseIndex
from arrbench_rankers.dual_encoder import DualEncoder

DIM, DOCUMENTS, K = 128, 100_000, 100
GOALS = {"search_single": 1.05, "search_batch": 1.05, "encode": 1.0}


def searching(repeats: int, queries: int) -> dict[str, list[float]]:
    """Ratios of a `de` search to index.search on the same flat index."""
    rng = np.random.default_rng(0)
    embedded = rng.standard_normal((DOCUMENTS, DIM), dtype=np.float32)
    asked = rng.standard_normal((queries, DIM), dtype=np.float32)
    ranker = DualEncoder(DualEncoder.Options(dim=DIM), Context())
    held = DenseIndex.build(ranker.options, DIM, DOCUMENTS, [embedded], ranker.context)
    ranker._hold(held, [f"d{i}" for i in range(DOCUMENTS)])
    flat = held._index
    return {
        "search_single": ratios(
            [partial(ranker._search, asked[i : i + 1], K) for i in range(queries)],
            [partial(flat.search, asked[i : i + 1], K) for i in range(queries)],
            repeats,
        ),
        "search_batch": ratios(
            [partial(ranker._search, asked, K)], [partial(flat.search, asked, K)], repeats
        ),
    }


def encoding(repeats: int, texts: int) -> dict[str, list[float]]:
    """Ratios of embedding texts to SentenceTransformer.encode of them."""
    rng = np.random.default_rng(1)
    words = [f"word{i}" for i in range(1000)]
    chosen = [" ".join(rng.choice(words, n)) for n in rng.integers(1, 120, size=texts)]
    corpus = Corpus(Document(w, w, w) for w in words)
    model = embedding_model.pipeline("tiny", DIM, Split((), Judgments({}), corpus), Context()).eval()
    model.max_seq_length = 256
    ours, theirs = embedding_model.embeddings(model, chosen, 256), model.encode(chosen)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    return {
        "encode": ratios(
            [partial(embedding_model.embeddings, model, chosen, 256)],
            [partial(model.encode, chosen, show_progress_bar=False)],
            repeats,
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="more repeats, ten times the queries and texts")
    arguments = parser.parse_args()
    repeats, size = (15, 10) if arguments.full else (9, 1)
    torch.set_num_threads(1)
    for name, values in {**searching(repeats, 100 * size), **encoding(repeats, 300 * size)}.items():
        show(f"de_{name}", values, GOALS[name], "x", arguments.json)


if __name__ == "__main__":
    main()

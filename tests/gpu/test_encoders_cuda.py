"""`de` and `ce` on CUDA: they train there, and rank there and on the CPU what they rank anywhere."""

from pathlib import Path

import pytest
import torch

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dual_encoder import DualEncoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

TITLES = ["dog", "cat", "canine", "feline", "animal"]
PATHS = {"dog": ["canine", "animal"], "cat": ["feline", "animal"]}
RANKERS = [
    (DualEncoder, {"dim": 16, "epochs": 30, "batch": 2}),
    (CrossEncoder, {"start_epochs": 30, "epochs": 30, "batch": 2, "negatives": 3}),
]


@pytest.fixture(scope="module")
def split():
    corpus = Corpus(Document(title, title, title) for title in TITLES)
    queries = tuple(Query(name, f"a {name}") for name in PATHS)
    grades = {name: {d: 2 - r for r, d in enumerate(path)} for name, path in PATHS.items()}
    return Split(queries, Judgments(grades), corpus)


@pytest.mark.parametrize(("kind", "options"), RANKERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_learns_there(kind, options, dtype, split, tmp_path: Path) -> None:
    ranker = kind(kind.Options(**options), Context(device="cuda:0", dtype=dtype))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    rankings = ranker.rank(split.queries, 5)
    for query, ranking in zip(split.queries, rankings, strict=True):
        assert list(ranking.ids[:2]) == PATHS[query.id]
    if dtype == "float32":
        ranker.save(tmp_path)
        on_cpu = kind.load(tmp_path, Context(device="cpu"))
        for here, there in zip(on_cpu.rank(split.queries, 5), rankings, strict=True):
            scores = dict(zip(there.ids, there.scores, strict=True))
            assert dict(zip(here.ids, here.scores, strict=True)) == pytest.approx(scores, rel=1e-2, abs=1e-2)

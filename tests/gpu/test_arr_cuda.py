"""`arr` on CUDA: it trains, and a model scores there what it scores on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr import exact
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.trie import PrefixTree

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

TITLES = ["dog", "dog house", "cat", "cat fish", "canine", "animal"]


@pytest.fixture(scope="module")
def split():
    corpus = Corpus(Document(title, title, title) for title in TITLES)
    queries = tuple(Query(f"q{i}", f"a {title}") for i, title in enumerate(TITLES))
    grades = {f"q{i}": {title: 2, "animal": 1} for i, title in enumerate(TITLES[:-1])}
    return Split(queries, Judgments(grades), corpus)


@pytest.fixture(scope="module")
def trained(split):
    ranker = ArrStoical(ArrStoical.Options(epochs=3, batch=2, warmup=2), Context(device="cuda:0"))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


def test_cuda_scores_are_the_cpu_s(trained, split, tmp_path):
    trained.save(tmp_path)
    on_cpu = ArrStoical.load(tmp_path, Context(device="cpu"))
    for candidates in (None, ("dog", "animal", "cat fish")):
        asked = [replace(query, candidates=candidates) for query in split.queries]
        for there, here in zip(trained.rank(asked, 10), on_cpu.rank(asked, 10), strict=True):
            scores = dict(zip(here.ids, here.scores, strict=True))
            assert there.scores == pytest.approx([scores[d] for d in there.ids], abs=1e-2)


def test_beam_search_and_generation_run_there(trained, split):
    assert [len(ids) for ids in trained.generate(split.queries, 10)] == [10] * len(split.queries)
    exact = trained.rank(split.queries, 10)
    trained._decoder.exact = False
    try:
        searched = trained.rank(split.queries, 10)
    finally:
        trained._decoder.exact = True
    for one, other in zip(searched, exact, strict=True):
        assert sorted(one.ids) == sorted(other.ids)
        assert np.sort(one.scores) == pytest.approx(np.sort(other.scores), abs=1e-2)


@pytest.mark.parametrize("renormalised", [False, True])
@pytest.mark.parametrize("nodes", [2, 256])
def test_trees_in_one_row_or_many_score_as_a_forward_a_candidate(
    trained, split, renormalised, nodes, monkeypatch
):
    monkeypatch.setattr(exact, "ROW_NODES", nodes)
    model, docids = trained._model, list(trained._index.docids)
    prompts = trained._prompts(split.queries)
    trees = [PrefixTree.build(docids)] * len(prompts)
    for prompt, found in zip(prompts, exact_scores(model, prompts, trees, False, renormalised), strict=True):
        for docid, score in zip(docids, found, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *docid]], device=model.device)).logits[0].float()
            expected = 0.0
            for t, token in enumerate(docid):
                step = logits[len(prompt) - 1 + t]
                allowed = sorted({d[t] for d in docids if d[:t] == docid[:t] and len(d) > t})
                over = step[allowed] if renormalised else step
                expected += (step[token] - over.logsumexp(-1)).item()
            assert score == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_and_ranks(split, dtype):
    ranker = ArrStoical(ArrStoical.Options(epochs=1, batch=2), Context(device="cuda:0", dtype=dtype))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    assert all(np.isfinite(ranking.scores).all() for ranking in ranker.rank(split.queries, 10))

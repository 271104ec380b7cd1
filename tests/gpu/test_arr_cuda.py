"""`arr` on CUDA: it trains, and a model scores there what it scores on the CPU."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr import exact
from arrbench_rankers.arr.best_first import best_first
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.frontier import opened, step
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.reader import NodeReader
from arrbench_rankers.arr.search_order import ByScore
from arrbench_rankers.arr.tree_tensors import TreeTensors
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


def test_generation_runs_there(trained, split):
    assert [len(ids) for ids in trained.generate(split.queries, 10)] == [10] * len(split.queries)


@pytest.mark.parametrize("decode", ["best-first", "beam", "sample"])
@pytest.mark.parametrize("length", ["sum", "mean"])
def test_searches_find_there_what_they_find_on_the_cpu(trained, split, tmp_path, decode, length):
    trained.save(tmp_path)
    options = json.loads((tmp_path / "options.json").read_text())
    changed = options | {"decode": decode, "length": length, "block": 2, "beam": 4}
    (tmp_path / "options.json").write_text(json.dumps(changed))
    there = ArrStoical.load(tmp_path, Context(device="cuda:0"))
    here = ArrStoical.load(tmp_path, Context(device="cpu"))
    for one, other in zip(there.rank(split.queries, 4), here.rank(split.queries, 4), strict=True):
        assert set(one.ids) == set(other.ids)
        assert sorted(one.scores) == pytest.approx(sorted(other.scores), abs=1e-2)
    assert there.facts["search_exact"] == here.facts["search_exact"]


def test_a_step_of_a_search_never_waits_for_the_device(trained):
    docids = [(10 + a, 10 + b, 2) for a in range(6) for b in range(6)]
    model = trained._model
    tree = TreeTensors(PrefixTree.build(docids), model.config.vocab_size, model.device, True, False)
    limits, order = best_first(5, 4, 100), ByScore()
    with torch.inference_mode():
        reader = NodeReader(model, [[1, 3], [1, 7, 3]], tree.depth)
        frontier = opened(reader, tree, order, limits, tree.most_children(1))
        step(reader, tree, order, frontier, limits, tree.most_children(4))  # loads what is loaded once
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(reader, tree, order, frontier, limits, tree.most_children(4))
        finally:
            torch.cuda.set_sync_debug_mode("default")


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

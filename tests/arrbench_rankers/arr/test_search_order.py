"""Sampling without replacement against the probabilities that it stands for."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from arrbench_rankers.arr.best_first import best_first, search
from arrbench_rankers.arr.search_order import ByScore, Drawn, gumbel, query_seeds
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

END = 2
DOCIDS = [(10, END), (10, 11, END), (12, END), (13, 14, END), (13, 15, END)]
PROMPT = [1, 3]


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


@pytest.fixture(scope="module")
def tree(model):
    return TreeTensors(PrefixTree.build(DOCIDS), 40, model.device, True, False)


def drawn(model, tree, texts, k, block=4):
    order = Drawn(query_seeds(texts, 0))
    return search(model, [PROMPT] * len(texts), tree, order, best_first(k, block, 100))


def test_pairs_come_as_often_as_without_replacement(model, tree):
    (everything,) = search(model, [PROMPT], tree, ByScore(), best_first(5, 4, 100))
    p = dict(zip(everything.documents.tolist(), np.exp(everything.scores).tolist(), strict=True))
    assert sum(p.values()) == pytest.approx(1, abs=1e-4)
    times = 4000
    samples = drawn(model, tree, [f"query {i}" for i in range(times)], 2, block=16)
    counts = Counter(frozenset(one.documents.tolist()) for one in samples)
    for a, b in itertools.combinations(p, 2):
        chance = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
        spread = np.sqrt(chance * (1 - chance) / times)
        assert counts[frozenset((a, b))] / times == pytest.approx(chance, abs=4 * spread + 1e-3)


def test_scores_are_log_probabilities_whatever_was_drawn(model, tree):
    (everything,) = search(model, [PROMPT], tree, ByScore(), best_first(5, 4, 100))
    scores = dict(zip(everything.documents.tolist(), everything.scores, strict=True))
    for one in drawn(model, tree, ["a", "b", "c"], 3):
        assert one.scores == pytest.approx([scores[d] for d in one.documents.tolist()], abs=1e-4)
        assert len(set(one.documents.tolist())) == 3


def test_neither_other_queries_nor_blocks_change_a_draw(model, tree):
    texts = ["a", "b", "c", "d"]
    together = [one.documents.tolist() for one in drawn(model, tree, texts, 2)]
    back = [one.documents.tolist() for one in drawn(model, tree, texts[::-1], 2, block=1)]
    assert together == back[::-1]
    assert query_seeds(["a"], 0) != query_seeds(["a"], 1)


def test_noise_is_standard_gumbel():
    noise = gumbel(torch.tensor([3, -9]), torch.arange(100_000).expand(2, -1))
    assert noise.mean(1).tolist() == pytest.approx([0.5772] * 2, abs=0.02)
    assert noise.var(1).tolist() == pytest.approx([np.pi**2 / 6] * 2, abs=0.04)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.02

"""Steps from blocks of nodes to their children, and that a step never waits for its device."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from arrbench_rankers.arr.best_first import best_first
from arrbench_rankers.arr.frontier import opened, step
from arrbench_rankers.arr.reader import NodeReader
from arrbench_rankers.arr.search_order import ByScore, Drawn
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

END = 2
DOCIDS = [(10, END), (10, 11, END), (12, END)]


@pytest.fixture(scope="module")
def tree():
    return TreeTensors(PrefixTree.build(DOCIDS), 40, torch.device("cpu"), False, True)


def test_steps_from_nodes_to_children(tree):
    nodes = torch.tensor([[0, 1, -1], [2, -1, -1]])  # root, 10, none; 12, none, none
    for most in (None, 9):
        parent, child = tree.children(nodes, most)
        allowed = [
            [(b, int(tree.token[c])) for b, c in zip(*row, strict=True) if c >= 0]
            for row in zip(parent.tolist(), child.tolist(), strict=True)
        ]
        assert allowed == [[(0, 10), (0, 12), (1, END), (1, 11)], [(0, END)]]
    assert [tree.most_children(n) for n in (1, 2, 9)] == [2, 4, 6]


def test_a_child_is_found_by_its_token(tree):
    nodes, tokens = torch.tensor([0, 0, 1, -1, 0, 3]), torch.tensor([10, 11, 11, 10, 39, END])
    assert tree.child(nodes, tokens).tolist() == [1, -1, 4, -1, -1, -1]


def test_a_mean_is_bounded_by_the_longest_docid_below(tree):
    bounds = tree.bounds(torch.full((4,), -6.0), torch.tensor([0, 1, 2, 3]))
    assert bounds.tolist() == [-2, -2, -3, -3]  # 3 tokens below the root and 10, 2 below 12 and at a leaf


def test_children_s_log_probabilities(tree):
    logits = torch.randn(1, 2, 40)
    children = tree.expand(torch.tensor([[1, -1]]), logits, 5)
    expected = logits[0, 0].log_softmax(-1)[[END, 11]]
    assert children.log_prob[0, :2].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert children.log_prob[0, 2:].tolist() == [-torch.inf] * 3
    siblings = TreeTensors(PrefixTree.build(DOCIDS), 40, torch.device("cpu"), True, False)
    children = siblings.expand(torch.tensor([[1, -1]]), logits, 5)
    expected = logits[0, 0, [END, 11]].log_softmax(-1)
    assert children.log_prob[0, :2].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


WAITS = ("item", "cpu", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero")


def counted(name, original, waits):
    def call(tensor, *arguments):
        waits[name] += 1
        return original(tensor, *arguments)

    return call


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_step_never_waits_for_the_device(small_lm, monkeypatch, drawn, normalised):
    docids = [(10 + a, 10 + b, END) for a in range(6) for b in range(6)]
    model = small_lm("llama")
    tree = TreeTensors(PrefixTree.build(docids), 40, model.device, normalised, False)
    order = Drawn(torch.tensor([1, 2])) if drawn else ByScore()
    limits = best_first(5, 4, 100) if drawn else best_first(5, 16, 100)
    waits = Counter()
    with torch.inference_mode():
        reader = NodeReader(model, [[1, 3], [1, 7, 3]], tree.depth)
        frontier = opened(reader, tree, order, limits, tree.most_children(1))
        for name in WAITS:
            monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name), waits))
        for _ in range(5):
            frontier = step(reader, tree, order, frontier, limits, tree.most_children(limits.block))
        assert not waits
        step(reader, tree, order, frontier, replace(limits, block=1), None)
        assert waits == {"__int__": 3}  # what the test would see

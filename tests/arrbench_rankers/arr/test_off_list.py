"""Prefixes that no listed docID passes are taught the corpus's marginal, and listed ones stay as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench_rankers.arr.continuations import documents_below
from arrbench_rankers.arr.off_list import OFF_LIST, draw, off_list_edges
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.trie import PrefixTree

END = 9
corpora = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=2,
    max_size=20,
)


def prefix(tree, node):
    return () if node == 0 else (*prefix(tree, tree.parent[node]), int(tree.token[node]))


def taught(docids, listed, drawn):
    """W by (prefix, token), as off_list_edges gives them."""
    corpus = PrefixTree.build(docids)
    tree = PrefixTree.build([docids[i] for i in [*listed, *drawn]])
    documents = np.array([*listed, *drawn])
    edges, weights = off_list_edges(tree, len(listed), corpus, documents, documents_below(corpus))
    found = {}
    for parent, token, weight in zip(edges.parent, edges.token, weights, strict=True):
        assert (prefix(tree, parent), int(token)) not in found
        found[prefix(tree, parent), int(token)] = weight
    return found


def naive(docids, listed, drawn):
    """Every drawn docID at each of its prefixes, against every docID of the corpus."""
    found = {}
    for d in drawn:
        for t in range(1, len(docids[d])):
            u = docids[d][:t]
            if any(docids[r][:t] == u for r in listed):
                continue
            following = [docid[t] for docid in docids if docid[:t] == u]
            for v in set(following):
                share = following.count(v) / len(following)
                found[u, v] = found.get((u, v), 0) + OFF_LIST / len(drawn) * share
    return found


def test_a_worked_example():
    # listed "0 9"; drawn "1 2 9": below 1 the corpus holds three documents, two of them by 2
    docids = [(0, END), (1, 2, END), (1, 2, 3, END), (1, 4, END), (0, 5, END)]
    share = OFF_LIST
    assert taught(docids, [0], [1]) == pytest.approx(
        {
            ((1,), 2): share * 2 / 3,
            ((1,), 4): share * 1 / 3,
            ((1, 2), END): share / 2,
            ((1, 2), 3): share / 2,
        }
    )
    # "0 5 9" leaves the list at its second token: only the prefix "0 5" is its own
    assert taught(docids, [0], [4]) == pytest.approx({((0, 5), END): share})


@settings(deadline=None)
@given(corpora, st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_it_is_the_naive_sum_over_drawn_docids(docids, ranked, wanted, seed):
    listed = list(range(min(ranked, len(docids) - 1)))
    drawn = draw(len(docids), listed, wanted, (seed,))
    assert taught(docids, listed, drawn) == pytest.approx(naive(docids, listed, drawn))


@given(corpora)
def test_documents_below_a_node(docids):
    tree = PrefixTree.build(docids)
    for node, count in enumerate(documents_below(tree)):
        begun = prefix(tree, node)
        assert count == sum(docid[: len(begun)] == begun for docid in docids)


def test_draws_are_seeded_unlisted_and_each_once():
    drawn = draw(10, [2, 3], 5, (1, 7))
    assert drawn == draw(10, [2, 3], 5, (1, 7))
    assert drawn != draw(10, [2, 3], 5, (2, 7))
    assert len(set(drawn)) == 5
    assert not {2, 3} & set(drawn)
    assert sorted(draw(5, [2, 3], 9, (0,))) == [0, 1, 4]
    counts = np.bincount([draw(4, [1], 1, (seed,))[0] for seed in range(600)], minlength=4)
    assert counts[1] == 0
    assert (counts[[0, 2, 3]] > 150).all()  # 200 each, were they exactly even


def test_its_rows_read_no_node_but_the_prefixes_taught():
    docids = [(0, END), (1, 2, END), (1, 2, 3, END)]
    tree, corpus = PrefixTree.build(docids[:2]), PrefixTree.build(docids)
    edges, _ = off_list_edges(tree, 1, corpus, np.array([0, 1]), documents_below(corpus))
    assert Row([7], tree, edges).block.ids.tolist() == [7, 1, 2]

"""The prefix tree: a worked example, its naive twin, and the docIDs it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrbench_rankers.arr.trie import PrefixTree

END = 9
docid_lists = st.lists(
    st.lists(st.integers(0, 3), max_size=4).map(lambda tokens: (*tokens, END)), unique=True, max_size=12
)


def prefixes(docids):
    """Every distinct prefix, level by level, then by the tokens from the root on: the naive twin."""
    every = {docid[:n] for docid in docids for n in range(len(docid) + 1)} | {()}
    return sorted(every, key=lambda prefix: (len(prefix), prefix))


def test_a_worked_example():
    # dog, dog house, cat, as tokens 1 9 | 1 2 9 | 0 9
    tree = PrefixTree.build([(1, END), (1, 2, END), (0, END)])
    assert tree.token.tolist() == [-1, 0, 1, END, 2, END, END]
    assert tree.parent.tolist() == [-1, 0, 0, 1, 2, 2, 4]
    assert tree.depth.tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert tree.document.tolist() == [-1, -1, -1, 2, -1, 0, 1]
    assert tree.first_child.tolist() == [1, 3, 4, 6, 6, 7, 7, 7]
    assert tree.paths.tolist() == [[2, 5, 0], [2, 4, 6], [1, 3, 0]]
    assert tree.lengths.tolist() == [2, 3, 2]
    assert tree.inner.tolist() == [1, 2, 4]
    assert tree.slot.tolist() == [0, 1, 2, 0, 3, 0, 0]
    assert tree.ancestors.tolist() == [[True, False, False], [False, True, False], [False, True, True]]


@given(docid_lists)
def test_its_nodes_are_the_distinct_prefixes(docids):
    tree = PrefixTree.build(docids)
    twin = prefixes(docids)
    assert len(tree) == len(twin)
    for node, prefix in enumerate(twin):
        children = range(tree.first_child[node], tree.first_child[node + 1])
        assert [twin[child] for child in children] == [p for p in twin if p[:-1] == prefix and p]
        assert tree.document[node] == (docids.index(prefix) if prefix in docids else -1)
        assert tree.depth[node] == len(prefix)
        if prefix:
            assert twin[tree.parent[node]] == prefix[:-1]
            assert tree.token[node] == prefix[-1]
    for docid, path in zip(docids, tree.paths, strict=True):
        assert [twin[node] for node in path if node] == [docid[:n] for n in range(1, len(docid) + 1)]


@given(docid_lists)
def test_ancestors_are_the_inner_prefixes_of_a_prefix(docids):
    tree = PrefixTree.build(docids)
    inner = [prefixes(docids)[node] for node in tree.inner]
    assert tree.ancestors.tolist() == [[one[: len(other)] == other for other in inner] for one in inner]
    assert (tree.slot[tree.inner] == np.arange(1, len(inner) + 1)).all()


def test_the_order_of_documents_changes_no_node():
    docids = [(1, END), (1, 2, END), (0, END)]
    one, other = PrefixTree.build(docids), PrefixTree.build(docids[::-1])
    assert (one.token == other.token).all()
    assert (one.parent == other.parent).all()
    assert (one.paths == other.paths[::-1]).all()


@pytest.mark.parametrize(
    ("docids", "fault"),
    [
        ([(1, 2), ()], "document 1 is empty"),
        ([(1, 2), (3,), (1, 2)], "documents 0 and 2 have the same"),
        ([(1, 2, 3), (1, 2)], "document 1 begins another"),
    ],
)
def test_docids_that_end_at_no_leaf_of_their_own_are_refused(docids, fault):
    with pytest.raises(ValueError, match=fault):
        PrefixTree.build(docids)

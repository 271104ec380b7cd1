"""The prefix tree: worked examples, its naive twins, its files, and the docIDs it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrbench_rankers.arr.ragged import Ragged
from arrbench_rankers.arr.trie import PrefixTree

END = 9
closed = st.lists(
    st.lists(st.integers(0, 3), max_size=4).map(lambda tokens: (*tokens, END)), unique=True, max_size=12
)
open_ = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 70_000]), min_size=1, max_size=5).map(tuple),
    unique=True,
    max_size=16,
)
docid_lists = closed | open_


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


@given(docid_lists, st.data())
def test_some_documents_paths_are_theirs_among_all(docids, data):
    tree = PrefixTree.build(docids)
    some = np.array(data.draw(st.permutations(range(len(docids))))[1:], int)
    paths = tree.paths_of(some)
    longest = max((len(docids[document]) for document in some), default=0)
    assert paths.shape == (len(some), longest)
    assert (paths == tree.paths[some, :longest]).all()


def test_the_order_of_documents_changes_no_node():
    docids = [(1, END), (1, 2, END), (0, END)]
    one, other = PrefixTree.build(docids), PrefixTree.build(docids[::-1])
    assert (one.token == other.token).all()
    assert (one.parent == other.parent).all()
    assert (one.paths == other.paths[::-1]).all()


def test_a_docid_that_begins_another_ends_at_an_inner_node():
    tree = PrefixTree.build([(1, 2, 3), (1, 2), (1,)])
    assert tree.document.tolist() == [-1, 2, 1, 0]
    assert tree.inner.tolist() == [1, 2]
    assert tree.paths.tolist() == [[1, 2, 3], [1, 2, 0], [1, 0, 0]]
    assert tree.lengths.tolist() == [3, 2, 1]


@pytest.mark.parametrize("docids", [[], [(5,)], [(0, 0, 0)]])
def test_no_document_and_one(docids):
    tree = PrefixTree.build(docids)
    assert len(tree) == 1 + sum(map(len, docids))
    assert tree.lengths.tolist() == [len(docid) for docid in docids]
    assert tree.paths.shape == (len(docids), sum(map(len, docids)))
    assert tree.allowed(0).tolist() == [docid[0] for docid in docids]


def nested(docids):
    """A dict of dicts by token, each docID's document under the key None: the naive tree."""
    root = {}
    for document, docid in enumerate(docids):
        node = root
        for token in docid:
            node = node.setdefault(token, {})
        node[None] = document
    return root


@given(docid_lists)
def test_every_walk_meets_what_the_nested_dicts_hold(docids):
    tree = PrefixTree.build(docids)
    open_nodes = [(0, nested(docids))]
    seen = 0
    while open_nodes:
        node, naive = open_nodes.pop()
        seen += 1
        below = {token: child for token, child in naive.items() if token is not None}
        assert tree.allowed(node).tolist() == sorted(below)
        assert tree.document[node] == naive.get(None, -1)
        assert tree.child(node, 7) == -1
        open_nodes += [(tree.child(node, token), child) for token, child in below.items()]
    assert seen == len(tree)


@given(docid_lists)
def test_a_docid_finds_its_document_and_nothing_else_does(docids):
    tree = PrefixTree.build(docids)
    assert [tree.find(docid) for docid in docids] == list(range(len(docids)))
    others = {(*docid, 7) for docid in docids} | {docid[:-1] for docid in docids} | {()}
    assert {tree.find(other) for other in others - set(docids)} <= {-1}


@given(docid_lists)
def test_flat_tokens_build_the_same_tree_as_sequences(docids):
    one, other = PrefixTree.build(docids), PrefixTree.build(Ragged.of(docids))
    assert all(
        (getattr(one, name) == getattr(other, name)).all() for name in ("token", "first_child", "document")
    )


def test_its_files_are_mapped_and_hold_12_bytes_a_node(tmp_path):
    docids = [(1, 2, 3), (1, 2), (4, END), (0,)]
    built = PrefixTree.build(docids)
    assert built.nbytes == 12 * len(built) + 4
    built.save(tmp_path)
    mapped = PrefixTree.load(tmp_path)
    assert all(isinstance(getattr(mapped, name), np.memmap) for name in ("token", "first_child", "document"))
    mapped.save(tmp_path)  # onto the files that it reads from
    for tree in (mapped, PrefixTree.load(tmp_path)):
        assert [tree.find(docid) for docid in docids] == [0, 1, 2, 3]
        assert (tree.paths == built.paths).all()
        assert tree.nbytes == built.nbytes


@pytest.mark.parametrize(
    ("docids", "fault"),
    [
        ([(1, 2), ()], "document 1 is empty"),
        ([(1, 2), (3,), (1, 2)], "documents 0 and 2 have the same"),
    ],
)
def test_docids_that_are_empty_or_alike_are_refused(docids, fault):
    with pytest.raises(ValueError, match=fault):
        PrefixTree.build(docids)

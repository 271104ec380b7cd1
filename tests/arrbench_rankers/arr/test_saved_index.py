"""docIDs and prefix trees read from files: any that don't fit each other are refused, at once."""

import json
from pathlib import Path

import numpy as np
import pytest

from arrbench.errors import TrialError
from arrbench.ranker import Context
from arrbench_rankers.arr.docids.scheme import AskedScheme
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.ragged import Ragged
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.trie import PrefixTree

END, VOCABULARY = 9, 10
DOCIDS = [(1, END), (1, 2, END), (0, END), (3, 1, 4, END)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nodes: root, 0, 1, 3, then END, 2, END, 1, then END, 4, then END."""
    tree = PrefixTree.build(DOCIDS)
    DocIdIndex(("a", "b", "c", "d"), Ragged.of(DOCIDS), tree, True, 0, None).save(tmp_path)
    assert tree.first_child.tolist() == [1, 4, 5, 7, 8, 8, 9, 9, 10, 10, 11, 11]
    assert tree.document.tolist() == [-1, -1, -1, -1, 2, -1, 0, -1, 1, -1, 3]
    return tmp_path


def test_a_right_one_loads(folder: Path) -> None:
    index = DocIdIndex.load(folder, VOCABULARY)
    assert list(index.docids) == DOCIDS
    assert [index.tree.find(docid) for docid in DOCIDS] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "place", "value", "says"),
    [
        ("tree_first_child", 8, 8, "children behind it"),  # a node below itself: its level would never end
        ("tree_first_child", slice(3, 6), 3, "children behind it"),
        ("tree_first_child", 4, 2**31 - 1, "children behind it"),
        ("tree_first_child", -1, 12, "children behind it"),
        ("tree_first_child", 0, 0, "children behind it"),
        ("tree_first_child", 3, -(2**31), "children behind it"),
        ("tree_first_child", 1, 3, "aren't those of the prefix tree"),
        ("tree_token", 0, 5, "root's -1"),
        ("tree_token", 2, -7, "-7 to 9 where 0 to"),
        ("tree_token", 5, END, "don't ascend"),
        ("tree_token", 5, 3, "aren't those of the prefix tree"),
        ("tree_document", 4, 0, "end at one node each"),
        ("tree_document", 4, 4, "-1 to 4 where -1 to 3"),
        ("tree_document", 4, -1, "where -1 to 2"),
        ("tree_document", 4, -2, "where -1 to 2"),
        ("tree_document", [3, 4], [2, -1], "a leaf is no document's"),
        ("tree_document", [4, 8], [1, 2], "aren't those of the prefix tree"),
        ("docid_tokens", 0, VOCABULARY, "0 to 10 where 0 to 9"),
        ("docid_tokens", 0, -1, "-1 to 9 where 0 to 9"),
        ("docid_tokens", 0, 2, "aren't those of the prefix tree"),
        ("docid_offsets", -1, 10**12, "don't rise from 0 to 11"),
        ("docid_offsets", 2, 1, "don't rise"),
        ("docid_offsets", 1, 3, "aren't those of the prefix tree"),
    ],
)
def test_a_wrong_number_is_refused(name, place, value, says, folder):
    file = folder / f"{name}.npy"
    array = np.load(file)
    array[place] = value
    file.unlink()
    np.save(file, array)
    with pytest.raises(TrialError, match=says) as error:
        DocIdIndex.load(folder, VOCABULARY)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    "name", ["tree_token", "tree_first_child", "tree_document", "docid_tokens", "docid_offsets"]
)
@pytest.mark.parametrize("change", ["shorter", "empty", "wide", "floats", "square", "text", "missing"])
def test_a_wrong_array_is_refused(name, change, folder):
    file = folder / f"{name}.npy"
    array = np.load(file)
    file.unlink()
    changed = {
        "shorter": array[:-1],
        "empty": array[:0],
        "wide": array.astype(">i8"),
        "floats": array.astype("f8"),
        "square": array[None],
    }
    if change == "text":
        file.write_text("none")
    elif change != "missing":
        np.save(file, changed[change])
    with pytest.raises(TrialError, match="can't be used"):
        DocIdIndex.load(folder, VOCABULARY)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ids", ["a", "b", "c"], "4 docIDs for 3"),
        ("ids", ["a", "b", "c", "a"], "names no document, or one twice"),
        ("ids", ["a", "b", "c", 4], "ids.3: Input should be a valid string"),
        ("closed", "yes", "closed: Input should be a valid boolean"),
        ("numbered", 1.5, "numbered: Input should be a valid integer"),
        ("corpus", 3, "corpus: Input should be a valid string"),
    ],
)
def test_wrong_words_about_the_documents_are_refused(key, value, says, folder):
    file = folder / "documents.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(TrialError, match=says):
        DocIdIndex.load(folder, VOCABULARY)


def test_a_model_that_knows_fewer_tokens_than_its_docids_is_refused(trained, tmp_path):
    trained.save(tmp_path)
    assert ArrStoical.load(tmp_path, Context()).index_bytes == trained.index_bytes
    rows = trained._index.docids
    vocabulary = len(trained._tokenizer)
    changed = DocIdIndex(
        trained._index.ids,
        Ragged(rows.tokens + vocabulary, rows.offsets),
        PrefixTree.build(Ragged(rows.tokens + vocabulary, rows.offsets)),
        True,
        0,
        None,
    )
    changed.save(tmp_path)
    with pytest.raises(TrialError, match=f"where 0 to {vocabulary - 1}"):
        ArrStoical.load(tmp_path, Context())


@pytest.mark.parametrize(
    ("scheme", "files"),
    [
        ("name", {"docid_seed.json": "x"}),
        ("sparse-code", {"docid_dictionary.npy": np.zeros(3, "f4")}),
        ("sparse-code", {"docid_dictionary.npy": np.zeros((3, 2))}),
        ("kmeans", {"docid_clusters.json": [["a"]]}),
        ("kmeans", {"docid_clusters.json": [[]], "docid_cluster_stops.npy": np.array([9])}),
        ("kmeans", {"docid_clusters.json": [[], [1]], "docid_cluster_stops.npy": np.array([2])}),
        ("kmeans", {"docid_centroids.npy": np.array(["a"])}),
    ],
)
def test_what_a_scheme_learnt_is_checked(scheme, files, tmp_path):
    right = {
        "docid_seed.json": 0,
        "docid_clusters.json": [[]],
        "docid_cluster_stops.npy": np.array([2]),
        "docid_centroids.npy": np.zeros((2, 3), "f4"),
        "docid_dictionary.npy": np.zeros((3, 2), "f4"),
    }
    for changes in ({}, files):
        for name, held in (right | changes).items():
            if name.endswith(".npy"):
                (tmp_path / name).unlink(missing_ok=True)
                np.save(tmp_path / name, held)
            else:
                (tmp_path / name).write_text(json.dumps(held))
        if not changes:
            AskedScheme.of(scheme).made(0).load(tmp_path)
    with pytest.raises(TrialError, match="can't be used"):
        AskedScheme.of(scheme).made(0).load(tmp_path)

"""FAISS indexes against a matrix product: what they find, hold, refuse, and how they come back."""

import json
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from arrbench import spec
from arrbench.errors import TrialError, UsageError
from arrbench.ranker import Context
from arrbench_rankers.dense_index import DenseIndex, inverted_lists
from arrbench_rankers.dual_encoder import DualEncoder
from arrbench_rankers.embedding_file import EmbeddingFile

KINDS = ("flat", "hnsw", "ivf", "ivfpq")
DIM, DOCUMENTS, QUERIES = 16, 2000, 40


@pytest.fixture(scope="module")
def embedded():
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((20, DIM))
    return (centres[rng.integers(20, size=DOCUMENTS)] + rng.standard_normal((DOCUMENTS, DIM)) / 2).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def queries():
    return np.random.default_rng(6).standard_normal((QUERIES, DIM)).astype("f4")


def options(kind, **given):
    given |= {"code_bytes": 8} if kind == "ivfpq" else {}
    return DualEncoder.Options(index=kind, dim=DIM, **given)


def built(kind, embedded, context=None, **given):
    chunks = (embedded[start : start + 700] for start in range(0, len(embedded), 700))
    return DenseIndex.build(options(kind, **given), DIM, len(embedded), chunks, context or Context())


@pytest.fixture(scope="module")
def indexes(embedded):
    return {kind: built(kind, embedded) for kind in KINDS}


def exact(embedded, queries, k):
    scores = queries @ embedded.T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recall(found, wanted):
    return float(np.mean([len({*f} & {*w}) / len(w) for f, w in zip(found, wanted, strict=True)]))


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("hnsw", 0.98), ("ivf", 0.9), ("ivfpq", 0.5)])
def test_neighbours_are_those_of_the_matrix_product(kind, least, indexes, embedded, queries):
    scores, found = indexes[kind].search(queries, 10)
    assert scores.shape == found.shape == (QUERIES, 10)
    wanted = exact(embedded, queries, 10)
    assert recall(found, wanted) >= least
    assert (np.diff(scores, axis=1) <= 0).all()
    if kind != "ivfpq":
        products = np.take_along_axis(queries @ embedded.T, found, 1)
        np.testing.assert_allclose(scores, products, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_recall_it_tells_is_the_recall_it_has(kind, indexes, embedded, queries):
    _, found = indexes[kind].search(queries, 10)
    told = indexes[kind].recall_against_flat(queries, 10)
    assert told == pytest.approx(recall(found, exact(embedded, queries, 10)))


def test_recall_is_over_all_blocks(monkeypatch, embedded, queries):
    for module in ("dense_index", "embedding_file"):
        monkeypatch.setattr(f"arrbench_rankers.{module}.BLOCK", 300)
    for kind in ("hnsw", "ivfpq"):
        index = built(kind, embedded)
        _, found = index.search(queries, 7)
        told = index.recall_against_flat(queries, 7)
        assert told == pytest.approx(recall(found, exact(embedded, queries, 7)))


def test_more_lists_read_find_more_and_all_of_them_everything(embedded, queries):
    found = [
        built("ivf", embedded, nprobe=n).recall_against_flat(queries, 50)
        for n in (1, 8, inverted_lists(DOCUMENTS))
    ]
    assert found[0] < found[1] < found[2] == 1.0


def test_a_search_that_finds_too_few_says_so(embedded, queries):
    _, found = built("ivf", embedded, nprobe=1).search(queries, 500)
    assert (found[:, 0] >= 0).all()
    assert (found[:, -1] == -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_stored_embeddings_are_the_documents(kind, indexes, embedded):
    stored = indexes[kind].embeddings([3, 1999, 3])
    wanted = embedded[[3, 1999, 3]]
    if kind == "ivfpq":
        assert np.linalg.norm(stored - wanted) < np.linalg.norm(wanted) / 2
    else:
        np.testing.assert_array_equal(stored, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_that_of_the_file(kind, indexes, tmp_path):
    file = tmp_path / "index"
    indexes[kind].embeddings([0])
    indexes[kind].save(file)
    positions = DOCUMENTS * 8 if indexes[kind].lists else 0  # made for reading documents, not for searching
    assert indexes[kind].nbytes == pytest.approx(file.stat().st_size - positions, abs=1500)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_lies_in_its_file_and_finds_the_same(kind, indexes, queries, tmp_path):
    file = tmp_path / f"{kind}.faiss"
    indexes[kind].save(file)
    loaded = DenseIndex.load(options(kind), DIM, DOCUMENTS, file, Context())
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(file))]
    assert mapped
    assert all(line.split()[1].startswith("r--") for line in mapped)
    for ours, theirs in zip(loaded.search(queries, 20), indexes[kind].search(queries, 20), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.embeddings([7, 8]), indexes[kind].embeddings([7, 8]))
    assert loaded.nbytes == indexes[kind].nbytes
    told = loaded.recall_against_flat(queries, 10)
    assert told == (None if kind == "ivfpq" else indexes[kind].recall_against_flat(queries, 10))
    loaded.save(file)  # over the very file it is mapped from
    np.testing.assert_array_equal(loaded.search(queries, 20)[1], indexes[kind].search(queries, 20)[1])


def graph(index):
    return index._index.hnsw


def a_link_to_another_level(index):
    links = faiss.rev_swig_ptr(graph(index).neighbors.data(), graph(index).neighbors.size())
    levels = faiss.vector_to_array(graph(index).levels)
    offset = int(faiss.vector_to_array(graph(index).offsets)[graph(index).entry_point])
    links[offset + graph(index).cum_nneighbor_per_level.at(1)] = int(np.argmin(levels))


def a_link_to_nobody(index):
    faiss.rev_swig_ptr(graph(index).neighbors.data(), graph(index).neighbors.size())[5] = DOCUMENTS


def another_entry(index):
    graph(index).entry_point = int(np.argmin(faiss.vector_to_array(graph(index).levels)))


def a_document_twice(index):
    lists = index._index.invlists
    ids = next(lists.get_ids(i) for i in range(index.lists) if lists.list_size(i) > 1)
    faiss.rev_swig_ptr(ids, 2)[1] = faiss.rev_swig_ptr(ids, 2)[0]


def a_document_beyond(index):
    lists = index._index.invlists
    ids = next(lists.get_ids(i) for i in range(index.lists) if lists.list_size(i))
    faiss.rev_swig_ptr(ids, 1)[0] = DOCUMENTS


def another_metric(index):
    index._index.metric_type = faiss.METRIC_L2


@pytest.mark.parametrize(
    ("kind", "spoil", "says"),
    [
        ("hnsw", a_link_to_another_level, "a link of level 1 leads to a document that isn't in it"),
        ("hnsw", a_link_to_nobody, "can't be used"),
        ("hnsw", another_entry, "search doesn't start from"),
        ("ivf", a_document_twice, "in two of its lists"),
        ("ivf", a_document_beyond, "can't be used"),
        ("ivfpq", a_document_beyond, "can't be used"),
        ("ivf", another_metric, "not for inner products"),
    ],
)
def test_an_index_that_leads_out_of_itself_is_refused(kind, spoil, says, embedded, tmp_path):
    index = built(kind, embedded)
    spoil(index)
    index.save(tmp_path / "index")
    with pytest.raises(TrialError, match=says):
        DenseIndex.load(options(kind), DIM, DOCUMENTS, tmp_path / "index", Context())


def test_how_far_a_graph_is_searched_is_the_options_word_not_the_files(embedded, tmp_path):
    index = built("hnsw", embedded)
    graph(index).efSearch = 2**31 - 1
    index.save(tmp_path / "index")
    loaded = DenseIndex.load(options("hnsw", ef_search=50), DIM, DOCUMENTS, tmp_path / "index", Context())
    assert graph(loaded).efSearch == 50


def test_one_seed_gives_one_index_and_another_another(embedded, queries, monkeypatch):
    monkeypatch.setattr("arrbench_rankers.dense_index.LIST_TRAINING", (39, 4))  # so that there is a sample
    first, second, other = (
        built("ivf", embedded, Context(seed=s), nprobe=1).search(queries, 50)[1] for s in (1, 1, 2)
    )
    assert (first == second).all()
    assert (first != other).any()


@pytest.mark.parametrize("seed", [2**31 - 2, 2**31 - 1, 2**32 - 1])
def test_every_seed_that_a_run_takes_trains_an_index(embedded, queries, seed):
    found = built("ivf", embedded, Context(seed=seed)).search(queries, 5)[1]
    assert (found >= 0).all()


def test_lists_follow_the_documents():
    assert [inverted_lists(n) for n in (0, 1, 39, 1000, 1_000_000)] == [1, 1, 1, 25, 4000]
    small = np.eye(DIM, dtype="f4")[:3]
    index = built("ivf", small)
    assert index.lists == 1
    assert np.sort(index.search(small, 100)[1]).tolist() == [[0, 1, 2]] * 3


def test_too_few_documents_for_a_codebook_are_refused(embedded):
    with pytest.raises(
        UsageError, match=r"index=ivfpq needs 256 documents .* corpus has 255; use index=flat"
    ):
        built("ivfpq", embedded[:255])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("de:nprobe=8", "nprobe=8 means nothing to index=flat; it needs index=ivf or index=ivfpq"),
        ("de:index=ivf:links=8", "links=8 means nothing to index=ivf; it needs index=hnsw"),
        ("de:index=hnsw:code_bytes=8", "code_bytes=8 means nothing to index=hnsw; it needs index=ivfpq"),
        ("de:index=ivfpq:dim=48", "code_bytes=32 does not divide dim=48"),
        ("de:index=lsh", "index=lsh"),
    ],
)
def test_options_of_another_kind_are_refused(word, says):
    with pytest.raises(UsageError, match=says):
        spec.validated(DualEncoder.Options, spec.parse(word), "ranker")


def test_a_file_of_embeddings_samples_without_repetition(embedded, monkeypatch):
    monkeypatch.setattr("arrbench_rankers.embedding_file.BLOCK", 300)
    file = EmbeddingFile(iter([embedded[:1], embedded[1:]]), DIM)
    np.testing.assert_array_equal(np.concatenate(list(file)), embedded)
    np.testing.assert_array_equal(file.sample(DOCUMENTS, 0), embedded)
    sample = file.sample(1100, 0)
    assert len({row.tobytes() for row in sample}) == 1100
    assert {row.tobytes() for row in sample} <= {row.tobytes() for row in embedded}
    np.testing.assert_array_equal(sample, file.sample(1100, 0))


TOGETHER = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import faiss, torch
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.dual_encoder import DualEncoder
names = [f"word{i}" for i in range(60)]
corpus = Corpus(Document(n, n, n) for n in names)
queries = tuple(Query(f"q{n}", n) for n in names[:20])
split = Split(queries, Judgments({f"q{n}": {n: 1} for n in names[:20]}), corpus)
found = []
for threads in (1, 2):
    ranker = DualEncoder(DualEncoder.Options(dim=8, epochs=2), Context(threads=threads))
    ranker.fit(split, split)
    ranker.index(corpus)
    ids = [list(r.ids) for r in ranker.rank(queries, 5)]
    found.append([torch.get_num_threads(), faiss.omp_get_max_threads(), ids])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_torch_and_faiss_share_a_process_whichever_comes_first():
    """Each brings an OpenMP of its own: training in one and searching in the other, on 1 and 2 threads."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, *order],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for order in (("torch", "faiss"), ("faiss", "torch"))
    ]
    answers = []
    for process in running:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        answers.append(json.loads(out.splitlines()[-1]))
    assert answers[0] == answers[1]
    assert [threads[:2] for threads in answers[0]] == [[1, 1], [2, 2]]

"""A FAISS index from a file that may come from anybody, checked before it is searched.

FAISS's reader refuses most of what doesn't add up, version 1.15 far more than earlier ones. What it lets
pass and would loop over, or look up beyond its arrays, is checked here. A fault of that reader itself, met by
a file made for the purpose, is beyond reach: read FAISS indexes only of those whose programs you would run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from arrbench_rankers import saved

# Each kind of index: what its file begins with, and its class in FAISS.
_KINDS = {
    "flat": (b"IxFI", "IndexFlat"),
    "hnsw": (b"IHNf", "IndexHNSWFlat"),
    "ivf": (b"IwFl", "IndexIVFFlat"),
    "ivfpq": (b"IwPQ", "IndexIVFPQ"),
}
_HEADER = struct.Struct("<4siqqq?i")  # kind, dimensions, vectors, two constants, whether trained, metric
_COUNT = struct.Struct("<Q")  # stands before every array
_CODEBOOK = 256  # centroids of a sub-quantizer
_MOST_LEVELS = 64  # of an HNSW graph: one level more holds a `links`-th of the documents


def read(file: Path, kind: str, documents: int, dim: int, lists: int) -> Any:
    """An index of `documents` embeddings of length `dim` by inner product, on the CPU.

    `lists` is its number of inverted lists, where its kind has any. It is mapped from its file read-only
    where this FAISS can: pages come when searched. Raises TrialError where the file holds another index, or
    one whose graph or lists name documents that there aren't.
    """
    import faiss

    with saved.reading(file):
        with file.open("rb") as stream:
            _check_start(file, stream, kind, documents, dim)
        tables = lists * dim * _CODEBOOK * 4  # at most, of distances to centroids: FAISS counts them in
        with _no_array_beyond(file.stat().st_size + tables):
            index: Any = faiss.read_index(str(file), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
        wanted = getattr(faiss, _KINDS[kind][1])
        saved.require(isinstance(index, wanted), file, f"it holds a {type(index).__name__}")
        if kind == "hnsw":
            _check_graph(file, index)
        elif kind != "flat":
            saved.require(index.nlist == lists, file, f"it has {index.nlist} lists where {lists} are wanted")
            _check_lists(file, index)
    return index


@contextmanager
def _no_array_beyond(size: int) -> Iterator[None]:
    """FAISS makes no room for an array of more bytes than that, where this FAISS can be told."""
    import faiss

    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        yield
        return
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(size)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _check_start(file: Path, stream: BinaryIO, kind: str, documents: int, dim: int) -> None:
    """TrialError unless the file is one of that kind, number and length; FAISS would make room for any."""
    begins, d, ntotal, _, _, trained, metric = _HEADER.unpack(stream.read(_HEADER.size))
    wanted = _KINDS[kind][0]
    saved.require(begins == wanted, file, f"it begins with {begins!r} where index={kind} has {wanted!r}")
    saved.require(
        (ntotal, d) == (documents, dim),
        file,
        f"it holds {ntotal} embeddings of length {d} where {documents} of length {dim} are wanted",
    )
    saved.require(trained and metric == 0, file, "it isn't trained, or not for inner products")
    if kind == "hnsw":
        _check_levels(file, stream)


def _check_levels(file: Path, stream: BinaryIO) -> None:
    """TrialError unless a document has a number of links at each of a few levels; FAISS loops over them."""
    import numpy as np

    (levels,) = _COUNT.unpack(stream.read(_COUNT.size))
    saved.require(levels <= _MOST_LEVELS, file, f"its graph has {levels} levels")
    stream.seek(8 * levels, 1)  # how likely each is
    (starts,) = _COUNT.unpack(stream.read(_COUNT.size))
    saved.require(starts == levels + 1, file, f"its graph has links at {starts - 1} of {levels} levels")
    links = np.frombuffer(stream.read(4 * starts), "<i4")
    saved.require(
        links[0] == 0 and (links[1:] >= links[:-1]).all(), file, "its graph has less than no link at a level"
    )


def _check_graph(file: Path, index: Any) -> None:
    """TrialError unless all links of an HNSW graph lead to documents that its level has."""
    import faiss

    graph, documents = index.hnsw, index.ntotal
    starts = faiss.vector_to_array(graph.cum_nneighbor_per_level)
    levels = faiss.vector_to_array(graph.levels)  # how many of them a document is in
    offsets = faiss.vector_to_array(graph.offsets).astype("int64")
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    _check_flat(file, index.storage, documents, index.d)
    saved.require(len(levels) == documents, file, f"its graph has {len(levels)} documents of {documents}")
    saved.check_range(file, levels, 1, len(starts) - 1)
    saved.check_offsets(file, offsets, documents, len(links))
    as_many = (offsets[1:] - offsets[:-1] == starts[levels]).all()
    saved.require(bool(as_many), file, "a document's links are more or fewer than its levels have")
    saved.check_range(file, links, -1, documents - 1)
    top, entry = int(levels.max()) - 1, graph.entry_point
    starts_on_top = 0 <= entry < documents and levels[entry] - 1 == top == graph.max_level
    saved.require(starts_on_top, file, "its search doesn't start from the graph's top level")
    for level in range(1, top + 1):
        here = offsets[:-1][levels > level]
        linked = links[here[:, None] + range(starts[level], starts[level + 1])]
        stays = (levels[linked[linked >= 0]] > level).all()
        saved.require(bool(stays), file, f"a link of level {level} leads to a document that isn't in it")


def _check_lists(file: Path, index: Any) -> None:
    """TrialError unless each document is in one inverted list, with a code of the right length."""
    import faiss
    import numpy as np

    _check_flat(file, index.quantizer, index.nlist, index.d)
    lists = faiss.downcast_InvertedLists(index.invlists)
    saved.require(
        isinstance(lists, faiss.ArrayInvertedLists)
        and (lists.nlist, lists.code_size) == (index.nlist, index.code_size),
        file,
        "its lists aren't those of its centroids, or lie in another file",
    )
    if isinstance(index, faiss.IndexIVFPQ):
        pq = index.pq
        whole = pq.d == index.d and pq.nbits == 8 and pq.code_size == pq.M == index.code_size
        saved.require(whole, file, "its codes don't fit its codebook")
    sizes = [lists.list_size(i) for i in range(index.nlist)]
    saved.require(
        sum(sizes) == index.ntotal, file, f"its lists hold {sum(sizes)} of {index.ntotal} documents"
    )
    ids = [faiss.rev_swig_ptr(lists.get_ids(i), size) for i, size in enumerate(sizes) if size]
    documents = np.concatenate(ids)
    saved.check_range(file, documents, 0, index.ntotal - 1)
    saved.require(bool((np.bincount(documents) == 1).all()), file, "a document is in two of its lists")


def _check_flat(file: Path, index: Any, vectors: int, dim: int) -> None:
    import faiss

    index = faiss.downcast_index(index)
    saved.require(
        isinstance(index, faiss.IndexFlat) and (index.ntotal, index.d) == (vectors, dim),
        file,
        f"its vectors aren't {vectors} of length {dim}",
    )

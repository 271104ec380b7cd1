"""Embeddings to nearest neighbours: FAISS indexes by inner product, exact and approximate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers import faiss_file
from arrbench_rankers.embedding_file import BLOCK, EmbeddingFile, Matrix

if TYPE_CHECKING:
    from arrbench_rankers.dual_encoder import DualEncoderOptions

Kind = Literal["flat", "hnsw", "ivf", "ivfpq"]

CODEBOOK = 256  # centroids of a sub-quantizer, one byte each; it cannot be trained on fewer documents
LIST_TRAINING = 39, 256  # documents a list: what k-means needs at least, what it draws at most (FAISS's own)
EF_CONSTRUCTION = 128
GPU_DEEPEST = 2048  # neighbours that FAISS's GPU kernels can return


def inverted_lists(documents: int) -> int:
    """4 * sqrt(documents), FAISS's rule of thumb, but none with fewer documents than k-means needs."""
    return max(1, min(round(4 * math.sqrt(documents)), documents // LIST_TRAINING[0]))


class DenseIndex:
    """A FAISS index over embeddings of one length, positions from 0; `kind` says which.

    flat compares a query with every embedding. hnsw walks a graph over all of them. ivf reads the
    `nprobe` of `inverted_lists(documents)` lists that lie nearest, ivfpq the same over product-quantized
    embeddings. Everything is held and saved as a CPU index; on CUDA all but hnsw, which FAISS has for
    the CPU alone, is searched in a copy on the GPUs that FAISS reports, cut into shards over several.
    Sources: Johnson et al., Billion-scale similarity search with GPUs, 2017; Malkov and Yashunin, 2018.
    """

    def __init__(
        self, kind: Kind, index: Any, nprobe: int, context: Context, exact: EmbeddingFile | None = None
    ) -> None:
        import faiss

        faiss.omp_set_num_threads(context.threads)
        self.kind = kind
        self._index = index
        self._exact = exact
        self._mapped = False  # positions to places in lists, made when first asked for
        if self.lists:
            index.nprobe = min(nprobe, self.lists)
        self.gpus = _gpus(kind, context)
        self._searched = _on_gpus(index) if self.gpus else index

    @classmethod
    def build(
        cls,
        options: DualEncoderOptions,
        dim: int,
        documents: int,
        embeddings: Iterable[Matrix],
        context: Context,
    ) -> DenseIndex:
        """An index of `documents` embeddings, each chunk of shape (any, dim), float32, taken once.

        What is trained waits for all embeddings in a temporary file and learns from a seeded sample of
        them. Raises UsageError for fewer documents than a product quantizer can be trained on.
        """
        import faiss

        faiss.omp_set_num_threads(context.threads)
        index, exact = _empty(options, dim, documents), None
        if options.index in ("ivf", "ivfpq"):
            embeddings = exact = EmbeddingFile(embeddings, dim)
            _train(index, exact, context)
        for chunk in embeddings:
            index.add(chunk)
        return cls(options.index, index, options.nprobe, context, exact if options.index == "ivfpq" else None)

    @property
    def documents(self) -> int:
        return int(self._index.ntotal)

    @property
    def lists(self) -> int:
        """Inverted lists; 0 for an index without."""
        return int(self._index.nlist) if self.kind in ("ivf", "ivfpq") else 0

    @property
    def nbytes(self) -> int:
        """Embeddings or codes, and what leads to them: links, or centroids and the lists' positions."""
        index, vectors = self._index, self._index.ntotal * self._index.d * 4
        if self.kind == "flat":
            return int(vectors)
        if self.kind == "hnsw":
            graph = index.hnsw
            return int(
                vectors + graph.neighbors.size() * 4 + graph.offsets.size() * 8 + graph.levels.size() * 4
            )
        codebooks = index.pq.centroids.size() * 4 if self.kind == "ivfpq" else 0
        return int(index.ntotal * (index.code_size + 8) + index.nlist * index.d * 4 + codebooks)

    def search(self, queries: Matrix, k: int) -> tuple[Matrix, Matrix]:
        """Scores and positions of the k best of each query, shape (queries, min(k, documents)).

        Best first. An approximate index that finds fewer than k ends a row with positions of -1.
        """
        k = min(k, self.documents)
        index = self._searched if k <= GPU_DEEPEST else self._index
        scores, found = index.search(queries, k)
        return scores, found

    def embeddings(self, positions: Sequence[int]) -> Matrix:
        """What is stored for documents, shape (positions, dim): approximate for ivfpq, else exact."""
        if self.lists and not self._mapped:
            self._index.make_direct_map()
            self._mapped = True
        stored: Matrix = self._index.reconstruct_batch(positions)
        return stored

    def recall_against_flat(self, queries: Matrix, k: int) -> float | None:
        """Share of each query's k exact neighbours that search finds, averaged over queries.

        Exact neighbours are those by inner product with the uncompressed embeddings. None where those
        are gone: a loaded ivfpq has its codes only.
        """
        if self.kind == "ivfpq" and self._exact is None:
            return None
        exact = _nearest(queries, self._blocks(), k)
        _, found = self.search(queries, k)
        shared = [len({*a} & {*b}) / len(a) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
        return sum(shared) / len(shared)

    def _blocks(self) -> Iterator[Matrix]:
        if self._exact is not None:
            yield from self._exact
        else:
            for start in range(0, self.documents, BLOCK):
                yield self._index.reconstruct_n(start, min(BLOCK, self.documents - start))

    def save(self, file: Path) -> None:
        """Write the CPU index. A file of that name is replaced, not overwritten: it may be mapped."""
        import faiss

        new = file.with_suffix(".new")
        faiss.write_index(self._index, str(new))
        new.replace(file)

    @classmethod
    def load(
        cls, options: DualEncoderOptions, dim: int, documents: int, file: Path, context: Context
    ) -> DenseIndex:
        """A saved index, mapped from its file where this FAISS can. Raises TrialError for another file."""
        kind = options.index
        index = faiss_file.read(file, kind, documents, dim, inverted_lists(documents))
        if kind == "hnsw":
            index.hnsw.efSearch = options.ef_search
        return cls(kind, index, options.nprobe, context)


def check_kind(options: DualEncoderOptions, defaults: Mapping[str, Any]) -> None:
    """ValueError for an option that the kind of index has no use for, or that does not fit the others."""
    used = {
        "flat": (),
        "hnsw": ("links", "ef_search"),
        "ivf": ("nprobe",),
        "ivfpq": ("nprobe", "code_bytes"),
    }
    for name in ("links", "ef_search", "nprobe", "code_bytes"):
        if name not in used[options.index] and getattr(options, name) != defaults[name]:
            users = " or ".join(f"index={kind}" for kind, names in used.items() if name in names)
            raise ValueError(
                f"{name}={getattr(options, name)} means nothing to index={options.index}; it needs {users}"
            )


def check_code_bytes(options: DualEncoderOptions, dim: int) -> None:
    """ValueError where an embedding of `dim` numbers can't be cut into as many parts as a code has bytes."""
    if options.index == "ivfpq" and dim % options.code_bytes:
        raise ValueError(f"code_bytes={options.code_bytes} does not divide dim={dim}, as index=ivfpq needs")


def _empty(options: DualEncoderOptions, dim: int, documents: int) -> Any:
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT
    if options.index == "flat":
        return faiss.IndexFlatIP(dim)
    if options.index == "hnsw":
        index = faiss.IndexHNSWFlat(dim, options.links, metric)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.hnsw.efSearch = options.ef_search
        return index
    if options.index == "ivf":
        return faiss.index_factory(dim, f"IVF{inverted_lists(documents)},Flat", metric)
    if documents < CODEBOOK:
        raise UsageError(
            f"index=ivfpq needs {CODEBOOK} documents to be trained on and the corpus has {documents}; "
            "use index=flat"
        )
    # np: codes in no order of likeness, which a Hamming filter would want and which takes half a minute
    return faiss.index_factory(dim, f"IVF{inverted_lists(documents)},PQ{options.code_bytes}np", metric)


def _train(index: Any, embeddings: EmbeddingFile, context: Context) -> None:
    """k-means of the lists, and of the codes, over a seeded sample; the lists' on GPUs where there are."""
    import faiss

    most = LIST_TRAINING[1] * max(index.nlist, CODEBOOK)
    index.cp.seed = (context.seed + 1) % 2**31  # FAISS counts in 32 bits, one of them the sign
    if _gpus("flat", context):
        assigner = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(index.d))  # FAISS does not own it
        index.clustering_index = assigner
    index.train(embeddings.sample(most, context.seed))
    index.clustering_index = None


def _gpus(kind: Kind, context: Context) -> int:
    """GPUs to search on: FAISS's own count, asked only where the ranker is to work on CUDA."""
    if kind == "hnsw" or not context.device.startswith("cuda"):
        return 0
    import faiss

    return int(faiss.get_num_gpus())


def _on_gpus(index: Any) -> Any:
    import faiss

    cloner = faiss.GpuMultipleClonerOptions()
    cloner.shard = True
    return faiss.index_cpu_to_all_gpus(index, co=cloner)


def _nearest(queries: Matrix, blocks: Iterable[Matrix], k: int) -> Matrix:
    """Positions of the k largest inner products, shape (queries, k), block by block."""
    import faiss
    import numpy as np

    scores = np.empty((len(queries), 0), np.float32)
    found = np.empty((len(queries), 0), np.int64)
    start = 0
    for block in blocks:
        near, at = faiss.knn(queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
        scores, found = np.hstack([scores, near]), np.hstack([found, at + start])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
        start += len(block)
    return found

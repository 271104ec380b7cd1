"""docID scheme `kmeans`: a document's path in a tree of clusters of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus
from arrbench_rankers import saved
from arrbench_rankers.arr.docids.scheme import DocIdScheme, by_hash, texts
from arrbench_rankers.arr.ragged import Ragged, write_array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed

Route = tuple[int, ...]  # the clusters from the root down
SAMPLE = 1000  # documents a branch that centroids are learnt from


class KMeansOptions(BaseOptions):
    branches: int = Field(10, ge=2, description="clusters that a cluster is parted into")
    leaf: int = Field(100, ge=1, description="documents up to which a cluster is not parted")


class KMeans(DocIdScheme):
    """The clusters from the root down, then the number within the last one: "3,1,17".

    Clusters of more than `leaf` documents of the first corpus are parted by k-means; a leaf's
    documents are numbered from 0 on in the order of a hash of their ids. A leaf holds more where its
    documents are alike, and for another corpus, whose documents walk down the same nearest centroids.
    Numbers are written a token a digit, and a comma parts two levels. Source: Tay et al., Transformer memory
    as a differentiable search index, NeurIPS 2022, section 3.2.
    """

    Options: ClassVar[type[BaseOptions]] = KMeansOptions
    libraries: ClassVar[tuple[str, ...]] = ("sklearn",)
    embeds: ClassVar[bool] = True
    joint: ClassVar[str] = ","
    options: KMeansOptions

    def __init__(self, options: BaseOptions, seed: int) -> None:
        super().__init__(options, seed)
        self._centroids: dict[Route, NDArray[np.float32]] | None = None  # of each cluster that is parted

    def words(self, corpus: Corpus) -> Iterable[str]:
        return [",", *super().words(corpus)]

    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        from arrbench_rankers.arr.docids.spelling import decimal, digits, pieces, regrouped, within

        known, comma = digits(tokenizer), within(tokenizer, ",")
        if known is None or not comma or comma in known:
            raise UsageError("docid kmeans needs a tokenizer that knows the comma and the digits 0 to 9")
        numbers = self._paths(embed(texts(corpus)), np.array(by_hash(corpus)))
        written, lengths = decimal(numbers.tokens.astype(np.int64))
        after = np.cumsum(lengths)  # a comma behind each number but a row's last
        inside = np.ones(len(lengths), bool)
        inside[numbers.offsets[1:] - 1] = False
        alphabet = np.insert(written, after[inside], len(known))
        bounds = np.cumsum(lengths + inside)[numbers.offsets[1:] - 1]
        return regrouped(pieces(alphabet, [*known, comma]), np.diff(bounds, prepend=0))

    def _paths(self, embeddings: NDArray[np.float32], order: NDArray[np.int64]) -> Ragged:
        """Each document's numbers, level by level. `order` are the documents' positions by hash."""
        learn = self._centroids is None
        centroids = self._centroids or {}
        paths: list[Route] = [()] * len(embeddings)
        open_: list[tuple[Route, NDArray[np.int64]]] = [((), order)]
        while open_:
            path, members = open_.pop()
            if learn and len(members) > self.options.leaf:
                found = self._parted(embeddings[members])
                if found is not None:
                    centroids[path] = found
            if path not in centroids:
                for number, document in enumerate(members.tolist()):
                    paths[document] = (*path, number)
                continue
            nearest = _nearest(embeddings[members], centroids[path])
            open_ += [((*path, c), members[nearest == c]) for c in np.unique(nearest).tolist()]
        self._centroids = centroids
        return Ragged.of(paths)

    def _parted(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Centroids of a cluster's parts; None where its documents can't be told apart."""
        from sklearn.cluster import KMeans as Clusters

        rng = np.random.default_rng(self.seed)
        drawn = np.sort(rng.permutation(len(embeddings))[: SAMPLE * self.options.branches])
        sample = embeddings[drawn]
        branches = min(self.options.branches, len(np.unique(sample, axis=0)))
        if branches < 2:
            return None
        clusters = Clusters(branches, n_init=1, random_state=self.seed).fit(sample)
        centroids: NDArray[np.float32] = clusters.cluster_centers_.astype(np.float32)
        parts = np.unique(_nearest(embeddings, centroids))
        return centroids if len(parts) > 1 else None

    def save(self, folder: Path) -> None:
        super().save(folder)
        centroids = self._centroids or {}
        (folder / "docid_clusters.json").write_text(json.dumps(list(centroids)), encoding="utf-8")
        sizes = np.cumsum([len(c) for c in centroids.values()], dtype=np.int64)
        write_array(folder / "docid_cluster_stops.npy", sizes)
        rows = np.concatenate([*centroids.values()]) if centroids else np.zeros((0, 0), np.float32)
        write_array(folder / "docid_centroids.npy", rows)

    def load(self, folder: Path) -> None:
        super().load(folder)
        paths = saved.parsed(folder / "docid_clusters.json", list[list[int]])
        rows = saved.mapped(folder / "docid_centroids.npy", "float32", dimensions=2)
        file = folder / "docid_cluster_stops.npy"
        stops = saved.mapped(file, "int64")
        saved.check_offsets(file, np.append(0, stops), len(paths), len(rows))
        parts = np.split(rows, stops[:-1]) if paths else []
        self._centroids = {tuple(path): part for path, part in zip(paths, parts, strict=True)}


def _nearest(rows: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest centroid of each row [rows]; of equally near ones the first."""
    distances = (centroids**2).sum(1) - 2 * (rows @ centroids.T)
    nearest: NDArray[np.int64] = distances.argmin(1)
    return nearest

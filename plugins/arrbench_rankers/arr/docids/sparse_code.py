"""docID scheme `sparse-code`: the atoms of a dictionary that make up a document's embedding."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from arrbench.options import BaseOptions
from arrbench.ranker import Corpus
from arrbench_rankers import saved
from arrbench_rankers.arr.docids.scheme import DocIdScheme, by_hash, texts
from arrbench_rankers.arr.ragged import Ragged, write_array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed

BATCH = 16_384  # documents coded at a time
FILE = "docid_dictionary.npy"


class SparseCodeOptions(BaseOptions):
    dictionary: int = Field(100, ge=1, description="atoms of the dictionary")
    nonzeros: int = Field(3, ge=1, description="atoms that code a document")

    @model_validator(mode="after")
    def _enough_atoms(self) -> SparseCodeOptions:
        if self.nonzeros > self.dictionary:
            raise ValueError(f"nonzeros={self.nonzeros} exceeds dictionary={self.dictionary} atoms")
        return self


class SparseCode(DocIdScheme):
    """The indices of a sparse code of the document's embedding, ascending: "25,36,39".

    Embeddings are centred and scaled to length 1; the dictionary is learnt on the first corpus by
    mini-batches and kept; orthogonal matching pursuit picks a document's atoms. Scheme of the ESCI
    task in arXiv 2601.05588. A corpus of fewer documents than atoms gets fewer atoms.
    """

    Options: ClassVar[type[BaseOptions]] = SparseCodeOptions
    libraries: ClassVar[tuple[str, ...]] = ("sklearn",)
    embeds: ClassVar[bool] = True
    joint: ClassVar[str] = ","
    options: SparseCodeOptions

    def __init__(self, options: BaseOptions, seed: int) -> None:
        super().__init__(options, seed)
        self._learnt: NDArray[np.float32] | None = None

    def words(self, corpus: Corpus) -> Iterable[str]:
        return [" ".join(map(str, range(self.options.dictionary))), ",", *super().words(corpus)]

    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        from arrbench_rankers.arr.docids.spelling import spelt

        embeddings = embed(texts(corpus))
        if self._learnt is None:
            self._learnt = self._learn(embeddings[by_hash(corpus)])
        atoms = self._atoms(embeddings, self._learnt)
        return spelt(tokenizer, [",".join(map(str, row)) for row in atoms])

    def _atoms(self, embeddings: NDArray[np.float32], learnt: NDArray[np.float32]) -> Ragged:
        """Each document's atoms, ascending; none for an embedding that is the mean itself."""
        from sklearn.decomposition import sparse_encode

        mean, dictionary = learnt[0], learnt[1:]
        most = min(self.options.nonzeros, len(dictionary))
        atoms, lengths = [], []
        for start in range(0, len(embeddings), BATCH):
            rows = _unit(embeddings[start : start + BATCH] - mean)
            with warnings.catch_warnings():  # that a residual came to nothing with fewer atoms
                warnings.simplefilter("ignore", RuntimeWarning)
                code = sparse_encode(rows, dictionary, algorithm="omp", n_nonzero_coefs=most)
            document, atom = np.nonzero(code)
            atoms.append(atom.astype(np.int32))
            lengths.append(np.bincount(document, minlength=len(rows)))
        return Ragged.cut(np.concatenate(atoms), np.concatenate(lengths))

    def _learn(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """The embeddings' mean, then the atoms [1 + atoms, width]."""
        from sklearn.decomposition import MiniBatchDictionaryLearning

        mean = embeddings.mean(0)
        atoms = min(self.options.dictionary, len(embeddings))
        learner = MiniBatchDictionaryLearning(
            atoms,
            transform_algorithm="omp",
            fit_algorithm="lars",
            batch_size=256,
            max_iter=10,
            random_state=self.seed,
        )
        drawn = np.random.default_rng(self.seed).permutation(len(embeddings))[: 200 * atoms]
        dictionary = learner.fit(_unit(embeddings[np.sort(drawn)] - mean)).components_
        return np.concatenate([mean[None], _unit(dictionary)]).astype(np.float32)

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self._learnt is not None:
            write_array(folder / FILE, self._learnt)

    def load(self, folder: Path) -> None:
        super().load(folder)
        self._learnt = np.array(saved.mapped(folder / FILE, "float32", dimensions=2))


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)

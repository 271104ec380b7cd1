"""Dual encoder: query and document are embedded apart and scored by their inner product."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench_rankers import backbones
from arrbench_rankers.checkpoint import Checkpoint
from arrbench_rankers.dense_index import DenseIndex, Kind, check_code_bytes, check_kind
from arrbench_rankers.embedding_file import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from arrbench.task import Split


AUDITED = 1000  # queries whose exact neighbours are searched
TINY_DIM = 128
ACTIVATIONS_GIB = 2.0
ACTIVATIONS = (
    "GiB of a step's activations that are kept for its backward pass; what is beyond is computed again then, "
    "for the same gradients"
)


class DualEncoderOptions(BaseOptions):
    backbone: str = Field(
        default="tiny",
        description="`tiny`, a Hugging Face id, a local folder or a GGUF file; a sentence-transformers "
        "checkpoint keeps its pooling, normalisation, prompts and length",
    )
    dim: int | None = Field(
        default=None,
        ge=2,
        description="length of an embedding; by default the backbone's own, and 128 for `tiny`. Another one "
        "takes a projection, which is trained",
    )
    alpha: float = Field(
        default=2.0, ge=0, description="the r-th ranked document weighs 1/r^alpha in the loss"
    )
    epochs: int = Field(default=12, ge=0, description="passes over the training queries")
    batch: int = Field(default=32, ge=1, description="queries a step")
    learning_rate: float = Field(
        default=3e-3, gt=0, description="peak, after a linear warm-up; about 2e-5 suits a pretrained backbone"
    )
    documents: int = Field(
        default=2048, ge=1, description="documents in the softmax of a step; a sample beyond"
    )
    length: int | None = Field(
        default=None,
        ge=1,
        description="tokens of a text, at most what the backbone reads; the rest is cut. By default a "
        "sentence-transformers checkpoint's own, otherwise 256",
    )
    activations_gib: float = Field(default=ACTIVATIONS_GIB, gt=0, description=ACTIVATIONS)
    index: Kind = Field(default="flat", description="how FAISS searches: flat is exact, the others are not")
    links: int = Field(default=32, ge=2, description="hnsw: links of a document in a layer (M)")
    ef_search: int = Field(default=128, ge=1, description="hnsw: documents kept while searching (efSearch)")
    nprobe: int = Field(default=32, ge=1, description="ivf, ivfpq: inverted lists read for a query")
    code_bytes: int = Field(default=32, ge=1, description="ivfpq: bytes of an embedding; they divide dim")

    @model_validator(mode="after")
    def _fit_the_index(self) -> DualEncoderOptions:
        check_kind(self, {n: f.default for n, f in DualEncoderOptions.model_fields.items()})
        if self.dim or self.backbone == backbones.TINY:
            check_code_bytes(self, self.dim or TINY_DIM)
        return self


class DualEncoder(Ranker):
    """A sentence-transformers model trained with the position-weighted softmax; documents in FAISS."""

    Options = DualEncoderOptions
    libraries: ClassVar[tuple[str, ...]] = (
        "torch",
        "sentence_transformers",
        "transformers.models.llama.modeling_llama",
        "accelerate",
        "faiss",
    )
    options: DualEncoderOptions
    tuning = "scale of scores, alpha, learning rate, batch, epochs: 9 settings on dev nDCG@10"

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        self._model: Any = None
        self._length = 0  # tokens of a text that are read
        self._index: Any = None
        self._ids: Any = None  # document ids, an array of str objects
        self._positions: Mapping[str, int] = {}

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """FAISS comes with an extra: its two builds overwrite each other's files."""
        if find_spec("faiss") is None:
            raise UsageError('ranker `de` needs FAISS: pip install "arrbench[cpu]" or "arrbench[gpu]"')

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """The backbone's, and its modules, which an id's commit says only where they were fetched.

        Raises UsageError where the options would measure a backbone below itself.
        """
        assert isinstance(options, DualEncoderOptions)
        read = backbones.weights(options.backbone, context)
        checkpoint = cls._checkpoint(options, context)
        return {**read, f"{options.backbone} modules": checkpoint.kinds} if checkpoint else read

    @staticmethod
    def _checkpoint(options: DualEncoderOptions, context: Context) -> Checkpoint | None:
        """The checkpoint that the backbone is, None for a backbone alone.

        Raises UsageError where nothing is trained and what makes an embedding would be random or a guess.
        """
        checkpoint = Checkpoint.of(options.backbone, context)
        if checkpoint:
            _check_index(options, options.dim or checkpoint.dimension)
        if options.epochs or options.backbone == backbones.TINY:
            return checkpoint
        if checkpoint is None:
            raise UsageError(
                f"backbone {options.backbone!r} has no modules.json, so nothing says how its tokens become "
                "an embedding, and epochs=0 trains nothing; give a sentence-transformers checkpoint, or "
                "epochs=1 or more"
            )
        if options.dim not in (None, checkpoint.dimension):
            raise UsageError(
                f"dim={options.dim} asks for a projection of the {checkpoint.dimension} numbers that "
                f"{options.backbone!r} gives, and epochs=0 leaves it random; leave dim out, or give "
                "epochs=1 or more"
            )
        return checkpoint

    @classmethod
    def learns(cls, options: BaseOptions) -> bool:
        return options.epochs > 0  # type: ignore[attr-defined]

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return backbones.inputs(options.backbone)  # type: ignore[attr-defined]

    def fit(self, train: Split, dev: Split) -> None:
        from arrbench_rankers.embedding_model import dimension, schedule, trained, with_answers
        from arrbench_rankers.untrained_encoder import untrained

        total = schedule(self.options).steps(len(with_answers(train).queries))

        def tell(step: int, figures: Mapping[str, float]) -> None:
            self.context.report("fit", step, total, **figures)

        checkpoint = self._checkpoint(self.options, self.context)
        model = untrained(self.options, checkpoint, train, self.context)
        _check_index(self.options, dimension(model))
        self._use(trained(model, self.options, train, dev, self.context, tell))

    def index(self, corpus: Corpus) -> None:
        if self._model is None:
            raise UsageError("ranker `de` has no model yet; fit it or load a saved one before index")
        from arrbench_rankers.embedding_model import dimension

        embedded = self._embedded(corpus)
        dim = dimension(self._model)
        self._hold(DenseIndex.build(self.options, dim, len(corpus), embedded, self.context), corpus.ids)

    def _embedded(self, corpus: Corpus) -> Iterator[np.ndarray[Any, Any]]:
        """Embeddings of a block of documents at a time: tokens and embeddings of no other are held."""
        from arrbench_rankers.embedding_model import embeddings

        for start in range(0, len(corpus), BLOCK):
            texts = [d.text for d in corpus[start : start + BLOCK]]
            yield embeddings(self._model, texts, self._length)
            self.context.report("index", start + len(texts), len(corpus))

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        from arrbench_rankers.embedding_model import embeddings

        if not queries:
            return []
        embedded = embeddings(self._model, [q.text for q in queries], self._length, "query")
        if all(q.candidates is None for q in queries):
            return self._search(embedded, k)
        return [
            self._search(embedded[i : i + 1], k)[0]
            if q.candidates is None
            else self._score(q, embedded[i], k)
            for i, q in enumerate(queries)
        ]

    def audit(self, queries: Sequence[Query], k: int) -> Mapping[str, float]:
        """`recall_against_flat@k` of an approximate index, over at most AUDITED of the queries that search.

        Nothing for `flat`, for queries with candidates, or where a loaded ivfpq has only its codes.
        """
        from arrbench_rankers.embedding_model import embeddings

        searched = [q.text for q in queries if q.candidates is None]
        if self.options.index == "flat" or not searched or k < 1:
            return {}
        some = searched[:: -(-len(searched) // AUDITED)]
        embedded = embeddings(self._model, some, self._length, "query")
        recall = self._index.recall_against_flat(embedded, k)
        return {} if recall is None else {f"recall_against_flat@{k}": recall}

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._model.save(str(folder / "model"), create_model_card=False)
        self._index.save(folder / "documents.faiss")
        (folder / "ids.json").write_text(json.dumps(self._ids.tolist()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        from arrbench_rankers.embedding_model import loaded

        ranker = super().load(folder, context)
        ranker._use(loaded(folder / "model", context))
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        kind, nprobe = ranker.options.index, ranker.options.nprobe
        ranker._hold(DenseIndex.load(kind, folder / "documents.faiss", nprobe, context), ids)
        return ranker

    def _use(self, model: Any) -> None:
        from arrbench_rankers.embedding_model import length_read

        self._model = model
        self._length = length_read(model, self.options.length)
        self.parameters = backbones.parameter_count(model)

    def _hold(self, index: DenseIndex, ids: Sequence[str]) -> None:
        import numpy as np

        self._index = index
        self._ids = np.array(ids, dtype=object)
        self._positions = {d: i for i, d in enumerate(ids)}
        self.index_bytes = index.nbytes
        if index.lists:
            self.facts["inverted_lists"] = index.lists
        if index.gpus:
            self.facts["faiss_gpus"] = index.gpus

    def _search(self, embedded: np.ndarray[Any, Any], k: int) -> list[Ranking]:
        scores, found = self._index.search(embedded, k)
        ids = self._ids[found].tolist()
        rankings = [Ranking(row, of_row) for row, of_row in zip(ids, scores.tolist(), strict=True)]
        if found[:, -1:].min(initial=0) < 0:  # an approximate index may come back with fewer than k
            counts = (found >= 0).sum(axis=1).tolist()
            return [Ranking(r.ids[:n], r.scores[:n]) for r, n in zip(rankings, counts, strict=True)]
        return rankings

    def _score(self, query: Query, embedded: np.ndarray[Any, Any], k: int) -> Ranking:
        """The candidates and only they, from the embeddings that the index holds: ivfpq's are approximate."""
        import numpy as np

        candidates = query.candidates or ()
        stored = self._index.embeddings([self._positions[d] for d in candidates])
        scores = stored @ embedded
        best = np.argsort(-scores, kind="stable")[:k]
        return Ranking([candidates[i] for i in best], scores[best].tolist())


def _check_index(options: DualEncoderOptions, dim: int) -> None:
    """Raises UsageError where embeddings of `dim` numbers don't fit the index."""
    try:
        check_code_bytes(options, dim)
    except ValueError as error:
        raise UsageError(f"backbone {options.backbone!r}: {error}") from None

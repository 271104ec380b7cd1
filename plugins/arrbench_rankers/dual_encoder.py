"""Dual encoder: query and document are embedded apart and scored by their inner product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench_rankers import backbones

if TYPE_CHECKING:
    from arrbench.task import Split


class DualEncoderOptions(BaseOptions):
    backbone: str = Field(default="tiny", description="`tiny`, a Hugging Face id or a local folder")
    dim: int = Field(default=128, ge=2, description="length of an embedding")
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
    length: int = Field(default=256, ge=1, description="tokens of a text; the rest is cut")


class DualEncoder(Ranker):
    """A sentence-transformers model trained with the position-weighted softmax; documents in FAISS."""

    Options = DualEncoderOptions
    libraries: ClassVar[tuple[str, ...]] = (
        "torch",
        "sentence_transformers",
        "transformers.models.llama.modeling_llama",
        "faiss",
    )
    options: DualEncoderOptions
    tuning = "scale of scores, alpha, learning rate, batch, epochs: 9 settings on dev nDCG@10"

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        self._model: Any = None
        self._index: Any = None
        self._ids: tuple[str, ...] = ()
        self._positions: Mapping[str, int] = {}

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """FAISS comes with an extra: its two builds overwrite each other's files."""
        if find_spec("faiss") is None:
            raise UsageError('ranker `de` needs FAISS: pip install "arrbench[cpu]" or "arrbench[gpu]"')

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return backbones.weights(options.backbone, context)  # type: ignore[attr-defined]

    def fit(self, train: Split, dev: Split) -> None:
        from arrbench_rankers.embedding_model import schedule, trained, with_answers

        total = schedule(self.options).steps(len(with_answers(train).queries))

        def tell(step: int, figures: Mapping[str, float]) -> None:
            self.context.report("fit", step, total, **figures)

        self._use(trained(self.options, train, dev, self.context, tell))

    def index(self, corpus: Corpus) -> None:
        import faiss

        from arrbench_rankers.embedding_model import embeddings

        if self._model is None:
            raise UsageError("ranker `de` has no model yet; fit it or load a saved one before index")
        documents = embeddings(self._model, [d.text for d in corpus], self.options.length)
        index = faiss.IndexFlatIP(self.options.dim)
        index.add(documents)
        self._hold(index, corpus.ids)

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        from arrbench_rankers.embedding_model import embeddings

        if not queries:
            return []
        embedded = embeddings(self._model, [q.text for q in queries], self.options.length)
        if all(q.candidates is None for q in queries):
            return self._search(embedded, k)
        return [
            self._search(embedded[i : i + 1], k)[0]
            if q.candidates is None
            else self._score(q, embedded[i], k)
            for i, q in enumerate(queries)
        ]

    def save(self, folder: Path) -> None:
        import json

        import faiss

        super().save(folder)
        self._model.save(str(folder / "model"), create_model_card=False)
        faiss.write_index(self._index, str(folder / "documents.faiss"))
        (folder / "ids.json").write_text(json.dumps(self._ids), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        import json

        import faiss

        from arrbench_rankers.embedding_model import loaded

        ranker = super().load(folder, context)
        ranker._use(loaded(folder / "model", context))
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        ranker._hold(faiss.read_index(str(folder / "documents.faiss")), tuple(ids))
        return ranker

    def _use(self, model: Any) -> None:
        self._model = model
        self.parameters = backbones.parameter_count(model)

    def _hold(self, index: Any, ids: tuple[str, ...]) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)
        self._index = index
        self._ids = ids
        self._positions = {d: i for i, d in enumerate(ids)}
        self.index_bytes = index.ntotal * index.d * 4

    def _search(self, embedded: Any, k: int) -> list[Ranking]:
        scores, found = self._index.search(embedded, min(k, len(self._ids)))
        return [
            Ranking([self._ids[i] for i in row], of_row)
            for row, of_row in zip(found.tolist(), scores.tolist(), strict=True)
        ]

    def _score(self, query: Query, embedded: Any, k: int) -> Ranking:
        """The candidates and only they, from the embeddings that the index holds."""
        import numpy as np

        candidates = query.candidates or ()
        stored = self._index.reconstruct_batch([self._positions[d] for d in candidates])
        scores = stored @ embedded
        best = np.argsort(-scores, kind="stable")[:k]
        return Ranking([candidates[i] for i in best], scores[best].tolist())

"""Cross encoder: query and document are read together, a forward pass for every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from arrbench.asking import ask
from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Query, Ranker, Ranking
from arrbench_rankers import backbones
from arrbench_rankers.dual_encoder import ACTIVATIONS, ACTIVATIONS_GIB, TINY_DIM, DualEncoderOptions
from arrbench_rankers.first_stage import handed_on

if TYPE_CHECKING:
    from arrbench.task import Split

EVERY_DOCUMENT = 1000  # documents up to which all are scored; beyond, a first stage's best
PAIRS = 20_000  # pairs of several queries that are sorted by length together
DEV_PAIRS = 6_000  # pairs that a dev measure may cost while training


class CrossEncoderOptions(BaseOptions):
    backbone: str = Field(
        default="tiny", description="`tiny`, a Hugging Face id, a local folder or a GGUF file"
    )
    alpha: float = Field(
        default=1.0, ge=0, description="the r-th ranked document weighs 1/r^alpha in the loss"
    )
    epochs: int = Field(default=2, ge=0, description="passes over the training queries, after the start")
    batch: int = Field(default=8, ge=1, description="queries a step")
    learning_rate: float = Field(
        default=5e-4, gt=0, description="peak, after a linear warm-up; about 2e-5 suits a pretrained backbone"
    )
    cross_penalty: float = Field(
        default=4.0, ge=0, description="attention between query and document is weaker by so many logits"
    )
    negatives: int = Field(default=12, ge=1, description="documents a query and pass that are not relevant")
    hard: float = Field(default=0.6, ge=0, le=1, description="share of them from the start's 30 best")
    start_epochs: int = Field(default=12, ge=0, description="passes of the dual encoder that it starts from")
    start_learning_rate: float = Field(
        default=3e-3, gt=0, description="peak for the dual encoder it starts from"
    )
    first: Literal["bm25"] = Field(default="bm25", description="first stage of a corpus of more than 1,000")
    depth: int = Field(default=100, ge=1, description="documents that the first stage hands on")
    length: int = Field(
        default=512, ge=16, description="tokens of a pair, at most half the query's; the rest is cut"
    )
    activations_gib: float = Field(default=ACTIVATIONS_GIB, gt=0, description=ACTIVATIONS)

    def start(self) -> DualEncoderOptions:
        """The dual encoder that the cross encoder's transformer starts from."""
        return DualEncoderOptions(
            backbone=self.backbone,
            dim=TINY_DIM,
            alpha=self.alpha,
            epochs=self.start_epochs,
            learning_rate=self.start_learning_rate,
            length=self.length // 2,
            activations_gib=self.activations_gib,
        )


class CrossEncoder(Ranker):
    """A sentence-transformers CrossEncoder that starts from a dual encoder and learns from its mistakes."""

    Options = CrossEncoderOptions
    libraries: ClassVar[tuple[str, ...]] = (
        "torch",
        "sentence_transformers",
        "transformers.models.llama.modeling_llama",
        "accelerate",
    )
    options: CrossEncoderOptions
    tuning = (
        "head, cross_penalty, alpha, learning rate, batch, passes of the start and of its own: "
        "14 settings on dev nDCG@10"
    )

    def __init__(self, options: BaseOptions, context: Context) -> None:
        super().__init__(options, context)
        self._model: Any = None
        self._first: Ranker | None = None
        self._ids: tuple[str, ...] = ()
        self._positions: Mapping[str, int] = {}
        self._documents: list[list[int]] = []

    @classmethod
    def check(cls, options: BaseOptions) -> None:
        """On a pretrained backbone something is trained: its head is new, whatever the backbone is."""
        assert isinstance(options, CrossEncoderOptions)
        if options.backbone != backbones.TINY and not options.epochs and not options.start_epochs:
            raise UsageError(
                f"ranker `ce` puts a head of its own on backbone {options.backbone!r}, and with epochs=0 and "
                "start_epochs=0 it stays random; give either 1 or more"
            )

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return backbones.weights(options.backbone, context)  # type: ignore[attr-defined]

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return backbones.inputs(options.backbone)  # type: ignore[attr-defined]

    @classmethod
    def learns(cls, options: BaseOptions) -> bool:
        return options.epochs + options.start_epochs > 0  # type: ignore[attr-defined]

    def fit(self, train: Split, dev: Split) -> None:
        from arrbench_rankers.embedding_model import schedule, trained, with_answers
        from arrbench_rankers.encoder_training import Schedule
        from arrbench_rankers.encoder_training import train as run
        from arrbench_rankers.pair_encoder import in_dtype, started_from
        from arrbench_rankers.pair_training import RankedPairs
        from arrbench_rankers.untrained_encoder import untrained_start

        options, context = self.options, self.context
        judged = with_answers(train)
        own = Schedule(options.epochs, options.batch, options.learning_rate)
        before = schedule(options.start()).steps(len(judged.queries))
        total = before + own.steps(len(judged.queries))

        def tell(step: int, figures: Mapping[str, float]) -> None:
            context.report("fit", step, total, **figures)

        in_full = replace(context, dtype="float32")
        start = untrained_start(options, train, context)
        start = trained(start, options.start(), train, dev, in_full, tell)
        self._use(started_from(start, options, in_full))
        loss = RankedPairs(self._model, start, judged, options, context.seed, context.dtype)
        del start  # what it knows is in the model by now
        self.index(dev.corpus)
        run(
            loss,
            len(judged.queries),
            own,
            context,
            lambda step, f: tell(before + step, f),
            self._measure(dev),
        )
        in_dtype(self._model, context)

    def index(self, corpus: Corpus) -> None:
        if self._model is None:
            raise UsageError("ranker `ce` has no model yet; fit it or load a saved one before index")
        first: Ranker | None = None
        if len(corpus) > EVERY_DOCUMENT:
            from arrbench_rankers.bm25 import BM25

            first = BM25(BM25.Options(), self.context)
            first.index(corpus)
        self._hold(corpus.ids, self._model[0].document_ids([d.text for d in corpus]), first)

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        from arrbench_rankers.pair_encoder import pair_scores

        asked = self._model[0].query_ids([q.text for q in queries]) if queries else []
        rankings: list[Ranking] = []
        work = list(zip(asked, self._to_score(queries), strict=True))
        for group in _groups(work):
            scores = pair_scores(
                self._model,
                [query for query, positions in group for _ in positions],
                [self._documents[position] for _, positions in group for position in positions],
            )
            for _, positions in group:
                own, scores = scores[: len(positions)], scores[len(positions) :]
                rankings.append(self._best(positions, own, k))
        return rankings

    def save(self, folder: Path) -> None:
        import json

        import numpy as np

        super().save(folder)
        self._model.save(str(folder / "model"), create_model_card=False)
        lengths = [len(tokens) for tokens in self._documents]
        np.savez(
            folder / "documents.npz",
            tokens=np.array([t for tokens in self._documents for t in tokens], dtype=np.int32),
            ends=np.cumsum(lengths, dtype=np.int64),
        )
        (folder / "ids.json").write_text(json.dumps(self._ids), encoding="utf-8")
        if self._first is not None:
            self._first.save(folder / "first")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        import json

        import numpy as np

        from arrbench_rankers.pair_encoder import loaded

        ranker = super().load(folder, context)
        ranker._use(loaded(folder / "model", ranker.options, context))
        with np.load(folder / "documents.npz", allow_pickle=False) as arrays:
            documents = [part.tolist() for part in np.split(arrays["tokens"], arrays["ends"][:-1])]
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        ranker._hold(tuple(ids), documents, _saved_first_stage(folder / "first", context))
        return ranker

    def _use(self, model: Any) -> None:
        self._model = model
        self.parameters = backbones.parameter_count(model)

    def _hold(self, ids: tuple[str, ...], documents: list[list[int]], first: Ranker | None) -> None:
        self._ids = ids
        self._positions = {d: i for i, d in enumerate(ids)}
        self._documents = documents
        self._first = first
        tokens = sum(len(tokens) for tokens in documents)
        self.index_bytes = 4 * tokens + 8 * len(documents) + ((first.index_bytes or 0) if first else 0)

    def _measure(self, dev: Split) -> Callable[[], float]:
        """nDCG@10 on as many dev queries as DEV_PAIRS allows, through the ranker's own rank."""
        from arrbench_rankers.dev_measure import CUTOFF, ndcg_at_10

        each = max((len(positions) for positions in self._to_score(dev.queries)), default=1)
        some = replace(dev, queries=dev.queries[: max(1, DEV_PAIRS // max(1, each))])
        return lambda: ndcg_at_10(ask(self.rank, some.queries, CUTOFF), some)

    def _to_score(self, queries: Sequence[Query]) -> list[Sequence[int]]:
        """Positions of the documents to score: the candidates, every document, or the first stage's."""
        at = self._positions
        if self._first is None:
            everything = range(len(self._ids))
            return [everything if q.candidates is None else [at[d] for d in q.candidates] for q in queries]
        searching = [q for q in queries if q.candidates is None]
        pools = iter(handed_on(self._first, searching, self.options.depth))
        return [[at[d] for d in (next(pools) if q.candidates is None else q.candidates)] for q in queries]

    def _best(self, positions: Sequence[int], scores: Sequence[float], k: int) -> Ranking:
        order = sorted(range(len(positions)), key=lambda i: -scores[i])[:k]
        return Ranking([self._ids[positions[i]] for i in order], [scores[i] for i in order])


def _saved_first_stage(folder: Path, context: Context) -> Ranker | None:
    if not folder.is_dir():
        return None
    from arrbench_rankers.bm25 import BM25

    first: Ranker = BM25.load(folder, context)
    return first


def _groups(
    work: Sequence[tuple[list[int], Sequence[int]]],
) -> Iterator[Sequence[tuple[list[int], Sequence[int]]]]:
    """Queries with their documents, in groups of about PAIRS pairs."""
    start = pairs = 0
    for end, (_, positions) in enumerate(work, start=1):
        pairs += len(positions)
        if pairs >= PAIRS or end == len(work):
            yield work[start:end]
            start, pairs = end, 0

"""The dual encoder's model: a sentence-transformers pipeline, its embeddings and its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from arrbench.asking import needed
from arrbench.ranker import Context, Query, Ranking
from arrbench.task import Split
from arrbench_rankers.backbones import load_encoder, load_tokenizer, make_bidirectional
from arrbench_rankers.dev_measure import CUTOFF, bounded, ndcg_at_10
from arrbench_rankers.encoder_training import Schedule, train
from arrbench_rankers.losses import EXCLUDED, position_weighted_softmax
from arrbench_rankers.token_batches import by_length, padded, token_ids

if TYPE_CHECKING:
    from arrbench_rankers.dual_encoder import DualEncoderOptions

Tell = Callable[[int, Mapping[str, float]], None]


def transformer(backbone: str, split: Split, context: Context) -> Transformer:
    """The backbone as the first module of a sentence-transformers pipeline, in float32.

    The library builds its module from a folder only, so the backbone passes through a temporary one.
    """
    texts = [text for d in split.corpus for text in (d.title, d.text)] + [q.text for q in split.queries]
    tokenizer = load_tokenizer(backbone, texts, (d.title for d in split.corpus), context)
    tokenizer.padding_side = "right"
    with TemporaryDirectory() as folder:
        load_encoder(backbone, tokenizer, replace(context, dtype="float32")).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        module: Transformer = Transformer(
            folder, model_kwargs={"use_safetensors": True, "dtype": torch.float32}
        )
    make_bidirectional(module.model)
    module.model.name_or_path = module.model.config._name_or_path = backbone
    return module


def pipeline(backbone: str, dim: int, split: Split, context: Context) -> SentenceTransformer:
    """Backbone, mean over tokens, projection to `dim`; untrained but for what the backbone brings."""
    body = transformer(backbone, split, context)
    hidden = body.get_embedding_dimension()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        projection = Dense(hidden, dim, bias=False, activation_function=nn.Identity())
    with torch.no_grad():
        projection.linear.weight *= dim**-0.25  # inner products then start out divided by sqrt(dim)
    return SentenceTransformer(modules=[body, Pooling(hidden), projection], device=context.device)


def loaded(folder: Path, context: Context) -> SentenceTransformer:
    """A saved pipeline, in the context's dtype and on its device, run by the context's threads."""
    torch.set_num_threads(context.threads)
    model = SentenceTransformer(
        str(folder),
        device=context.device,
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
    )
    make_bidirectional(model)
    model.to(getattr(torch, context.dtype))
    model.eval()
    return model


def embed(model: SentenceTransformer, ids: Sequence[Sequence[int]]) -> Tensor:
    """Embeddings of tokenized texts, shape (texts, dim), as the model's encode gives them.

    The modules are called directly: encode's conveniences cost a third of a query's time.
    """
    if not ids:
        return torch.empty(0, model.get_embedding_dimension() or 0, device=model.device)
    parts, order = [], []
    for rows in by_length([len(row) for row in ids], model.device):
        chosen = [ids[row] for row in rows]
        features = {
            "input_ids": padded(chosen, model.tokenizer.pad_token_id, model.device),
            "attention_mask": padded([[1] * len(row) for row in chosen], 0, model.device),
        }
        parts.append(model(features)["sentence_embedding"])
        order += rows
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts)[back.to(parts[0].device)]


@torch.inference_mode()
def embeddings(model: SentenceTransformer, texts: Sequence[str], length: int) -> np.ndarray[Any, Any]:
    """Embeddings of texts cut at `length` tokens, float32, shape (texts, dim)."""
    ids = token_ids(model.tokenizer, texts, length)
    return np.ascontiguousarray(embed(model, ids).float().cpu().numpy())


class CorpusSoftmax(nn.Module):
    """Position-weighted softmax of queries over the whole corpus, or over a sample of it a step."""

    def __init__(
        self, model: SentenceTransformer, split: Split, options: DualEncoderOptions, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.alpha = options.alpha
        self.sample = options.documents
        self.random = np.random.default_rng(seed)
        at = split.corpus.positions
        self.queries = token_ids(model.tokenizer, [q.text for q in split.queries], options.length)
        self.length = options.length
        self.corpus = split.corpus
        self.tokens = self._tokens(range(len(self.corpus))) if len(self.corpus) <= self.sample else None
        self.ranked = [[at[d] for d in split.judgments.ranked(q.id)] for q in split.queries]
        self.excluded = [[at[d] for d in q.excluded if d in at] for q in split.queries]
        self.candidates = [[at[d] for d in q.candidates or ()] for q in split.queries]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        chosen = rows.tolist()
        documents = self._documents(chosen)
        queries = embed(self.model, [self.queries[row] for row in chosen])
        scores = queries @ embed(self.model, self.tokens or self._tokens(documents)).T
        ranks = self._ranks(chosen, documents).to(scores.device)
        return {"loss": position_weighted_softmax(scores, ranks, self.alpha)}

    def _tokens(self, documents: Iterable[int]) -> list[list[int]]:
        """Tokens of documents; of a large corpus those of a step alone, for all of them fill memory."""
        texts = [self.corpus[d].text for d in documents]
        return token_ids(self.model.tokenizer, texts, self.length)

    def _documents(self, rows: Iterable[int]) -> list[int]:
        """All documents, or those of these queries and as many random ones as the sample holds."""
        if len(self.corpus) <= self.sample:
            return list(range(len(self.corpus)))
        own = {d for row in rows for d in (*self.ranked[row], *self.candidates[row])}
        drawn = self.random.choice(len(self.corpus), self.sample, replace=False).tolist()
        others = [d for d in drawn if d not in own][: max(0, self.sample - len(own))]
        return sorted({*own, *others})

    def _ranks(self, rows: Sequence[int], documents: Sequence[int]) -> Tensor:
        column = {d: i for i, d in enumerate(documents)}
        ranks = torch.zeros(len(rows), len(documents), dtype=torch.long)
        for i, row in enumerate(rows):
            for d in self.excluded[row]:
                if d in column:
                    ranks[i, column[d]] = EXCLUDED
            for rank, d in enumerate(self.ranked[row], start=1):
                ranks[i, column[d]] = rank
        return ranks


def trained(
    options: DualEncoderOptions, split: Split, dev: Split, context: Context, tell: Tell
) -> SentenceTransformer:
    """A dual encoder trained on a split's queries that have a relevant document, in the context's dtype.

    What it tells of itself as dev_ndcg is nDCG@10 over the dev split's `bounded` corpus.
    """
    torch.set_num_threads(context.threads)
    judged = with_answers(split)
    model = pipeline(options.backbone, options.dim, split, context)
    loss = CorpusSoftmax(model, judged, options, context.seed)
    measured = bounded(dev, context.seed)

    def measure() -> float:
        documents = embeddings(model, [d.text for d in measured.corpus], options.length)
        queries = embeddings(model, [q.text for q in measured.queries], options.length)
        return ndcg_at_10(rankings(queries @ documents.T, measured), measured) if dev.queries else 0.0

    train(loss, len(judged.queries), schedule(options), context, tell, measure)
    model.to(getattr(torch, context.dtype))
    model.eval()
    return model


def with_answers(split: Split) -> Split:
    """The split without the queries that have no relevant document: they have no loss."""
    return replace(split, queries=tuple(q for q in split.queries if split.judgments.ranked(q.id)))


def schedule(options: DualEncoderOptions) -> Schedule:
    return Schedule(options.epochs, options.batch, options.learning_rate)


def rankings(scores: np.ndarray[Any, Any], split: Split) -> list[Ranking]:
    """Rankings of a split's queries from scores of all documents: its candidates, or the best ones."""
    return [_ranking(query, row, split) for query, row in zip(split.queries, scores, strict=True)]


def _ranking(query: Query, scores: np.ndarray[Any, Any], split: Split) -> Ranking:
    if query.candidates is None:
        k = min(needed(query, CUTOFF), len(scores))
        best = np.argpartition(-scores, k - 1)[:k]
    else:
        best = np.array([split.corpus.positions[d] for d in query.candidates])
    return Ranking([split.corpus.ids[i] for i in best], scores[best].tolist())

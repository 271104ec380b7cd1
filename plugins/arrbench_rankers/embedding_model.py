"""The dual encoder's model: a sentence-transformers pipeline, its embeddings and its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from arrbench.asking import needed
from arrbench.ranker import Context, Query, Ranking
from arrbench.task import Split
from arrbench_rankers.activation_budget import ActivationBudget
from arrbench_rankers.backbones import load_encoder, load_tokenizer, make_bidirectional, module_arguments
from arrbench_rankers.checkpoint import Checkpoint
from arrbench_rankers.dev_measure import CUTOFF, bounded, ndcg_at_10
from arrbench_rankers.encoder_training import Schedule, train
from arrbench_rankers.losses import EXCLUDED, position_weighted_softmax
from arrbench_rankers.token_batches import by_length, padded, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.dual_encoder import DualEncoderOptions

Tell = Callable[[int, Mapping[str, float]], None]
Kind = Literal["query", "document"]
PROMPTS: Mapping[Kind, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
COSINE_SCALE = 20.0  # of cosines in the loss, which lie too close together; sentence-transformers' default


def transformer(backbone: str, tokenizer: PreTrainedTokenizerFast, context: Context) -> Transformer:
    """The backbone as the first module of a sentence-transformers pipeline, in float32.

    The library builds its module from a folder only, so the backbone passes through a temporary one.
    """
    tokenizer.padding_side = "right"
    with TemporaryDirectory() as folder:
        load_encoder(backbone, tokenizer, replace(context, dtype="float32")).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        module: Transformer = Transformer(folder, **module_arguments())
    make_bidirectional(module.model)
    module.model.name_or_path = module.model.config._name_or_path = backbone
    return module


def tokenizer_of(backbone: str, split: Split, context: Context) -> PreTrainedTokenizerFast:
    """The backbone's tokenizer; that of `tiny` is made of the split's texts."""
    texts = [text for d in split.corpus for text in (d.title, d.text)] + [q.text for q in split.queries]
    return load_tokenizer(backbone, texts, (d.title for d in split.corpus), context)


def pipeline(
    backbone: str,
    dim: int | None,
    split: Split,
    context: Context,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> SentenceTransformer:
    """Backbone, mean over tokens, projection to `dim` unless None; trained as far as the backbone is.

    Its embeddings are compared by their inner product. `tokenizer` is the backbone's, where it is known.
    """
    body = transformer(backbone, tokenizer or tokenizer_of(backbone, split, context), context)
    hidden = body.get_embedding_dimension()
    modules: list[nn.Module] = [body, Pooling(hidden)]
    if dim is not None:
        modules.append(projection(hidden, dim, context.seed))
    return SentenceTransformer(modules=modules, device=context.device, similarity_fn_name="dot")


def projection(width: int, dim: int, seed: int) -> Dense:
    """A random projection from `width` numbers to `dim`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Dense(width, dim, bias=False, activation_function=nn.Identity())
    with torch.no_grad():
        made.linear.weight *= dim**-0.25  # inner products then start out divided by sqrt(dim)
    return made


def length_read(model: SentenceTransformer, asked: int | None) -> int:
    """Tokens of a text that are read: as many as asked for, at most the model's own."""
    most = int(model.max_seq_length or 0)
    return min(asked or most, most)


def dimension(model: SentenceTransformer) -> int:
    """The length of its embeddings."""
    return int(model.get_embedding_dimension() or 0)


def loaded(folder: Path, context: Context) -> SentenceTransformer:
    """A saved pipeline, in the context's dtype and on its device, run by the context's threads.

    Raises UsageError for one that can't be loaded, or only with code of its own.
    """
    torch.set_num_threads(context.threads)
    model = Checkpoint.at(folder).load(context)
    model.to(getattr(torch, context.dtype))
    return model


def prompt(model: SentenceTransformer, kind: Kind) -> str:
    """What the model wants before every text of a kind; mostly nothing."""
    return next((p for name in PROMPTS[kind] if (p := model.prompts.get(name))), "")


def tokens(
    model: SentenceTransformer, texts: Sequence[str], length: int, kind: Kind = "document"
) -> list[list[int]]:
    """Tokens of texts behind the model's prompt for their kind, cut at `length`."""
    before = prompt(model, kind)
    return token_ids(model.tokenizer, [before + text for text in texts] if before else texts, length)


def not_pooled(model: SentenceTransformer, kind: Kind) -> int:
    """How many tokens at a text's begin belong to a prompt that the model's pooling leaves out."""
    before = prompt(model, kind)
    if not before or all(module.include_prompt for module in model if isinstance(module, Pooling)):
        return 0
    ids = token_ids(model.tokenizer, [before], length_read(model, None))[0]
    return len(ids) - (ids[-1] in model.tokenizer.all_special_ids)  # without a closing token


def embed(
    model: SentenceTransformer,
    ids: Sequence[Sequence[int]],
    kind: Kind = "document",
    budget: ActivationBudget | None = None,
) -> Tensor:
    """Embeddings of tokenized texts, shape (texts, dim), as the model's encode gives them.

    The modules are called directly: encode's conveniences cost a third of a query's time. `budget` bounds
    what is kept for a backward pass.
    """
    if not ids:
        return torch.empty(0, dimension(model), device=model.device)
    left_out = not_pooled(model, kind)
    parts, order = [], []
    for rows in by_length([len(row) for row in ids], model.device, budget.most if budget else None):
        chosen = [ids[row] for row in rows]
        features: dict[str, Any] = {
            "input_ids": padded(chosen, model.tokenizer.pad_token_id or 0, model.device),
            "attention_mask": padded([[1] * len(row) for row in chosen], 0, model.device),
        }
        if left_out:
            features["prompt_length"] = left_out
        forward = partial(_embedding, model, features)
        parts.append(budget.run(forward, *features["input_ids"].shape) if budget else forward())
        order += rows
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts)[back.to(parts[0].device)]


def _embedding(model: SentenceTransformer, features: Mapping[str, Any]) -> Tensor:
    embedding: Tensor = model({**features})["sentence_embedding"]  # the modules write into what they get
    return embedding


@torch.inference_mode()
def embeddings(
    model: SentenceTransformer, texts: Sequence[str], length: int, kind: Kind = "document"
) -> np.ndarray[Any, Any]:
    """Embeddings of texts cut at `length` tokens, float32, shape (texts, dim)."""
    ids = tokens(model, texts, length, kind)
    return np.ascontiguousarray(embed(model, ids, kind).float().cpu().numpy())


class CorpusSoftmax(nn.Module):
    """Position-weighted softmax of queries over the whole corpus, or over a sample of it a step."""

    def __init__(
        self,
        model: SentenceTransformer,
        split: Split,
        options: DualEncoderOptions,
        seed: int,
        budget: ActivationBudget | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.budget = budget
        self.scale = loss_scale(model)
        self.alpha = options.alpha
        self.sample = options.documents
        self.random = np.random.default_rng(seed)
        at = split.corpus.positions
        self.length = length_read(model, options.length)
        self.queries = tokens(model, [q.text for q in split.queries], self.length, "query")
        self.corpus = split.corpus
        self.tokens = self._tokens(range(len(self.corpus))) if len(self.corpus) <= self.sample else None
        self.ranked = [[at[d] for d in split.judgments.ranked(q.id)] for q in split.queries]
        self.excluded = [[at[d] for d in q.excluded if d in at] for q in split.queries]
        self.candidates = [[at[d] for d in q.candidates or ()] for q in split.queries]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        chosen = rows.tolist()
        documents = self._documents(chosen)
        if self.budget:
            self.budget.start()
        queries = embed(self.model, [self.queries[row] for row in chosen], "query", self.budget)
        texts = self.tokens or self._tokens(documents)
        scores = self.scale * (queries @ embed(self.model, texts, "document", self.budget).T)
        ranks = self._ranks(chosen, documents).to(scores.device)
        return {"loss": position_weighted_softmax(scores, ranks, self.alpha)}

    def _tokens(self, documents: Iterable[int]) -> list[list[int]]:
        """Tokens of documents; of a large corpus those of a step alone, for all of them fill memory."""
        return tokens(self.model, [self.corpus[d].text for d in documents], self.length)

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


def loss_scale(model: SentenceTransformer) -> float:
    """What inner products are multiplied by in the loss, so that a softmax over them can learn.

    A projection of ours starts out scaled; cosines are spread, and means over tokens divided by sqrt(dim).
    """
    if isinstance(model[-1], Normalize):
        return COSINE_SCALE
    if isinstance(model[-1], Pooling):
        return float(dimension(model) ** -0.5)
    return 1.0


def trained(
    model: SentenceTransformer,
    options: DualEncoderOptions,
    split: Split,
    dev: Split,
    context: Context,
    tell: Tell,
) -> SentenceTransformer:
    """The model trained on a split's queries that have a relevant document, in the context's dtype.

    What it tells of itself as dev_ndcg is nDCG@10 over the dev split's `bounded` corpus.
    """
    judged = with_answers(split)
    body: Any = model[0]
    budget = ActivationBudget(body.model.config, options.activations_gib, getattr(torch, context.dtype))
    loss = CorpusSoftmax(model, judged, options, context.seed, budget)
    measured = bounded(dev, context.seed)

    def measure() -> float:
        documents = embeddings(model, [d.text for d in measured.corpus], loss.length)
        queries = embeddings(model, [q.text for q in measured.queries], loss.length, "query")
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

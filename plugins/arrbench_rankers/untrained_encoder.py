"""Encoders before they are trained: their modules, and whether training them would fit into memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

from arrbench.ranker import Context
from arrbench.task import Split
from arrbench_rankers.backbones import TINY, load_config
from arrbench_rankers.checkpoint import Checkpoint
from arrbench_rankers.dual_encoder import TINY_DIM, DualEncoderOptions
from arrbench_rankers.embedding_model import length_read, pipeline, projection, tokenizer_of, with_answers
from arrbench_rankers.encoder_memory import check_dual_fits, check_pairs_fit
from arrbench_rankers.pair_training import CPU_PAIRS
from arrbench_rankers.token_batches import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.cross_encoder import CrossEncoderOptions

PLAIN_LENGTH = 256  # tokens of a text, where neither the options nor the backbone say anything


def of_checkpoint(checkpoint: Checkpoint, dim: int | None, context: Context) -> SentenceTransformer:
    """A checkpoint's own modules, prompts and length; a projection where `dim` isn't its dimension.

    Embeddings that the checkpoint compares by cosine are normalised, after a projection, too.
    """
    model = checkpoint.load(context)
    cosine = checkpoint.similarity == "cosine" or isinstance(model[-1], Normalize)
    if dim not in (None, checkpoint.dimension):
        model.append(projection(checkpoint.dimension, dim, context.seed).to(context.device))
    if cosine and not isinstance(model[-1], Normalize):
        model.append(Normalize())
    return model


def untrained(
    options: DualEncoderOptions, checkpoint: Checkpoint | None, split: Split, context: Context
) -> SentenceTransformer:
    """The dual encoder of these options; its max_seq_length is that of the texts that it reads.

    A backbone that says nothing of embeddings has the mean over its tokens; `tiny` is always projected.
    Raises UsageError where training it would not fit into memory.
    """
    torch.set_num_threads(context.threads)
    backbone = checkpoint.transformer if checkpoint else options.backbone
    tokenizer = tokenizer_of(backbone, split, context)
    config = load_config(backbone, tokenizer, context)
    most = most_tokens(checkpoint, tokenizer, config)
    length = min(options.length or (most if checkpoint else PLAIN_LENGTH), most)
    check_dual_fits(options, config, tokenizer, length, with_answers(split), context)
    if checkpoint:
        model = of_checkpoint(checkpoint, options.dim, context)
    elif backbone == TINY:
        model = pipeline(backbone, options.dim or TINY_DIM, split, context, tokenizer)
    else:
        dim = None if options.dim == config.get_text_config().hidden_size else options.dim
        model = pipeline(backbone, dim, split, context, tokenizer)
    model.max_seq_length = length_read(model, length)
    return model


def most_tokens(checkpoint: Checkpoint | None, tokenizer: PreTrainedTokenizerFast, config: Any) -> int:
    """Tokens of a text that a backbone reads at most, by all that its files say of it."""
    said = [tokenizer.model_max_length, getattr(config.get_text_config(), "max_position_embeddings", None)]
    return min(int(n) for n in [*said, checkpoint and checkpoint.length] if n and n > 0)


def untrained_start(options: CrossEncoderOptions, split: Split, context: Context) -> SentenceTransformer:
    """The dual encoder that a cross encoder starts from: backbone, mean over tokens, projection.

    Raises UsageError where its training or the cross encoder's would not fit into memory.
    """
    torch.set_num_threads(context.threads)
    of_start = options.start()
    in_full = replace(context, dtype="float32")
    tokenizer = tokenizer_of(options.backbone, split, context)
    config = load_config(options.backbone, tokenizer, context)
    judged = with_answers(split)
    length = min(options.length // 2, most_tokens(None, tokenizer, config))
    check_dual_fits(of_start, config, tokenizer, length, judged, in_full)
    check_pairs_fit(options, config, tokenizer, _largest_step(options, judged, tokenizer, context), context)
    start = pipeline(options.backbone, of_start.dim, split, in_full, tokenizer)
    start.max_seq_length = length_read(start, length)
    return start


def _largest_step(
    options: CrossEncoderOptions, split: Split, tokenizer: PreTrainedTokenizerFast, context: Context
) -> list[tuple[int, int]]:
    """The forward passes, as pairs and tokens, of a step over the queries with the most ranked documents.

    A document not ranked is taken to be as long as the longest ranked one.
    """
    at = split.corpus.positions
    ranked = {q: [d for d in split.judgments.ranked(q.id) if d in at] for q in split.queries}
    chosen = sorted(split.queries, key=lambda q: -len(ranked[q]))[: options.batch]
    texts = [split.corpus.by_id(d).text for q in chosen for d in ranked[q]]
    if not texts:
        return []
    room = options.length // 2
    query, document = (
        max(map(len, token_ids(tokenizer, part, room))) for part in ([q.text for q in chosen], texts)
    )
    pools = [len(split.corpus) if q.candidates is None else len(q.candidates) for q in chosen]
    pairs = sum(
        max(len(ranked[q]), min(pool, len(ranked[q]) + options.negatives))
        for q, pool in zip(chosen, pools, strict=True)
    )
    size = CPU_PAIRS if torch.device(context.device).type == "cpu" else pairs
    return [(min(size, pairs - start), query + document) for start in range(0, pairs, size)]

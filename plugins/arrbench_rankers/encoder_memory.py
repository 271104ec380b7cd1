"""What training an encoder needs in memory, computed from its backbone's config and the lengths of texts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from transformers import AutoModel

from arrbench.ranker import Context, Query
from arrbench.task import Split
from arrbench_rankers.activation_budget import PASS_SHARE, ActivationBudget
from arrbench_rankers.token_batches import by_length, token_ids
from arrbench_rankers.training_memory import GIB, Need, available, refuse_unless_fits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.cross_encoder import CrossEncoderOptions
    from arrbench_rankers.dual_encoder import DualEncoderOptions

Thing = TypeVar("Thing")
QUERIES = 2048  # of a training split, among which the longest are looked for


def check_dual_fits(
    options: DualEncoderOptions,
    config: Any,
    tokenizer: PreTrainedTokenizerFast,
    length: int,
    split: Split,
    context: Context,
) -> None:
    """Raises UsageError, with the numbers and what would help, where training `de` can't fit into memory.

    Texts are cut at `length` tokens. A step is taken to read the longest queries, the documents of those with
    the most, and evenly spaced ones up to its sample.
    """
    if not options.epochs or not split.queries:
        return
    budget = ActivationBudget(config, options.activations_gib, getattr(torch, context.dtype))
    queries = _spread(split.queries, QUERIES)
    asked = token_ids(tokenizer, [q.text for q in queries], length)
    documents = _documents(options, split, queries)
    lengths = sorted(map(len, asked))[-options.batch :]
    lengths += [len(ids) for ids in token_ids(tokenizer, documents, length)]
    shapes = [
        (len(rows), lengths[rows[0]])
        for rows in by_length(lengths, torch.device(context.device), budget.most)
    ]
    _check(options, config, len(tokenizer), budget, shapes, "texts", context)


def check_pairs_fit(
    options: CrossEncoderOptions,
    config: Any,
    tokenizer: PreTrainedTokenizerFast,
    shapes: Sequence[tuple[int, int]],
    context: Context,
) -> None:
    """The same for `ce`, whose step has passes of `shapes`: pairs, and tokens of the longest pair."""
    if not options.epochs or not shapes:
        return
    budget = ActivationBudget(config, options.activations_gib, getattr(torch, context.dtype))
    _check(options, config, len(tokenizer), budget, shapes, "pairs", context)


def _check(
    options: DualEncoderOptions | CrossEncoderOptions,
    config: Any,
    vocabulary: int,
    budget: ActivationBudget,
    shapes: Sequence[tuple[int, int]],
    what: str,
    context: Context,
) -> None:
    computed, free = getattr(torch, context.dtype), available(torch.device(context.device))
    needed = Need.of(_parameters(config, vocabulary), 0, torch.float32, computed, budget.peak(shapes))
    spare = (free - needed.total + needed.activations) / GIB / (1 + 1 / PASS_SHARE)
    smaller = math.floor(10 * spare) / 10
    refuse_unless_fits(
        needed,
        free,
        options.backbone,
        context.device,
        f"{sum(n for n, _ in shapes)} {what} of up to {max(w for _, w in shapes)} tokens a step",
        [f"activations_gib={smaller:g}"] if smaller > 0 else [],
    )


def _documents(options: DualEncoderOptions, split: Split, queries: Sequence[Query]) -> list[str]:
    """Texts that a step reads: ranked documents and candidates of its queries come with any sample."""
    if len(split.corpus) <= options.documents:
        return [d.text for d in split.corpus]
    lists = [{*split.judgments.ranked(q.id), *(q.candidates or ())} for q in queries]
    own = set().union(*sorted(lists, key=len)[-options.batch :])
    drawn = [d for d in _spread(split.corpus, options.documents) if d.id not in own]
    own_texts = [split.corpus.by_id(d).text for d in own if d in split.corpus.positions]
    return own_texts + [d.text for d in drawn][: max(0, options.documents - len(own))]


def _spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most so many of them, evenly spaced."""
    count = min(most, len(things))
    return [things[i * len(things) // count] for i in range(count)]


def _parameters(config: Any, vocabulary: int) -> int:
    """Numbers in an encoder's transformer, counted on torch's meta device."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.vocab_size = max(text.vocab_size, vocabulary)
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModel.from_config(config).parameters())

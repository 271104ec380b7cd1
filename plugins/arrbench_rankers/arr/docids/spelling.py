"""From text to tokens for whole corpora, and numbers in digits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrbench_rankers.arr.docids.scheme import DIGITS
from arrbench_rankers.arr.ragged import DocId, Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BATCH = 10_000  # texts a call of the tokenizer: bounds the Python objects alive at a time


def spelt(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Ragged:
    """Each text's tokens, no special ones added."""
    core = tokenizer.backend_tokenizer
    core.no_truncation()
    core.no_padding()
    tokens, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for start in range(0, len(texts), BATCH):
        encoded = core.encode_batch_fast(list(texts[start : start + BATCH]), add_special_tokens=False)
        rows = [one.ids for one in encoded]
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        tokens.append(np.fromiter(chain.from_iterable(rows), np.int32, int(lengths[-1].sum())))
    return Ragged.cut(np.concatenate(tokens), np.concatenate(lengths))


def within(tokenizer: PreTrainedTokenizerFast, piece: str) -> DocId:
    """The tokens of a piece of text that stands behind a digit (alone, some tokenizers lead with a blank)."""
    alone, before, both = spelt(tokenizer, [piece, "0", f"0{piece}"])
    unknown = tokenizer.unk_token_id
    if both[: len(before)] == before and len(both) > len(before) and unknown not in both:
        return both[len(before) :]
    return alone


def digits(tokenizer: PreTrainedTokenizerFast) -> list[DocId] | None:
    """The tokens of 0 to 9; None where the tokenizer doesn't know them apart."""
    found = [within(tokenizer, digit) for digit in DIGITS]
    return found if len(set(found)) == len(DIGITS) and all(found) else None


def decimal(numbers: NDArray[np.int64], width: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Digits of numbers of 0 or more, one number after the other, and how many of each [numbers].

    With `width` a number has at least so many digits, zeros before it.
    """
    lengths = np.full(len(numbers), width, np.int64)
    rest = numbers // 10**width
    while rest.any():
        lengths += rest > 0
        rest //= 10
    stops = np.cumsum(lengths)
    found = np.empty(int(lengths.sum()), np.int64)
    rest = numbers.copy()
    for place in range(int(lengths.max(initial=0))):
        alive = np.flatnonzero(lengths > place)
        found[stops[alive] - 1 - place] = rest[alive] % 10
        rest //= 10
    return found, lengths


def pieces(numbers: NDArray[np.int64], alphabet: Sequence[DocId]) -> Ragged:
    """The tokens of each piece [numbers], given as a number of the alphabet."""
    known = Ragged.of(alphabet)
    lengths = known.lengths[numbers]
    shift = np.repeat(known.offsets[numbers] - np.cumsum(lengths) + lengths, lengths)
    return Ragged.cut(known.tokens[np.arange(len(shift)) + shift], lengths)


def regrouped(parts: Ragged, counts: NDArray[np.int64]) -> Ragged:
    """Neighbouring rows joined, so many each time [longer rows]."""
    return Ragged(parts.tokens, parts.offsets[np.append(0, np.cumsum(counts))])

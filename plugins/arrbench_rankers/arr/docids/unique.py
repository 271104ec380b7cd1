"""Codes become docIDs: no two alike, none empty, an end token where the scheme asks for one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrbench.errors import UsageError
from arrbench.ranker import Corpus
from arrbench_rankers.arr.docids.scheme import DocIdScheme, by_hash
from arrbench_rankers.arr.docids.spelling import digits, within
from arrbench_rankers.arr.ragged import DocId, Ragged
from arrbench_rankers.arr.trie import levels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed


@dataclass(frozen=True)
class Written:
    """One docID a document, in the corpus's order, and how many of them bear a number."""

    docids: Ragged
    numbered: int


def write(scheme: DocIdScheme, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Written:
    """The docIDs of a corpus: no two alike, none empty.

    Of the documents with one code, the first (by a hash of the document id) bears the bare code; each
    other one adds the scheme's `joint` and the next free number from 2 on, digit by digit ("bank",
    "bank 2", … "bank 1 2"). The shorter docID is the likelier one, for every query alike, where a model
    has not learnt which is meant; since a hash decides, that favours no document in the mean. Numbers
    for all of them would favour none either, but make all less likely where few numbers were taught. A
    code without a token becomes a number alone, from 1 on. An end token within a code would end the
    docID early, so it is left out.

    Raises UsageError for a corpus without documents, for codes that are too few or no tokens of the
    tokenizer, and for a tokenizer that lacks an end token where the scheme needs one, or the digits
    to keep two documents apart.
    """
    if not len(corpus):
        raise UsageError("the corpus holds no document; arr needs at least one to write a docID for")
    end = tokenizer.eos_token_id
    if scheme.closed and end is None:
        raise UsageError(
            f"the backbone's tokenizer ({tokenizer.name_or_path or type(tokenizer).__name__}) has no "
            "end-of-sequence token; docIDs need one, so choose a backbone that has it"
        )
    codes = scheme.codes(tokenizer, corpus, embed)
    if len(codes) != len(corpus):
        raise UsageError(
            f"docid {type(scheme).__name__} wrote {len(codes)} codes for {len(corpus)} documents; "
            "it must write one each"
        )
    if len(codes.tokens) and not 0 <= codes.tokens.min() <= codes.tokens.max() < len(tokenizer):
        raise UsageError(
            f"docid {type(scheme).__name__} wrote tokens from {codes.tokens.min()} to "
            f"{codes.tokens.max()}; the backbone's tokenizer has those from 0 to {len(tokenizer) - 1}"
        )
    if end is not None:
        codes = codes.kept(codes.tokens != end)
    suffixes, numbered = _numbers(scheme, tokenizer, corpus, codes)
    rows = len(codes)
    closing = [Ragged(np.full(rows, end, np.int32), np.arange(rows + 1))] if scheme.closed else []
    return Written(Ragged.beside(codes, suffixes, *closing), numbered)


def _numbers(
    scheme: DocIdScheme, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, codes: Ragged
) -> tuple[Ragged, int]:
    """What follows each code, mostly nothing, and how many codes something follows."""
    group = _groups(codes)
    order = np.array(by_hash(corpus))
    bare = np.zeros(len(codes), bool)
    bare[order[np.unique(group[order], return_index=True)[1]]] = True
    bare &= codes.lengths > 0
    alike = order[~bare[order]]
    suffixes: list[DocId] = [()] * len(alike)
    if len(alike):
        known = digits(tokenizer)
        if known is None:
            raise UsageError(
                f"two documents share the docID of title {corpus[int(alike[0])].title!r} (or it has no "
                "token), and the tokenizer doesn't know the digits 0 to 9 to number them; give a "
                "tokenizer that does"
            )
        joint = within(tokenizer, scheme.joint) if scheme.joint else ()
        suffixes = _free_numbers(codes, group, bare, alike, known, joint)
    lengths = np.zeros(len(codes), np.int64)
    place = np.sort(alike)
    of = dict(zip(alike.tolist(), suffixes, strict=True))
    in_order = Ragged.of([of[i] for i in place.tolist()])
    lengths[place] = in_order.lengths
    return Ragged.cut(in_order.tokens, lengths), len(alike)


def _groups(codes: Ragged) -> NDArray[np.int64]:
    """A number a row [rows], the same for equal rows: the prefix tree's node; 0 for empty ones."""
    group = np.zeros(len(codes), np.int64)
    first = 1
    for level in levels(codes):
        group[level.ended] = first + level.ends
        first += len(level.token)
    return group


def _free_numbers(
    codes: Ragged,
    group: NDArray[np.int64],
    bare: NDArray[np.bool_],
    alike: NDArray[np.int64],
    known: list[DocId],
    joint: DocId,
) -> list[DocId]:
    """For each of the documents alike, in order: the tokens of the first number free for its code."""
    taken = _ending_in(codes, bare, {digit[-1] for digit in known})
    numbers: Counter[int] = Counter()
    found: list[DocId] = []
    for i, of in zip(alike.tolist(), group[alike].tolist(), strict=True):
        code = codes[i]
        while True:
            numbers[of] += 1
            number = str(numbers[of] + bool(code))
            suffix = (joint if code else ()) + tuple(t for digit in number for t in known[int(digit)])
            docid = np.array(code + suffix, np.int32).tobytes()
            if docid not in taken:
                break
        taken.add(docid)
        found.append(suffix)
    return found


def _ending_in(codes: Ragged, rows: NDArray[np.bool_], last: set[int]) -> set[bytes]:
    """The rows of codes whose last token is one of some: all that a numbered docID could equal."""
    chosen = np.flatnonzero(rows)
    chosen = chosen[np.isin(codes.tokens[codes.offsets[chosen + 1] - 1], list(last))]
    return {codes.tokens[codes.offsets[i] : codes.offsets[i + 1]].tobytes() for i in chosen.tolist()}

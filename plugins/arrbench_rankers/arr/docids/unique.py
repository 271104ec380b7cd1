"""Codes become docIDs: no two alike, none empty, an end token where the scheme asks for one."""

from __future__ import annotations

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

    Where several documents have one code, each adds the scheme's `joint` and a number, digit by digit:
    from 1 on in the order of a hash of their ids, all with as many digits ("bank 1", "bank 2"; of twelve
    "bank 0 1" … "bank 1 2"). So none has the bare code, which would win every query by being shorter, and
    no id's look decides. A number that another docID bears is passed over. A code without a token becomes
    a number alone. An end token within a code would end the docID early, so it is left out.

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
    _, group, sizes = np.unique(_groups(codes), return_inverse=True, return_counts=True)
    alike = (sizes[group] > 1) | (codes.lengths == 0)
    order = np.array(by_hash(corpus))
    order = order[alike[order]]
    suffixes: dict[int, DocId] = {}
    if len(order):
        known = digits(tokenizer)
        if known is None:
            raise UsageError(
                f"two documents share the docID of title {corpus[int(order[0])].title!r} (or it has no "
                "token), and the tokenizer doesn't know the digits 0 to 9 to number them; give a "
                "tokenizer that does"
            )
        joint = within(tokenizer, scheme.joint) if scheme.joint else ()
        taken = _ending_in(codes, ~alike, {digit[-1] for digit in known})
        members: dict[int, list[int]] = {}
        for position, of in zip(order.tolist(), group[order].tolist(), strict=True):
            members.setdefault(of, []).append(position)
        for positions in members.values():
            code = codes[positions[0]]
            free = _free_numbers(code, len(positions), taken, known, joint if code else ())
            suffixes.update(zip(positions, free, strict=True))
    lengths = np.zeros(len(codes), np.int64)
    place = np.sort(order)
    in_order = Ragged.of([suffixes[i] for i in place.tolist()])
    lengths[place] = in_order.lengths
    return Ragged.cut(in_order.tokens, lengths), len(order)


def _groups(codes: Ragged) -> NDArray[np.int64]:
    """A number a row [rows], the same for equal rows: the prefix tree's node; 0 for empty ones."""
    group = np.zeros(len(codes), np.int64)
    first = 1
    for level in levels(codes):
        group[level.ended] = first + level.ends
        first += len(level.token)
    return group


def _free_numbers(
    code: DocId, count: int, taken: set[bytes], known: list[DocId], joint: DocId
) -> list[DocId]:
    """The tokens of the first `count` numbers of one length whose docIDs are free; they are `taken` then."""
    width = len(str(count))
    while True:
        free: dict[bytes, DocId] = {}
        for number in range(1, 10**width):
            suffix = joint + tuple(t for digit in str(number).zfill(width) for t in known[int(digit)])
            docid = np.array(code + suffix, np.int32).tobytes()
            if docid not in taken:
                free[docid] = suffix
            if len(free) == count:
                taken.update(free)
                return list(free.values())
        width += 1


def _ending_in(codes: Ragged, rows: NDArray[np.bool_], last: set[int]) -> set[bytes]:
    """The rows of codes whose last token is one of some: all that a numbered docID could equal."""
    chosen = np.flatnonzero(rows)
    chosen = chosen[np.isin(codes.tokens[codes.offsets[chosen + 1] - 1], list(last))]
    return {codes.tokens[codes.offsets[i] : codes.offsets[i + 1]].tobytes() for i in chosen.tolist()}

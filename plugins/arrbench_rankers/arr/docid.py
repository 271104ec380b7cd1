"""docIDs: the token sequences that a generative ranker writes for documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrbench.errors import UsageError
from arrbench.ranker import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DocId = tuple[int, ...]


@dataclass(frozen=True)
class NameDocIds:
    """docID scheme `name`: a document's title, its tokens closed by the tokenizer's end token.

    With `tokens`, a title is its first so many tokens; the number and the end token come on top.

    Of the documents whose titles have the same tokens, the first (by document id) bears the bare
    title; each other one adds the next free number from 2 on, written digit by digit ("bank",
    "bank 2", … "bank 1 2"). A title without a token is a number alone, from 1 on. The end token
    keeps docIDs apart that begin one another.
    """

    tokens: int | None = None

    def words(self, corpus: Corpus) -> list[str]:
        """Texts whose every word a tokenizer must know to spell the docIDs; no token spans two words."""
        titles = (" ".join(d.title.split()[: self.tokens]) for d in corpus)
        return [*titles, " ".join("0123456789")]

    def write(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> list[DocId]:
        """One docID a document, in the corpus's order, no two alike, none empty.

        Raises UsageError where the tokenizer has no end token, or no digits to keep two documents
        apart.
        """
        end = tokenizer.eos_token_id
        if end is None:
            raise UsageError(
                f"the backbone's tokenizer ({tokenizer.name_or_path or type(tokenizer).__name__}) has no "
                "end-of-sequence token; docIDs need one, so choose a backbone that has it"
            )
        titles = [t[: self.tokens] for t in _tokens(tokenizer, [d.title for d in corpus], end)]
        digits: list[DocId] = []
        taken: set[DocId] = set()
        docids: dict[int, DocId] = {}
        by_id = sorted(range(len(corpus)), key=lambda i: corpus[i].id)
        for i in by_id:
            if titles[i] and titles[i] not in taken:
                taken.add(titles[i])
                docids[i] = titles[i]
        numbers: Counter[DocId] = Counter()
        for i in by_id:
            while i not in docids:
                digits = digits or _digits(tokenizer, end, corpus[i].title)
                numbers[titles[i]] += 1
                number = numbers[titles[i]] + bool(titles[i])
                docid = titles[i] + tuple(token for digit in str(number) for token in digits[int(digit)])
                if docid not in taken:
                    taken.add(docid)
                    docids[i] = docid
        return [(*docids[i], end) for i in range(len(corpus))]


def _digits(tokenizer: PreTrainedTokenizerFast, end: int, title: str) -> list[DocId]:
    digits = _tokens(tokenizer, list("0123456789"), end)
    if len(set(digits)) < 10 or not all(digits):
        raise UsageError(
            f"two documents share the docID of title {title!r} (or it has no token), and the tokenizer "
            "doesn't know the digits 0 to 9 to number them; give a tokenizer that does"
        )
    return digits


def _tokens(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], end: int) -> list[DocId]:
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    # a title may spell out the end token ("</s>"); inside a docID it would end it early
    return [tuple(token for token in ids if token != end) for ids in encoded]

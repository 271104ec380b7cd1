"""docID scheme `name`: a document's own title."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from arrbench.options import BaseOptions
from arrbench.ranker import Corpus
from arrbench_rankers.arr.docids.scheme import DocIdScheme

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed
    from arrbench_rankers.arr.ragged import Ragged


class NameOptions(BaseOptions):
    tokens: int | None = Field(
        None, ge=1, description="tokens of a title that a docID keeps; equal docIDs are numbered"
    )


class Name(DocIdScheme):
    """A document's title, or its first `tokens` tokens; a number and the end token come on top."""

    Options: ClassVar[type[BaseOptions]] = NameOptions
    options: NameOptions

    def words(self, corpus: Corpus) -> Iterable[str]:
        titles = (" ".join(d.title.split()[: self.options.tokens]) for d in corpus)
        return [*titles, *super().words(corpus)]

    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        from arrbench_rankers.arr.docids.spelling import spelt

        codes = spelt(tokenizer, [d.title for d in corpus])
        if tokenizer.eos_token_id is not None:  # a title may spell it; it must not count among the first
            codes = codes.kept(codes.tokens != tokenizer.eos_token_id)
        return codes if self.options.tokens is None else codes.first(self.options.tokens)

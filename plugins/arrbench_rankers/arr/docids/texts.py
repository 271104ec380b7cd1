"""docIDs as text, and the documents that texts name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from arrbench_rankers.arr.docids.spelling import spelt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.index import DocIdIndex


class DocIdTexts:
    """Texts of the docIDs of an index, both ways: `document(text(d)) == d`.

    A text is taken as the tokenizer spells it; where that is no docID, as one of the docIDs' own
    texts, for a title that was cut within a word may be spelt another way alone.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, index: DocIdIndex) -> None:
        self._tokenizer, self._index = tokenizer, index

    def text(self, document_id: str) -> str:
        """What a model writes for a document, end token left out."""
        return self._texts([document_id])[0]

    def document(self, text: str) -> str | None:
        """The id of the document whose docID this text is; None where there is none."""
        end = [self._tokenizer.eos_token_id] if self._index.closed else []
        position = self._index.tree.find([*spelt(self._tokenizer, [text])[0], *end])
        return self._index.ids[position] if position >= 0 else self._by_text.get(text)

    @cached_property
    def _by_text(self) -> dict[str, str]:
        ids = self._index.ids
        return dict(zip(reversed(self._texts(ids)), reversed(ids), strict=True))

    def _texts(self, document_ids: Sequence[str]) -> list[str]:
        names = [list(self._index.name(d)) for d in document_ids]
        texts: list[str] = self._tokenizer.batch_decode(names, clean_up_tokenization_spaces=False)
        return texts

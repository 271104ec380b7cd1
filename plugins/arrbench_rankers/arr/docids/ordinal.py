"""docID scheme `ordinal`: a document's place in an order drawn by hash, in decimal."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from arrbench.errors import UsageError
from arrbench.ranker import Corpus
from arrbench_rankers.arr.docids.scheme import DocIdScheme, by_hash
from arrbench_rankers.arr.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed


class Ordinal(DocIdScheme):
    """The position from 0 on in the order of a hash of document ids, a token a digit.

    Zeros fill it up to the digits of the last position, so all docIDs are alike in length, none
    begins another, and none needs an end token. Another corpus counts anew.
    """

    closed: ClassVar[bool] = False

    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        from arrbench_rankers.arr.docids.spelling import decimal, digits, pieces, regrouped

        known = digits(tokenizer)
        if known is None:
            raise UsageError("docid ordinal needs a tokenizer that knows the digits 0 to 9 apart")
        place = np.empty(len(corpus), np.int64)
        place[by_hash(corpus)] = np.arange(len(corpus))
        written, lengths = decimal(place, len(str(len(corpus) - 1)))
        return regrouped(pieces(written, known), lengths)

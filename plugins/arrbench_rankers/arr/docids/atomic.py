"""docID scheme `atomic`: one token of its own a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from arrbench.errors import UsageError
from arrbench.ranker import Corpus
from arrbench.ties import id_hash
from arrbench_rankers.arr.docids.scheme import DocIdScheme
from arrbench_rankers.arr.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed


class Atomic(DocIdScheme):
    """One new token a document of the training corpus; it is the whole docID, with no end token.

    A document that the training corpus lacks has no token, and one added later would mean nothing
    to the model: such a corpus is refused. A part of the training corpus is not. Source: Tay et al.,
    Transformer memory as a differentiable search index, NeurIPS 2022, section 3.2.
    """

    closed: ClassVar[bool] = False

    def words(self, corpus: Corpus) -> Iterable[str]:
        return []

    def extend(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> None:
        from tokenizers import AddedToken

        tokenizer.add_tokens(
            [AddedToken(_token(d), normalized=False) for d in sorted(corpus.ids, key=id_hash)]
        )

    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        known = tokenizer.get_added_vocab()
        tokens = np.fromiter((known.get(_token(d), -1) for d in corpus.ids), np.int32, len(corpus))
        missing = np.flatnonzero(tokens < 0)
        if len(missing):
            raise UsageError(
                f"docid atomic has no token for {len(missing)} of {len(corpus)} documents, "
                f"{corpus.ids[int(missing[0])]!r} first: the model was trained on a corpus without "
                "them; train on this one, or choose another scheme, such as docid=name"
            )
        return Ragged.cut(tokens, np.ones(len(tokens), np.int64))


def _token(document_id: str) -> str:
    return f"<document {document_id}>"

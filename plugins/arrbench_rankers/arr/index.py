"""The documents that a trained model can write: their docIDs and the prefix tree over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from arrbench.ranker import Corpus
from arrbench_rankers.arr.docid import DocId, NameDocIds
from arrbench_rankers.arr.trie import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class DocIdIndex:
    """Document ids and their docIDs, in the corpus's order."""

    ids: tuple[str, ...]
    docids: list[DocId]

    @classmethod
    def build(cls, scheme: NameDocIds, tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> Self:
        """Raises UsageError where the tokenizer can't tell two documents apart."""
        return cls(corpus.ids, scheme.write(tokenizer, corpus))

    @cached_property
    def tree(self) -> PrefixTree:
        return PrefixTree.build(self.docids)

    @cached_property
    def _by_id(self) -> dict[str, DocId]:
        return dict(zip(self.ids, self.docids, strict=True))

    def docid(self, document_id: str) -> DocId:
        return self._by_id[document_id]

    def subset(self, document_ids: Sequence[str]) -> list[DocId]:
        return [self._by_id[d] for d in document_ids]

    @property
    def longest(self) -> int:
        """Tokens of the longest docID, its end token included."""
        return max(map(len, self.docids), default=0)

    @property
    def nbytes(self) -> int:
        """The tree's arrays and the docIDs' tokens at 4 bytes each."""
        return self.tree.nbytes + 4 * sum(map(len, self.docids))

    def save(self, folder: Path) -> None:
        """Writes documents.json and docids.npz (`tokens` of all docIDs, `stops` [documents])."""
        (folder / "documents.json").write_text(json.dumps(self.ids, ensure_ascii=False), encoding="utf-8")
        tokens = np.array([token for docid in self.docids for token in docid], np.int32)
        stops = np.cumsum([len(docid) for docid in self.docids], dtype=np.int64)
        np.savez_compressed(folder / "docids.npz", tokens=tokens, stops=stops)

    @classmethod
    def load(cls, folder: Path) -> Self:
        ids = json.loads((folder / "documents.json").read_text(encoding="utf-8"))
        with np.load(folder / "docids.npz", allow_pickle=False) as arrays:
            rows = np.split(arrays["tokens"], arrays["stops"][:-1]) if ids else []
        return cls(tuple(ids), [tuple(row.tolist()) for row in rows])

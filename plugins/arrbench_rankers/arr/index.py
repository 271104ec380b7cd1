"""The documents that a trained model can write: their docIDs and the prefix tree over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from arrbench.errors import UsageError
from arrbench.ranker import Corpus
from arrbench_rankers import saved
from arrbench_rankers.arr.docids.scheme import DocIdScheme
from arrbench_rankers.arr.docids.unique import write
from arrbench_rankers.arr.ragged import DocId, Ragged
from arrbench_rankers.arr.trie import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.docids.scheme import Embed


@dataclass(frozen=True)
class _Said:
    """documents.json."""

    ids: list[str]
    closed: bool
    numbered: int
    corpus: str | None


@dataclass(frozen=True)
class DocIdIndex:
    """Document ids and their docIDs, in the corpus's order, and the prefix tree over these.

    `closed`: each docID ends with the end token. `numbered` docIDs bear a number, for their code was
    another document's too, or empty. `corpus` is the fingerprint of the corpus they were written for, where
    they come from embeddings.
    """

    ids: tuple[str, ...]
    docids: Ragged
    tree: PrefixTree
    closed: bool
    numbered: int
    corpus: str | None

    @classmethod
    def build(
        cls, scheme: DocIdScheme, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed
    ) -> Self:
        """Raises UsageError where the scheme can't write the corpus's documents, each apart from all."""
        written = write(scheme, tokenizer, corpus, embed)
        tree = PrefixTree.build(written.docids)
        if not scheme.closed:
            _check_open(scheme, tree, corpus)
        of = fingerprint(corpus) if scheme.embeds else None
        return cls(corpus.ids, written.docids, tree, scheme.closed, written.numbered, of)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {document_id: i for i, document_id in enumerate(self.ids)}

    def docid(self, document_id: str) -> DocId:
        return self.docids[self._positions[document_id]]

    def name(self, document_id: str) -> DocId:
        """The docID without its end token: what stands for the document within a text."""
        docid = self.docid(document_id)
        return docid[:-1] if self.closed else docid

    def subset(self, document_ids: Sequence[str]) -> list[DocId]:
        return [self.docid(d) for d in document_ids]

    @property
    def longest(self) -> int:
        """Tokens of the longest docID, its end token included."""
        return int(self.docids.lengths.max(initial=0))

    @property
    def nbytes(self) -> int:
        """Bytes of the tree's stored arrays and of the docIDs' tokens."""
        return self.tree.nbytes + self.docids.nbytes

    def save(self, folder: Path) -> None:
        """Writes documents.json (ids and what is said of them), and .npy files of docIDs and tree."""
        said = {"closed": self.closed, "numbered": self.numbered, "corpus": self.corpus, "ids": self.ids}
        (folder / "documents.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
        self.docids.save(folder, "docid")
        self.tree.save(folder)

    @classmethod
    def load(cls, folder: Path, vocabulary: int) -> Self:
        """As saved; docIDs and tree are mapped from their files.

        Raises TrialError where these don't fit each other, or a model that knows so many tokens.
        """
        said = saved.parsed(folder / "documents.json", _Said)
        docids, tree = Ragged.load(folder, "docid"), PrefixTree.load(folder)
        _check(folder, said.ids, docids, tree, vocabulary)
        return cls(tuple(said.ids), docids, tree, said.closed, said.numbered, said.corpus)


def fingerprint(corpus: Corpus) -> str:
    """A hash of all ids, titles and texts, in order."""
    digest = hashlib.blake2b()
    for d in corpus:
        digest.update(f"{len(d.id)} {len(d.title)} {len(d.text)} {d.id}{d.title}{d.text}".encode())
    return digest.hexdigest()


def _check_open(scheme: DocIdScheme, tree: PrefixTree, corpus: Corpus) -> None:
    """Without an end token, the score of a docID that begins another would hold the other's too."""
    inner = tree.inner[tree.document[tree.inner] >= 0]
    if len(inner):
        document = corpus.ids[int(tree.document[inner[0]])]
        raise UsageError(
            f"docid {type(scheme).__name__} has no end token, and the docID of document {document!r} "
            "begins another's; a scheme that writes such docIDs must be closed"
        )


def _check(folder: Path, ids: Sequence[str], docids: Ragged, tree: PrefixTree, vocabulary: int) -> None:
    """TrialError unless there is one docID an id, of the vocabulary's tokens, and it is the tree's path."""
    names, tokens, offsets = (folder / f for f in ("documents.json", "docid_tokens.npy", "docid_offsets.npy"))
    saved.require(len(set(ids)) == len(ids) > 0, names, "it names no document, or one twice")
    saved.require(len(ids) == len(docids), offsets, f"it cuts {len(docids)} docIDs for {len(ids)} documents")
    saved.check_range(tokens, docids.tokens, 0, vocabulary - 1)
    as_in_tree = len(tree.ends) == len(docids) and bool((tree.lengths == docids.lengths).all())
    if as_in_tree:
        below_root = np.repeat(np.arange(len(tree), dtype=np.int32), np.diff(tree.first_child))
        parent = np.insert(below_root, 0, -1)
        node, place = tree.ends.copy(), docids.offsets[1:] - 1
        while as_in_tree and len(node):
            as_in_tree = bool((tree.token[node] == docids.tokens[place]).all())
            inside = parent[node] > 0
            node, place = parent[node[inside]], place[inside] - 1
    saved.require(as_in_tree, tokens, "its docIDs aren't those of the prefix tree beside it")

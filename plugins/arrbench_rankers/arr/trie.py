"""A prefix tree over docID token sequences, held as flat arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from arrbench_rankers import saved
from arrbench_rankers.arr.ragged import Ragged, write_array

Ints = NDArray[np.signedinteger[Any]]
STORED = ("token", "first_child", "document")


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Node 0 is the root (the empty prefix); the others stand level by level, by parent, by token.

    So the children of node n are the contiguous nodes first_child[n] … first_child[n + 1] - 1, in
    the order of their tokens. Three int32 arrays are stored, 12 bytes a node: `token` [nodes] on the
    edge into a node (-1 at the root); `document` [nodes], the position of the document whose docID
    ends at the node, else -1; `first_child` [nodes + 1]. A docID may begin another one: its document
    then ends at a node that has children. The rest is derived, and kept once asked for.
    """

    token: Ints
    first_child: Ints
    document: Ints

    @classmethod
    def build(cls, docids: Sequence[Sequence[int]]) -> PrefixTree:
        """The tree of one sequence of tokens (0 … 2^31 - 1) a document, by sorting each level once.

        Raises ValueError where a docID is empty or two are alike.
        """
        rows = Ragged.of(docids)
        empty = np.flatnonzero(rows.lengths == 0)
        if len(empty):
            raise ValueError(f"the docID of document {int(empty[0])} is empty")
        tokens, children, documents = [np.array([-1], np.int32)], [], [np.array([-1], np.int32)]
        for level in levels(rows):
            children.append(level.children)
            tokens.append(level.token)
            document = np.full(len(level.token), -1, np.int32)
            same = np.flatnonzero(level.ends[1:] == level.ends[:-1])
            if len(same):
                first, second = sorted(level.ended[same[0] : same[0] + 2].tolist())
                raise ValueError(f"documents {first} and {second} have the same docID")
            document[level.ends] = level.ended
            documents.append(document)
        children.append(np.zeros(len(tokens[-1]), np.int32))
        nodes = sum(map(len, tokens))
        first_child = np.empty(nodes + 1, np.int32)
        first_child[0] = 1
        np.cumsum(np.concatenate(children), out=first_child[1:])
        first_child[1:] += 1
        return cls(np.concatenate(tokens), first_child, np.concatenate(documents))

    def __len__(self) -> int:
        return len(self.token)

    @cached_property
    def level_starts(self) -> Ints:
        """The first node of each level, the root's first, and at last the number of nodes [levels + 1]."""
        starts = [0, 1]
        while starts[-1] < len(self):
            starts.append(int(self.first_child[starts[-1]]))
        return np.array(starts)

    @property
    def levels(self) -> list[slice]:
        """The nodes of each depth from 1 on."""
        return [slice(*ends) for ends in pairwise(self.level_starts[1:].tolist())]

    @cached_property
    def parent(self) -> Ints:
        """The node above each node [nodes]; -1 at the root."""
        parents = np.repeat(np.arange(len(self)), np.diff(self.first_child))
        return np.concatenate([[-1], parents])

    @cached_property
    def depth(self) -> Ints:
        """Tokens of each node's prefix [nodes]."""
        return np.repeat(np.arange(len(self.level_starts) - 1, dtype=np.int32), np.diff(self.level_starts))

    @cached_property
    def ends(self) -> Ints:
        """The node at which each document's docID ends [documents]."""
        nodes = np.flatnonzero(self.document >= 0)
        ends = np.empty(len(nodes), np.int64)
        ends[self.document[nodes]] = nodes
        return ends

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each docID, its end token included [documents]."""
        lengths: Ints = np.searchsorted(self.level_starts, self.ends, side="right") - 1
        return lengths

    @cached_property
    def paths(self) -> Ints:
        """The nodes that each docID passes [documents, longest docID], padded with the root.

        Sized for the docIDs of one query, not for a corpus.
        """
        return self.paths_of(np.arange(len(self.ends)))

    def paths_of(self, documents: Ints) -> Ints:
        """The same for some documents [documents, longest docID of theirs]."""
        nodes, lengths = self.ends[documents], self.lengths[documents]
        paths = np.zeros((len(nodes), int(lengths.max(initial=0))), np.int64)
        for place in range(paths.shape[1])[::-1]:
            alive = lengths > place
            paths[alive, place] = nodes[alive]
            nodes = np.where(alive, self.parent[nodes], nodes)
        return paths

    @cached_property
    def _below_root(self) -> Ints:
        """The root's child by each token, -1 where there is none [largest first token + 1]."""
        children = np.arange(1, self.first_child[1], dtype=np.int32)
        table = np.full(int(self.token[children[-1]]) + 1 if len(children) else 0, -1, np.int32)
        table[self.token[children]] = children
        return table

    def child(self, node: int, token: int) -> int:
        """The child of a node by a token; -1 where there is none."""
        if node == 0:
            return int(self._below_root[token]) if 0 <= token < len(self._below_root) else -1
        start, stop = int(self.first_child[node]), int(self.first_child[node + 1])
        found = start + int(self.token[start:stop].searchsorted(token))
        return found if found < stop and self.token[found] == token else -1

    def allowed(self, node: int) -> Ints:
        """The tokens that may follow a node's prefix, ascending: a view, whatever the tree's size."""
        return self.token[self.first_child[node] : self.first_child[node + 1]]

    def find(self, tokens: Sequence[int]) -> int:
        """The position of the document whose docID these tokens are; -1 where there is none."""
        node = 0
        for token in tokens:
            node = self.child(node, token)
            if node < 0:
                return -1
        return int(self.document[node])

    @cached_property
    def inner(self) -> Ints:
        """The nodes that a model must read to predict below them: those with children, but the root."""
        return np.flatnonzero(np.diff(self.first_child)[1:]) + 1

    @property
    def nbytes(self) -> int:
        """Bytes of the stored arrays: 12 a node."""
        return sum(getattr(self, name).nbytes for name in STORED)

    def save(self, folder: Path) -> None:
        """Writes tree_token.npy, tree_first_child.npy and tree_document.npy."""
        for name in STORED:
            write_array(folder / f"tree_{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As saved, mapped from its files. Raises TrialError where they hold no prefix tree."""
        files = {name: folder / f"tree_{name}.npy" for name in STORED}
        tree = cls(*(saved.mapped(file, "int32") for file in files.values()))
        _check_nodes(tree, files)
        _check_documents(tree, files["document"])
        return tree


def _check_nodes(tree: PrefixTree, files: Mapping[str, Path]) -> None:
    """TrialError unless each node but the root has one parent, before it, and siblings' tokens ascend."""
    nodes, first = len(tree), tree.first_child
    saved.require(nodes > 0 and tree.token[0] == -1, files["token"], "it doesn't start with the root's -1")
    saved.require(
        len(first) == nodes + 1
        and first[0] == 1
        and first[-1] == nodes
        and bool((first[1:] >= first[:-1]).all())
        and bool((first[:-1] > np.arange(nodes)).all()),
        files["first_child"],
        f"its numbers don't give each of {nodes} nodes children behind it and all but the root a parent",
    )
    eldest = np.zeros(nodes + 1, bool)
    eldest[first] = True
    ascending = eldest[2:nodes] | (tree.token[2:] > tree.token[1:-1])
    saved.check_range(files["token"], tree.token[1:], 0, 2**31 - 1)
    saved.require(bool(ascending.all()), files["token"], "the tokens of a node's children don't ascend")


def _check_documents(tree: PrefixTree, file: Path) -> None:
    """TrialError unless documents from 0 on end at one node each, and every leaf is such a node."""
    document, nodes = tree.document, len(tree)
    saved.require(len(document) == nodes, file, f"it holds {len(document)} numbers where {nodes} are wanted")
    ending = document[document >= 0]
    saved.check_range(file, document, -1, len(ending) - 1)
    leaf = tree.first_child[1:] == tree.first_child[:-1]
    saved.require(
        document[0] < 0
        and bool((np.bincount(ending, minlength=len(ending)) == 1).all())
        and bool((document[leaf] >= 0).all()),
        file,
        f"its {len(ending)} documents don't end at one node each, or a leaf is no document's",
    )


class Level(NamedTuple):
    """The nodes of one level, by parent, by token.

    `token` [nodes]; `children` [nodes of the level above], how many of them are below each;
    `ended` [docIDs that end here], their rows, and `ends`, at which node of the level, ascending.
    """

    token: Ints
    children: Ints
    ended: Ints
    ends: Ints


def levels(docids: Ragged) -> Iterator[Level]:
    """The levels below the root of the tree of some docIDs, alike ones and empty ones allowed.

    Rows of one node stay together, so a level only sorts rows that share a node with another one.
    """
    lengths = docids.lengths
    rows = np.flatnonzero(lengths > 0)
    node = np.zeros(len(rows), np.int64)  # of the level above, ascending
    above, depth = 1, 0
    while len(rows):
        token = docids.tokens[docids.offsets[rows] + depth]
        opens = np.ones(len(rows), bool)
        opens[1:] = node[1:] != node[:-1]
        mixed = np.flatnonzero(~(opens & np.append(opens[1:], True)))
        if len(mixed):
            order = mixed[np.argsort(node[mixed] << 32 | token[mixed], kind="stable")]
            rows[mixed], token[mixed] = rows[order], token[order]
            opens[1:] |= token[1:] != token[:-1]
        below = np.cumsum(opens) - 1
        depth += 1
        ending = lengths[rows] == depth
        children = np.bincount(node[opens], minlength=above).astype(np.int32)
        yield Level(token[opens], children, rows[ending], below[ending])
        above = int(below[-1]) + 1
        rows, node = rows[~ending], below[~ending]

"""A prefix tree over docID token sequences, held as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PrefixTree:
    """Node 0 is the root (the empty prefix); the others stand level by level, by parent, by token.

    So the children of node n are the contiguous nodes first_child[n] … first_child[n + 1] - 1, in
    the order of their tokens. `token`, `parent` and `depth` [nodes] describe the edge into a node
    (-1, -1, 0 at the root); `document` [nodes] is the position of the document whose docID ends at
    the node, else -1; `first_child` is [nodes + 1]; `paths` [documents, longest docID] holds the
    nodes that each docID passes, padded with the root.
    """

    token: Ints
    parent: Ints
    depth: Ints
    document: Ints
    first_child: Ints
    paths: Ints

    @classmethod
    def build(cls, docids: Sequence[Sequence[int]]) -> PrefixTree:
        """The tree of one token sequence a document, by sorting.

        Raises ValueError where a docID is empty, or equals or begins another one: such a docID
        would not end at a leaf.
        """
        padded, lengths = _pad(docids)
        if len(docids) and lengths.min() == 0:
            raise ValueError(f"the docID of document {int(lengths.argmin())} is empty")
        order = np.lexsort(padded.T[::-1]) if len(docids) else np.zeros(0, np.int64)
        rows = padded[order]
        tokens, parents, depths = [np.array([-1])], [np.array([-1])], [np.array([0])]
        paths = np.zeros(padded.shape, np.int64)
        node_of_row = np.zeros(len(rows), np.int64)
        nodes = 1
        for level in range(padded.shape[1]):
            alive = np.flatnonzero(rows[:, level] >= 0)
            token, parent = rows[alive, level], node_of_row[alive]
            opens = np.ones(len(alive), bool)
            opens[1:] = (parent[1:] != parent[:-1]) | (token[1:] != token[:-1])
            tokens.append(token[opens])
            parents.append(parent[opens])
            depths.append(np.full(int(opens.sum()), level + 1))
            node_of_row[alive] = nodes + np.cumsum(opens) - 1
            paths[order[alive], level] = node_of_row[alive]
            nodes += int(opens.sum())
        parent = np.concatenate(parents)
        document = np.full(nodes, -1)
        document[node_of_row] = order
        first_child = 1 + np.searchsorted(parent[1:], np.arange(nodes + 1))
        tree = cls(np.concatenate(tokens), parent, np.concatenate(depths), document, first_child, paths)
        tree._check(node_of_row, order)
        return tree

    def _check(self, leaves: Ints, order: Ints) -> None:
        inner = np.flatnonzero(np.diff(self.first_child)[leaves]) if len(leaves) else leaves
        if len(inner):
            raise ValueError(f"the docID of document {int(order[inner[0]])} begins another document's")
        same = np.flatnonzero(leaves[1:] == leaves[:-1])
        if len(same):
            first, second = sorted(order[same[0] : same[0] + 2].tolist())
            raise ValueError(f"documents {first} and {second} have the same docID")

    def __len__(self) -> int:
        return len(self.token)

    @property
    def lengths(self) -> Ints:
        """Tokens of each docID, its end token included [documents]."""
        lengths: Ints = np.count_nonzero(self.paths, axis=1)
        return lengths

    @cached_property
    def inner(self) -> Ints:
        """The nodes that a model must read to predict below them: those with children, but the root."""
        return np.flatnonzero(np.diff(self.first_child)[1:]) + 1

    @cached_property
    def slot(self) -> Ints:
        """Where a node's prediction stands [nodes]: 0 for the root, then the inner nodes in order."""
        slot = np.zeros(len(self), np.int64)
        slot[self.inner] = np.arange(1, len(self.inner) + 1)
        return slot

    @cached_property
    def ancestors(self) -> NDArray[np.bool_]:
        """[inner, inner]: whether the prefix of inner node i passes, or is, inner node j."""
        passes = np.eye(len(self.inner), dtype=bool)
        above = self.slot[self.parent[self.inner]] - 1
        for depth in range(2, int(self.depth.max()) + 1):
            level = np.flatnonzero(self.depth[self.inner] == depth)
            passes[level] |= passes[above[level]]
        return passes

    @property
    def nbytes(self) -> int:
        arrays = (self.token, self.parent, self.depth, self.document, self.first_child, self.paths)
        return sum(array.nbytes for array in arrays)


def _pad(docids: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Sequences as rows padded with -1 [documents, longest], and their lengths [documents]."""
    lengths = np.array([len(docid) for docid in docids], np.int64)
    padded = np.full((len(docids), int(lengths.max(initial=0))), -1, np.int64)
    flat = np.array([token for docid in docids for token in docid], np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = flat
    return padded, lengths

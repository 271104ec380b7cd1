"""What a corpus allows to follow the prefixes of a smaller tree, of some of its documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arrbench_rankers.arr.packing import Edges
from arrbench_rankers.arr.trie import Ints, PrefixTree


@dataclass(frozen=True)
class Continuations:
    """Every step that a corpus's tree allows from some prefixes.

    `edges` go from the smaller tree's nodes, in their order; `child` [edges] are the corpus's nodes that
    they lead to and `prefix` [edges] the places, among the prefixes asked for, that they start from.
    """

    edges: Edges
    child: Ints
    prefix: Ints


def in_corpus(tree: PrefixTree, corpus: PrefixTree, documents: Ints) -> Ints:
    """The corpus's node of each node of a tree [nodes] whose docIDs are those of `documents` there."""
    there = np.zeros(len(tree), np.int64)
    there[tree.paths] = corpus.paths_of(documents)
    return there


def continuations(nodes: Ints, there: Ints, corpus: PrefixTree) -> Continuations:
    """What may follow at nodes of a tree, `there` being in_corpus of it."""
    starts = corpus.first_child[there[nodes]]
    counts = corpus.first_child[there[nodes] + 1] - starts
    prefix = np.repeat(np.arange(len(nodes)), counts)
    child = np.arange(len(prefix)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    return Continuations(Edges(nodes[prefix], corpus.token[child]), child, prefix)


def documents_below(tree: PrefixTree) -> Ints:
    """How many documents end at or below each node [nodes]."""
    counts = (tree.document >= 0).astype(np.int64)
    for level in reversed(tree.levels):
        np.add.at(counts, tree.parent[level], counts[level])
    return counts

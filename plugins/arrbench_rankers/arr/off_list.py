"""Targets at prefixes that no listed docID passes, for the gap between teacher forcing and decoding.

Teacher forcing shows a model the prefixes of listed docIDs alone. Decoding meets others from the second
token on, where nothing was ever taught. So m further documents a query are drawn from the corpus,
uniformly, each an item of weight OFF_LIST / m. At a prefix u of theirs which no listed docID passes, the
target is the marginal of the corpus's own prefix tree, that is of a document drawn uniformly below u:

    y(u)(v) = N(v) / Σ_(v' child of u) N(v'),  N(v) = the documents at or below v
    W(u→v) = OFF_LIST / m · (drawn docIDs through u) · y(u)(v)

over all children v of u in the corpus's tree, and the loss is - Σ W(u→v) log p(token(v) | q̄, prefix(u)) as
for listed docIDs (see stoical), whose own targets stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from arrbench_rankers.arr.continuations import continuations, in_corpus
from arrbench_rankers.arr.packing import Edges
from arrbench_rankers.arr.stoical import Floats
from arrbench_rankers.arr.trie import Ints, PrefixTree

OFF_LIST = 0.1  # weight of a query's drawn documents together, where the first listed document has 1


def draw(documents: int, barred: Collection[int], wanted: int, seed: tuple[int, ...]) -> list[int]:
    """`wanted` positions below `documents` that aren't barred, drawn uniformly without repetition.

    Fewer where there are no more; the same ones for the same seed.
    """
    among = np.random.default_rng(seed).choice(documents, min(documents, wanted + len(barred)), replace=False)
    return [position for position in among.tolist() if position not in set(barred)][:wanted]


def off_list_edges(
    tree: PrefixTree, listed: int, corpus: PrefixTree, documents: Ints, below: Ints
) -> tuple[Edges, Floats]:
    """The edges of drawn documents' own prefixes, and their W [edges].

    `tree` is that of a query's `listed` ranked docIDs and after them those drawn; `documents` are the
    positions of them all in the corpus, whose tree is `corpus` and `below` its documents_below.
    Parents are nodes of `tree`.
    """
    own = np.diff(tree.first_child) > 0
    own[tree.paths[:listed]] = False
    own[0] = False
    through = np.bincount(tree.paths[listed:].ravel(), minlength=len(tree))
    nodes = np.flatnonzero(own)
    allowed = continuations(nodes, in_corpus(tree, corpus, documents), corpus)
    mass = below[allowed.child]
    total = np.bincount(allowed.prefix, mass, len(nodes))
    weights = OFF_LIST / max(1, len(documents) - listed) * through[nodes][allowed.prefix]
    return allowed.edges, weights * mass / total[allowed.prefix]

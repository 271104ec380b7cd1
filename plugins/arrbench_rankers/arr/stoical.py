"""SToICaL, the rank-aware loss of autoregressive ranking (arXiv 2601.05588).

For a query q̄ whose ranked documents d_1 … d_n have docIDs of tokens d_r,1 … d_r,T:

    L = Σ_r λ(r) Σ_t CE(y(r, t), p(· | q̄, d_r,<t))

λ weighs the items and y spreads each target over tokens. Neither y(r, t) nor p depends on r but by
the prefix d_r,<t, that is by a node u of the prefix tree of the ranked docIDs. Gathering the terms of
one node turns L into a sum over the tree's edges u → v, each holding one token:

    L = - Σ_(u→v) W(u→v) log p(token(v) | q̄, prefix(u))

`targets` are these W. So every prefix is read once, however many docIDs share it, and any list's
loss is one pass over its tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrbench_rankers.arr.options import Item
from arrbench_rankers.arr.trie import PrefixTree

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]


def item_weights(n: int, item: Item, alpha: float, top: float = 1) -> Floats:
    """λ(1) … λ(n) [n]: 1/r^α (fractional), (n - r + 1)/n (stepwise) or 1[r = 1] (top1, the NTP loss).

    λ(1) is multiplied by `top`: a margin of the first document over the rest.
    """
    r: Floats = np.arange(1, n + 1, dtype=np.float64)
    weights: dict[Item, Floats] = {
        "fractional": r**-alpha,
        "stepwise": (n - r + 1) / n,
        "top1": 1.0 * (r == 1),
    }
    return weights[item] * np.where(r == 1, top, 1.0)


def edge_targets(tree: PrefixTree, weights: Floats, beta: float | None) -> Floats:
    """W of the edge into each node [nodes]; 0 at the root, and where no ranked docID passes.

    The first n docIDs of `tree` are the ranked ones, best first; `weights` are their λ [n]. With
    Λ(v) = Σ of λ(r) over the ranked docIDs through v:

    - beta None, y one-hot on d_r,t: W(u→v) = Λ(v);
    - else y(r, t)(v) ∝ M(v) = Σ of 1/r'^β over the ranked docIDs r' through v (the prefix tree's
      marginal): W(u→v) = Λ(u) · M(v) / M(u). With fractional weights and beta = alpha, M is Λ and the
      loss is that of one-hot targets.
    """
    paths = tree.paths[: len(weights)]
    targets = np.zeros(len(tree))
    np.add.at(targets, paths, weights[:, None])
    if beta is None:
        targets[0] = 0
        return targets
    targets[0] = weights.sum()
    return targets[tree.parent] * marginals(tree, len(weights), beta)


def marginals(tree: PrefixTree, n: int, beta: float) -> Floats:
    """M(v) / M(u) for the edge u → v into each node [nodes], of the tree's first n docIDs.

    0 at the root, and where none of them passes.
    """
    paths = tree.paths[:n]
    passed = paths > 0
    nodes = paths[passed]
    parents = tree.parent[nodes]
    r = np.broadcast_to(np.arange(1.0, n + 1)[:, None], passed.shape)[passed]
    # relative to the best rank through u, so that a large β leaves that one 1 and never 0/0
    best = np.full(len(tree), np.inf)
    np.minimum.at(best, parents, r)
    mass = np.zeros(len(tree))
    np.add.at(mass, nodes, (r / best[parents]) ** -beta)
    total = np.bincount(tree.parent[1:], mass[1:], len(tree))
    return mass / np.where(total > 0, total, 1)[tree.parent]


def stoical_loss(log_probs: Tensor, targets: Tensor, queries: int) -> Tensor:
    """L, averaged over the queries of a batch.

    `log_probs` [edges] are log p(token(v) | q̄, prefix(u)) of each edge u → v of all the queries' trees,
    `targets` [edges] its W.
    """
    return -(targets * log_probs).sum() / queries

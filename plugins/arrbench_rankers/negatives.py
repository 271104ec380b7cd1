"""Which documents a cross encoder learns to put last: some hard, the rest drawn at random."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np

HARD_DEPTH = 30  # hard negatives come from so many of the first model's best documents


def hardest(scores: np.ndarray[Any, Any], pool: Sequence[int], barred: Set[int]) -> list[int]:
    """The best-scored positions of the pool, at most HARD_DEPTH, none of them barred.

    `scores`, shape (len(pool),), are the first model's for one query.
    """
    depth = min(HARD_DEPTH + len(barred), len(pool))
    best = np.argpartition(-scores, depth - 1)[:depth]
    ordered = best[np.argsort(-scores[best], kind="stable")]
    return [pool[i] for i in ordered.tolist() if pool[i] not in barred][:HARD_DEPTH]


def draw_negatives(
    random: np.random.Generator,
    hard: Sequence[int],
    hard_count: int,
    pool: Sequence[int],
    barred: Set[int],
    count: int,
) -> list[int]:
    """`count` distinct positions that are not barred: `hard_count` from `hard`, the others from the pool.

    All of the pool that is not barred where that is no more than `count`.
    """
    if len(pool) - sum(d in pool for d in barred) <= count:
        return [d for d in pool if d not in barred]
    chosen: list[int] = (
        random.choice(hard, min(hard_count, len(hard)), replace=False).tolist() if hard else []
    )
    taken = {*barred, *chosen}
    while len(chosen) < count:
        document = pool[int(random.integers(len(pool)))]
        if document not in taken:
            taken.add(document)
            chosen.append(document)
    return chosen

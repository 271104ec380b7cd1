"""Fisher's randomization test of paired differences: the signs of the queries' differences flipped at random.

Flipping makes a sum at least as large exactly where the flipped differences sum to at most 0, so one draw
of subsets of queries serves every pair of rankers, and the means over subsets bound the difference as
well: Hartigan, Using subsample values as typical values, JASA 1969.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 100_000
_BATCH_VALUES = 4_000_000  # 32 MB of a batch's subsets
_EQUAL = 1e-9  # sums of values nearer than this to each other are equal but for rounding


@dataclass(frozen=True, slots=True)
class Randomized:
    """Two-sided p of no difference, and the interval of those differences that are not rejected."""

    p: float
    low: float
    high: float


def randomized(means: np.ndarray, pairs: Sequence[tuple[int, int]], level: float) -> list[Randomized]:
    """The test for each pair of rows of `means`, shape (rankers, queries), all on the same flips.

    Up to 16 queries all flips are tried, beyond 100,000 drawn ones; the order of queries plays no part.
    Source: Smucker, Allan and Carterette, A comparison of statistical significance tests for IR
    evaluation, CIKM 2007.
    """
    ordered = means[:, np.lexsort(means)]
    sums, sizes = _subset_sums(ordered)
    exact = 2 ** ordered.shape[1] <= RESAMPLES
    return [_tested(sums[:, a] - sums[:, b], sizes, exact, level) for a, b in pairs]


def _tested(sums: np.ndarray, sizes: np.ndarray, exact: bool, level: float) -> Randomized:
    """p and interval from a pair's sums over subsets of queries."""
    drawn = not exact  # the data as they are count as one draw
    total, empty = len(sums) + drawn, int(np.count_nonzero(sizes == 0)) + drawn
    sums = np.where(np.abs(sums) < _EQUAL, 0.0, sums)[sizes > 0]
    least = min(np.count_nonzero(sums <= 0), np.count_nonzero(sums >= 0)) + empty
    means = np.sort(sums / sizes[sizes > 0])
    beyond = int(level / 2 * total) - empty  # so many subsets may lie outside at either end
    low, high = (means[beyond], means[-1 - beyond]) if beyond >= 0 else (-np.inf, np.inf)
    return Randomized(min(1.0, float(2 * least / total)), float(low), float(high))


def _subset_sums(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over subsets of queries, shape (subsets, rankers), and the sizes of the subsets."""
    summed = np.vstack([means, np.ones(means.shape[1])]).T
    found = np.concatenate([chosen @ summed for chosen in _subsets(means.shape[1])])
    return found[:, :-1], found[:, -1]


def _subsets(queries: int) -> Iterator[np.ndarray]:
    """Batches of subsets as rows of 0 and 1, shape (subsets, queries)."""
    if 2**queries <= RESAMPLES:
        every = np.arange(2**queries)[:, None] >> np.arange(queries)
        yield (every & 1).astype(np.float64)
        return
    rng = np.random.default_rng(0)
    batch = max(1, _BATCH_VALUES // queries)
    for start in range(0, RESAMPLES, batch):
        rows = min(batch, RESAMPLES - start)
        drawn = rng.integers(0, 256, (rows, -(-queries // 8)), dtype=np.uint8)
        yield np.unpackbits(drawn, axis=1, count=queries).astype(np.float64)

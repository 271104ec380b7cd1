"""Means and differences of rankers over queries and seeds, both of which were drawn at random.

A ranker's value for seed s and query q is its mean + a query's effect + a seed's effect + a rest, each
random: the two-way crossed design. Queries are paired between rankers; seeds are not, for a seed of one
ranker has nothing in common with the same seed of another.

The bootstrap of such a design (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007)
resamples seeds as well, and from three seeds that comes out too narrow: at 5,000 queries its 95%
interval of a difference of nothing leaves out 0 in 17% of simulations. Here the mean squares of the
design are used, and `Estimate` accounts for how few seeds they come from: 3.5 to 5% at 3 and at 5 seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Means over seeds of equal values differ in their last digits; no measure is meant that finely.
DECIMALS = 12
_SMALLEST_P = 1e-100  # below which quantiles of few degrees of freedom overflow


@dataclass(frozen=True, slots=True)
class Sample:
    """A ranker's values, shape (seeds, queries), as far as tests need them.

    `means` has shape (queries,), over seeds. `seed_variance` is that of the overall mean between seeds,
    `rest` the part of it that seed and query have together, which the variance over queries holds too.
    """

    means: np.ndarray
    seeds: int
    seed_variance: float
    rest: float


def summarised(values: np.ndarray) -> Sample:
    """The sample of values of shape (seeds, queries); raises ValueError for another shape or no value."""
    if values.ndim != 2 or not values.size:
        raise ValueError(f"values of shape {values.shape}: they need one seed and one query at least")
    seeds, queries = values.shape
    means = np.round(values.mean(axis=0), DECIMALS)
    of_seeds = np.round(values.mean(axis=1), DECIMALS)
    if seeds == 1 or queries == 1 or not np.ptp(of_seeds):
        return Sample(means, seeds, 0.0, 0.0)
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    mean_square = float(np.sum(rest**2)) / ((seeds - 1) * (queries - 1))
    return Sample(means, seeds, float(of_seeds.var(ddof=1)) / seeds, mean_square / (seeds * queries))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, and its variances from queries and from seeds, each with their degrees of freedom.

    The half-widths of the t intervals over queries and over seeds add up as squares do: Howe,
    Approximate confidence limits on the mean of X + Y, JASA 1974. The p value is the level at which the
    interval touches 0. With one kind of variance alone this is the ordinary t-test.
    """

    mean: float
    query_variance: float
    query_df: float
    seed_variance: float = 0.0
    seed_df: float = math.inf

    def half_width(self, level: float) -> float:
        """Half of the interval of confidence 1 - `level`; infinite with a single query."""
        return self._width(level / 2)

    def p_value(self) -> float:
        """Two-sided p of a mean of 0."""
        from scipy.optimize import brentq

        size = abs(self.mean)
        if not size or not self.query_df:
            return 1.0
        if self._width(_SMALLEST_P / 2) <= size:
            return 0.0
        root = brentq(lambda x: self._width(math.exp(x) / 2) - size, math.log(_SMALLEST_P), 0.0)
        return math.exp(root)

    def detectable(self, level: float, power: float) -> float:
        """The difference that a two-sided test at `level` finds with probability `power`, about.

        Source: Bloom, Minimum detectable effects, Evaluation Review 1995: a multiple of the standard
        error, t of half the level + t of the power, here for each kind of variance.
        """
        return self._width(level / 2, 1 - power)

    def _width(self, *tails: float) -> float:
        """Root of the sum of (standard error × sum of the t quantiles that leave `tails` above them)²."""
        from scipy.special import stdtrit

        if not self.query_df:
            return math.inf
        parts = ((self.query_variance, self.query_df), (self.seed_variance, self.seed_df))
        return math.sqrt(
            sum(v * sum(float(stdtrit(df, tail)) for tail in tails) ** 2 for v, df in parts if v)
        )


def mean_of(sample: Sample) -> Estimate:
    """The mean of a ranker; of a single seed, the mean of that one model."""
    return _estimate(sample.means, (sample,))


def difference(a: Sample, b: Sample, *, over_seeds: bool) -> Estimate:
    """The mean of `a` less that of `b`, whose arrays hold the same queries in the same order.

    Not `over_seeds` it is that of the models at hand. A single seed has no variance over seeds.
    """
    return _estimate(a.means - b.means, (a, b) if over_seeds else ())


def _estimate(means: np.ndarray, samples: tuple[Sample, ...]) -> Estimate:
    means = np.round(means, DECIMALS)
    queries = len(means)
    spread = float(means.var(ddof=1)) / queries if queries > 1 and np.ptp(means) else 0.0
    of_seeds = [(s.seed_variance, s.seeds - 1) for s in samples if s.seed_variance]
    if not of_seeds:
        return Estimate(float(means.mean()), spread, queries - 1)
    total = sum(v for v, _ in of_seeds)
    # Welch's degrees of freedom: rankers' seeds differ in how much they vary
    df = total**2 / sum(v**2 / n for v, n in of_seeds)
    beyond = max(0.0, total - sum(s.rest for s in samples))
    return Estimate(float(means.mean()), spread, queries - 1, beyond, df)

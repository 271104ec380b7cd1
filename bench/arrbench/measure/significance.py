"""Whether a difference between two rankers holds: paired tests, Holm's correction, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

LEVEL = 0.05
RESAMPLES = 2000
METHOD = "paired t-test, Holm-corrected over all pairs, with 95% bootstrap intervals over queries"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`better` has the higher mean, by `difference` with the 95% interval `low`..`high`."""

    better: str
    worse: str
    difference: float
    low: float
    high: float
    p_holm: float
    significant: bool


def interval(values: np.ndarray) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean over queries; always the same for the same values.

    `values` has shape (queries,). One query bounds nothing: the interval is (-inf, inf).

    Raises ValueError without a query. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    if len(values) == 0:
        raise ValueError("no values: an interval needs at least one query")
    if len(values) == 1:
        return -np.inf, np.inf
    from scipy.stats import bootstrap

    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 4_000_000 // len(values)),  # 32 MB of resamples at a time
        confidence_level=1 - LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def compare(values_by_name: Mapping[str, np.ndarray]) -> list[Comparison]:
    """Every pair of rankers compared on their per-query values, in the order of the names' pairs.

    The arrays hold the same queries in the same order, shape (queries,) each. A difference is
    `significant` where Holm's p is below 0.05 and the interval of the difference leaves out 0.

    Raises ValueError for arrays of different lengths. Source of the test: Smucker, Allan and
    Carterette, A comparison of statistical significance tests for IR evaluation, CIKM 2007.
    """
    lengths = {name: len(v) for name, v in values_by_name.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"per-query values of different lengths cannot be paired: {lengths}")
    pairs = list(combinations(values_by_name, 2))
    differences = [values_by_name[a] - values_by_name[b] for a, b in pairs]
    corrected = holm([_p_value(d) for d in differences])
    return [_comparison(a, b, d, p) for (a, b), d, p in zip(pairs, differences, corrected, strict=True)]


def _comparison(a: str, b: str, difference: np.ndarray, p_holm: float) -> Comparison:
    if difference.mean() < 0:
        a, b, difference = b, a, -difference
    low, high = interval(difference)
    significant = p_holm < LEVEL and low > 0
    return Comparison(a, b, float(difference.mean()), low, high, p_holm, significant)


def _p_value(difference: np.ndarray) -> float:
    """Two-sided p of the paired t-test, never below what flipping the signs of n differences can give.

    That floor, 2 / 2^n, is what keeps a handful of queries, or equal differences (whose variance of
    zero makes any t-test certain), from proving anything.
    """
    if not difference.any():
        return 1.0
    floor = min(1.0, 2.0 ** (1 - len(difference)))
    if np.ptp(difference) == 0:
        return floor
    from scipy.stats import ttest_1samp

    return max(float(ttest_1samp(difference, 0.0).pvalue), floor)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the i-th smallest of m times m - i + 1, never decreasing, at most 1.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 1979.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for i, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[at] * (len(p_values) - i)))
        corrected[at] = largest
    return corrected

"""Whether a difference between two rankers holds: paired tests, corrected over all pairs, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from arrbench.measure.crossed import DECIMALS, Estimate, Sample, difference, mean_of, summarised
from arrbench.measure.method import Correction, Method
from arrbench.measure.randomization import randomized

LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """`better` has the higher mean, by `difference` with the 95% interval `low`..`high`.

    `p` is corrected over all pairs. `effect` is the difference over the standard deviation of the
    queries' differences (Cohen's d for pairs, as in Sakai, Statistical reform in information retrieval?,
    SIGIR Forum 2014). `detectable` is the smallest difference that would have been found with 80% power
    at the strictest level of the correction, 0.05 / pairs; both are None where nothing varies.
    The interval is that of the test, so it leaves out 0 wherever `p` is significant; the signed-rank test
    has none of a mean.
    """

    better: str
    worse: str
    difference: float
    low: float | None
    high: float | None
    p: float
    significant: bool
    effect: float | None
    detectable: float | None


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two rankers, the one with the higher mean first, and their test before any correction."""

    better: str
    worse: str
    estimate: Estimate
    queries: int
    p: float
    low: float | None
    high: float | None


def interval(values: np.ndarray) -> tuple[float, float]:
    """95% interval of the mean of values of shape (seeds, queries), over both; of one seed, of that model.

    One query bounds nothing: the interval is (-inf, inf). Raises ValueError without a value.
    """
    estimate = mean_of(summarised(values))
    half = estimate.half_width(LEVEL)
    return estimate.mean - half, estimate.mean + half


def compare(
    values_by_name: Mapping[str, np.ndarray],
    one_model: Collection[str] = (),
    method: Method | None = None,
) -> list[Comparison]:
    """Every pair of rankers compared on their values, in the order of the names' pairs.

    The arrays have shape (seeds, queries): any number of seeds, the same queries in the same order.
    `one_model` names rankers that learn and have one seed: their pairs are tested over queries alone and
    say nothing of other seeds. Other rankers of one seed are taken to have no variance over seeds. The
    level holds from three seeds on (3 to 7% for a nominal 5%); with two it may reach 8%.

    Raises ValueError for arrays of different numbers of queries. Source of the paired t-test: Smucker,
    Allan and Carterette, A comparison of statistical significance tests for IR evaluation, CIKM 2007.
    """
    method = method or Method()
    samples = {name: summarised(values) for name, values in values_by_name.items()}
    lengths = {name: len(sample.means) for name, sample in samples.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"values of different numbers of queries cannot be paired: {lengths}")
    pairs = _tested(samples, frozenset(one_model), method)
    corrected = _CORRECTIONS[method.correction]([pair.p for pair in pairs])
    return [_comparison(pair, p, LEVEL / len(pairs)) for pair, p in zip(pairs, corrected, strict=True)]


def _tested(samples: Mapping[str, Sample], one_model: frozenset[str], method: Method) -> list[_Pair]:
    ordered = [_ordered(samples, a, b) for a, b in combinations(samples, 2)]
    over_queries = {"randomization": _randomization, "wilcoxon": _signed_rank}.get(method.test)
    if over_queries:
        return over_queries(samples, ordered)
    return [_t_test(samples, a, b, over_seeds=not one_model & {a, b}) for a, b in ordered]


def _ordered(samples: Mapping[str, Sample], a: str, b: str) -> tuple[str, str]:
    return (b, a) if samples[b].means.mean() > samples[a].means.mean() else (a, b)


def _t_test(samples: Mapping[str, Sample], a: str, b: str, *, over_seeds: bool) -> _Pair:
    """The t-test, never below the p that flipping the signs of n differences can give, 2 / 2^n.

    That floor keeps a handful of queries, or equal differences (whose variance of zero makes any t-test
    certain), from proving anything; where it is above the level there is no interval either.
    """
    estimate = difference(samples[a], samples[b], over_seeds=over_seeds)
    queries = len(samples[a].means)
    floor = min(1.0, 2.0 ** (1 - queries))
    half = estimate.half_width(LEVEL) if floor < LEVEL else math.inf
    p = max(estimate.p_value(), floor) if estimate.mean else 1.0
    return _Pair(a, b, estimate, queries, p, estimate.mean - half, estimate.mean + half)


def _randomization(samples: Mapping[str, Sample], ordered: Sequence[tuple[str, str]]) -> list[_Pair]:
    at = {name: i for i, name in enumerate(samples)}
    if not ordered:
        return []
    means = np.stack([sample.means for sample in samples.values()])
    tests = randomized(means, [(at[a], at[b]) for a, b in ordered], LEVEL)
    return [
        _over_queries(samples, a, b, test.p, test.low, test.high)
        for (a, b), test in zip(ordered, tests, strict=True)
    ]


def _signed_rank(samples: Mapping[str, Sample], ordered: Sequence[tuple[str, str]]) -> list[_Pair]:
    """Wilcoxon's test, equal queries left out: twice the p of the side on which the mean lies.

    Ranks may favour the ranker with the lower mean; such a pair gets no small p.
    """
    from scipy.stats import wilcoxon

    pairs = []
    for a, b in ordered:
        differences = np.round(samples[a].means - samples[b].means, DECIMALS)
        differences = differences[differences != 0]
        p = 1.0
        if len(differences) and np.round(differences.mean(), DECIMALS) == 0:  # neither has the lower mean
            p = float(wilcoxon(differences).pvalue)
        elif len(differences):
            p = min(1.0, 2 * float(wilcoxon(differences, alternative="greater").pvalue))
        pairs.append(_over_queries(samples, a, b, p, None, None))
    return pairs


def _over_queries(
    samples: Mapping[str, Sample], a: str, b: str, p: float, low: float | None, high: float | None
) -> _Pair:
    estimate = difference(samples[a], samples[b], over_seeds=False)
    return _Pair(a, b, estimate, len(samples[a].means), p, low, high)


def _comparison(pair: _Pair, p: float, strictest: float) -> Comparison:
    of_one_query = math.sqrt(pair.estimate.query_variance * pair.queries)
    detectable = pair.estimate.detectable(strictest, POWER)
    return Comparison(
        pair.better,
        pair.worse,
        pair.estimate.mean,
        pair.low,
        pair.high,
        p,
        p < LEVEL and pair.estimate.mean > 0,
        pair.estimate.mean / of_one_query if of_one_query else None,
        detectable if 0 < detectable < math.inf else None,
    )


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


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The step-up correction that bounds the expected share of false claims.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, J. Royal Stat. Soc. B 1995.
    """
    from scipy.stats import false_discovery_control

    return list(map(float, false_discovery_control(p_values))) if p_values else []


_CORRECTIONS: Mapping[Correction, Callable[[Sequence[float]], list[float]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
}

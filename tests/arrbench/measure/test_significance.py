import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, ttest_rel

from arrbench.measure.significance import compare, holm, interval


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 -> .04, max(.04, .06), max(.06, .06), max(.06, .04)
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_never_reorders_and_never_exceeds_bonferroni(p_values):
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, p * len(p_values)) or c == pytest.approx(p)
    by_p = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(3).normal(0.5, 0.2, size=2000)
    half = norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    low, high = interval(values)
    assert low == pytest.approx(values.mean() - half, abs=half / 5)
    assert high == pytest.approx(values.mean() + half, abs=half / 5)
    assert interval(values) == (low, high)


def test_interval_at_the_edges():
    assert interval(np.full(9, 0.25)) == (0.25, 0.25)
    assert interval(np.array([0.7])) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="at least one query"):
        interval(np.array([]))


def test_a_real_difference_is_claimed_and_noise_is_not():
    rng = np.random.default_rng(0)
    base = rng.uniform(size=300)
    values = {
        "low": base * 0.5,
        "high": base * 0.5 + 0.1 + rng.normal(0, 0.05, 300),
        "twin": base * 0.5 + rng.normal(0, 0.05, 300),
    }
    found = {frozenset((c.better, c.worse)): c for c in compare(values)}
    claimed = found[frozenset(("low", "high"))]
    assert (claimed.better, claimed.significant) == ("high", True)
    assert claimed.low < 0.1 < claimed.high
    assert claimed.difference == pytest.approx((values["high"] - values["low"]).mean())
    assert not found[frozenset(("low", "twin"))].significant
    assert compare(values) == compare(values)


def test_p_is_the_paired_t_test_times_the_number_of_pairs_left():
    rng = np.random.default_rng(1)
    a, b, c = rng.uniform(size=(3, 40)) + np.array([[0.0], [0.1], [0.5]])
    found = {frozenset((x.better, x.worse)): x.p_holm for x in compare({"a": a, "b": b, "c": c})}
    raw = {
        frozenset("ab"): ttest_rel(a, b).pvalue,
        frozenset("ac"): ttest_rel(a, c).pvalue,
        frozenset("bc"): ttest_rel(b, c).pvalue,
    }
    expected = dict(zip(raw, holm(list(raw.values())), strict=True))
    assert found == pytest.approx(expected)


def test_a_handful_of_queries_proves_nothing():
    for n in range(1, 6):
        (found,) = compare({"a": np.zeros(n), "b": np.ones(n)})
        assert (found.better, found.difference) == ("b", 1.0)
        assert not found.significant
    (found,) = compare({"a": np.zeros(6), "b": np.ones(6)})
    assert found.p_holm == pytest.approx(2 / 2**6)
    assert found.significant


def test_equal_rankers_do_not_differ():
    (found,) = compare({"a": np.full(50, 0.3), "b": np.full(50, 0.3)})
    assert (found.p_holm, found.significant) == (1.0, False)


def test_values_of_different_queries_are_not_paired():
    with pytest.raises(ValueError, match="different lengths"):
        compare({"a": np.zeros(3), "b": np.zeros(4)})

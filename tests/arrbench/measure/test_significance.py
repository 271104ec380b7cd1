import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm, permutation_test, ttest_rel, wilcoxon
from scipy.stats import t as student

from arrbench.measure.crossed import difference, mean_of, summarised
from arrbench.measure.method import CORRECTIONS, TESTS, Method
from arrbench.measure.randomization import randomized
from arrbench.measure.significance import benjamini_hochberg, compare, holm, interval


def one_seed(values):
    return np.asarray(values, dtype=float)[None]


def drawn(rng, seeds, queries, *, seed_sd, mean=0.5, query_sd=0.13, rest_sd=0.1, shared=0.0):
    """Values of a ranker whose seeds and queries were drawn at random, shape (seeds, queries)."""
    of_seeds = rng.normal(0, seed_sd, (seeds, 1)) if seed_sd else 0.0
    rest = rng.normal(0, rest_sd, (seeds, queries)) if seed_sd else np.zeros((seeds, queries))
    return mean + shared + rng.normal(0, query_sd / math.sqrt(2), queries) + of_seeds + rest


class TestCorrections:
    def test_holm_by_hand(self):
        # sorted .01 .02 .03 .04 -> .04, max(.04, .06), max(.06, .06), max(.06, .04)
        assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        assert holm([0.5, 0.9]) == [1.0, 1.0]
        assert holm([]) == []

    def test_benjamini_hochberg_by_hand(self):
        # sorted .01 .02 .03 .9 times 4/1 4/2 4/3 4/4 -> .04 .04 .04 .9, from the largest downwards
        assert benjamini_hochberg([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.04, 0.04])
        assert benjamini_hochberg([]) == []

    @given(st.lists(st.floats(0, 1), max_size=12))
    def test_holm_never_lowers_a_p_never_reorders_and_never_exceeds_bonferroni(self, p_values):
        corrected = holm(p_values)
        for p, c in zip(p_values, corrected, strict=True):
            assert p <= c <= min(1.0, p * len(p_values)) or c == pytest.approx(p)
        by_p = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
        assert by_p == sorted(by_p)

    def test_the_correction_asked_for_is_applied(self):
        rng = np.random.default_rng(1)
        values = {name: rng.normal(i / 15, 0.3, (1, 60)) for i, name in enumerate("abc")}
        raw = [ttest_rel(values[a][0], values[b][0]).pvalue for a, b in ("ab", "ac", "bc")]
        found = [c.p for c in compare(values, (), Method("t", "bh"))]
        assert found == pytest.approx(benjamini_hochberg(raw))
        assert [c.p for c in compare(values)] == pytest.approx(holm(raw))


class TestDesign:
    def test_mean_squares_by_hand(self):
        # seeds' means 3 and 5, queries' means 2, 4, 6, overall 4; the rests are -1 0 1 / 1 0 -1
        sample = summarised(np.array([[0.0, 3.0, 6.0], [4.0, 5.0, 6.0]]))
        assert sample.means.tolist() == [2.0, 4.0, 6.0]
        assert sample.seed_variance == pytest.approx(2 / 2)  # variance of 3 and 5, over 2 seeds
        assert sample.rest == pytest.approx((4 / 2) / 6)  # 4 over (2 - 1)(3 - 1), then over 2 × 3 values
        found = mean_of(sample)
        assert (found.mean, found.query_df, found.seed_df) == (4.0, 2, 1)
        assert found.query_variance == pytest.approx(4 / 3)  # variance of 2, 4, 6, over 3 queries
        assert found.seed_variance == pytest.approx(1 - 1 / 3)
        half = math.sqrt(4 / 3 * student.ppf(0.975, 2) ** 2 + 2 / 3 * student.ppf(0.975, 1) ** 2)
        assert interval(np.array([[0.0, 3.0, 6.0], [4.0, 5.0, 6.0]])) == pytest.approx((4 - half, 4 + half))

    @settings(max_examples=50)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 5))
    def test_mean_squares_are_those_of_a_loop(self, seed, seeds, queries):
        values = np.random.default_rng(seed).uniform(size=(seeds, queries))
        overall = values.mean()
        between = sum((values[s].mean() - overall) ** 2 for s in range(seeds)) / (seeds - 1)
        rest = sum(
            (values[s, q] - values[s].mean() - values[:, q].mean() + overall) ** 2
            for s, q in product(range(seeds), range(queries))
        ) / ((seeds - 1) * (queries - 1))
        found = summarised(values)
        assert found.seed_variance == pytest.approx(between / seeds)
        assert found.rest == pytest.approx(rest / (seeds * queries))

    def test_variance_of_a_difference_is_unbiased(self):
        # queries .13² / 200, seeds .01² / 3 + .01² / 4, their rests .1² / 600 + .1² / 800
        rng = np.random.default_rng(5)
        true = 0.13**2 / 200 + 0.01**2 * (1 / 3 + 1 / 4) + 0.1**2 * (1 / 600 + 1 / 800)
        found = []
        for _ in range(3000):
            a, b = (summarised(drawn(rng, seeds, 200, seed_sd=0.01)) for seeds in (3, 4))
            estimate = difference(a, b, over_seeds=True)
            found.append(estimate.query_variance + a.seed_variance + b.seed_variance - a.rest - b.rest)
        assert np.mean(found) == pytest.approx(true, rel=0.03)

    def test_p_is_the_level_at_which_the_interval_touches_0(self):
        rng = np.random.default_rng(2)
        a, b = (drawn(rng, 3, 100, seed_sd=0.02, mean=m) for m in (0.55, 0.5))
        estimate = difference(summarised(a), summarised(b), over_seeds=True)
        assert estimate.seed_variance > 0
        assert estimate.half_width(estimate.p_value()) == pytest.approx(abs(estimate.mean))

    def test_seeds_that_agree_leave_the_paired_t_test(self):
        rng = np.random.default_rng(3)
        a, b = rng.uniform(size=(2, 80))
        values = {"a": np.repeat(a[None], 3, axis=0), "b": b[None]}
        (found,) = compare(values)
        assert found.p == pytest.approx(ttest_rel(a, b).pvalue)
        better, worse = (a, b) if found.better == "a" else (b, a)
        assert (found.low, found.high) == pytest.approx(ttest_rel(better, worse).confidence_interval(0.95))

    def test_rounding_of_means_over_seeds_is_no_difference(self):
        a = np.array([0.1, 0.7, 0.3, 0.9, 0.6, 0.2, 0.4])
        (found,) = compare({"a": np.repeat(a[None], 3, axis=0), "b": a[None]})
        assert (found.difference, found.p, found.significant) == (0.0, 1.0, False)
        assert (found.effect, found.detectable) == (None, None)

    @settings(max_examples=30, deadline=None)
    @example(seed=132439403, of_a=1, of_b=1, queries=10, test="wilcoxon", by="bh")  # means that tie
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(2, 14),
           st.sampled_from(TESTS), st.sampled_from(CORRECTIONS))  # fmt: skip
    def test_order_of_queries_seeds_and_rankers_plays_no_part(self, seed, of_a, of_b, queries, test, by):
        rng = np.random.default_rng(seed)
        values = {n: rng.integers(0, 5, (s, queries)) / 4 for n, s in (("a", of_a), ("b", of_b), ("c", 2))}
        method = Method(test, by)
        found = {frozenset((c.better, c.worse)): c for c in compare(values, {"b"}, method)}
        order = rng.permutation(queries)
        moved = {n: rng.permutation(values[n], axis=0)[:, order] for n in ("c", "b", "a")}
        for c in compare(moved, {"b"}, method):
            before = found[frozenset((c.better, c.worse))]
            assert c.difference == pytest.approx(before.difference)
            if c.difference:
                assert c.better == before.better
                assert c.p == pytest.approx(before.p)
                assert c.significant == before.significant
            if c.difference and test != "wilcoxon":
                assert (c.low, c.high) == pytest.approx((before.low, before.high))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 40),
           st.sampled_from(("t", "randomization")), st.floats(0, 0.4))  # fmt: skip
    def test_what_is_significant_has_an_interval_that_leaves_out_0(self, seed, of_a, of_b, n, test, shift):
        rng = np.random.default_rng(seed)
        a = rng.integers(0, 9, (of_a, n)) / 8 + shift
        (found,) = compare({"a": a, "b": rng.integers(0, 9, (of_b, n)) / 8}, (), Method(test))
        assert found.significant == (found.low > 0)

    def test_a_trained_model_of_one_seed_is_compared_as_it_is(self):
        rng = np.random.default_rng(4)
        a, b = drawn(rng, 3, 300, seed_sd=0.02), drawn(rng, 1, 300, seed_sd=0.02)
        (found,) = compare({"a": a, "b": b}, {"b"})
        assert found.p == pytest.approx(ttest_rel(a.mean(axis=0), b[0]).pvalue)
        (both,) = compare({"a": a, "b": b})
        assert both.p > found.p

    def test_values_of_different_queries_are_not_paired(self):
        with pytest.raises(ValueError, match="different numbers of queries"):
            compare({"a": np.zeros((1, 3)), "b": np.zeros((1, 4))})
        with pytest.raises(ValueError, match=r"shape \(3,\)"):
            compare({"a": np.zeros(3)})


# In 200,000 simulations a nominal 5% comes out between 3.5 and 5%; so few as here have a standard error
# of .7 to .9 points.
@pytest.mark.parametrize("queries", [171, 1000, 5000])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("seed_sd", [0.008, 0.011])
def test_rankers_that_differ_by_their_seeds_alone_are_told_apart_in_5_percent(queries, seeds, seed_sd):
    rng = np.random.default_rng(queries + seeds)
    wrong = {"trained": 0, "deterministic": 0, "queries alone": 0}
    n = 1000 if queries < 5000 else 500
    for _ in range(n):
        shared = rng.normal(0, 0.2, queries)
        a, b, c = (drawn(rng, seeds, queries, seed_sd=sd, shared=shared) for sd in (seed_sd, seed_sd, 0))
        wrong["trained"] += compare({"a": a, "b": b})[0].significant
        wrong["deterministic"] += compare({"a": a, "c": c[:1]})[0].significant
        wrong["queries alone"] += compare({"a": a, "b": b}, {"a"})[0].significant
    assert 0.02 <= wrong["trained"] / n <= 0.07
    assert 0.02 <= wrong["deterministic"] / n <= 0.07
    if queries >= 1000:
        assert wrong["queries alone"] / n > 0.12


@pytest.mark.parametrize(("of_a", "of_b"), [(3, 5), (8, 12)])
def test_unequal_seeds_hold_the_level_and_find_what_they_are_said_to_find(of_a, of_b):
    rng = np.random.default_rng(11)

    def made():
        return drawn(rng, of_a, 500, seed_sd=0.011), drawn(rng, of_b, 500, seed_sd=0.006)

    n = 1000
    equal = [compare({"a": a, "b": b})[0] for a, b in (made() for _ in range(n))]
    assert 0.02 <= sum(c.significant for c in equal) / n <= 0.07
    size = math.sqrt(np.mean([c.detectable**2 for c in equal]))
    apart = [compare({"a": a + size, "b": b})[0] for a, b in (made() for _ in range(n))]
    assert 0.72 <= sum(c.significant and c.better == "a" for c in apart) / n <= 0.88


class TestEffect:
    def test_effect_and_detectable_difference_by_hand(self):
        # differences 1, 2, 3, 4, 5, 3, 3: mean 3, standard deviation sqrt(10 / 6)
        differences = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 3.0])
        values = {"a": one_seed(differences), "b": one_seed(np.zeros(7)), "c": one_seed(np.ones(7))}
        found = compare(values)[0]
        deviation = math.sqrt(10 / 6)
        assert found.effect == pytest.approx(3 / deviation)
        quantiles = student.ppf(1 - 0.05 / 3 / 2, 6) + student.ppf(0.8, 6)
        assert found.detectable == pytest.approx(quantiles * deviation / math.sqrt(7))


class TestRandomization:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 8))
    def test_up_to_16_queries_it_is_scipy_s_exact_test(self, seed, queries):
        means = np.random.default_rng(seed).integers(0, 5, (2, queries)) / 4
        (found,) = randomized(means, [(0, 1)], 0.05)
        expected = permutation_test(
            (means[0] - means[1],), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert found.p == pytest.approx(expected.pvalue)

    def test_its_interval_holds_what_it_does_not_reject(self):
        rng = np.random.default_rng(6)
        means = np.stack([rng.uniform(0.2, 1, 9), rng.uniform(0, 0.8, 9)])
        (found,) = randomized(means, [(0, 1)], 0.05)
        for shift, inside in (
            (found.low + 1e-6, True),
            (found.low - 1e-6, False),
            (found.high - 1e-6, True),
            (found.high + 1e-6, False),
        ):
            (moved,) = randomized(means - [[shift], [0.0]], [(0, 1)], 0.05)
            assert (moved.p > 0.05) == inside

    def test_beyond_16_queries_it_is_near_the_t_test(self):
        rng = np.random.default_rng(7)
        a = rng.uniform(size=300)
        noise = rng.normal(0, 0.1, 300)
        b = a + noise - noise.mean() + 0.01
        (found,) = compare({"a": one_seed(a), "b": one_seed(b)}, (), Method("randomization"))
        (t,) = compare({"a": one_seed(a), "b": one_seed(b)})
        assert 0.001 < t.p < 0.2
        assert found.p == pytest.approx(t.p, rel=0.1)
        assert (found.low, found.high) == pytest.approx((t.low, t.high), abs=0.001)

    def test_on_means_over_seeds(self):
        rng = np.random.default_rng(8)
        a, b = rng.uniform(size=(2, 3, 12))
        means = {"a": one_seed(a.mean(axis=0)), "b": one_seed(b.mean(axis=0))}
        for test in ("randomization", "wilcoxon"):
            (found,), (of_means,) = (compare(v, (), Method(test)) for v in ({"a": a, "b": b}, means))
            assert found.p == of_means.p


class TestSignedRank:
    def test_it_is_scipy_s_without_an_interval(self):
        rng = np.random.default_rng(9)
        a, b = rng.integers(0, 9, (2, 60)) / 8
        a[:20] = b[:20]
        (found,) = compare({"a": one_seed(a), "b": one_seed(b)}, (), Method("wilcoxon"))
        differences = (a - b)[a != b]
        assert found.p == pytest.approx(wilcoxon(differences).pvalue)
        assert (found.low, found.high) == (None, None)

    def test_ranks_against_the_mean_prove_nothing(self):
        # 30 queries better by little, 5 worse by much: the ranks' side is not the mean's
        a = np.r_[np.full(40, 0.51), np.zeros(8)] + np.arange(48) * 1e-5
        b = np.r_[np.full(40, 0.50), np.ones(8)]
        assert wilcoxon(a - b).pvalue < 0.05
        (found,) = compare({"a": one_seed(a), "b": one_seed(b)}, (), Method("wilcoxon"))
        assert (found.better, found.significant) == ("b", False)
        assert found.p > 0.9

    def test_equal_rankers(self):
        (found,) = compare({"a": np.ones((1, 9)), "b": np.ones((2, 9))}, (), Method("wilcoxon"))
        assert (found.p, found.significant) == (1.0, False)


class TestOneSeed:
    def test_interval_of_many_values_is_the_normal_one(self):
        values = np.random.default_rng(3).normal(0.5, 0.2, size=2000)
        half = norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
        low, high = interval(one_seed(values))
        assert low == pytest.approx(values.mean() - half, abs=half / 100)
        assert high == pytest.approx(values.mean() + half, abs=half / 100)

    def test_interval_at_the_edges(self):
        assert interval(np.full((2, 9), 0.25)) == (0.25, 0.25)
        assert interval(np.array([[0.7]])) == (-np.inf, np.inf)
        assert interval(np.array([[0.7], [0.2]])) == (-np.inf, np.inf)
        with pytest.raises(ValueError, match="one query at least"):
            interval(np.zeros((1, 0)))

    def test_a_real_difference_is_claimed_and_noise_is_not(self):
        rng = np.random.default_rng(0)
        base = rng.uniform(size=300)
        values = {
            "low": one_seed(base * 0.5),
            "high": one_seed(base * 0.5 + 0.1 + rng.normal(0, 0.05, 300)),
            "twin": one_seed(base * 0.5 + rng.normal(0, 0.05, 300)),
        }
        found = {frozenset((c.better, c.worse)): c for c in compare(values)}
        claimed = found[frozenset(("low", "high"))]
        assert (claimed.better, claimed.significant) == ("high", True)
        assert claimed.low < 0.1 < claimed.high
        assert claimed.difference == pytest.approx((values["high"] - values["low"]).mean())
        assert not found[frozenset(("low", "twin"))].significant
        assert compare(values) == compare(values)

    @pytest.mark.parametrize("test", TESTS)
    def test_a_handful_of_queries_proves_nothing(self, test):
        for n in range(1, 6):
            (found,) = compare({"a": np.zeros((1, n)), "b": np.ones((1, n))}, (), Method(test))
            assert (found.better, found.difference) == ("b", 1.0)
            assert not found.significant
        (found,) = compare({"a": np.zeros((1, 6)), "b": np.ones((1, 6))}, (), Method(test))
        assert found.p == pytest.approx(2 / 2**6)
        assert found.significant

    @pytest.mark.parametrize("test", TESTS)
    def test_equal_rankers_do_not_differ(self, test):
        values = {"a": np.full((1, 50), 0.3), "b": np.full((1, 50), 0.3)}
        (found,) = compare(values, (), Method(test))
        assert (found.p, found.significant) == (1.0, False)
        assert compare({"alone": np.full((1, 50), 0.3)}, (), Method(test)) == []

import math
import struct
from itertools import pairwise

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.errors import TrialError, UsageError
from arrbench.measure.quality import MEASURES, canonical, evaluate, parse, validate
from arrbench.ranker import Corpus, Query, Ranking
from arrbench.task import Judgments, Split

CORPUS = {"a": 0, "b": 1, "c": 2, "d": 3}
finite = st.floats(allow_nan=False, allow_infinity=False)


def one(name, ideal, ranked, gains=None):
    """The value of one measure for one query; `ideal` best first has gains n, n-1, .. 1."""
    grades = gains or {d: len(ideal) - i for i, d in enumerate(ideal)}
    ranking = Ranking(list(ranked), [float(-i) for i in range(len(ranked))])
    return evaluate([name], [Query("q", "")], Judgments({"q": grades}), {"q": ranking})[name][0]


class TestCanonical:
    def test_orders_by_score_drops_excluded_and_cuts(self):
        query = Query("q", "", excluded=frozenset({"b"}))
        ranking = canonical(query, Ranking(["a", "b", "c", "d"], [1.0, 9.0, 3.0, 2.0]), k=2)
        assert list(ranking.ids) == ["c", "d"]
        assert list(ranking.scores) == [3.0, 2.0]

    def test_ties_do_not_follow_ids_or_the_order_given(self):
        ids = [f"{i:03}" for i in range(200)]
        forward = canonical(Query("q", ""), Ranking(ids, [0.5] * 200), k=200)
        backward = canonical(Query("q", ""), Ranking(ids[::-1], [0.5] * 200), k=200)
        assert list(forward.ids) == list(backward.ids)
        places = np.array([int(d) for d in forward.ids])
        assert abs(np.corrcoef(places, np.arange(200))[0, 1]) < 0.2
        other = canonical(Query("another", ""), Ranking(ids, [0.5] * 200), k=200)
        assert list(other.ids) != list(forward.ids)

    def test_empty(self):
        assert list(canonical(Query("q", ""), Ranking([], []), k=3).ids) == []

    @pytest.mark.parametrize(
        "scores", [[0.0] * 300, [-0.0, 0.0, 0.0], [-1.7e308] * 5, [1.7e308] * 5, [1e-320, 0]]
    )
    def test_extreme_ties_become_strictly_decreasing(self, scores):
        ranking = canonical(Query("q", ""), Ranking([str(i) for i in range(len(scores))], scores), k=1000)
        assert strictly_decreasing_as_written(ranking.scores)

    def test_scores_without_ties_stay_what_they_are_in_single_precision(self):
        scores = [3.25, 0.1, -7.7, -1e10]
        ranking = canonical(Query("q", ""), Ranking(["a", "b", "c", "d"], scores), k=4)
        assert ranking.scores == [float(np.float32(s)) for s in scores]

    @given(st.lists(finite | st.sampled_from([0.0, 1.0, 1.0 + 1e-12]), max_size=40), st.randoms())
    def test_any_finite_scores_keep_their_order_as_text(self, scores, random):
        pairs = [(f"d{i}", s) for i, s in enumerate(scores)]
        result = canonical(
            Query("q", ""), Ranking(*zip(*pairs, strict=True)) if pairs else Ranking([], []), k=99
        )
        given_score = dict(pairs)
        order = [given_score[d] for d in result.ids]
        assert order == sorted(scores, reverse=True)
        assert strictly_decreasing_as_written(result.scores)
        random.shuffle(pairs)
        again = canonical(
            Query("q", ""), Ranking(*zip(*pairs, strict=True)) if pairs else Ranking([], []), k=99
        )
        assert (list(again.ids), list(again.scores)) == (list(result.ids), list(result.scores))


def strictly_decreasing_as_written(scores):
    """Read back from text in double and in single precision, no subnormal among them."""
    for write in (repr, "{:.9g}".format):
        doubles = [float(write(s)) for s in scores]
        singles = [struct.unpack("f", struct.pack("f", s))[0] for s in doubles]
        if any(a <= b for values in (doubles, singles) for a, b in pairwise(values)):
            return False
        if any(0 < abs(v) < 2.0**-126 for v in singles):
            return False
    return True


class TestValidate:
    def check(self, ids, scores, candidates=None, k=4):
        validate(Query("q7", "", candidates=candidates), Ranking(ids, scores), CORPUS, k)

    def test_accepts_what_the_contract_allows(self):
        self.check([], [])
        self.check(["c", "a"], [1, np.float32(2.0)])
        self.check(["c", "a"], np.array([0.5, 0.5]), candidates=("a", "c"))

    @pytest.mark.parametrize(
        ("ids", "scores", "candidates", "k", "fault"),
        [
            (["a", "x"], [1.0, 2.0], None, 4, "'x' is not in the corpus"),
            (["a", "a"], [1.0, 2.0], None, 4, "'a' occurs twice"),
            (["a", "b"], [1.0, 2.0], ("a", "c"), 4, "'b' is not among its 2 candidates"),
            (["a"], [math.nan], None, 4, "score nan, which is not finite"),
            (["a"], [-math.inf], None, 4, "score -inf, which is not finite"),
            (["a", "b"], [2.0, 1.0], None, 1, "2 documents, but at most 1"),
            (["a", "b"], [2.0], None, 4, "2 ids but 1 scores"),
        ],
    )
    def test_names_the_query_and_the_fault(self, ids, scores, candidates, k, fault):
        with pytest.raises(TrialError) as raised:
            self.check(ids, scores, candidates, k)
        assert "'q7'" in str(raised.value)
        assert fault in str(raised.value)


class TestEvaluate:
    def test_ndcg_by_hand(self):
        # gains 3, 2, 1 for a, b, c; ranked b, x, a
        dcg = 2 / math.log2(2) + 3 / math.log2(4)
        ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
        assert one("ndcg@10", "abc", "bxa") == pytest.approx(dcg / ideal)
        assert one("ndcg", "abc", "bxa") == pytest.approx(dcg / ideal)
        assert one("ndcg@1", "abc", "bxa") == pytest.approx(2 / 3)

    def test_gains_of_grades_are_what_is_measured(self):
        judgments = Judgments({"q": {"a": 3, "b": 1, "c": 0}}, gains={3: 100, 1: 1, 0: 0})
        ranking = Ranking(["b", "a", "c"], [3.0, 2.0, 1.0])
        value = evaluate(["ndcg"], [Query("q", "")], judgments, {"q": ranking})["ndcg"][0]
        assert value == pytest.approx((1 + 100 / math.log2(3)) / (100 + 1 / math.log2(3)))

    @pytest.mark.parametrize(
        ("name", "ideal", "ranked", "value"),
        [
            ("overlap@1", "abc", "ab", 1),
            ("overlap@3", "abcd", "bxa", 2 / 3),
            ("overlap@5", "abc", "bxayc", 1),  # three of the three there are
            ("overlap_paper@5", "abc", "bxayc", 3 / 5),
            ("overlap@3", "abc", "a", 1 / 3),
            ("recall@2", "abc", "bxa", 1 / 3),
            ("precision@2", "abc", "bxa", 1 / 2),
            ("precision@10", "abc", "bxa", 2 / 10),
            ("mrr", "abc", "xyb", 1 / 3),
            ("mrr@2", "abc", "xyb", 0),
        ],
    )
    def test_by_hand(self, name, ideal, ranked, value):
        assert one(name, ideal, ranked) == pytest.approx(value)

    def test_overlap_is_of_the_ideal_top_not_of_all_relevant(self):
        assert one("overlap@1", "abc", "ba") == 0

    def test_a_query_without_an_answer_or_a_judgment_counts_0(self):
        queries = [Query("none", ""), Query("empty", ""), Query("unjudged", ""), Query("good", "")]
        judgments = Judgments({q: {"a": 1} for q in ("none", "empty", "good")})
        rankings = {q: Ranking(["a"], [1.0]) for q in ("unjudged", "good")} | {"empty": Ranking([], [])}
        names = ["ndcg@10", "overlap@1", "overlap_paper@1", "recall@5", "precision@1", "mrr"]
        for name, values in evaluate(names, queries, judgments, rankings).items():
            assert values.tolist() == [0, 0, 0, 1], name
        for name, values in evaluate(names, queries[:3], judgments, {}).items():
            assert values.tolist() == [0, 0, 0], name
        assert evaluate(["ndcg"], [], judgments, {})["ndcg"].shape == (0,)

    def test_a_gain_that_is_no_integer_is_refused(self):
        for gain in (0.1, -1):
            with pytest.raises(UsageError, match=r"gain .* of document 'a' for query 'q'"):
                one("ndcg", "a", "a", gains={"a": gain})

    @pytest.mark.parametrize("name", ["ncdg@10", "overlap", "recall@0", "ndcg@", "ndcg@ten", ""])
    def test_an_unknown_measure_says_what_is_known(self, name):
        with pytest.raises(UsageError) as raised:
            one(name, "a", "a")
        assert repr(name) in str(raised.value)
        assert "@" in str(raised.value)

    def test_every_measure_declares_itself(self):
        for name, measure in MEASURES.items():
            assert measure.name == name
            assert measure.sentence
            assert measure.citation
            assert parse(f"{name}@10") == (measure, 10)

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_ragged_lists_agree_with_ir_measures(self, data):
        documents = [f"d{i}" for i in range(12)]
        n = data.draw(st.integers(1, 5))
        grades, rankings = {}, {}
        for i in range(n):
            judged = data.draw(st.lists(st.sampled_from(documents), unique=True, min_size=1))
            grades[f"q{i}"] = {d: data.draw(st.sampled_from([0, 1, 2, 10, 100])) for d in judged}
            ids = data.draw(st.lists(st.sampled_from(documents), unique=True, max_size=12))
            scores = data.draw(st.lists(st.integers(-2, 2), min_size=len(ids), max_size=len(ids)))
            rankings[f"q{i}"] = canonical(Query(f"q{i}", ""), Ranking(ids, scores), k=11)
        theirs = {
            "ndcg@3": ir_measures.nDCG @ 3,
            "ndcg": ir_measures.nDCG,
            "recall@5": ir_measures.R @ 5,
            "precision@5": ir_measures.P @ 5,
            "mrr": ir_measures.RR,
            "mrr@2": ir_measures.RR @ 2,
        }
        queries = [Query(q, "") for q in grades]
        ours = evaluate(list(theirs), queries, Judgments(grades), rankings)
        run = {q: dict(zip(r.ids, r.scores, strict=True)) for q, r in rankings.items()}
        for name, measure in theirs.items():
            expected = {m.query_id: m.value for m in ir_measures.iter_calc([measure], grades, run)}
            for query, value in zip(queries, ours[name], strict=True):
                relevant = any(grades[query.id].values())
                wanted = expected.get(query.id, 0.0) if relevant else 0.0
                assert value == pytest.approx(wanted), (name, query.id)


class TestExcluded:
    QUERY = Query("q", "", excluded=frozenset({"a"}))
    JUDGMENTS = Judgments({"q": {"a": 2, "b": 1}})

    @pytest.mark.parametrize("name", ["ndcg@10", "ndcg", "overlap@1", "overlap_paper@1", "recall@10", "mrr"])
    def test_a_relevant_document_that_is_excluded_is_not_in_the_ideal(self, name):
        perfect = Ranking(["b"], [1.0])
        assert evaluate([name], [self.QUERY], self.JUDGMENTS, {"q": perfect})[name].tolist() == [1.0]

    def test_an_ideal_of_excluded_documents_alone_is_none(self):
        judgments = Judgments({"q": {"a": 2}})
        assert evaluate(["ndcg"], [self.QUERY], judgments, {"q": Ranking(["b"], [1.0])})["ndcg"].tolist() == [
            0
        ]

    def test_a_split_has_no_judgment_of_what_a_query_excludes_and_leaves_others(self):
        other = Query("r", "")
        judgments = Judgments({"q": {"a": 2, "b": 1}, "r": {"a": 1}}, gains={1: 1, 2: 5})
        split = Split((self.QUERY, other), judgments, Corpus([]))
        assert split.judgments.grades == {"q": {"b": 1}, "r": {"a": 1}}
        assert split.judgments.ranked("q") == ["b"]
        assert split.judgments.gains == judgments.gains
        assert judgments.grades["q"] == {"a": 2, "b": 1}

    def test_no_excluded_document_is_a_candidate(self):
        assert Query("q", "", ("a", "b", "c"), frozenset({"a", "z"})).candidates == ("b", "c")
        assert Query("q", "", None, frozenset({"a"})).candidates is None

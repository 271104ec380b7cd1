import pytest

from arrbench.measure.validity import constraint_violations
from arrbench.ranker import Query

CORPUS = [f"d{i}" for i in range(20)]
VALID = CORPUS[:10]


def test_all_valid_and_none_valid():
    queries = [Query("q", "")]
    assert constraint_violations({"q": VALID}, queries, CORPUS) == 0
    assert constraint_violations({"q": [None] * 10}, queries, CORPUS) == 1


def test_unfinished_unknown_and_missing_beams_are_violations_over_all_queries():
    queries = [Query("a", ""), Query("b", "")]
    generations = {"a": [*VALID[:7], None, None, "unheard"], "b": VALID[:5]}
    assert constraint_violations(generations, queries, CORPUS) == pytest.approx((3 + 5) / 20)
    assert constraint_violations({"a": VALID}, queries, CORPUS) == pytest.approx(10 / 20)


def test_only_the_top_beams_count():
    queries = [Query("q", "")]
    assert constraint_violations({"q": ["d0", "d1", None]}, queries, CORPUS, top=2) == 0


def test_a_document_that_is_no_candidate_is_a_violation_when_reranking():
    candidates = tuple(CORPUS[:10])
    queries = [Query("q", "", candidates=candidates)]
    assert constraint_violations({"q": [*CORPUS[:6], *CORPUS[10:14]]}, queries, CORPUS) == pytest.approx(0.4)


def test_no_more_beams_are_counted_than_there_are_valid_ids():
    queries = [Query("q", "", candidates=("d0", "d1"))]
    assert constraint_violations({"q": ["d1", "d0", None, None]}, queries, CORPUS) == 0
    assert constraint_violations({"q": ["d1", None, "d0", None]}, queries, CORPUS) == 0.5


def test_nothing_to_count_is_an_error():
    with pytest.raises(ValueError, match="no beam"):
        constraint_violations({}, [], CORPUS)

"""Two stages as one ranker: what it ranks, what it refuses, and that its parts are trained as alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query, Ranking
from arrbench.spec import parse, validated
from arrbench.task import Judgments, Split
from arrbench.ties import tie_hash
from arrbench_rankers.bm25 import BM25
from arrbench_rankers.cascade import Cascade, CascadeOptions

TEXTS = {
    "a": "red wine glass",
    "b": "red red wine",
    "c": "white wine",
    "d": "red apple",
    "e": "green apple tree",
    "f": "wine wine wine red barrel",
}
CORPUS = Corpus(Document(i, text, text) for i, text in TEXTS.items())
QUERIES = [Query("1", "red wine"), Query("2", "apple"), Query("3", "nothing of it")]


def cascade(**options: object) -> Cascade:
    ranker = Cascade(CascadeOptions(**{"then": "bm25:b=0", **options}), Context())
    ranker.index(CORPUS)
    return ranker


def alone(**options: object) -> BM25:
    ranker = BM25(BM25.Options(**options), Context())
    ranker.index(CORPUS)
    return ranker


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_second_stage_orders_the_first_stage_s_best(depth: int) -> None:
    first, then = alone(), alone(b=0)
    for query, ranking in zip(QUERIES, cascade(depth=depth).rank(QUERIES, 10), strict=True):
        found = first.rank([query], 10)[0]
        best = tuple(d for _, d in sorted(zip(found.scores, found.ids, strict=True), reverse=True)[:depth])
        wanted = then.rank([Query(query.id, query.text, best)], 10)[0] if best else None
        assert list(ranking.ids) == (list(wanted.ids) if wanted else [])
        assert list(ranking.scores) == (list(wanted.scores) if wanted else [])


def test_excluded_documents_take_no_place_among_the_candidates() -> None:
    query = Query("1", "red wine", excluded=frozenset({"b", "f"}))
    found = cascade(depth=2).rank([query], 10)[0].ids
    assert len(found) == 2
    assert found[0] == "a"


def test_one_query_s_exclusions_do_not_deepen_the_first_stage_of_others() -> None:
    ranker = cascade(depth=2)
    asked: list[tuple[list[str], int]] = []
    rank = ranker._first.rank

    def recording(queries: Sequence[Query], k: int) -> list[Ranking]:
        asked.append(([q.id for q in queries], k))
        return rank(queries, k)

    ranker._first.rank = recording  # type: ignore[method-assign]
    heavy = Query("heavy", "red wine", excluded=frozenset({"b", "f", "c"}))
    alone = ranker.rank([heavy], 10)[0]
    asked.clear()
    assert ranker.rank([*QUERIES, heavy], 10)[-1] == alone
    assert asked == [(["1", "2", "3"], 2), (["heavy"], 5)]


def test_candidates_stand_in_the_order_of_ties_not_of_the_first_stage() -> None:
    seen: list[tuple[str, ...]] = []
    ranker = cascade(depth=4)
    rank = ranker._then.rank

    def recording(queries: Sequence[Query], k: int) -> list[Ranking]:
        seen.extend(q.candidates or () for q in queries)
        return rank(queries, k)

    ranker._then.rank = recording  # type: ignore[method-assign]
    ranker.rank([Query(f"q{i}", "red wine") for i in range(20)], 10)
    assert seen == [tuple(sorted(pool, key=lambda d: tie_hash(f"q{i}", d))) for i, pool in enumerate(seen)]


def test_a_pool_of_its_own_is_narrowed_too() -> None:
    ranking = cascade(depth=2).rank([Query("1", "red wine", ("c", "d", "a", "e"))], 10)[0]
    assert len(ranking.ids) == 2
    assert ranking.ids[0] == "a"


def test_costs_are_the_sums_of_the_stages() -> None:
    assert cascade().index_bytes == alone().index_bytes * 2  # type: ignore[operator]
    assert cascade().parameters is None


def test_stages_take_options_in_quotes_and_wrong_ones_are_named() -> None:
    asked = parse('cascade:first="bm25:k1=1.2:b=0.3":then=ce:depth=20')
    options = validated(CascadeOptions, asked, "ranker")
    assert options == CascadeOptions(first="bm25:k1=1.2:b=0.3", then="ce", depth=20)
    assert options.stage("first")[2] == BM25.Options(k1=1.2, b=0.3)
    with pytest.raises(UsageError, match="unknown ranker 'bm52'; did you mean 'bm25'"):
        Cascade.check(CascadeOptions(first="bm52"))
    with pytest.raises(UsageError, match="unknown option 'k2'"):
        Cascade.check(CascadeOptions(first="bm25:k2=1"))


def test_other_code_of_a_stage_is_another_cascade() -> None:
    inputs = Cascade.inputs(CascadeOptions(), Context())
    assert all(inputs[stage].startswith("arrbench ") for stage in ("first", "then"))
    assert inputs["first: pystemmer"] == version("PyStemmer")
    assert inputs["then: transformers"] == version("transformers")
    assert Cascade.weights(CascadeOptions(), Context()) == {}


@pytest.mark.slow
def test_a_stage_that_learns_is_trained_as_it_would_be_alone_and_survives_saving(tmp_path: Path) -> None:
    from arrbench_rankers.dual_encoder import DualEncoder

    grades = {"1": {"b": 2, "a": 1}, "2": {"d": 2, "e": 1}}
    split = Split(tuple(QUERIES[:2]), Judgments(grades), CORPUS)
    both = Cascade(CascadeOptions(then="de:epochs=2:dim=16", depth=4), Context(seed=3))
    lone = DualEncoder(DualEncoder.Options(epochs=2, dim=16), Context(seed=3))
    for ranker in (both, lone):
        ranker.fit(split, split)
        ranker.index(CORPUS)
    pool = alone().rank(QUERIES[:1], 4)[0].ids
    wanted = lone.rank([Query("1", "red wine", tuple(pool))], 4)[0]
    found = both.rank(QUERIES[:1], 4)[0]
    assert list(found.ids) == list(wanted.ids)
    assert found.scores == pytest.approx(wanted.scores, rel=1e-5)
    assert both.parameters == lone.parameters
    both.save(tmp_path)
    loaded = Cascade.load(tmp_path, Context(seed=3)).rank(QUERIES[:1], 4)[0]
    assert list(loaded.ids) == list(found.ids)

"""What a query excludes counts nowhere: not on the board, not in dev measures, not in what is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from arrbench.asking import ask
from arrbench.measure.quality import canonical, evaluate
from arrbench.ranker import Context, Corpus, Document, Query, Ranking
from arrbench.task import Judgments, Split
from arrbench_rankers import cross_encoder
from arrbench_rankers.dev_measure import ndcg_at_10

COLOURS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")
CORPUS = Corpus(Document(f"d-{c}", c, f"{c} paint") for c in COLOURS)
QUERY = Query("q", "red or green", excluded=frozenset({"d-red", "d-pink", "not in the corpus"}))
OTHER = Query("r", "blue")
GRADES = {"q": {"d-red": 2, "d-green": 1, "d-blue": 1}, "r": {"d-blue": 1, "d-red": 1}}
SPLIT = Split((QUERY, OTHER), Judgments(GRADES), CORPUS)
AT = CORPUS.positions


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_rankers_own_dev_measure_is_the_board_s() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        rankings = {
            q.id: Ranking(CORPUS.ids, draw.integers(0, 4, len(CORPUS)).tolist()) for q in SPLIT.queries
        }
        listed = {q.id: canonical(q, rankings[q.id], 100) for q in SPLIT.queries}
        board = evaluate(["ndcg@10"], SPLIT.queries, Judgments(GRADES), listed)["ndcg@10"].mean()
        assert ndcg_at_10(list(rankings.values()), SPLIT) == pytest.approx(board)
    perfect = [Ranking(["d-green", "d-blue", "d-red"], [3, 2, 9]), Ranking(["d-blue", "d-red"], [2, 1])]
    assert ndcg_at_10(perfect, SPLIT) == 1.0


@pytest.mark.slow
def test_the_dual_encoder_s_loss_ranks_no_excluded_document() -> None:
    from arrbench_rankers.dual_encoder import DualEncoder
    from arrbench_rankers.embedding_model import CorpusSoftmax, pipeline, rankings
    from arrbench_rankers.losses import EXCLUDED

    model = pipeline("tiny", 8, SPLIT, Context())
    loss = CorpusSoftmax(model, SPLIT, DualEncoder.Options(dim=8), seed=0)
    ranks = loss._ranks([0, 1], range(len(CORPUS)))
    assert ranks[0, [AT["d-red"], AT["d-pink"]]].tolist() == [EXCLUDED] * 2
    assert sorted(ranks[0].tolist())[-2:] == [1, 2]
    assert sorted(ranks[1].tolist())[-2:] == [1, 2]
    assert [len(r.ids) for r in rankings(np.zeros((2, 8)), SPLIT)] == [8, 8]


def test_the_dual_encoder_s_dev_measure_fetches_no_more_for_one_query_s_exclusions() -> None:
    from arrbench_rankers.embedding_model import rankings

    corpus = Corpus(Document(f"d{i}", "", "") for i in range(500))
    heavy = Query("heavy", "", excluded=frozenset(corpus.ids[:300]))
    split = Split((heavy, Query("light", "")), Judgments({}), corpus)
    assert [len(r.ids) for r in rankings(np.zeros((2, 500)), split)] == [310, 10]


@pytest.mark.slow
def test_the_cross_encoder_learns_no_excluded_document_and_draws_none() -> None:
    from arrbench_rankers.cross_encoder import CrossEncoder
    from arrbench_rankers.embedding_model import pipeline
    from arrbench_rankers.pair_encoder import started_from
    from arrbench_rankers.pair_training import RankedPairs

    options = CrossEncoder.Options(length=16)
    start = pipeline("tiny", 8, SPLIT, Context())
    pairs = RankedPairs(started_from(start, options, Context()), start, SPLIT, options, seed=0)
    assert sorted(pairs.ranked[0]) == sorted((AT["d-green"], AT["d-blue"]))
    assert sorted(pairs._negatives(0)) == sorted(AT[f"d-{c}"] for c in ("black", "white", "grey", "brown"))


@pytest.mark.slow
def test_the_cross_encoder_s_first_stage_hands_on_as_many_documents_whatever_is_excluded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from arrbench_rankers.cross_encoder import CrossEncoder

    monkeypatch.setattr(cross_encoder, "EVERY_DOCUMENT", 4)
    corpus = Corpus(Document(f"d{i:03}", "", "paint") for i in range(60))
    nothing = Split((), Judgments({}), corpus)
    ranker = CrossEncoder(CrossEncoder.Options(epochs=0, start_epochs=0, depth=5, length=16), Context())
    ranker.fit(nothing, nothing)
    ranker.index(corpus)
    queries = [Query("heavy", "paint", excluded=frozenset(corpus.ids[:50])), Query("light", "paint")]
    heavy, light = ask(ranker.rank, queries, 5)
    assert len(heavy.ids) == len(light.ids) == 5
    assert not set(heavy.ids) & queries[0].excluded


@pytest.mark.slow
def test_an_arr_training_lists_and_draws_no_excluded_document() -> None:
    from arrbench_rankers.arr import examples
    from arrbench_rankers.arr.ranker import Arr

    assert sorted(examples.listed(SPLIT)["q"]) == ["d-blue", "d-green"]
    ranker = Arr(Arr.Options(epochs=1, off_list=8), Context())
    ranker.fit(SPLIT, SPLIT)
    drawn: list[list[int]] = []
    original = examples.draw
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(examples, "draw", lambda *words: drawn.append(original(*words)) or drawn[-1])
        examples.examples(SPLIT, ranker._prompts, ranker._index, ranker.options, 0)
    assert sorted(drawn[0]) == sorted(AT[f"d-{c}"] for c in ("black", "white", "grey", "brown"))
    assert sorted(drawn[1]) == sorted(set(range(8)) - {AT["d-blue"], AT["d-red"]})

"""The rankers `arr`, `arr-ntp` and `arr-stoical` at the contract."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr import decoding, lm_config
from arrbench_rankers.arr.ranker import Arr, ArrNtp, ArrStoical
from arrbench_rankers.dev_measure import ndcg_at_10


def test_it_learns_the_ranked_lists(trained, split):
    assert ndcg_at_10(trained.rank(split.queries, 10), split) > 0.9
    top = [ranking.ids[0] for ranking in trained.rank(split.queries, 3)]
    assert top == [split.judgments.ranked(query.id)[0] for query in split.queries]


def test_the_presets_are_arr_with_other_losses():
    assert ArrStoical.Options() == Arr.Options()
    assert (Arr.Options().item, Arr.Options().alpha, Arr.Options().beta) == ("fractional", 2.0, None)
    assert ArrNtp.Options().model_dump() == Arr.Options(item="top1").model_dump()


def test_k_best_documents_each_once_with_finite_scores(trained, split):
    for ranking in trained.rank(split.queries, 4):
        assert len(ranking.ids) == len(set(ranking.ids)) == len(ranking.scores) == 4
        assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
        assert np.isfinite(ranking.scores).all()


def test_k_beyond_the_corpus_ranks_all_of_it(trained, split, animals):
    (ranking,) = trained.rank(split.queries[:1], 1000)
    assert sorted(ranking.ids) == sorted(animals.ids)


def test_no_query_and_a_query_without_text(trained, animals):
    assert trained.rank([], 10) == []
    assert trained.generate([], 10) == []
    (ranking,) = trained.rank([Query("empty", "")], 100)
    assert sorted(ranking.ids) == sorted(animals.ids)


def test_candidates_are_ranked_as_they_are_in_the_whole_corpus(trained, split):
    query = split.queries[0]
    (everything,) = trained.rank([query], 100)
    scores = dict(zip(everything.ids, everything.scores, strict=True))
    candidates = ("fish", "dog", "bird", "animal")
    (ranking,) = trained.rank([replace(query, candidates=candidates)], 100)
    assert list(ranking.ids) == sorted(candidates, key=lambda d: -scores[d])
    assert ranking.scores == pytest.approx([scores[d] for d in ranking.ids], abs=1e-4)
    (first,) = trained.rank([replace(query, candidates=candidates)], 1)
    assert first.ids == ranking.ids[:1]


def test_queries_with_and_without_candidates_may_come_together(trained, split):
    one, other = split.queries[:2]
    mixed = trained.rank([replace(one, candidates=("fish", "dog")), other], 3)
    assert set(mixed[0].ids) == {"fish", "dog"}
    assert mixed[1].ids == trained.rank([other], 3)[0].ids


def test_a_batch_ranks_as_one_query_at_a_time_does(trained, split):
    for query, together in zip(split.queries, trained.rank(split.queries, 5), strict=True):
        (alone,) = trained.rank([query], 5)
        assert alone.ids == together.ids
        assert alone.scores == pytest.approx(together.scores, abs=1e-4)


@pytest.fixture(scope="module")
def reloaded(trained, tmp_path_factory):
    """Makes the trained ranker anew with other options."""
    folder = tmp_path_factory.mktemp("trained")
    trained.save(folder)
    saved = json.loads((folder / "options.json").read_text())

    def make(**options):
        (folder / "options.json").write_text(json.dumps(saved | options))
        return ArrStoical.load(folder, Context())

    return make


def test_a_tree_too_large_to_be_read_whole_is_searched_with_the_same_result(trained, split, reloaded):
    searching = reloaded(dense_nodes=0, block=4)
    some = [replace(query, candidates=("fish", "dog", "cat", "canine")) for query in split.queries]
    for asked, k in ((split.queries, 3), (split.queries, 100), (some, 2)):  # 100: everything, read whole
        for one, other in zip(searching.rank(asked, k), trained.rank(asked, k), strict=True):
            assert one.ids == other.ids
            assert one.scores == pytest.approx(other.scores, abs=1e-4)
    assert searching.facts["searched_queries"] == 2 * len(split.queries)
    assert searching.facts["search_exact"] == 1
    assert searching.facts["search_block"] == 4
    assert "search_exact" not in trained.facts


def test_all_candidates_asked_for_are_read_whole(split, reloaded):
    searching = reloaded(dense_nodes=0)
    searching.rank(split.queries, 3)
    assert searching.facts["searched_queries"] == len(split.queries)
    searching.count_anew()
    searching.rank([replace(split.queries[0], candidates=("fish", "dog"))], 2)
    assert "searched_queries" not in searching.facts


@pytest.mark.parametrize(
    ("decode", "found"), [("exact", 4), ("best-first", 4), ("beam", 4), ("greedy", 1), ("sample", 4)]
)
def test_each_way_to_decode_gives_documents_with_their_scores(trained, split, reloaded, decode, found):
    normalise = "tree" if decode == "sample" else "vocabulary"
    ranker = reloaded(decode=decode, beam=11, block=2)
    other = reloaded(decode="best-first", block=3, normalise=normalise)
    for one, whole in zip(ranker.rank(split.queries, 4), other.rank(split.queries, 100), strict=True):
        scores = dict(zip(whole.ids, whole.scores, strict=True))
        assert found <= len(set(one.ids)) == len(one.ids) <= 4
        assert one.scores == pytest.approx([scores[d] for d in one.ids], abs=1e-4)
        if decode in ("exact", "best-first", "beam"):
            assert one.ids == whole.ids[:4]


def test_a_sample_depends_on_the_seed_and_the_query_alone(split, reloaded):
    ranker = reloaded(decode="sample")
    one, other = ranker.rank(split.queries, 3), ranker.rank(split.queries[::-1], 3)[::-1]
    assert [ranking.ids for ranking in one] == [ranking.ids for ranking in other]


def test_a_search_that_runs_out_of_memory_takes_fewer_queries_at_once(split, reloaded, monkeypatch):
    ranker = reloaded(decode="best-first", block=2)
    whole = ranker.rank(split.queries, 3), ranker.generate(split.queries, 3)

    def cramped(call):
        def limited(model, prompts, *rest):
            if len(prompts) > 3:
                raise torch.OutOfMemoryError
            return call(model, prompts, *rest)

        return limited

    for name in ("search", "generate"):
        monkeypatch.setattr(decoding, name, cramped(getattr(decoding, name)))
    for one, other in zip(ranker.rank(split.queries, 3), whole[0], strict=True):
        assert one.ids == other.ids
    assert ranker.facts["scoring_batch_halved"] == 2  # 8, 4, 2 queries
    assert ranker.generate(split.queries, 3) == whole[1]
    monkeypatch.setattr(decoding, "search", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(UsageError, match="no memory left to search for one query"):
        ranker.rank(split.queries, 3)


def test_an_audit_holds_a_beam_against_the_exact_top_k(split, reloaded):
    wide, narrow = reloaded(beam=11).audit(split.queries, 5), reloaded(beam=1).audit(split.queries, 5)
    assert wide["audit_exact"] == 1
    assert wide["audited_queries"] == len(split.queries)
    assert wide["beam_finds"] == wide["beam_finds_all"] == 1
    assert narrow["beam_finds"] < 1
    assert narrow["beam_finds_all"] < 1


def test_generations_are_documents_or_violations(trained, split, animals):
    generated = trained.generate(split.queries, 5)
    assert [len(ids) for ids in generated] == [5] * len(split.queries)
    assert [ids[0] for ids in generated] == [split.judgments.ranked(q.id)[0] for q in split.queries]
    spelt = [d for ids in generated for d in ids if d is not None]
    assert set(spelt) <= set(animals.ids)
    best = trained.rank(split.queries, 5)
    for ids, ranking in zip(generated, best, strict=True):
        known = [d for d in ids if d is not None]
        assert known == list(ranking.ids[: len(known)])


def test_a_generation_outside_the_candidates_is_a_violation(trained, split):
    query = split.queries[0]
    ((first, *_),) = trained.generate([query], 5)
    ((narrowed, *_),) = trained.generate([replace(query, candidates=("fish", "bird"))], 5)
    assert (first, narrowed) == ("dog", None)


def test_a_loaded_ranker_ranks_and_generates_the_same(trained, split, tmp_path):
    trained.save(tmp_path)
    loaded = ArrStoical.load(tmp_path, Context())
    assert loaded.rank(split.queries, 100) == trained.rank(split.queries, 100)
    assert loaded.generate(split.queries, 5) == trained.generate(split.queries, 5)
    assert (loaded.parameters, loaded.index_bytes) == (trained.parameters, trained.index_bytes)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} <= {
        ".json",
        ".npy",
        ".safetensors",
        ".jinja",
    }


def test_another_corpus_may_be_indexed_after_training(trained, split, animals, tmp_path):
    trained.save(tmp_path)
    ranker = ArrStoical.load(tmp_path, Context())
    ranker.index(Corpus([*animals, Document("new", "wombat", ""), Document("newer", "quokka", "")]))
    (ranking,) = ranker.rank(split.queries[:1], 100)
    assert sorted(ranking.ids) == sorted([*animals.ids, "new", "newer"])
    assert ranking.ids[0] == "dog"


def test_one_document_and_queries_without_a_list(animals):
    corpus = Corpus([Document("only", "dog", "dog")])
    queries = (
        Query("q", "a dog"),
        Query("none", "nothing"),
        Query("own", "dog", excluded=frozenset({"only"})),
    )
    split = Split(queries, Judgments({"q": {"only": 1}, "own": {"only": 1}}), corpus)
    ranker = Arr(Arr.Options(epochs=1), Context())
    ranker.fit(split, replace(split, queries=()))
    assert ranker.facts["train_queries_without_list"] == 2
    assert [ranking.ids for ranking in ranker.rank(queries, 10)] == [["only"]] * 3
    assert len(ranker.generate(queries, 10)[0]) == 10


def test_a_training_without_any_list_is_refused(animals):
    split = Split((Query("q", "a dog"),), Judgments({}), animals)
    with pytest.raises(UsageError, match="none of the 1 training queries"):
        Arr(Arr.Options(), Context()).fit(split, split)


@pytest.mark.parametrize(
    "options",
    [
        {"item": "top1"},
        {"item": "top1", "beta": 1.0},
        {"item": "stepwise", "beta": 2.0, "length": "mean"},
        {"prompt": "candidates", "query_tokens": 2},
    ],
)
def test_every_loss_and_prompt_trains_and_ranks(split, options):
    candidates = tuple(split.corpus.ids)
    shown = replace(split, queries=tuple(replace(q, candidates=candidates) for q in split.queries))
    reports = []
    ranker = Arr(
        Arr.Options(epochs=2, batch=4, **options),
        Context(report=lambda phase, done, total, **figures: reports.append(figures)),
    )
    ranker.fit(shown, shown)
    ranker.index(shown.corpus)
    assert all(sorted(ranking.ids) == sorted(candidates) for ranking in ranker.rank(shown.queries, 100))
    assert any("dev_ndcg" in figures for figures in reports)
    assert ranker.facts["query_texts_cut"] == (8 if "query_tokens" in options else 0)


def test_candidates_beyond_what_the_model_reads_are_counted_and_still_ranked(split, monkeypatch):
    monkeypatch.setattr(lm_config, "longest_row", lambda config: 12)
    shown = [replace(query, candidates=split.corpus.ids) for query in split.queries]
    ranker = Arr(Arr.Options(prompt="candidates", epochs=1), Context())
    ranker.fit(replace(split, queries=tuple(shown)), Split((), Judgments({}), split.corpus))
    ranker.index(split.corpus)
    for _ in range(2):  # asked again they count once
        ranker.rank(shown[:2], 11)
        assert ranker.facts["candidate_prompts_cut"] == 2
        assert 2 * 8 <= ranker.facts["candidates_left_out"] < 2 * 11
    assert len(ranker.rank(shown[:1], 11)[0].ids) == 11


def test_a_prompt_of_candidates_needs_candidates(split):
    with pytest.raises(UsageError, match="prompt=candidates needs candidates"):
        Arr(Arr.Options(prompt="candidates"), Context()).fit(split, split)


def test_its_options_are_read_without_heavy_imports():
    code = (
        "import sys, arrbench_rankers.arr.ranker; "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_half_precision_ranks_the_same_after_loading(split, tmp_path):
    context = Context(dtype="bfloat16")
    ranker = Arr(Arr.Options(epochs=5, batch=4), context)
    ranker.fit(split, split)
    ranker.save(tmp_path)
    found = ranker.rank(split.queries, 100)
    assert found == Arr.load(tmp_path, context).rank(split.queries, 100)
    assert all(np.isfinite(ranking.scores).all() for ranking in found)

"""`arr` with every docID scheme, another distribution's included."""

from pathlib import Path

import pytest

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document
from arrbench.ties import id_hash
from arrbench_rankers.arr.ranker import Arr

SPELLER = Path(__file__).parents[2] / "distributions" / "speller"


def learnt(split, docid, **context):
    options = Arr.Options(docid=docid, epochs=30, batch=4, warmup=5, learning_rate=3e-3)
    ranker = Arr(options, Context(**context))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


@pytest.mark.parametrize(
    "docid", ["atomic", "ordinal", "sparse-code:dictionary=9:nonzeros=2", "kmeans:branches=3:leaf=3"]
)
def test_every_scheme_learns_to_rank_and_is_loaded_as_saved(split, docid, tmp_path):
    ranker = learnt(split, docid)
    best = [ranking.ids[0] for ranking in ranker.rank(split.queries, 20)]
    wanted = [split.judgments.ranked(q.id)[0] for q in split.queries]
    assert sum(a == b for a, b in zip(best, wanted, strict=True)) >= 6
    written = list(ranker._index.docids)
    ranker.save(tmp_path)
    loaded = Arr.load(tmp_path, Context(seed=9))
    assert loaded.rank(split.queries, 20) == ranker.rank(split.queries, 20)
    loaded.index(split.corpus)
    assert list(loaded._index.docids) == written


@pytest.mark.parametrize("docid", ["name", "kmeans:branches=3:leaf=3"])
def test_searches_are_counted_from_the_end_of_training_on(split, docid):
    options = Arr.Options(docid=docid, decode="best-first", epochs=1, block=2)
    ranker = Arr(options, Context())
    ranker.fit(split, split)
    assert "searched_queries" not in ranker.facts
    ranker.index(split.corpus)
    ranker.rank(split.queries, 3)
    assert ranker.facts["searched_queries"] == len(split.queries)


@pytest.mark.parametrize("docid", ["sparse-code:dictionary=9:nonzeros=2", "kmeans:branches=3:leaf=3"])
def test_training_changes_no_docid_that_comes_from_embeddings(split, docid, tmp_path):
    ranker = learnt(split, docid)
    before = {d: ranker._index.docid(d) for d in split.corpus.ids}
    ranker.save(tmp_path)
    loaded = Arr.load(tmp_path, Context(seed=9))
    new = max((f"new-{i}" for i in range(1000)), key=id_hash)  # the last to be numbered
    loaded.index(Corpus([*split.corpus, Document(new, "wombat", "wombat")]))
    assert {d: loaded._index.docid(d) for d in before} == before
    assert sorted(loaded.rank(split.queries[:1], 20)[0].ids) == sorted([*before, new])


def test_a_corpus_without_documents_is_refused(trained):
    with pytest.raises(UsageError, match="no document"):
        trained.index(Corpus([]))


def test_documents_that_share_a_code_are_counted(split):
    ranker = Arr(Arr.Options(docid="name:tokens=1", epochs=1), Context())
    ranker.fit(split, split)
    assert ranker.facts["docids_numbered"] == 2  # "dog house" and "cat fish"


def test_a_scheme_of_another_distribution_works_and_is_in_the_record_s_key(split, monkeypatch):
    with pytest.raises(UsageError, match="unknown docid 'backwards'"):
        Arr.check(Arr.Options(docid="backwards"))
    monkeypatch.syspath_prepend(str(SPELLER))
    ranker = learnt(split, "backwards:words=1")
    assert ranker.rank(split.queries, 5)[0].ids[0] == "dog"
    bare, numbered = (ranker._index.name(d) for d in sorted(("bird", "song bird"), key=id_hash))
    assert numbered[:-1] == bare
    own, theirs = (Arr.inputs(Arr.Options(docid=d), Context())["docid"] for d in ("name", "backwards"))
    assert own.startswith("arrbench ")
    assert theirs.startswith("speller 1.0 ")


@pytest.mark.parametrize(
    ("docid", "fault"),
    [
        ("no-scheme", "docid 'no-scheme' of speller: speller:NoScheme is no DocIdScheme"),
        ("unreadable", "docid 'unreadable' of speller 1.0 can't be imported"),
        ("backwards:words=0", "option words=0 of docid 'backwards'"),
    ],
)
def test_a_scheme_that_can_t_be_had_is_named_before_any_work(docid, fault, monkeypatch):
    monkeypatch.syspath_prepend(str(SPELLER))
    with pytest.raises(UsageError, match=fault):
        Arr.check(Arr.Options(docid=docid))

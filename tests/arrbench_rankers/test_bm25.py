import math
from pathlib import Path

import pytest

from arrbench.measure.quality import canonical
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench_rankers.analysis import Analyser
from arrbench_rankers.bm25 import BM25

TEXTS = {
    "d1": "a dog barks at the dog next door",
    "d2": "cats and dogs",
    "d3": "the cat's whiskers",
    "d4": "running horses",
    "d5": "",
}


def corpus(texts=TEXTS):
    return Corpus(Document(i, i, text) for i, text in texts.items())


def indexed(texts=TEXTS, **options):
    ranker = BM25(BM25.Options(**options), Context())
    ranker.index(corpus(texts))
    return ranker


@pytest.fixture(scope="module")
def ranker():
    return indexed()


def scores(ranker, text, k=10, **query):
    (ranking,) = ranker.rank([Query("q", text, **query)], k)
    return dict(zip(ranking.ids, ranking.scores, strict=True))


def lucene(tf, n, length, mean, documents=5, k1=0.9, b=0.4):
    idf = math.log(1 + (documents - n + 0.5) / (n + 0.5))
    return idf * tf / (tf + k1 * (1 - b + b * length / mean))


def test_scores_are_lucenes_worked_by_hand(ranker):
    # terms left: d1 dog bark dog next door, d2 cat dog, d3 cat whisker, d4 run hors, d5 none
    mean = (5 + 2 + 2 + 2 + 0) / 5
    found = scores(ranker, "dogs")
    assert found == pytest.approx({"d1": lucene(2, 2, 5, mean), "d2": lucene(1, 2, 2, mean)}, rel=1e-5)
    found = scores(ranker, "The dog and the cat, the cat!")  # a term said twice counts twice
    assert found == pytest.approx(
        {
            "d1": lucene(2, 2, 5, mean),
            "d2": lucene(1, 2, 2, mean) + 2 * lucene(1, 2, 2, mean),
            "d3": 2 * lucene(1, 2, 2, mean),
        },
        rel=1e-5,
    )


def test_options_are_the_formulas():
    mean = 11 / 5
    found = scores(indexed(k1=1.5, b=0.75), "bark")
    assert found == pytest.approx({"d1": lucene(1, 1, 5, mean, k1=1.5, b=0.75)}, rel=1e-5)
    assert set(scores(indexed(stemming="none"), "dogs")) == {"d2"}
    assert set(scores(indexed(stop=False), "the")) == {"d1", "d3"}


def test_documents_without_a_match_have_no_place_when_retrieving(ranker):
    assert set(scores(ranker, "horse", k=100)) == {"d4"}
    assert scores(ranker, "unheard of") == {}
    assert scores(ranker, "") == {}


def test_reranking_scores_all_candidates_as_retrieval_does(ranker):
    everything = scores(ranker, "dog cat")
    found = scores(ranker, "dog cat", candidates=("d5", "d2", "d4", "d1"))
    assert found == {"d5": 0.0, "d4": 0.0, "d2": everything["d2"], "d1": everything["d1"]}
    assert scores(ranker, "", candidates=("d5", "d2")) == {"d5": 0.0, "d2": 0.0}
    assert len(scores(ranker, "dog", k=2, candidates=("d5", "d2", "d4"))) == 2


def test_many_queries_at_once_are_ranked_as_one_by_one(ranker):
    queries = [
        Query("1", ""),
        Query("2", "cat"),
        Query("3", "dog", candidates=("d1", "d3")),
        Query("4", "dog run"),
    ]
    assert ranker.rank(queries, 3) == [ranker.rank([q], 3)[0] for q in queries]
    assert ranker.rank([], 3) == []


def test_the_order_of_the_corpus_changes_nothing_even_where_ties_are_cut():
    texts = {f"d{i:02}": "same words" for i in range(30)}
    forward, backward = indexed(texts), indexed(dict(reversed(texts.items())))
    for k in (1, 7, 30):
        assert scores(forward, "words", k=k) == scores(backward, "words", k=k)
        assert len(scores(forward, "words", k=k)) == k


def test_saves_and_loads_without_pickle(ranker, tmp_path):
    ranker.save(tmp_path)
    loaded = BM25.load(tmp_path, Context())
    queries = [Query("1", "dog cat"), Query("2", "cat", candidates=("d1", "d3"))]
    assert loaded.rank(queries, 4) == ranker.rank(queries, 4)
    assert loaded.index_bytes == ranker.index_bytes > 0
    written = {f.suffix for f in tmp_path.rglob("*") if f.is_file()}
    assert written == {".npy", ".json"}
    for array in tmp_path.rglob("*.npy"):
        assert b"'|O'" not in Path(array).read_bytes()[:128]


def test_a_corpus_without_a_word():
    assert scores(indexed({"a": "", "b": "the"}), "dog") == {}


def test_terms_are_those_of_lucenes_english_analyzer():
    analyser = Analyser("porter", stop=True)
    terms = analyser.terms("The U.S. dog's running-shoes weren't 3.5 inches, naïvely")
    assert terms == ["u.", "dog", "run", "shoe", "weren't", "3.5", "inch", "naïv"]
    assert Analyser("none", stop=False).terms("It is") == ["it", "is"]


@pytest.mark.slow
def test_beats_chance_on_mammals(mammals):
    split = mammals.split("test")
    ranker = BM25(BM25.Options(), Context())
    ranker.index(split.corpus)
    rankings = zip(split.queries, ranker.rank(split.queries, 101), strict=True)
    first = [canonical(q, r, 1).ids for q, r in rankings]
    hits = [
        bool(ids) and split.judgments.gain(q.id, ids[0]) > 0
        for q, ids in zip(split.queries, first, strict=True)
    ]
    assert sum(hits) / len(hits) > 0.5

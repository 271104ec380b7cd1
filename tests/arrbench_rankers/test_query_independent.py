import numpy as np
import pytest

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.query_independent import Chain, Prior, Random

CORPUS = Corpus(Document(d, d, d) for d in "abcdefgh")


def split(lists, candidates=None):
    """One query a ranked list, best first, gains n..1; `candidates` the same for all."""
    queries = tuple(Query(f"q{i}", "", candidates=candidates) for i in range(len(lists)))
    grades = {f"q{i}": {d: len(ids) - r for r, d in enumerate(ids)} for i, ids in enumerate(lists)}
    return Split(queries, Judgments(grades), CORPUS)


def fitted(cls, lists, candidates=None):
    ranker = cls(cls.Options(), Context())
    ranker.fit(split(lists, candidates), split([], candidates))
    ranker.index(CORPUS)
    return ranker


def scores(ranker, k=100, **query):
    (ranking,) = ranker.rank([Query("q", "never read", **query)], k)
    return dict(zip(ranking.ids, ranking.scores, strict=True))


def best(ranker, candidates):
    found = scores(ranker, candidates=tuple(candidates))
    return "".join(sorted(found, key=found.get, reverse=True))


class TestRandom:
    def ranker(self, seed=0, corpus=CORPUS):
        ranker = Random(Random.Options(), Context(seed=seed))
        ranker.index(corpus)
        return ranker

    def test_depends_on_seed_query_and_document_alone(self):
        found = scores(self.ranker())
        assert found == scores(self.ranker(corpus=Corpus(reversed(CORPUS))))
        (other_text,) = self.ranker().rank([Query("q", "another text")], 100)
        assert dict(zip(other_text.ids, other_text.scores, strict=True)) == found
        assert found != scores(self.ranker(seed=1))
        (other_query,) = self.ranker().rank([Query("r", "never read")], 100)
        assert dict(zip(other_query.ids, other_query.scores, strict=True)) != found
        assert scores(self.ranker(), candidates=("c", "a")) == {d: found[d] for d in "ca"}

    def test_returns_the_best_k(self):
        found = scores(self.ranker())
        assert scores(self.ranker(), k=3) == dict(sorted(found.items(), key=lambda p: -p[1])[:3])

    def test_is_uniform(self):
        corpus = Corpus(Document(f"{i:05}", "", "") for i in range(20_000))
        values = np.array(list(scores(self.ranker(corpus=corpus), k=20_000).values()))
        assert np.histogram(values, bins=10, range=(0, 1))[0] == pytest.approx([2000] * 10, abs=200)


class TestPrior:
    def test_retrieving_it_is_the_mean_gain_over_all_training_queries(self):
        ranker = fitted(Prior, ["abc", "dc", "c"])
        found = scores(ranker)
        assert found == {"a": 1, "b": 2 / 3, "c": 1, "d": 2 / 3} | dict.fromkeys("efgh", 0)
        assert len(scores(ranker, k=2)) == 2

    def test_reranking_it_is_the_mean_gain_where_it_was_a_candidate(self):
        queries = (Query("0", "", candidates=("a", "b", "e")), Query("1", "", candidates=("b", "c")))
        grades = Judgments({"0": {"a": 2, "b": 1}, "1": {"c": 1}})
        ranker = Prior(Prior.Options(), Context())
        ranker.fit(Split(queries, grades, CORPUS), Split((), Judgments({}), CORPUS))
        ranker.index(CORPUS)
        assert scores(ranker, candidates=("a", "b", "c", "e", "h")) == {
            "a": 2,
            "b": 0.5,
            "c": 1,
            "e": 0,
            "h": 0,
        }

    def test_a_relevant_document_in_nobody_s_pool_scores_0(self):
        queries = (Query("0", "", candidates=("a", "b")), Query("1", "", candidates=("a", "c")))
        grades = Judgments({"0": {"h": 3, "a": 2}, "1": {"b": 4, "c": 1}})
        ranker = Prior(Prior.Options(), Context())
        ranker.fit(Split(queries, grades, CORPUS), Split((), Judgments({}), CORPUS))
        ranker.index(CORPUS)
        assert scores(ranker, candidates=("a", "b", "c", "h")) == {"a": 1, "b": 0, "c": 1, "h": 0}

    def test_a_query_does_not_count_for_what_it_excludes(self):
        queries = (Query("0", "", excluded=frozenset("a")), Query("1", ""), Query("2", "", ("a", "b")))
        grades = Judgments({"0": {"a": 9, "b": 3}, "1": {"a": 2}, "2": {"a": 2}})
        ranker = Prior(Prior.Options(), Context())
        ranker.fit(Split(queries, grades, CORPUS), Split((), Judgments({}), CORPUS))
        ranker.index(CORPUS)
        assert scores(ranker, k=2) == {"a": 2, "b": 1}

    def test_the_order_of_corpus_and_candidates_changes_nothing(self):
        ranker = fitted(Prior, ["ab"])
        turned = fitted(Prior, ["ab"])
        turned.index(Corpus(reversed(CORPUS)))
        assert scores(ranker, k=4) == scores(turned, k=4)
        assert scores(ranker, k=2, candidates=("e", "f", "a")) == scores(
            ranker, k=2, candidates=("a", "f", "e")
        )


class TestChain:
    def test_the_largest_subset_of_a_training_list_comes_first_in_its_order(self):
        ranker = fitted(Chain, ["abc", "dc", "ec", "fgh"])
        assert best(ranker, "cbade")[:3] == "abc"
        assert best(ranker, "gcd")[:2] == "dc"

    def test_of_equally_large_subsets_the_more_frequent(self):
        ranker = fitted(Chain, ["ab", "cd", "cd"])
        assert best(ranker, "abcd")[:2] == "cd"

    def test_the_others_follow_by_how_high_they_stand_in_training_lists(self):
        ranker = fitted(Chain, ["abc", "de", "df", "fge"])
        assert best(ranker, "edcabhf") == "abcdfeh"  # d 1, f (1/2 + 1) / 2, e (1/2 + 1/3) / 2, h never seen

    def test_which_of_two_orders_of_the_same_documents_stands_is_not_decided_by_ids(self):
        ab = [best(fitted(Chain, [one + two, two + one]), one + two) for one in "abcd" for two in "efgh"]
        assert 0 < sum(order == "".join(sorted(order)) for order in ab) < len(ab)

    def test_the_order_of_the_training_queries_changes_nothing(self):
        lists = ["abc", "de", "df", "fge", "ba", "acb", "gec"]
        ranker, turned = fitted(Chain, lists), fitted(Chain, lists[::-1])
        for pool in ("edcabhf", "abg", "cge"):
            assert scores(ranker, candidates=tuple(pool)) == scores(turned, candidates=tuple(pool))

    def test_candidates_never_seen_in_training(self):
        ranker = fitted(Chain, ["ab"])
        assert scores(ranker, candidates=("g", "h")) == {"g": 0, "h": 0}
        assert len(scores(ranker, k=1, candidates=("g", "a"))) == 1

    def test_reranks_only(self):
        assert Chain.settings == {"rerank"}


@pytest.mark.parametrize("cls", [Random, Prior, Chain])
def test_ranks_the_same_after_loading_and_is_saved_as_json(cls, tmp_path):
    ranker = fitted(cls, ["abc", "dc", "ec"], candidates=tuple("abcde"))
    ranker.save(tmp_path)
    loaded = cls.load(tmp_path, ranker.context)
    queries = [Query("q", "", candidates=tuple("hcabd")), Query("r", "", candidates=tuple("ed"))]
    if "retrieve" in cls.settings:
        queries.append(Query("s", ""))
    assert loaded.rank(queries, 4) == ranker.rank(queries, 4)
    assert (loaded.parameters, loaded.index_bytes) == (ranker.parameters, ranker.index_bytes)
    assert {f.suffix for f in tmp_path.iterdir()} == {".json"}
    assert cls.query_independent

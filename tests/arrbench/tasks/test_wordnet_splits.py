from hypothesis import given
from hypothesis import strategies as st

from arrbench.tasks.wordnet_splits import assign, sample

PATHS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4),
    st.lists(st.sampled_from("PQRSTU"), unique=True, min_size=1).map(tuple),
    max_size=60,
)


@given(PATHS)
def test_every_query_is_in_one_split_and_every_document_asked_for_was_trained_on(paths):
    queries = assign(paths).queries
    assert sorted(q for ids in queries.values() for q in ids) == sorted(paths)
    trained = {d for q in queries["train"] for d in paths[q]}
    for name in ("dev", "test"):
        assert all(trained.issuperset(paths[q]) for q in queries[name])


@given(PATHS, st.randoms())
def test_the_order_of_queries_does_not_matter(paths, random):
    shuffled = list(paths.items())
    random.shuffle(shuffled)
    assert assign(dict(shuffled)) == assign(paths)


def test_shares_and_stability():
    everyone = {f"noun{i}%1:05:00::": ("top",) for i in range(20_000)}
    before = assign(everyone)
    shares = {name: len(ids) / len(everyone) for name, ids in before.queries.items()}
    assert abs(shares["train"] - 0.75) < 0.01
    assert abs(shares["dev"] - 0.10) < 0.01
    assert abs(shares["test"] - 0.15) < 0.01
    assert before.moved == 0
    fewer = dict(list(everyone.items())[:5_000])
    for name, ids in assign(fewer).queries.items():  # an edition with other nouns moves none of these
        assert set(ids) == set(before.queries[name]) & set(fewer)


def test_a_lone_query_moves_to_train():
    paths = {f"noun{i}": (f"own{i}",) for i in range(100)}
    assignment = assign(paths)
    assert set(assignment.queries["train"]) == set(paths)
    assert assignment.moved > 10  # about a quarter was drawn elsewhere


def test_a_sample_grows_by_addition_and_keeps_the_order():
    queries = [f"q{i}" for i in range(500)]
    few, more = sample(queries, 20), sample(queries, 100)
    assert len(few) == 20
    assert set(few) < set(more)
    assert list(more) == [q for q in queries if q in set(more)]
    assert sample(queries, 1000) == tuple(queries)

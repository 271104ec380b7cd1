from collections import Counter

import pytest
from scipy.stats import chisquare

from arrbench.tasks.wordnet_candidates import CandidateLists
from arrbench.tasks.wordnet_dict import read_nouns
from arrbench.tasks.wordnet_tree import grow

KINDS = ("random", "same-depth", "other-path")


def plant(folder, root):
    nouns = read_nouns(folder)
    tree = grow(nouns, nouns.find(root))
    key = {offset: synset.key for offset, synset in tree.synsets.items()}
    paths = {key[o]: tuple(key[above] for above in tree.path(o)) for o in tree.synsets}
    depth = {key[o]: tree.depth[o] for o in tree.synsets}
    return tree, paths, depth


@pytest.fixture(scope="module")
def animals(wordnet_dir):
    return plant(wordnet_dir, "animal.n.01")


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_the_path_and_something_else_but_never_the_query(animals, kind):
    tree, paths, depth = animals
    lists = CandidateLists(tree, paths, kind)
    for query, path in sorted((query, path) for query, path in paths.items() if path)[::20]:
        candidates = lists.of(query)
        assert len(set(candidates)) == len(candidates)
        assert set(path) < set(candidates)
        assert query not in candidates
        negatives = set(candidates) - set(path)
        if kind == "other-path":
            assert any(negatives == set(other) - set(path) - {query} for other in paths.values())
        else:
            assert len(negatives) == 1
        if kind == "same-depth":
            assert depth[negatives.pop()] == max(1, depth[path[0]])


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_no_order(write_dict, kind):
    tree, paths, _ = plant(write_dict(), "thing.n.01")
    backwards = dict(reversed(paths.items()))
    here, there = CandidateLists(tree, paths, kind), CandidateLists(tree, backwards, kind)
    assert all(here.of(query) == there.of(query) for query, path in paths.items() if path)


def test_the_place_of_a_candidate_says_nothing(animals):
    """Over many lists the nearest hypernym and the negative stand at each place equally often."""
    tree, paths, _ = animals
    lists = CandidateLists(tree, paths, "random")
    of_nine = [(lists.of(query), path) for query, path in paths.items() if len(path) == 8]
    assert len(of_nine) > 500
    nearest = Counter(candidates.index(path[0]) for candidates, path in of_nine)
    negative = Counter(next(i for i, d in enumerate(c) if d not in path) for c, path in of_nine)
    for places in (nearest, negative):
        assert chisquare([places[i] for i in range(9)]).pvalue > 0.001, places


def test_negatives_are_spread_over_the_tree(animals):
    tree, paths, _ = animals
    lists = CandidateLists(tree, paths, "random")
    drawn = Counter(d for query, path in paths.items() if path for d in set(lists.of(query)) - set(path))
    assert max(drawn.values()) <= 10  # one each on average
    assert len(drawn) > len(paths) / 2  # 1 - 1/e of them where draws are independent


def test_where_nothing_else_exists_the_path_stands_alone(write_dict):
    tree, paths, _ = plant(write_dict(), "mule.n.01")  # two nouns right below it
    assert CandidateLists(tree, paths, "other-path").of("hinny%1:03:00::") == ("mule%1:03:00::",)
    assert set(CandidateLists(tree, paths, "random").of("hinny%1:03:00::")) == {
        "mule%1:03:00::",
        "saw%1:03:01::",
    }

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from arrbench.tasks.wordnet_dict import Nouns, Synset, read_nouns
from arrbench.tasks.wordnet_tree import grow


def names(tree, offset):
    return [tree.synsets[above].name for above in tree.path(offset)]


def test_paths_worked_by_hand(write_dict):
    nouns = read_nouns(write_dict())
    tree = grow(nouns, nouns.find("thing.n.01"))
    assert names(tree, 100) == []
    assert names(tree, 800) == ["mule", "beast", "thing"]
    assert names(tree, 600) == ["beast", "thing"]  # shorter than by way of hammer, its first hypernym
    assert names(tree, 900) == ["tool", "thing"]  # a tie: tool's offset is below beast's
    assert names(tree, 1000) == ["tool", "thing"]  # an instance


def test_a_lower_root_ends_the_path_and_keeps_what_hangs_below_it(write_dict):
    nouns = read_nouns(write_dict())
    tree = grow(nouns, nouns.find("tool.n.01"))
    assert set(tree.synsets) == {200, 400, 500, 600, 900, 1000}
    assert names(tree, 600) == ["hammer", "tool"]  # beast is not below this root
    assert tree.inner == {200, 400}
    assert tree.multi_parent_share == 2 / 6


@st.composite
def hierarchies(draw):
    """Nouns 0..n-1 whose hypernyms come before them in a drawn order; offsets are shuffled over it."""
    n = draw(st.integers(1, 9))
    offsets = draw(st.permutations(range(n)))
    above = {}
    for i, offset in enumerate(offsets):
        pool = offsets[:i]
        above[offset] = draw(st.lists(st.sampled_from(pool), unique=True, max_size=3)) if pool else []
    return above, offsets[0]


@given(hierarchies())
def test_paths_are_the_shortest_then_the_lowest_of_all_paths(drawn):
    above, root = drawn
    synsets = {o: Synset(o, 3, ((f"w{o}", 0),), "", tuple(hypernyms)) for o, hypernyms in above.items()}
    tree = grow(Nouns(Path(), "9.9", synsets), synsets[root])

    def all_paths(offset):
        if offset == root:
            return [[]]
        return [[parent, *rest] for parent in above[offset] for rest in all_paths(parent)]

    naive = {o: min(found, key=lambda path: (len(path), path)) for o in above if (found := all_paths(o))}
    assert {o: tree.path(o) for o in tree.synsets} == naive
    assert tree.depth == {o: len(path) for o, path in naive.items()}
    assert tree.inner == {o for o in naive if any(o in above[below] for below in above)}

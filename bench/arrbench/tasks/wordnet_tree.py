"""The nouns at and below a root, each on one shortest path to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arrbench.tasks.wordnet_dict import Nouns, Synset


@dataclass(frozen=True)
class Tree:
    """A root and its descendants by offset: depth (edges to the root) and parent (None at the root).

    A synset of several hypernyms hangs below the one nearest to the root, the lowest offset among equals.
    """

    root: Synset
    synsets: Mapping[int, Synset]
    depth: Mapping[int, int]
    parent: Mapping[int, int | None]
    inner: frozenset[int]  # the synsets that have a hyponym, on a shortest path or not

    def path(self, offset: int) -> list[int]:
        """The hypernyms of a synset, nearest first, up to and with the root; empty for the root."""
        path: list[int] = []
        above = self.parent[offset]
        while above is not None:
            path.append(above)
            above = self.parent[above]
        return path

    @property
    def multi_parent_share(self) -> float:
        """Share of the synsets with more than one hypernym, inside the tree or not."""
        return sum(len(s.hypernyms) > 1 for s in self.synsets.values()) / len(self.synsets)


def grow(nouns: Nouns, root: Synset) -> Tree:
    """The tree below a root, breadth first; instances count as hyponyms."""
    hyponyms: dict[int, list[int]] = {}
    for synset in nouns.synsets.values():
        for hypernym in synset.hypernyms:
            hyponyms.setdefault(hypernym, []).append(synset.offset)
    depth: dict[int, int] = {root.offset: 0}
    parent: dict[int, int | None] = {root.offset: None}
    level = [root.offset]
    while level:
        below: list[int] = []
        for offset in sorted(level):  # the lowest offset of a level claims a synset first
            for hyponym in hyponyms.get(offset, ()):
                if hyponym not in depth:
                    depth[hyponym] = depth[offset] + 1
                    parent[hyponym] = offset
                    below.append(hyponym)
        level = below
    synsets = {offset: nouns.synsets[offset] for offset in depth}
    return Tree(root, synsets, depth, parent, frozenset(offset for offset in depth if hyponyms.get(offset)))

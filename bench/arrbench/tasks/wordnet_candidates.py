"""What is put beside a query's hypernym path when reranking."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from arrbench.tasks.chance import number
from arrbench.tasks.wordnet_tree import Tree

_MIXER = 0x9E3779B97F4A7C15  # odd, bits without pattern (the golden ratio's)

Negatives = Literal["random", "same-depth", "other-path"]


class CandidateLists:
    """Candidates of every noun of a tree, by sense key.

    Draws look at the whole tree and at no split. With `other-path` this tells a trained ranker
    nothing: the path of a test query is, node for node, the end of some training list, because every
    document of it occurs in one and a path through a node goes on as that node's own.
    """

    def __init__(self, tree: Tree, paths: Mapping[str, Sequence[str]], kind: Negatives) -> None:
        self._paths = paths
        self._depth = {tree.synsets[offset].key: depth for offset, depth in tree.depth.items()}
        self._numbers = {key: number("pool", key) for key in self._depth}
        self._nouns = sorted(self._numbers, key=self._numbers.__getitem__)
        self._levels: dict[int, list[str]] = {}
        for key in self._nouns:
            self._levels.setdefault(self._depth[key], []).append(key)
        self._negatives: Callable[[str], Collection[str]] = {
            "random": self._random,
            "same-depth": self._same_depth,
            "other-path": self._other_path,
        }[kind]

    def of(self, query: str) -> tuple[str, ...]:
        """The query's path and its negatives, shuffled by hash; never the query itself."""
        candidates = [*self._paths[query], *self._negatives(query)]
        salt = number("shuffle", query)
        return tuple(sorted(candidates, key=lambda d: (self._numbers[d] ^ salt) * _MIXER % 2**64))

    def _random(self, query: str) -> Collection[str]:
        """One noun of the tree."""
        return self._draw(query, self._nouns, lambda noun: (noun,))

    def _same_depth(self, query: str) -> Collection[str]:
        """One noun as deep as the query's nearest hypernym (one deeper where that is the root)."""
        return self._draw(query, self._levels[max(1, self._depth[query] - 1)], lambda noun: (noun,))

    def _other_path(self, query: str) -> Collection[str]:
        """The path of another noun, without what it shares with the query's own."""
        return self._draw(query, self._nouns, lambda noun: self._paths[noun])

    def _draw(
        self, query: str, pool: Sequence[str], offered: Callable[[str], Sequence[str]]
    ) -> Collection[str]:
        """What the first noun of the pool offers that is new, from a hashed start; () if none does."""
        own = {query, *self._paths[query]}
        start = number("negatives", query) % len(pool)
        for i in range(len(pool)):
            new = [document for document in offered(pool[(start + i) % len(pool)]) if document not in own]
            if new:
                return new
        return ()

"""What searches proved and what they cost, counted over queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arrbench_rankers.arr.best_first import Found


@dataclass
class Proofs:
    """Sums over the queries searched; `gap` over the `behind` of them that are filled but unproved.

    `block` is the nodes a pass of the latest search.
    """

    queries: int = 0
    exact: int = 0
    certified: int = 0
    nodes: int = 0
    forwards: int = 0
    unfilled: int = 0
    behind: int = 0
    gap: float = 0.0
    block: int = 0

    def add(self, found: Sequence[Found], block: int) -> None:
        self.block = block
        for one in found:
            self.queries += 1
            self.exact += one.exact
            self.certified += one.certified
            self.nodes += one.nodes
            self.forwards += one.forwards
            self.unfilled += one.gap is None
            if one.gap is not None and not one.exact:
                self.behind += 1
                self.gap += one.gap

    @staticmethod
    def names() -> frozenset[str]:
        """The names of all figures."""
        return frozenset(Proofs(queries=1).figures())

    def figures(self) -> dict[str, float | int]:
        """Shares and means, by the names that a record keeps; {} where nothing was searched.

        `search_exact` and `search_unfilled` are the shares of queries whose whole ranking is proved, and
        that have fewer documents than were asked for although there are more; `search_gap` (log-probability)
        is by how much the best open bound exceeds the last place, over the unproved of the others.
        """
        if not self.queries:
            return {}
        return {
            "searched_queries": self.queries,
            "search_exact": self.exact / self.queries,
            "search_unfilled": self.unfilled / self.queries,
            "search_gap": self.gap / max(1, self.behind),
            "search_certified": self.certified / self.queries,
            "search_nodes": self.nodes / self.queries,
            "search_forwards": self.forwards / self.queries,
            "search_block": self.block,
        }

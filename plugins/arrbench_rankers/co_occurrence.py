"""Which of a query's candidates stand together in training lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum
from typing import TYPE_CHECKING, Self

import numpy as np

from arrbench.ties import id_hash
from arrbench_rankers.hashing import hash64

if TYPE_CHECKING:
    from arrbench.task import Split


def _list_hash(ids: Sequence[str]) -> bytes:
    return id_hash("\x00".join(ids))


class TrainingLists:
    """The distinct ranked lists of a training split, best document first, and how often each occurs."""

    def __init__(self, lists: Sequence[tuple[tuple[str, ...], int]]) -> None:
        self._lists = [ids for ids, _ in lists]
        self._counts = np.array([count for _, count in lists], dtype=np.int64)
        self.size = sum(map(len, self._lists))
        found: dict[str, list[int]] = {}
        for i, ids in enumerate(self._lists):
            for document in ids:
                found.setdefault(document, []).append(i)
        self._found_in = {d: np.array(at) for d, at in found.items()}
        heights: dict[str, list[float]] = {}
        for ids, count in zip(self._lists, self._counts.tolist(), strict=True):
            for place, document in enumerate(ids):
                heights.setdefault(document, []).append(count * (1.0 - place / len(ids)))
        self._heights = {  # fsum: a sum that no order of lists changes, so that ties stay ties
            d: fsum(parts) / float(self._counts[self._found_in[d]].sum()) for d, parts in heights.items()
        }

    @classmethod
    def of(cls, split: Split) -> Self:
        lists = Counter(tuple(split.judgments.ranked(q.id)) for q in split.queries)
        # Of lists that hold the same documents in different orders, `subset` takes the first.
        in_order = sorted(lists.items(), key=lambda item: _list_hash(item[0]))
        return cls([(ids, count) for ids, count in in_order if ids])

    def plain(self) -> list[tuple[tuple[str, ...], int]]:
        """What the constructor takes, as JSON has it."""
        return list(zip(self._lists, self._counts.tolist(), strict=True))

    def height(self, document: str) -> float:
        """How high the document stands in the training lists that hold it, 1 at the top; 0 if in none."""
        return self._heights.get(document, 0.0)

    def subset(self, candidates: Sequence[str]) -> list[str]:
        """The largest candidate subset that a training list holds, in that list's order.

        Of equally large ones that which most lists hold; the tie rule settles the rest. Empty where no
        candidate is in any training list.
        """
        # Lists are grouped by what they hold of the candidates through the xor of its documents' hashes,
        # which costs array operations alone; the few groups are then looked at one by one.
        signature = np.zeros(len(self._lists), dtype=np.uint64)
        for document in candidates:
            if document in self._found_in:
                signature[self._found_in[document]] ^= np.uint64(hash64(document))
        _, first, group = np.unique(signature, return_index=True, return_inverse=True)
        counts = np.bincount(group, weights=self._counts)
        wanted = set(candidates)
        held = {}
        for at, count in zip(first.tolist(), counts.tolist(), strict=True):
            ids = [d for d in self._lists[at] if d in wanted]
            if ids:
                held[frozenset(ids)] = (count, ids)
        if not held:
            return []

        def rank(subset: frozenset[str]) -> tuple[int, float, bytes]:
            count, ids = held[subset]
            return len(ids), count, _list_hash(sorted(ids))

        return held[max(held, key=rank)][1]

"""Which noun is asked for in which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arrbench.task import SplitName
from arrbench.tasks.chance import fraction

TRAIN, DEV = 0.75, 0.10  # the rest is test


@dataclass(frozen=True)
class Assignment:
    """Query ids of each split in sorted order, and how many moved to train."""

    queries: Mapping[SplitName, tuple[str, ...]]
    moved: int


def assign(paths: Mapping[str, Sequence[str]]) -> Assignment:
    """Splits queries by a hash of their sense keys: 75 % train, 10 % dev, 15 % test.

    `paths` maps each query id to its ranked list. Every document of a dev or test list occurs in the
    list of a training query: a query of which this is not true moves to train. What moves only adds
    documents to the training lists, so one pass is the fixed point, whatever the order.
    """
    drawn: dict[str, SplitName] = {query: _drawn(query) for query in sorted(paths)}
    trained = {d for query, name in drawn.items() if name == "train" for d in paths[query]}
    moved = [q for q, name in drawn.items() if name != "train" and not trained.issuperset(paths[q])]
    drawn.update(dict.fromkeys(moved, "train"))
    queries: dict[SplitName, list[str]] = {"train": [], "dev": [], "test": []}
    for query, name in drawn.items():
        queries[name].append(query)
    return Assignment({name: tuple(ids) for name, ids in queries.items()}, len(moved))


def sample(queries: Sequence[str], n: int) -> tuple[str, ...]:
    """n of the queries, drawn by hash, in the order given."""
    kept = set(sorted(queries, key=lambda query: fraction("sample", query))[:n])
    return tuple(query for query in queries if query in kept)


def _drawn(query: str) -> SplitName:
    u = fraction("split", query)
    return "train" if u < TRAIN else "dev" if u < TRAIN + DEV else "test"

"""Training examples: a query's prompt, the tree of its ranked docIDs, and the loss's targets on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arrbench.errors import UsageError
from arrbench.ranker import Query
from arrbench.task import Split
from arrbench_rankers.arr.continuations import documents_below
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.off_list import draw, off_list_edges
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.packing import Edges, Row
from arrbench_rankers.arr.stoical import Floats, edge_targets, item_weights
from arrbench_rankers.arr.trie import Ints, PrefixTree


@dataclass(frozen=True)
class Example:
    """A training query: its row, whose edges are those that its loss needs, and the loss's targets there.

    `targets` [edges] are W in float32; `paths` [listed, longest docID] are the listed docIDs' edges,
    counted from 1, padded with 0: of the first alone where no loss asks for the others'.
    """

    row: Row
    targets: NDArray[np.float32]
    paths: Ints


def listed(train: Split) -> dict[str, list[str]]:
    """The ranked documents of every training query that has any, best first.

    Raises UsageError where no query has one.
    """
    lists = {q.id: train.judgments.ranked(q.id) for q in train.queries}
    found = {query: ranked for query, ranked in lists.items() if ranked}
    if not found:
        raise UsageError(
            f"none of the {len(train.queries)} training queries has a relevant document to write"
        )
    return found


def examples(
    train: Split,
    write: Callable[[Sequence[Query]], list[list[int]]],
    index: DocIdIndex,
    options: ArrOptions,
    seed: int,
) -> list[Example]:
    """One example a training query that has a list; `write` makes prompts, `seed` draws off-list docIDs.

    `index` is that of the split's corpus. Raises UsageError as `listed`, and where a target is no number.
    """
    lists = listed(train)
    queries = [query for query in train.queries if query.id in lists]
    below = documents_below(index.tree) if options.off_list else np.zeros(0, np.int64)
    at = train.corpus.positions
    made = []
    for number, (query, prompt) in enumerate(zip(queries, write(queries), strict=True)):
        ranked = lists[query.id]
        known = [at[document] for document in ranked]
        excluded = [position for d in query.excluded if (position := at.get(d)) is not None]
        barred = [*known, *excluded]
        drawn = draw(len(index.ids), barred, options.off_list, (seed, number)) if options.off_list else []
        tree = PrefixTree.build(index.subset([*ranked, *(index.ids[position] for position in drawn)]))
        edges, weights, paths = _listed_edges(tree, len(ranked), options)
        if drawn:
            more, their = off_list_edges(tree, len(ranked), index.tree, np.array([*known, *drawn]), below)
            edges = Edges(np.append(edges.parent, more.parent), np.append(edges.token, more.token))
            weights = np.append(weights, their)
        with np.errstate(over="ignore"):  # what overflows is named below
            targets = weights.astype(np.float32)
        if not np.isfinite(targets).all():
            raise UsageError(
                f"the targets of training query {query.id!r} ({len(ranked)} documents) are not all finite; "
                f"alpha={options.alpha:g}, beta={options.beta} and top={options.top:g} must be smaller"
            )
        made.append(Example(Row(prompt, tree, edges), targets, paths))
    return made


def _listed_edges(tree: PrefixTree, listed: int, options: ArrOptions) -> tuple[Edges, Floats, Ints]:
    """The edges that the loss needs among those of the tree's first `listed` docIDs; as in Example."""
    targets = edge_targets(tree, item_weights(listed, options.item, options.alpha, options.top), options.beta)
    paths = tree.paths[: listed if options.order else 1]
    needed = targets != 0
    needed[paths] = True
    needed[0] = False
    nodes = np.flatnonzero(needed)
    number = np.zeros(len(tree), np.int64)
    number[nodes] = np.arange(1, len(nodes) + 1)
    return Edges(tree.parent[nodes], tree.token[nodes]), targets[nodes], number[paths]

"""Training examples: a query's prompt, the tree of its ranked docIDs, and the loss's targets on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arrbench.errors import UsageError
from arrbench.ranker import Query
from arrbench.task import Split
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.stoical import Floats, edge_targets, item_weights
from arrbench_rankers.arr.trie import PrefixTree


@dataclass(frozen=True)
class Example:
    """A training query: its prompt with the tree of its listed docIDs, and the loss's edge targets."""

    row: Row
    targets: Floats


def listed(train: Split) -> dict[str, list[str]]:
    """The ranked documents of every training query that has any, best first, none of them excluded.

    Raises UsageError where no query has one.
    """
    lists = {q.id: [d for d in train.judgments.ranked(q.id) if d not in q.excluded] for q in train.queries}
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
) -> list[Example]:
    """One example a training query that has a list; `write` makes prompts. Raises as `listed`."""
    lists = listed(train)
    queries = [query for query in train.queries if query.id in lists]
    made = []
    for query, prompt in zip(queries, write(queries), strict=True):
        weights = item_weights(len(lists[query.id]), options.item, options.alpha)
        ranked = index.subset(lists[query.id])
        tree = PrefixTree.build(ranked[:1] if options.item == "top1" and options.beta is None else ranked)
        made.append(Example(Row(prompt, tree), edge_targets(tree, weights[: len(tree.paths)], options.beta)))
    return made

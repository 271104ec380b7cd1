"""The prefix tree: what it costs to build, to hold and to ask, from 10^4 to 10^6 docIDs (--full: 10^7).

Made-up names of 2 to 6 words, as token ids of a vocabulary of 49,152 with Zipf's frequencies, each
closed by an end token. Figures: seconds a docID at the largest size over those at a tenth of it (1:
linear), bytes a node, a dict of dicts' seconds and bytes over ours at 10^5 (interleaved), the time to
ask for the tokens that may follow a prefix at the largest size over that at 10^4, and the share of
tokenizing in text -> tree with a fast tokenizer (a word-level one, or --tokenizer FOLDER). With --full
a table of every size is printed, too.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tracemalloc
from functools import partial

import numpy as np
from figure import show
from interleaved import ratios, seconds

from arrbench.ranker import Context
from arrbench_rankers.arr.docids.spelling import spelt
from arrbench_rankers.arr.ragged import Ragged
from arrbench_rankers.arr.trie import PrefixTree
from arrbench_rankers.backbones import load_tokenizer

VOCABULARY, END = 49_152, 2
GOALS = {"growth": 1.5, "bytes_a_node": 12.1, "dict_seconds": 10, "dict_bytes": 10, "lookup": 3.0}


def names(documents: int) -> Ragged:
    """Distinct docIDs of 4 to 16 tokens: words of one to three tokens, often used ones often, a number."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 7, documents)
    words = (rng.random(int(sizes.sum())) ** 3 * 30_000).astype(np.int64)
    made = np.random.default_rng(1).integers(3, VOCABULARY, (30_000, 3)).astype(np.int32)
    kept = 1 + np.arange(30_000) % 3
    spread = kept[words]
    tokens = made[words][np.arange(3) < spread[:, None]]
    ends = np.cumsum(spread)[np.cumsum(sizes) - 1]
    bare = Ragged.cut(tokens, np.diff(ends, prepend=0))
    number = np.arange(documents)  # keeps names apart that are alike
    last = np.stack([3 + number // 20_000, 3 + number % 20_000, np.full(documents, END)], 1).astype(np.int32)
    return Ragged.beside(bare, Ragged(last.ravel(), np.arange(0, 3 * documents + 1, 3)))


def nested(docids: list[tuple[int, ...]]) -> dict[int, dict]:
    """The naive tree: a dict a node, its children by token."""
    root: dict[int, dict] = {}
    for docid in docids:
        node = root
        for token in docid:
            node = node.setdefault(token, {})
    return root


def against_dicts(docids: Ragged, repeats: int) -> tuple[list[float], float]:
    """A dict tree's seconds over ours, and its bytes over ours."""
    rows = list(docids)
    times = ratios([partial(nested, rows)], [partial(PrefixTree.build, docids)], repeats)
    gc.collect()
    tracemalloc.start()
    tree = nested(rows)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del tree
    return times, size / PrefixTree.build(docids).nbytes


def asking(tree: PrefixTree, nodes: np.ndarray) -> None:
    for node in nodes:
        tree.child(node, int(tree.allowed(node)[0]))


def prefixes(tree: PrefixTree, asked: int) -> list[int]:
    """The root and nodes of up to 200 children, at random: what a step of a search meets."""
    children = np.diff(tree.first_child)
    inner = np.flatnonzero((children > 0) & (children <= 200))
    return [0, *np.random.default_rng(2).choice(inner, asked).tolist()]


def tokenizing(documents: int, folder: str, repeats: int) -> list[float]:
    """Tokenizing's share of text -> tree."""
    rng = np.random.default_rng(3)
    syllables = ["ka", "lo", "mi", "re", "tu", "ban", "sol", "ver"]
    words = ["".join(rng.choice(syllables, 3)) for _ in range(500)]
    texts = [f"{' '.join(rng.choice(words, 4))} {' '.join(str(i))}" for i in range(documents)]
    tokenizer = load_tokenizer(folder, texts, [], Context(offline=True))
    shares = []
    for _ in range(repeats):
        held: list[Ragged] = []
        spelling = seconds(lambda: held.append(spelt(tokenizer, texts)))  # noqa: B023 - called at once
        building = seconds(partial(PrefixTree.build, held[0]))
        shares.append(spelling / (spelling + building))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="10^7 docIDs, and a line a size")
    parser.add_argument("--tokenizer", default="tiny", help="a backbone's folder (default: a word-level one)")
    arguments = parser.parse_args()
    sizes = [10**4, 10**5, 10**6] + [10**7] * arguments.full
    docids = {size: names(size) for size in sizes}
    trees = {size: PrefixTree.build(docids[size]) for size in sizes}
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):
        for size in sizes:  # one after the other, so that a busy moment spoils no size alone
            calls = max(1, 10**5 // size)
            spent = [seconds(partial(PrefixTree.build, docids[size])) for _ in range(calls)]
            times[size].append(statistics.median(spent))
    if arguments.full and not arguments.json:
        for size in sizes:
            median, nodes = statistics.median(times[size]), len(trees[size])
            each = trees[size].nbytes / nodes
            print(f"{size:>10,} docIDs: {median:8.3f} s, {nodes:>11,} nodes, {each:.2f} bytes each")
    largest, tenth = sizes[-1], sizes[-2]
    growth = [a / b / 10 for a, b in zip(times[largest], times[tenth], strict=True)]
    show("trie_growth", growth, GOALS["growth"], "x", arguments.json)
    held = [tree.nbytes / len(tree) for tree in trees.values()]
    show("trie_bytes_a_node", held, GOALS["bytes_a_node"], "bytes", arguments.json)
    slower, larger = against_dicts(docids[10**5], 3)
    show("trie_dict_seconds", slower, GOALS["dict_seconds"], "x", arguments.json, better="higher")
    show("trie_dict_bytes", [larger], GOALS["dict_bytes"], "x", arguments.json, better="higher")
    many, few = ([partial(asking, trees[n], prefixes(trees[n], 3000))] for n in (largest, sizes[0]))
    show("trie_lookup", ratios(many, few, 9), GOALS["lookup"], "x", arguments.json)
    shares = tokenizing(10**5, arguments.tokenizer, 3)
    show("trie_tokenizing_share", shares, 1.0, "of text -> tree", arguments.json)


if __name__ == "__main__":
    main()

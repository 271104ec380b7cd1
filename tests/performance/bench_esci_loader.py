"""Seconds (goal: 60) and peak memory (goal: 4 GiB) of loading ESCI whole: all locales, large version.

The files are made up, in the official schema and at a quarter of the official row counts (--full: 2.6
million judgments, 1.8 million products), with a title for each product and the other texts drawn from a
pool. They are written before the clock starts, and loaded in a process of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from figure import show

from arrbench.measure import resources
from arrbench.task import DataSource
from arrbench.tasks.esci import ESCI
from arrbench.tasks.esci_fetch import EXAMPLES, PRODUCTS

JUDGMENTS, PRODUCT_ROWS = 2_600_000, 1_800_000
POOL = 20
TITLE_WORDS = 15
LOCALES, LABELS, SPLITS = ("us", "es", "jp"), ("E", "S", "C", "I"), ("train", "test")
GOALS = {"esci_loader_seconds": 60.0, "esci_loader_memory": 4.0}


def drawn(random: np.random.Generator, words: list[str], rows: int) -> pa.DictionaryArray:
    """Texts drawn from a list, each held once however long."""
    return pa.DictionaryArray.from_arrays(pa.array(random.integers(0, len(words), rows)), words)


def joined(random: np.random.Generator, words: list[str], length: int, rows: int) -> pa.Array:
    """Texts of `length` words."""
    columns = (drawn(random, words, rows).dictionary_decode() for _ in range(length))
    return pc.binary_join_element_wise(*columns, " ")


def write(folder: Path, share: float) -> None:
    """Both files; a product's locale follows from its number, and so does its query's."""
    random = np.random.default_rng(1)
    words = [f"word{i}" for i in range(5_000)]
    rows = int(PRODUCT_ROWS * share)
    ids = pa.array([f"B{i:09d}" for i in range(rows)])
    locale = pa.array(LOCALES).take(pa.array(np.arange(rows) % 3))
    titles = joined(random, words, TITLE_WORDS, rows)
    long = joined(random, words, 150, 2_000).to_pylist()
    products = {
        "product_id": ids,
        "product_title": titles,
        "product_description": drawn(random, long, rows),
        "product_bullet_point": drawn(random, long, rows),
        "product_brand": drawn(random, words, rows),
        "product_color": drawn(random, words, rows),
        "product_locale": locale,
    }
    pq.write_table(pa.table(products), folder / PRODUCTS, store_schema=False)
    judged = int(JUDGMENTS * share)
    query = np.arange(judged) // POOL
    nth = query // 3 * POOL + np.arange(judged) % POOL  # among the judgments of its locale
    product = nth * 7 % (rows // 3) * 3 + query % 3
    queries = joined(random, words, 3, judged // POOL + 1)
    examples = {
        "example_id": pa.array(np.arange(judged)),
        "query": queries.take(pa.array(query)),
        "query_id": pa.array(query),
        "product_id": ids.take(pa.array(product)),
        "product_locale": pa.array(LOCALES).take(pa.array(query % 3)),
        "esci_label": drawn(random, list(LABELS), judged),
        "small_version": pa.array(query % 2),
        "large_version": pa.array(np.ones(judged, dtype=np.int64)),
        "split": pa.array(SPLITS).take(pa.array(query % 4 // 3)),
    }
    pq.write_table(pa.table(examples), folder / EXAMPLES, store_schema=False)


def load(folder: Path) -> None:
    """Load the task and print the seconds, the peak memory in GiB, and how much was loaded."""
    start = time.perf_counter()
    task = ESCI(ESCI.Options(locale="all", version="large"), DataSource(folder, folder))
    seconds = time.perf_counter() - start
    peak = resources.peak_rss() / 1024**3
    judged = sum(int(task.facts[f"judgments_{name}"]) for name in ("train", "dev", "test"))
    print(json.dumps([seconds, peak, judged, task.facts["documents"]]))


def alone(*words: str) -> str:
    """A step in a process of its own; the writer's too, as a child's peak begins at its parent's size."""
    asked = [sys.executable, __file__, "--step", *words]
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(share: float, repeats: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in GOALS}
    with tempfile.TemporaryDirectory() as scratch:
        alone("write", scratch, str(share))
        for _ in range(repeats):
            seconds, peak, judged, documents = json.loads(alone("load", scratch))
            print(f"{judged:,} judgments of {documents:,} products loaded", file=sys.stderr)
            found["esci_loader_seconds"].append(seconds)
            found["esci_loader_memory"].append(peak)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="as many rows as the official files")
    parser.add_argument("--step", nargs="+", default=[], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, folder, *share = arguments.step
        write(Path(folder), float(share[0])) if step == "write" else load(Path(folder))
        return
    repeats = 1 if arguments.full else 3
    for name, values in measure(1.0 if arguments.full else 0.25, repeats).items():
        unit = "s" if name == "esci_loader_seconds" else "GiB"
        show(name, values, GOALS[name], unit, arguments.json)


if __name__ == "__main__":
    main()

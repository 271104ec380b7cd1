"""Saved models from a stranger: a wrong file is named in one line, and nothing hangs or crashes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arrbench.errors import TrialError
from arrbench.ranker import Context, Corpus, Document, Query, Ranker
from arrbench.task import Judgments, Split
from arrbench_rankers.bm25 import BM25
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dual_encoder import DualEncoder
from arrbench_rankers.query_independent import Chain, Prior, Random

NAMES = [f"word{i}" for i in range(40)]
CORPUS = Corpus(Document(n, n, f"{n} {NAMES[i // 2]}") for i, n in enumerate(NAMES))
QUERIES = tuple(Query(f"q{n}", n, tuple(NAMES)) for n in NAMES[:12])
SPLIT = Split(QUERIES, Judgments({q.id: {q.text: 2, NAMES[0]: 1} for q in QUERIES}), CORPUS)
OPTIONS: dict[type[Ranker], dict[str, Any]] = {
    DualEncoder: {"dim": 8, "epochs": 0},
    CrossEncoder: {"epochs": 0, "start_epochs": 0},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[Ranker]], Path]:
    """A fresh copy of what a ranker of the class saved."""
    made: dict[type[Ranker], Path] = {}

    def copy(cls: type[Ranker]) -> Path:
        if cls not in made:
            ranker = cls(cls.Options(**OPTIONS.get(cls, {})), Context())
            ranker.fit(SPLIT, SPLIT)
            ranker.index(CORPUS)
            made[cls] = tmp_path_factory.mktemp(cls.__name__) / "model"
            ranker.save(made[cls])
        copied = tmp_path_factory.mktemp("copy") / "model"
        shutil.copytree(made[cls], copied)
        return copied

    return copy


def edited(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A change of an .npy array or of JSON, in place."""

    def edit(file: Path) -> None:
        if file.suffix == ".npy":
            np.save(file, change(np.load(file)))
        else:
            file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return edit


def at(place: Any, value: Any) -> Callable[[Path], None]:
    """One number, or one entry, set to another value."""

    def put(held: Any) -> Any:
        held[place] = value
        return held

    return edited(put)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def pickled(file: Path) -> None:
    np.save(file, np.array([{}, []], object), allow_pickle=True)


def arrays(**wrong: Any) -> Callable[[Path], None]:
    """Arrays of an .npz file, some set to others."""

    def edit(file: Path) -> None:
        with np.load(file) as held:
            np.savez(file, **{**held, **wrong})

    return edit


def packed(file: Path) -> None:
    with np.load(file) as held:
        np.savez_compressed(file, **held)


INDICES, INDPTR, DATA = (f"index/{part}.csc.index.npy" for part in ("indices", "indptr", "data"))
FAULTS: list[tuple[type[Ranker], str, Callable[[Path], None], str]] = [
    (BM25, INDICES, at(0, 2**31 - 1), "0 to 2147483647 where 0 to 39"),
    (BM25, INDICES, at(3, -1), "-1 to 39 where 0 to 39"),
    (BM25, INDICES, edited(lambda a: a[:-1]), "78 numbers where 79"),
    (BM25, INDICES, edited(lambda a: a.astype("i8")), "int64 where 1-dimensional int32"),
    (BM25, INDICES, cut, "can't be used"),
    (BM25, INDICES, pickled, "Python objects"),
    (BM25, INDICES, Path.unlink, "No such file"),
    (BM25, INDPTR, at(-1, 2**40), "don't rise from 0 to 79"),
    (BM25, INDPTR, at(2, 78), "don't rise"),
    (BM25, INDPTR, at(0, -5), "don't rise"),
    (BM25, INDPTR, edited(lambda a: a[:3]), "3 numbers where 41"),
    (BM25, DATA, at(0, np.nan), "nan"),
    (BM25, DATA, at(0, -1), "where 0 to"),
    (BM25, DATA, edited(lambda a: a[None]), "2-dimensional"),
    (BM25, "index/vocab.index.json", at("word0", 10**6), "aren't numbered from 0"),
    (BM25, "index/vocab.index.json", at("word0", 1), "aren't numbered from 0"),
    (BM25, "index/vocab.index.json", at("word0", "1"), "word0: Input should be a valid integer"),
    (BM25, "index/vocab.index.json", edited(lambda _: {}), "aren't numbered"),
    (BM25, "ids.json", edited(lambda ids: ids[:-1]), "indices.csc.index.npy"),
    (BM25, "ids.json", edited(lambda _: []), "names no document"),
    (BM25, "ids.json", at(0, "word1"), "occurs twice"),
    (BM25, "ids.json", at(0, 7), "valid string"),
    (BM25, "ids.json", cut, "Invalid JSON"),
    (BM25, "options.json", at("k1", "much"), "k1: Input should be a valid number"),
    (BM25, "options.json", at("shell", "sh"), "shell: Extra inputs"),
    (BM25, "options.json", Path.unlink, "No such file"),
    (Random, "ids.json", at(0, None), "valid string"),
    (Prior, "prior.json", at("word3", float("nan")), "word3: Input should be a finite number"),
    (Prior, "prior.json", at("late", 5.0), "don't fall"),
    (Prior, "prior.json", edited(list), "should be an object"),
    (Chain, "chain.json", edited(lambda lists: [*lists, [["a", "a"], 1]]), "a document twice"),
    (Chain, "chain.json", edited(lambda lists: [*lists, [[], 1]]), "a list is empty"),
    (Chain, "chain.json", edited(lambda lists: [*lists, [["a"], 0]]), "greater than 0"),
    (Chain, "chain.json", edited(lambda lists: [*lists, [["a"], 10**30]]), "can't be used"),
    (Chain, "chain.json", edited(lambda lists: [*lists, ["a", 1]]), "12.0: Input should be a valid array"),
    (DualEncoder, "ids.json", edited(lambda ids: ids[1:]), "40 embeddings of length 8 where 39"),
    (DualEncoder, "options.json", at("index", "hnsw"), "begins with b'IxFI' where index=hnsw"),
    (DualEncoder, "options.json", at("dim", 16), "length 8 where 40 of length 16"),
    (DualEncoder, "documents.faiss", cut, "can't be used"),
    (CrossEncoder, "documents.npz", arrays(ends=np.arange(40)[::-1]), "don't rise"),
    (CrossEncoder, "documents.npz", arrays(ends=np.arange(3)), "4 numbers where 41"),
    (CrossEncoder, "documents.npz", arrays(tokens=np.full(80, 10**6, "i4")), "1000000 where 0 to"),
    (CrossEncoder, "documents.npz", packed, "it is compressed"),
    (CrossEncoder, "documents.npz", cut, "can't be used"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "name", "spoil", "says"), FAULTS, ids=[f"{c.__name__}-{n}-{s}" for c, n, _, s in FAULTS]
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(
    cls: type[Ranker],
    name: str,
    spoil: Callable[[Path], None],
    says: str,
    folders: Callable[[type[Ranker]], Path],
) -> None:
    folder = folders(cls)
    spoil(folder / name)
    with pytest.raises(TrialError) as error:
        cls.load(folder, Context())
    message = str(error.value)
    assert says in message
    assert str(folder) in message
    assert "\n" not in message


@pytest.mark.parametrize("cls", [BM25, Random, Prior, Chain, DualEncoder, CrossEncoder])
def test_a_right_folder_loads(cls: type[Ranker], folders: Callable[[type[Ranker]], Path]) -> None:
    rankings = cls.load(folders(cls), Context()).rank(QUERIES, 5)
    assert [len(r.ids) for r in rankings] == [5] * len(QUERIES)


SPOILING = """
import random, struct, sys
from pathlib import Path
import numpy as np
from arrbench.errors import TrialError
from arrbench.ranker import Context, Corpus, Document, Query

def bm25(folder):
    from arrbench_rankers.bm25 import BM25
    texts = [f"word{i % 7} word{i} word{i // 3}" for i in range(60)]
    corpus = Corpus(Document(f"d{i}", "", text) for i, text in enumerate(texts))
    ranker = BM25(BM25.Options(), Context())
    ranker.index(corpus)
    ranker.save(folder)
    def use():
        loaded = BM25.load(folder, Context())
        pools = (None, tuple(loaded._ids[:5]))
        queries = [Query(t, t, pools[i % 2]) for i, t in enumerate(texts)]
        for ranking in loaded.rank(queries, 10):
            assert len(ranking.ids) == len(ranking.scores) <= 10
    files = [*(folder / "index").glob("*.npy"), folder / "index" / "vocab.index.json", folder / "ids.json"]
    return sorted(files), use

def dense(kind, folder):
    from arrbench_rankers.dense_index import DenseIndex
    from arrbench_rankers.dual_encoder import DualEncoder
    rng = np.random.default_rng(0)
    embedded = rng.standard_normal((600, 16), dtype="f4")
    options = DualEncoder.Options(index=kind, dim=16, **({"code_bytes": 8} if kind == "ivfpq" else {}))
    file = folder / "documents.faiss"
    DenseIndex.build(options, 16, 600, [embedded], Context()).save(file)
    def use():
        index = DenseIndex.load(options, 16, 600, file, Context())
        scores, found = index.search(embedded[:5], 10)
        assert found.max() < 600
        index.embeddings([0, 599])
    return [file], use

def docids(folder):
    from arrbench_rankers.arr.index import DocIdIndex
    from arrbench_rankers.arr.ragged import Ragged
    from arrbench_rankers.arr.tree_tensors import TreeTensors
    from arrbench_rankers.arr.trie import PrefixTree
    import torch
    rows = Ragged.of([(i % 5 + 1, i % 7, i // 5, 9) for i in range(50)])
    tree = PrefixTree.build(rows)
    DocIdIndex(tuple(f"d{i}" for i in range(50)), rows, tree, True, 0, None).save(folder)
    def use():
        index = DocIdIndex.load(folder, 20)
        assert [index.tree.find(docid) for docid in index.docids] == list(range(50))
        assert index.tree.lengths.tolist() == index.docids.lengths.tolist()
        tensors = TreeTensors(index.tree, 20, torch.device("cpu"), False, True)
        tensors.children(torch.arange(len(index.tree))[None], None)
    return sorted(folder.iterdir()), use

def spoilt(rng, held):
    held = bytearray(held)
    if rng.random() < 0.1:
        return bytes(held[: rng.randrange(len(held))])
    for _ in range(rng.choice((1, 1, 2, 5))):
        near = rng.choice((256, len(held)))
        numbers = (-1, 0, 1, 39, 59, 60, 600, 2**31 - 1, -(2**31), rng.randrange(-(2**31), 2**31))
        wide = (-1, 2**31, 2**40, 2**62, 600)
        value = rng.choice(
            (struct.pack("<i", rng.choice(numbers)), struct.pack("<q", rng.choice(wide)), rng.randbytes(1))
        )
        start = rng.randrange(min(near, len(held)))
        held[start : start + len(value)] = value
    return bytes(held)

made, rounds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
makers = {"bm25": bm25, "docids": docids}
files, use = makers[made](folder) if made in makers else dense(made, folder)
use()
rng, refused = random.Random(0), 0
for round_ in range(rounds):
    file = rng.choice(files)
    held = file.read_bytes()
    file.unlink()  # what was mapped stays as it was
    file.write_bytes(spoilt(rng, held))
    try:
        use()
    except TrialError as error:
        refused += 1
        assert str(folder) in str(error) and "\\n" not in str(error), str(error)
    file.unlink()
    file.write_bytes(held)
print(refused)
"""


@pytest.mark.parametrize("made", ["bm25", "flat", "hnsw", "ivf", "ivfpq", "docids"])
def test_a_spoilt_index_is_refused_or_searched_and_never_hangs_or_crashes(made: str, tmp_path: Path) -> None:
    rounds = 300
    done = subprocess.run(
        [sys.executable, "-c", SPOILING, made, str(rounds), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert rounds / 10 < int(done.stdout.split()[-1]) < rounds


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    trouble = Path(__file__).parents[1] / "distributions" / "trouble"
    environment = {**os.environ, "PYTHONPATH": str(trouble), "NO_COLOR": "1"}

    def arrbench(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arrbench", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, env=environment
        )

    runs = tmp_path / "runs"
    words = ("--rankers", "bm25", "--task", "toy", "--device", "cpu", "--out", runs, "--json")
    row = next(r for r in json.loads(arrbench("run", *words).stdout)["rows"] if r["ranker"] == "bm25")
    file = runs / row["key"] / "model" / INDICES
    at(0, 2**31 - 1)(file)
    done = arrbench("rank", runs / row["key"], "pink pink grey", "--device", "cpu")
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(file) in line
    assert "2147483647" in line

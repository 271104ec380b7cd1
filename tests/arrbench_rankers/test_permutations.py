"""No figure depends on the order of a file's lines or on how ids look, whoever ranks.

A collection on disk, full of ties, is read by the folder task, goes through the exchange as in a trial, and
is ranked and measured; then the same with the lines of every file permuted, or under other ids.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from arrbench import exchange, spec
from arrbench.asking import ask
from arrbench.errors import UsageError
from arrbench.measure.quality import canonical, evaluate
from arrbench.plugins import ranker_class
from arrbench.ranker import Context, Corpus, Document, Query, Ranker, Ranking
from arrbench.task import DataSource, Judgments, Split
from arrbench.tasks.folder import Folder
from arrbench_rankers import java

THIRD_PARTY = Path(__file__).parents[1] / "distributions" / "positional"
MEASURES = ("ndcg@10", "ndcg", "mrr", "recall@10", "overlap@3")
K = 10
TINY_CE = "ce:epochs=1:start_epochs=1"
DOCIDS = (
    "name",
    "name:tokens=1",
    "atomic",
    "ordinal",
    "sparse-code:dictionary=6:nonzeros=2",
    "kmeans:branches=3:leaf=8",
)
ARR = tuple(f'arr-stoical:epochs=1:docid="{docid}"' for docid in DOCIDS)
UNTRAINED = ("random", "prior", "bm25", "bm25-lucene", "positional")
TRAINED = (
    "de:epochs=1:dim=16",
    "de:epochs=1:dim=16:index=hnsw",
    TINY_CE,
    f'cascade:first=bm25:then="{TINY_CE}":depth=15',
    *ARR,
    "arr-ntp:epochs=1:decode=beam",
    "arr-stoical:epochs=1:decode=best-first:length=mean",
)
ARR_PROMPTED = "arr-stoical:epochs=1:prompt=candidates"


@pytest.fixture(autouse=True)
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(THIRD_PARTY))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Files:
    """The lines of a collection's files; a header, where a format has one, is no line to permute."""

    corpus: Sequence[str]
    queries: Sequence[str]
    qrels: Mapping[str, Sequence[str]]
    run: Sequence[str]

    def permuted(self, draw: random.Random) -> Files:
        def mixed(lines: Sequence[str]) -> list[str]:
            return draw.sample(lines, len(lines))

        qrels = {name: mixed(lines) for name, lines in self.qrels.items()}
        return Files(mixed(self.corpus), mixed(self.queries), qrels, mixed(self.run))

    def write(self, folder: Path) -> Path:
        (folder / "qrels").mkdir(parents=True)
        _lines(folder / "corpus.jsonl", self.corpus)
        _lines(folder / "queries.jsonl", self.queries)
        for name, lines in self.qrels.items():
            _lines(folder / "qrels" / f"{name}.tsv", ["query-id\tcorpus-id\tscore", *lines])
        _lines(folder / "pool.trec", self.run)
        return folder


def _lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


COLOURS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")


def collection(copies: int = 5) -> Files:
    """Each of 8 texts is that of so many documents; a query names two of them, and copies answer it."""
    documents = [(f"{c}-{i}", c, f"{c} paint") for c in COLOURS for i in range(copies)]
    pairs = [(a, b) for a in COLOURS for b in COLOURS if a != b]
    random.Random(3).shuffle(pairs)
    queries = {f"q{n:02}": pair for n, pair in enumerate(pairs)}
    split = {q: ("train", "dev", "test", "train")[n % 4] for n, q in enumerate(queries)}
    qrels: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    run = []
    for n, (q, (a, b)) in enumerate(queries.items()):
        for document, grade in ((f"{a}-{n % copies}", 2), (f"{a}-{(n + 1) % copies}", 1), (f"{b}-0", 1)):
            qrels[split[q]].append(f"{q}\t{document}\t{grade}")
        pool = [d for d, c, _ in documents if c in (a, b, COLOURS[n % 8])]
        run += [f"{q} Q0 {d} {rank} {100 - rank} first" for rank, d in enumerate(pool, start=1)]
    return Files(
        [json.dumps({"_id": d, "title": title, "text": text}) for d, title, text in documents],
        [json.dumps({"_id": q, "text": f"{a} {a} {b}"}) for q, (a, b) in queries.items()],
        qrels,
        run,
    )


@dataclass(frozen=True)
class Inputs:
    """What a trial's process reads, and the test split that stays with its parent."""

    corpus: Corpus
    queries: list[Query]
    train: Split
    dev: Split
    test: Split

    @classmethod
    def of(cls, folder: Path, rerank: bool) -> Inputs:
        """The folder as a task, through the exchange."""
        options = Folder.Options(path=str(folder), candidates="pool.trec" if rerank else None)
        task = Folder(options, DataSource(None, folder))
        exchange.write(folder / "inputs", task, None)
        return cls.read(folder / "inputs", exchange.limited(task.split("test"), None))

    @classmethod
    def read(cls, folder: Path, test: Split) -> Inputs:
        """What `exchange` wrote, as a worker reads it."""

        def lines(name: str) -> list[bytes]:
            return (folder / name).read_bytes().splitlines()

        given = exchange.read(lines)
        queries = exchange.read_queries(lines(exchange.QUERIES))
        return cls(given.corpus, queries, given.train, given.dev, test)


def made(words: str) -> Ranker:
    """A ranker as asked for on the command line; the test is skipped where this machine has no Java."""
    asked = spec.parse(words)
    _, cls = ranker_class(asked.name)
    options = spec.validated(cls.Options, asked, "ranker")
    try:
        cls.check(options)
        java.found(words)
    except UsageError as error:
        if asked.name == "bm25-lucene":
            pytest.skip(str(error))
    return cls(options, Context(seed=1))


def ranked(ranker: Ranker, inputs: Inputs, k: int = K) -> dict[str, Ranking]:
    """Canonical rankings by query id, of a ranker that is trained and indexed here."""
    if type(ranker).fit is not Ranker.fit:
        ranker.fit(inputs.train, inputs.dev)
    ranker.index(inputs.corpus)
    return answers(ranker, inputs.queries, k)


def answers(ranker: Ranker, queries: Sequence[Query], k: int) -> dict[str, Ranking]:
    rankings = ask(ranker.rank, queries, k)
    return {q.id: canonical(q, ranking, k) for q, ranking in zip(queries, rankings, strict=True)}


def figures(inputs: Inputs, rankings: Mapping[str, Ranking]) -> dict[str, float]:
    values = evaluate(MEASURES, inputs.test.queries, inputs.test.judgments, rankings)
    return {name: float(np.mean(of_queries)) for name, of_queries in values.items()}


@pytest.mark.parametrize("words", [*UNTRAINED, *(pytest.param(w, marks=pytest.mark.slow) for w in TRAINED)])
def test_permuted_lines_change_no_figure_of_a_ranker_that_retrieves(words: str, tmp_path: Path) -> None:
    _holds_still(words, tmp_path, rerank=False)


@pytest.mark.parametrize(
    "words",
    [*UNTRAINED, "chain", *(pytest.param(w, marks=pytest.mark.slow) for w in (*TRAINED, ARR_PROMPTED))],
)
def test_permuted_lines_change_no_figure_of_a_ranker_that_reranks(words: str, tmp_path: Path) -> None:
    _holds_still(words, tmp_path, rerank=True)


def _holds_still(words: str, folder: Path, rerank: bool) -> None:
    files = collection()
    one = Inputs.of(files.write(folder / "one"), rerank)
    other = Inputs.of(files.permuted(random.Random(words)).write(folder / "other"), rerank)
    rankings, again = ranked(made(words), one), ranked(made(words), other)
    assert figures(one, rankings) == figures(other, again)
    assert rankings == again
    if words != "random":
        assert any(len({*map(_colour, r.ids)}) < len(r.ids) for r in rankings.values())  # there were ties


def _colour(document: str) -> str:
    return document.split("-")[0]


def distinct() -> Files:
    """Documents, gains, lists and pools among which a ranker that looks at texts finds no tie."""
    documents = [(f"{c}-{i}", f"{c} {'x' * i}", " ".join([c] * (i + 1) + ["pot"] * (9 - 2 * i)))
                 for c in COLOURS for i in range(4)]  # fmt: skip
    queries = {f"q{n:02}": c for n, c in enumerate(COLOURS * 3)}
    qrels: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    run = []
    for n, (q, c) in enumerate(queries.items()):
        part = ("train", "dev", "test")[n // 8]
        for i in range(1 + n % 4):
            qrels[part].append(f"{q}\t{c}-{(n + i) % 4}\t{8 * i + 1 + COLOURS.index(c)}")
        run += [f"{q} Q0 {c}-{i} {i + 1} {9 - i} first" for i in range(4)]
    return Files(
        [json.dumps({"_id": d, "title": title, "text": text}) for d, title, text in documents],
        [json.dumps({"_id": q, "text": c}) for q, c in queries.items()],
        qrels,
        run,
    )


def renamed(files: Files, draw: random.Random) -> Files:
    """The same collection under other ids of documents and queries, unrelated to the old ones."""
    documents = [json.loads(line) for line in files.corpus]
    queries = [json.loads(line) for line in files.queries]
    names = {}
    for prefix, rows in (("D", documents), ("Q", queries)):
        drawn = draw.sample(range(10**6), len(rows))
        names |= {row["_id"]: f"{prefix}{number}" for row, number in zip(rows, drawn, strict=True)}

    def row(line: str, places: tuple[int, int], between: str) -> str:
        parts = line.split(between)
        for place in places:
            parts[place] = names[parts[place]]
        return between.join(parts)

    return Files(
        [json.dumps({**d, "_id": names[d["_id"]]}) for d in documents],
        [json.dumps({**q, "_id": names[q["_id"]]}) for q in queries],
        {name: [row(line, (0, 1), "\t") for line in lines] for name, lines in files.qrels.items()},
        [row(line, (0, 2), " ") for line in files.run],
    )


@pytest.mark.parametrize(
    ("words", "rerank"),
    [
        ("bm25", False),
        ("bm25", True),
        ("bm25-lucene", False),
        ("prior", True),
        ("chain", True),
        pytest.param("de:epochs=0:dim=16", False, marks=pytest.mark.slow),
        pytest.param("de:epochs=0:dim=16:index=hnsw", True, marks=pytest.mark.slow),
        pytest.param("ce:epochs=0:start_epochs=0", False, marks=pytest.mark.slow),
        pytest.param('cascade:then="ce:epochs=0:start_epochs=0"', False, marks=pytest.mark.slow),
    ],
)
def test_other_ids_change_no_figure_where_nothing_ties(words: str, rerank: bool, tmp_path: Path) -> None:
    files = distinct()
    one = Inputs.of(files.write(tmp_path / "one"), rerank)
    rankings = ranked(made(words), one)
    wanted = figures(one, rankings)
    for seed in range(3):
        other = Inputs.of(renamed(files, random.Random(seed)).write(tmp_path / f"other-{seed}"), rerank)
        assert figures(other, ranked(made(words), other)) == pytest.approx(wanted, abs=1e-12)


# Ids that carry the answer: the relevant documents sort first and stand first, whatever the salt.
ALIKE, RELEVANT = 60, 6


def alike(salt: int) -> Split:
    ids = [f"{'a' if i < RELEVANT else 'b'}{salt}-{i:02}" for i in range(ALIKE)]
    corpus = Corpus(Document(i, "red paint", "red paint") for i in ids)
    queries = tuple(Query(f"q{n}", "red paint") for n in range(3))
    return Split(queries, Judgments({q.id: dict.fromkeys(ids[:RELEVANT], 1) for q in queries}), corpus)


def expected_at_random() -> float:
    """nDCG@10 expected of a random order: each place holds a relevant document with probability R / N."""
    discounts = [1 / math.log2(rank + 1) for rank in range(1, 11)]
    return RELEVANT / ALIKE * sum(discounts) / sum(discounts[:RELEVANT])


def _mean_over_salts(
    ranker: Ranker, folder: Path, k: int, rerank: bool, salts: Sequence[int]
) -> tuple[float, float]:
    """The mean nDCG@10 over renamings, and its standard error."""
    values = []
    for salt in salts:
        split = alike(salt)
        if rerank:
            pooled = tuple(replace(q, candidates=split.corpus.ids) for q in split.queries)
            split = replace(split, queries=pooled)
        inputs = _through_the_exchange(split, folder / str(salt))
        ranker.index(inputs.corpus)
        values.append(figures(inputs, answers(ranker, inputs.queries, k))["ndcg@10"])
    return float(np.mean(values)), float(np.std(values) / math.sqrt(len(salts)))


def _through_the_exchange(split: Split, folder: Path) -> Inputs:
    class Alike(Folder):
        def __init__(self) -> None: ...
        def split(self, name: str) -> Split:
            return split if name == "test" else Split((), Judgments({}), split.corpus)

    exchange.write(folder, Alike(), None)
    return Inputs.read(folder, exchange.limited(split, None))


def _learnt(words: str) -> Ranker:
    """A ranker that was trained once, on documents of the same text under other ids."""
    ranker = made(words)
    if type(ranker).fit is not Ranker.fit:
        split = alike(-1)
        ranker.fit(split, replace(split, queries=()))
    return ranker


ALL_TIE = ("random", "prior", "bm25", "bm25-lucene", "positional")
ALL_TIE_UNTRAINED = ("de:epochs=0:dim=16", "de:epochs=0:dim=16:index=hnsw", "ce:epochs=0:start_epochs=0")


@pytest.mark.parametrize("k", [K, ALIKE])
@pytest.mark.parametrize("rerank", [False, True], ids=["retrieve", "rerank"])
@pytest.mark.parametrize(
    "words", [*ALL_TIE, *(pytest.param(w, marks=pytest.mark.slow) for w in ALL_TIE_UNTRAINED)]
)
def test_where_all_ties_the_mean_over_ids_that_carry_the_answer_is_that_of_a_random_order(
    words: str, rerank: bool, k: int, tmp_path: Path
) -> None:
    mean, error = _mean_over_salts(_learnt(words), tmp_path, k, rerank, range(120))
    assert error > 0
    assert mean == pytest.approx(expected_at_random(), abs=4 * error)


@pytest.mark.slow
@pytest.mark.parametrize("docid", [docid for docid in DOCIDS if docid != "atomic"])
def test_where_all_codes_are_equal_docids_favour_no_id(docid: str, tmp_path: Path) -> None:
    """`atomic` has no docID for an id that was not trained on; its tokens are tested apart."""
    ranker = _learnt(f'arr-stoical:epochs=1:decode=exact:docid="{docid}"')
    mean, error = _mean_over_salts(ranker, tmp_path, K, rerank=False, salts=range(25))
    assert error > 0
    assert mean == pytest.approx(expected_at_random(), abs=4 * error)

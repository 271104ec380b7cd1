"""Runs and judgments of other tools: read as ir-measures reads them, refused with their place."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from threading import Thread

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench.trec import read_qrels, read_run

IDS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=4).filter(
    lambda i: not i.startswith("#")  # a comment, where a query's id
)
SCORES = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(run=st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_run_comes_back_best_first(
    run: dict[str, dict[str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("run") / "run.trec"
    lines = [f"{q} Q0 {d} {i} {s!r} tag\n" for q, row in run.items() for i, (d, s) in enumerate(row.items())]
    file.write_text("".join(lines), encoding="utf-8")
    found = read_run(file)
    assert {q: dict(row) for q, row in found.items()} == run
    for q, row in found.items():
        places = list(run[q])
        assert row == sorted(row, key=lambda pair: (-pair[1], places.index(pair[0])))


@settings(max_examples=50, deadline=None)
@given(grades=st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-2, 9), min_size=1), min_size=1))
def test_judgments_are_those_that_ir_measures_reads(
    grades: dict[str, dict[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("qrels")
    rows = [(q, d, g) for q, row in grades.items() for d, g in row.items()]
    trec, beir = folder / "test.qrels", folder / "test.tsv"
    trec.write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in rows), encoding="utf-8")
    lines = "".join(f"{q}\t{d}\t{g}\n" for q, d, g in rows)
    beir.write_text("query-id\tcorpus-id\tscore\n" + lines, encoding="utf-8")
    assert read_qrels(trec) == read_qrels(beir) == grades
    twin = [(j.query_id, j.doc_id, j.relevance) for j in ir_measures.read_trec_qrels(str(trec))]
    assert [(q, d, g) for q, row in read_qrels(trec).items() for d, g in row.items()] == twin


def test_equal_scores_keep_the_order_of_their_ranks(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("q Q0 c 3 1 t\nq Q0 a 1 1 t\nq Q0 b 2 1.0 t\nq Q0 z 4 2 t\n")
    assert read_run(file) == {"q": [("z", 2.0), ("a", 1.0), ("b", 1.0), ("c", 1.0)]}


def test_compression_line_ends_blank_lines_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.qrels", tmp_path / "b.qrels.gz"
    plain.write_text("q1 0 d1 1\nq2 0 d1 0\n")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfq1\t0\td1\t1\r\n\r\nq2 0 d1 0"))
    assert read_qrels(plain) == read_qrels(packed) == {"q1": {"d1": 1}, "q2": {"d1": 0}}


def test_comments_are_passed_over_where_a_line_begins_with_one(tmp_path: Path) -> None:
    run, trec, beir = tmp_path / "run", tmp_path / "qrels", tmp_path / "test.tsv"
    run.write_text("# made by hand\nq Q0 #d 1 2 t\n#q Q0 e 2 1 t\n")
    assert read_run(run) == {"q": [("#d", 2.0)]}
    trec.write_text("# judged by hand\nq 0 #d 1\n#q 0 e 1\n")
    beir.write_text("# judged by hand\nquery-id\tcorpus-id\tscore\n#\nq\t#d\t1\n")
    assert read_qrels(trec) == read_qrels(beir) == {"q": {"#d": 1}}


def test_numbers_are_read_however_they_are_written(tmp_path: Path) -> None:
    run, qrels = tmp_path / "run", tmp_path / "qrels"
    run.write_text("q Q0 a 007 1. t\nq Q0 b +1 .5 t\nq Q0 c 2 -1.5e-3 t\nq Q0 d 3 -2E+1 t\n")
    assert read_run(run) == {"q": [("a", 1.0), ("b", 0.5), ("c", -0.0015), ("d", -20.0)]}
    qrels.write_text(f"q 0 a -1\nq 0 b +0002\nq 0 c {'0' * 40}3\nq 0 d 2147483647\n")
    assert read_qrels(qrels) == {"q": {"a": -1, "b": 2, "c": 3, "d": 2**31 - 1}}


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_once(tmp_path: Path, packed: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = b"q Q0 d 1 1 t\n"
    for content in (gzip.compress(text) if packed else text, b""):
        writer = Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        if content:
            assert read_run(pipe) == {"q": [("d", 1.0)]}
        else:
            with pytest.raises(UsageError, match=r"empty run .*a pipe can be read once"):
                read_run(pipe)
        writer.join()


def test_a_judgment_may_be_repeated_but_not_contradicted(tmp_path: Path) -> None:
    file = tmp_path / "qrels"
    file.write_text("q 0 d 1\nq 1 d 1\n")
    assert read_qrels(file) == {"q": {"d": 1}}
    file.write_text("q 0 d 1\nq 0 e 1\nq 0 d 2\n")
    with pytest.raises(UsageError, match=r"qrels:3: grade 2 of document 'd' for query 'q' contradicts"):
        read_qrels(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"q Q0 d 1 1 t\nq Q0 e 1 t\n", r"run:2: 5 columns; a run has 6"),
        (b"q Q0 d 1 1 t\nq Q0 d 2 0 t\n", r"run:2: document 'd' is there twice for query 'q'"),
        (b"q Q0 d 1 nan t\n", r"run:1: score 'nan' is no finite number"),
        (b"q Q0 d 1 high t\n", r"run:1: score 'high'"),
        (b"q Q0 d first 1 t\n", r"run:1: rank 'first' is no integer"),
        (b"q Q0 d 1_0 1 t\n", r"run:1: rank '1_0' is no integer"),
        ("q Q0 d １ 1 t\n".encode(), r"run:1: rank '１' is no integer"),
        (b"q Q0 d 1 1_0 t\n", r"run:1: score '1_0' is no finite number"),
        ("q Q0 d 1 １.5 t\n".encode(), r"run:1: score '１\.5' is no finite number"),
        (b"q Q0 d 1 1e999 t\n", r"run:1: score '1e999' is no finite number"),
        (b"# a comment\nq Q0 d 1\n", r"run:2: 4 columns"),
        (b"q Q0 d 1 1 t\nq Q0 \xff 2 0 t\n", r"run:2: not UTF-8 at byte 6"),
        (b"\n", r"empty run"),
        (b"# a comment\n", r"empty run"),
    ],
)
def test_a_malformed_run_is_refused_with_its_line(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "run").write_bytes(text)
    with pytest.raises(UsageError, match=says):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q 0 d 1\nq d 1\n", r"qrels:2: 3 columns where 4 belong"),
        ("q d 1\n", r"qrels:1: 3 columns where 4 belong.*query-id corpus-id score"),
        ("query-id corpus-id score\nq 0 d 1\n", r"qrels:2: 4 columns where 3 belong"),
        ("q 0 d 0.5\n", r"qrels:1: grade '0\.5' is no integer"),
        ("q 0 d 1_0\n", r"qrels:1: grade '1_0' is no integer"),
        ("q 0 d １\n", r"qrels:1: grade '１' is no integer"),
        (f"q 0 d {10**30}\n", r"qrels:1: grade '10+' is out of range: at most 2147483647"),
        ("q 0 d 2147483648\n", r"qrels:1: grade '2147483648' is out of range"),
        (f"q 0 d {'9' * 5000}\n", r"qrels:1: grade '9+ is out of range"),
        ("query-id corpus-id score\n", r"holds no judgment"),
    ],
)
def test_malformed_judgments_are_refused_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_qrels(tmp_path / "qrels")


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*nowhere"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "plain.gz").write_text("q 0 d 1\n")
    with pytest.raises(UsageError, match=r"plain\.gz can't be read beyond line 0"):
        read_qrels(tmp_path / "plain.gz")
    whole = gzip.compress(b"".join(f"q 0 d{i * i} 1\n".encode() for i in range(9999)))
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"half\.gz can't be read beyond line \d+"):
        read_qrels(tmp_path / "half.gz")

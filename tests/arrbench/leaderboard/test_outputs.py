"""Terminal, Markdown and CSV show the same rows."""

import csv
import io

import pytest
from rich.console import Console

from arrbench.leaderboard.export import to_csv
from arrbench.leaderboard.markdown import markdown
from arrbench.leaderboard.rows import tables
from arrbench.leaderboard.terminal import print_tables, show


@pytest.fixture
def table(record):
    records = [record("arr-stoical", v, seed, cvr=0.004) for seed, v in ((1, 0.85), (2, 0.87))]
    records += [
        record(
            "bm25", 0.396, cached=True, memory={"index_mb": 0.02, "parameters": None}, tuning="none | said"
        ),
        record("prior", 0.37, query_independent=True),
        record(
            "broken", status="failed", error="ValueError: a|b <c>", metrics={}, latency_ms=None, memory={}
        ),
    ]
    (found,) = tables(records, {})
    return found


def printed(table, width):
    file = io.StringIO()
    show(table, Console(file=file, width=width))
    return file.getvalue()


@pytest.mark.parametrize("width", [100, 160])
def test_every_figure_is_whole_at_any_width(table, width):
    text = printed(table, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    line = next(line for line in lines if "arr-stoical" in line)
    for figure in (
        ".860 ±.014",
        ".43",
        ".25",
        "1.00",
        "0.4",
        "4.71",
        "12.3",
        "1234",
        "67.2",
        "612.3k",
        "0.149",
    ):
        assert figure in line
    assert "cached" in next(line for line in lines if "bm25" in line)
    assert "broken failed: ValueError: a|b <c>" in text
    assert "…" not in text


def test_figures_stand_under_each_other(table):
    lines = printed(table, 160).splitlines()
    ends = {line.index(figure) + 4 for figure in (".396", ".370") for line in lines if figure in line}
    assert len(ends) == 1


def test_piped_it_is_plain_text_without_colours(table):
    file = io.StringIO()
    print_tables([table], file)
    text = file.getvalue()
    assert "\x1b" not in text
    assert ".860 ±.014" in text


def test_markdown_has_the_same_figures_a_caption_and_the_commands(table):
    text = markdown(table)
    lines = text.splitlines()
    assert lines[0].startswith(
        "**wordnet** (retrieve): 293 documents, 171 test queries, k = 100; seeds 1, 2."
    )
    assert "Some CPU, 2 cores, 24 GiB; cpu, float32, 1 thread" in text
    assert "torch 2.13.0" in text
    rows = [line for line in lines if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {15}
    assert "| arr-stoical | **.860** ±.014 | **.43** ±.01 | **.25** |" in rows[2]
    assert "failed: ValueError: a\\|b &lt;c>" in rows[-1]
    assert "none \\| said" in rows[3]
    assert "arrbench run --rankers arr-stoical --task wordnet --seeds 1,2" in lines
    assert text.endswith("\n")


def test_csv_has_plain_numbers_and_units_in_its_headings(table):
    rows = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert len(rows) == len(table.rows)
    first = rows[0]
    assert float(first["nDCG@10"]) == pytest.approx(0.86)
    assert float(first["nDCG@10 standard deviation"]) == pytest.approx(0.01414, abs=1e-5)
    assert float(first["constraint violations %"]) == pytest.approx(0.4)
    assert float(first["p50 ms"]) == 4.714
    assert float(first["parameters"]) == 612_345
    assert (first["ranker"], first["seeds"], first["records"]) == (
        "arr-stoical",
        "1 2",
        "arr-stoical-1 arr-stoical-2",
    )
    assert rows[1]["nDCG@10 standard deviation"] == ""
    assert (rows[-1]["status"], rows[-1]["error"], rows[-1]["nDCG@10"]) == (
        "failed",
        "ValueError: a|b <c>",
        "",
    )


def test_csv_of_tables_with_different_columns(record):
    found = tables(
        [record("a"), record("a", headline="mrr", metrics={"mrr": 0.25}, fingerprint="e" * 64)], {}
    )
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(r["nDCG@10"], r["MRR"]) for r in rows] == [("0.5", ""), ("", "0.25")]


def test_csv_of_nothing():
    assert to_csv([]).strip() == ""

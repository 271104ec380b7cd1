"""In a terminal of any width and encoding names and figures are whole, and nobody's words are markup."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from arrbench.leaderboard.rows import tables
from arrbench.leaderboard.terminal import print_tables, show

from .conftest import make_record

NASTY = ("folder:path=data[/v2]", "[bold]", "[/]", "a[red]b[/red]", "x\\[y", ":smile:", "{task}", "[link=x]")
figures = st.floats(1e-4, 9_999_999)


def shown(table, width, encoding="utf-8"):
    """What a terminal of this width and encoding gets, as lines without trailing blanks."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    show(table, Console(file=file, width=width, color_system=None))
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def grid(lines):
    """Heading lines, and the lines of rows, of a table's only grid."""
    rule = next(i for i, line in enumerate(lines) if re.fullmatch(r"[─+|-]{20,}", line.strip()))
    start, end = lines.index("") + 1, lines.index("", rule)
    return lines[start:rule], lines[rule + 1 : end]


@st.composite
def records_of_rankers(draw):
    """Some rankers with two seeds each, of any name that a row can have and figures of any size."""
    word = st.text(st.sampled_from("abcdefgh=:.-_/[]ﬁβ日本é0123456789"), min_size=1, max_size=45)
    names = draw(st.lists(word.map("n".__add__), min_size=1, max_size=4, unique=True))
    records = []
    for name in names:
        for seed in (1, 2):
            p50, p95 = sorted((draw(figures), draw(figures)))
            records.append(
                make_record(
                    name,
                    draw(st.floats(0, 1)),
                    seed,
                    latency_ms={"p50": p50, "p90": p50, "p95": p95, "p99": None, "mean": p50, "n": 100},
                    throughput_qps=draw(figures),
                    fit_s=draw(st.none() | figures.map(lambda s: {"wall": s, "cpu": s})),
                    memory={"index_mb": draw(figures), "parameters": draw(st.integers(0, 10**11))},
                    cvr=draw(st.none() | st.floats(0, 1)),
                    cached=draw(st.booleans()),
                )
            )
    return records


def expected(row, columns, headings):
    """What a row's columns print: those of a group together, all or only the first with their spreads."""
    merged = any("p50/p95" in line for line in headings)
    texts = {}
    for column, cell in zip(columns, row.cells, strict=True):
        title = column.group if merged and column.group else column.title
        texts.setdefault(title, []).append(cell if not merged or column is columns[0] else cell.text)
    return {
        title: "/".join(c if isinstance(c, str) else c.full for c in cells) if any(
            c if isinstance(c, str) else c.text for c in cells
        ) else ""
        for title, cells in texts.items()
    }  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(records_of_rankers(), st.integers(60, 200))
def test_every_name_and_every_figure_shown_is_whole(records, width):
    (table,) = tables(records, {})
    lines = shown(table, width)
    assert max(map(cell_len, lines)) <= width
    headings, body = grid(lines)
    said = " ".join(lines)
    lost = re.search(r"no room for (.*): --format csv has everything", said)
    left_out = set(lost.group(1).split(", ")) if lost else set()
    for row in table.rows:
        texts = expected(row, table.columns, headings)
        figures = [text for title, text in texts.items() if text and title not in left_out]
        tail = re.compile(
            r"\s+".join(map(re.escape, [*figures, *([row.status] * (row.status != "ok"))])) + "$"
        )
        at = next(
            i for i, line in enumerate(body) if tail.search(line) and row.name.startswith(line.split()[0])
        )
        assert texts["nDCG@10"] in figures
        name = tail.sub("", body[at]).strip()
        while name != row.name:  # too long to stand beside the headline: folded over lines of its own
            at += 1
            name += body[at].strip()
            assert row.name.startswith(name)
            assert cell_len(row.name) + cell_len(texts["nDCG@10"]) + 1 > width


# Names take 24 columns, and with a blank before each: nDCG@10 5, p50/p95 10, queries/s 10, overlap@1/3/5 13,
# constraint violations 11, fit 5, index 8, parameters 11.
@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (60, ["overlap@1/3/5", "fit s", "index MiB", "parameters"]),
        (72, ["constraint violations %", "index MiB", "parameters"]),
        (86, ["parameters"]),
        (90, ["parameters"]),
        (100, []),
    ],
)
def test_what_has_no_room_goes_by_importance_and_is_said(record, width, missing):
    records = [
        record(f"{name}-with-a-long-name", 0.5, memory={"index_mb": 0.00385, "parameters": 7}, cvr=0.1)
        for name in ("cross", "dual", "lexical")
    ]
    (table,) = tables(records, {})
    text = " ".join(shown(table, width))
    said = re.search("no room for (.*): --format csv has everything", text)
    assert sorted(said.group(1).split(", ") if said else []) == sorted(missing)
    assert ("0.00385" in text) == ("index MiB" not in missing)
    assert all(f"{name}-with-a-long-name" in text for name in ("cross", "dual", "lexical"))


def test_a_column_without_figures_is_the_first_to_go(record):
    (table,) = tables([record(f"{name}-with-a-long-name") for name in ("cross", "dual")], {})
    assert "no room for constraint violations %: " in " ".join(shown(table, 86))


def test_no_string_is_read_as_markup(record):
    for i, word in enumerate(NASTY):
        records = [
            record(word, 0.9 - i / 100, task_label=word, tuning=word, task_notes=[f"note {word}"],
                   candidates=word, headline=word, metrics={word: 0.5}),
            record(f"{word}2", status="failed", error=f"no {word}", metrics={}, task_label=word),
        ]  # fmt: skip
        (table,) = tables(records, {})
        for encoding in ("utf-8", "ascii"):
            text = "\n".join(shown(table, 200, encoding))
            where = ("{}: retrieve", "candidates of {}", "note {}", "{}2 failed: no {}", "tuning: {}")
            for said in (place.replace("{}", word) for place in where):
                assert said in text, (word, encoding, said)
            headings, body = grid(text.splitlines())
            assert body[0].startswith(f"{word} ")
            assert "".join(word.split("@")) in "".join("".join(headings).split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_table_prints_in_any_encoding(record, encoding):
    records = [record("modèle-日本", v, s, task_notes=["0.856–0.857"]) for s, v in ((1, 0.85), (2, 0.87))]
    records.append(record("wéb", 0.4))
    (table,) = tables(records, {})
    text = "\n".join(shown(table, 200, encoding))
    sign = "±" if encoding != "ascii" else "+/-"
    assert f".860 {sign}.014" in text
    for name in ("modèle-日本", "wéb"):
        written = name.encode(encoding, "backslashreplace").decode(encoding)
        assert re.search(rf"^{re.escape(written)}\s", text, re.M)
    figures = [line.index(".8") for line in text.splitlines() if ".860" in line and "mod" in line]
    assert len(figures) == 1
    assert len({cell_len(line) for line in grid(text.splitlines())[1]}) == 1  # what was respelt is aligned


def test_control_characters_and_bytes_that_are_no_text_are_spelt_out(record):
    (table,) = tables([record("a\x1b[2Jb\nc\x7f"), record("path\udc80")], {})
    file = io.TextIOWrapper(raw := io.BytesIO(), encoding="utf-8", write_through=True)
    print_tables([table], file)
    text = raw.getvalue().decode()
    assert "a\\x1b[2Jb\\nc\\x7f" in text
    assert "path\\udc80" in text
    assert "\x1b" not in text

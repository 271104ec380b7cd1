"""Leaderboards as CSV: plain numbers, units in the headings, one line a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from arrbench.leaderboard.rows import Row, Table


def to_csv(tables: Sequence[Table]) -> str:
    """All tables in one CSV text (RFC 4180, line feeds). Figures a table lacks are left empty.

    Each figure has a second column with its standard deviation over seeds, empty for a single seed.
    """
    titles = list(dict.fromkeys(column.title for table in tables for column in table.columns))
    figures = [heading for title in titles for heading in (title, f"{title} standard deviation")]
    lines = [_described(table, row) | _figures(table, row) for table in tables for row in table.rows]
    text = io.StringIO()
    described = list(_described(tables[0], tables[0].rows[0])) if lines else []
    writer = csv.DictWriter(text, [*described, *figures], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _described(table: Table, row: Row) -> dict[str, object]:
    about = table.about
    return {
        "task": table.task,
        "setting": about["setting"],
        "split": about["split"],
        "fingerprint": about["fingerprint"],
        "documents": about["n_documents"],
        "queries": about["n_queries"],
        "k": about["k"],
        "limit": about["limit"],
        "candidates": about.get("candidates"),
        "ranker": row.label,
        "status": "failed" if row.status == "failed" else "ok",
        "error": row.error,
        "seeds": " ".join(str(r["seed"]) for r in row.records),
        "failed seeds": row.failed_seeds,
        "never reads the query": row.query_independent,
        "tuning": row.tuning,
        "device": row.device,
        "dtype": row.dtype,
        "threads": row.threads,
        "hardware": row.hardware["fingerprint"],
        "records": " ".join(r["key"] for r in row.records),
        "command": row.command,
    }


def _figures(table: Table, row: Row) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for column, cell in zip(table.columns, row.cells, strict=True):
        found[column.title] = cell.value
        found[f"{column.title} standard deviation"] = cell.spread
    return found

"""A leaderboard as GitHub Markdown: caption, table, notes and the commands that make it again."""

from __future__ import annotations

from collections.abc import Iterable

from arrbench import paths
from arrbench.leaderboard.notes import notes
from arrbench.leaderboard.rows import Cell, Row, Table

VERSIONS = (
    "arrbench",
    "python",
    "torch",
    "transformers",
    "sentence-transformers",
    "ranx",
    "bm25s",
    "git_commit",
)


def markdown(table: Table) -> str:
    """The whole leaderboard as one Markdown text, ending in a line feed. The best figures are bold."""
    headings = ["ranker", *(column.title for column in table.columns), "status", "tuning"]
    aligned = [":--", *("--:" for _ in table.columns), ":--", ":--"]
    body = [[row.name, *map(_figure, row.cells), _status(row), row.tuning] for row in table.rows]
    grid = [line(headings), line(aligned), *(line([escaped(c) for c in cells]) for cells in body)]
    under = [f"{_indent(note)}- {escaped(note.strip())}" for note in notes(table)]
    commands = [row.command for row in table.rows if row.records]
    again = ["Each row again:", "", "```sh", *commands, "```"] if commands else []
    return "\n".join([_caption(table), "", *grid, "", *under, "", *again, ""])


def _indent(note: str) -> str:
    return note[: len(note) - len(note.lstrip())]


def _caption(table: Table) -> str:
    about = table.about
    machines = sorted({_machine(row) for row in table.rows})
    seeds = sorted({r["seed"] for row in table.rows for r in row.records})
    pool = f", candidates of {paths.shown(about['candidates'])}" if about.get("candidates") else ""
    limit = "" if about["limit"] is None else f", limited to {about['limit']} queries"
    lines = [
        f"**{table.task}** ({about['setting']}): {about['n_documents']:,} documents, "
        f"{about['n_queries']:,} {about['split']} queries{limit}, k = {about['k']}{pool}; "
        f"seeds {', '.join(map(str, seeds)) or 'none'}.",
        f"Hardware: {'; '.join(machines)}.",
        f"Software: {', '.join(_versions(table))}. Task fingerprint `{about['fingerprint'][:12]}`.",
    ]
    return "\n".join(lines)


def _machine(row: Row) -> str:
    h = row.hardware
    gpu = f", {h['gpu']}" if h.get("gpu") else ""
    return (
        f"{h.get('cpu', 'unknown CPU')}, {h.get('cores', '?')} cores, {h.get('memory_gib', '?')} GiB{gpu}; "
        f"{row.device}, {row.dtype}, {row.threads} thread{'s' if row.threads != 1 else ''} "
        f"({h['fingerprint'][:6]})"
    )


def _versions(table: Table) -> list[str]:
    """Each version that any record names, all of them where records differ."""
    found: dict[str, set[str]] = {}
    for record in (r for row in table.rows for r in row.records):
        for name in VERSIONS:
            if record["software"].get(name):
                found.setdefault(name.replace("_", " "), set()).add(str(record["software"][name]))
    return [f"{name} {' and '.join(sorted(versions))}" for name, versions in found.items()]


def _figure(cell: Cell) -> str:
    return f"**{cell.text}**{cell.full.removeprefix(cell.text)}" if cell.best else cell.full


def _status(row: Row) -> str:
    if row.status == "failed":
        return f"failed: {row.error}"
    seeds = f"{row.n_seeds} seed{'s' if row.n_seeds != 1 else ''}"
    return f"{seeds}, {row.failed_seeds} failed" if row.failed_seeds else seeds


def line(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text that a table cell may hold."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

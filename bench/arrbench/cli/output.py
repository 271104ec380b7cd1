"""What commands print of records: tables for people, JSON rows for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from arrbench.measure.method import CORRECTIONS, TESTS, Method

if TYPE_CHECKING:
    from arrbench.leaderboard.rows import Table
    from arrbench.store import Store

FORMATS = ("table", "markdown", "csv", "json")


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """{"schema": …, "rows": [record.json …]} on stdout, and nothing else."""
    from arrbench.record import SCHEMA

    plain = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    click.echo(json.dumps({"schema": SCHEMA, "rows": list(rows)}, indent=1, ensure_ascii=plain))


def print_leaderboard(rows: Sequence[Mapping[str, Any]], store: Store, form: str, method: Method) -> None:
    """The leaderboard of these rows, whose per-query measures lie in `store`, in one of FORMATS."""
    if form == "json":
        print_rows(rows)
        return
    from arrbench.leaderboard.board import headline_values
    from arrbench.leaderboard.rows import tables

    values, faults = headline_values(rows, store)
    _PRINTED[form](tables(rows, values, method))
    for line in faults:
        click.echo(f"arrbench: {line}", err=True)


def _print_tables(tables: Sequence[Table]) -> None:
    from arrbench.leaderboard.terminal import print_tables

    print_tables(tables, sys.stdout)


def _print_markdown(tables: Sequence[Table]) -> None:
    from arrbench.leaderboard.markdown import markdown

    click.echo("\n".join(map(markdown, tables)), nl=False)


def _print_csv(tables: Sequence[Table]) -> None:
    from arrbench.leaderboard.export import to_csv

    click.echo(to_csv(tables), nl=False)


_PRINTED: Mapping[str, Callable[[Sequence[Table]], None]] = {
    "table": _print_tables,
    "markdown": _print_markdown,
    "csv": _print_csv,
}


def method_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--test and --correction: how differences are tested, which is in no record and no key."""
    test = click.option(
        "--test",
        type=click.Choice(TESTS),
        help="How differences are tested: t over queries and seeds; randomization, wilcoxon over queries on "
        "means over seeds.  [default: t, unless a board.toml says otherwise]",
    )
    correction = click.option(
        "--correction",
        type=click.Choice(CORRECTIONS),
        help="Over all pairs: Holm's, or Benjamini and Hochberg's of the false discovery rate.  "
        "[default: holm, unless a board.toml says otherwise]",
    )
    return test(correction(command))

"""What commands print of records: the table for people, JSON rows for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from arrbench.record import SCHEMA

if TYPE_CHECKING:
    from arrbench.store import Store


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """{"schema": …, "rows": [record.json …]} on stdout, and nothing else."""
    click.echo(json.dumps({"schema": SCHEMA, "rows": list(rows)}, indent=1, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], store: Store) -> None:
    """The leaderboard of these rows, whose per-query measures lie in `store`."""
    from arrbench.leaderboard.board import headline_values
    from arrbench.leaderboard.rows import tables
    from arrbench.leaderboard.terminal import print_tables

    values, faults = headline_values(rows, store)
    print_tables(tables(rows, values), sys.stdout)
    for line in faults:
        click.echo(f"arrbench: {line}", err=True)

"""arrbench publish: a board's tables from its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arrbench.cli.output import method_options

if TYPE_CHECKING:
    from arrbench.measure.method import Correction, Test


@click.command("publish")
@click.argument("board", type=click.Path(path_type=Path))
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where to look for new records.",
)
@method_options
def command(board: Path, runs: Path, test: Test | None, correction: Correction | None) -> None:
    """Write the tables of BOARD, a folder with a board.toml, from its records.

    New records of its trials are taken over from --runs first; with none there, the tables are
    rebuilt from what the board has.
    """
    from arrbench.errors import UsageError
    from arrbench.leaderboard.board import read_board, write_tables
    from arrbench.leaderboard.collecting import collect
    from arrbench.store import Store

    described = read_board(board)
    described = replace(described, method=described.method.replaced(test, correction))
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs} is not a directory")
    copied, warnings = collect(described, Store(runs))
    files, faults = write_tables(described)
    for line in dict.fromkeys([*warnings, *faults]):
        click.echo(f"arrbench: {line}", err=True)
    click.echo(f"{board}: {copied} new records; {', '.join(f.name for f in files)} written")

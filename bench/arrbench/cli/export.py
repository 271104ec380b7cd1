"""arrbench export: a task as plain files that other tools read."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("task")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the task's data lie.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="As many test queries as a run with this --limit has."
)
@click.option("--offline", is_flag=True, help="Nothing may reach for a network.")
def command(task: str, folder: Path, data_dir: Path | None, limit: int | None, offline: bool) -> None:
    """Write TASK's corpus, test queries, candidates and judgments to FOLDER.

    test.qrels holds integer gains, so that ir-measures or trec_eval give the figures of a record's
    run.trec.gz again.
    """
    from arrbench.errors import UsageError
    from arrbench.exchange import write_export
    from arrbench.planning import cache_folder, load_task
    from arrbench.task import DataSource

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; export writes into a new folder")
    loaded, facts, test = load_task(task, DataSource(data_dir, cache_folder(), offline), limit)
    write_export(folder, test)
    shown = click.format_filename(folder)
    click.echo(f"{shown}: {facts.n_documents} documents, {facts.n_queries} queries; licence: {facts.licence}")
    if loaded.texts_may_be_republished is False:
        click.echo("the licence does not let these texts be republished")
    for note in facts.notes:
        click.echo(f"note: {note}", err=True)

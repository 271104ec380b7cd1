"""arrbench data: where tasks' data lie, and bringing them here."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("data")
def command() -> None:
    """Find and fetch the data of tasks."""


@command.command("fetch")
@click.argument("task")
def fetch(task: str) -> None:
    """Bring the data of TASK into the cache, unless they are there."""
    from arrbench.planning import cache_folder
    from arrbench.plugins import task_class
    from arrbench.task import DataSource

    plugin, cls = task_class(task)
    with plugin.blamed("when its data were fetched"):
        place = cls.find(DataSource(None, cache_folder(), offline=True)) or cls.fetch(cache_folder())
    click.echo(f"{task}: {place}")


@command.command("synth")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--docs", type=click.IntRange(min=30), default=10_000, show_default=True, help="Documents.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="What it is drawn from."
)
def synth(folder: Path, docs: int, seed: int) -> None:
    """Write a made-up collection into FOLDER, for `--task folder:path=FOLDER`; as `--task synth` has it."""
    from arrbench.tasks.synth import SynthOptions, write

    write(SynthOptions(docs=docs, seed=seed), folder)
    click.echo(f"{click.format_filename(folder)}: {docs} documents in BEIR's layout")


@command.command("list")
@click.option("--data-dir", type=click.Path(path_type=Path), help="A folder to look in first.")
def list_(data_dir: Path | None) -> None:
    """Show where the data of each installed task are found."""
    from arrbench.errors import UsageError
    from arrbench.planning import cache_folder
    from arrbench.plugins import installed, task_class
    from arrbench.task import DataSource

    for plugin in installed("task"):
        try:
            _, cls = task_class(plugin.name)
            with plugin.blamed("when asked for its data"):
                found = cls.find(DataSource(data_dir, cache_folder(), offline=True))
        except UsageError as error:
            click.echo(f"{plugin.name}: {error}")
            continue
        click.echo(f"{plugin.name}: {found or cls.data_are or 'not found'}")

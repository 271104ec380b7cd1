"""arrbench show: the options of a ranker, task or docID scheme, or a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arrbench.options import BaseOptions
    from arrbench.plugins import Plugin


@click.command("show")
@click.argument("what", type=click.Choice(["ranker", "task", "docid", "record"]))
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where records lie.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(what: str, name: str, out: Path, as_json: bool) -> None:
    """Show the options of a ranker, task or docID scheme, or the record with a key (or its folder)."""
    if what == "record":
        _show_record(name, out, as_json)
        return
    from arrbench.options import BaseOptions
    from arrbench.plugins import find, loaded, ranker_class, task_class

    if what == "docid":
        plugin = find(name, "docid")
        scheme = loaded(plugin)
        _show_options(plugin, scheme.__doc__ or "", getattr(scheme, "Options", BaseOptions), as_json)
        return
    plugin, cls = ranker_class(name) if what == "ranker" else task_class(name)
    _show_options(plugin, cls.__doc__ or "", cls.Options, as_json)


def _show_options(plugin: Plugin, doc: str, options: type[BaseOptions], as_json: bool) -> None:
    with plugin.blamed("when its options were read"):
        schema = options.model_json_schema()
    if as_json:
        click.echo(
            json.dumps(
                {"name": plugin.name, "distribution": plugin.distribution, "options": schema}, indent=1
            )
        )
        return
    click.echo(f"{plugin.name}  ({plugin.distribution} {plugin.version}, {plugin.target})")
    click.echo(f"\n{doc.strip()}\n" if doc else "")
    if not options.model_fields:
        click.echo("no options")
    for key, field in options.model_fields.items():
        default = "none" if field.default is None else field.default
        click.echo(f"  {key}={default}  [{_type(schema['properties'][key])}]")
        click.echo(f"      {field.description or 'undocumented'}")


def _type(schema: dict[str, object]) -> str:
    """A JSON schema's type in few words."""
    if isinstance(schema.get("anyOf"), list):
        return " | ".join(_type(part) for part in schema["anyOf"])  # type: ignore[attr-defined]
    if isinstance(schema.get("enum"), list):
        return " | ".join(map(str, schema["enum"]))  # type: ignore[call-overload]
    name = "none" if schema.get("type") == "null" else str(schema.get("const", schema.get("type", "any")))
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join([name, *(f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema)])


def _show_record(name: str, out: Path, as_json: bool) -> None:
    from arrbench.cli.output import print_rows
    from arrbench.record import read, row
    from arrbench.store import RECORD, Store

    folder = Store(out).resolve(name)
    record = read(folder / RECORD)
    if as_json:
        print_rows([row(record, cached=True)])
    else:
        click.echo(record.model_dump_json(indent=1))

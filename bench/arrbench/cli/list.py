"""arrbench list: what is installed, read from entry points without importing any of it."""

from __future__ import annotations

import json

import click


@click.command("list")
@click.option(
    "--check", is_flag=True, help="Import every plugin, in a process of its own, and say which fail."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(check: bool, as_json: bool) -> int:
    """List the installed rankers, baselines, tasks and docID schemes."""
    from arrbench.plugins import GROUPS, installed

    plugins = installed(*GROUPS)
    faults: dict[tuple[str, str, str], str | None] = {}
    if check:
        from arrbench.check import check_plugins

        faults = check_plugins()
    names = [(p.kind, p.name) for p in plugins]
    lines = []
    for p in plugins:
        status = "claimed twice" if names.count((p.kind, p.name)) > 1 else ""
        if check:
            status = faults.get((p.kind, p.name, p.target)) or status or "ok"
        lines.append({"kind": p.kind, "name": p.name, "distribution": p.distribution, "version": p.version,
                      "target": p.target, "status": status})  # fmt: skip
    if as_json:
        click.echo(json.dumps({"schema": 1, "plugins": lines}, indent=1))
    else:
        width = max((len(p.name) for p in plugins), default=0)
        for line in sorted(lines, key=lambda line: [*map(str, GROUPS)].index(line["kind"])):
            origin = f"{line['distribution']} {line['version']}"
            click.echo(f"{line['kind']:9} {line['name']:{width}}  {origin}  {line['status']}".rstrip())
    return 1 if any(faults.values()) else 0

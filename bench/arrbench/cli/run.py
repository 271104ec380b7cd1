"""arrbench run: train and measure rankers on a task, and print their leaderboard."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrbench.cli.output import FORMATS, method_options, print_leaderboard
from arrbench.errors import UsageError

if TYPE_CHECKING:
    from arrbench.measure.method import Correction, Test
    from arrbench.planning import Plan

BOARD_TABLE = "board"  # what `publish` reads of the same file


def _from_config(ctx: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    """The file's values become the options' defaults, so that words on the command line win."""
    if file is None:
        return None
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {file}: {error}") from error
    values.pop(BOARD_TABLE, None)
    known = {p.name for p in ctx.command.params if p.name}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            from arrbench.plugins import nearest

            raise UsageError(f"--config {file}: unknown key {key!r}; {nearest(key, sorted(known))}")
        defaults[name] = ",".join(map(str, value)) if isinstance(value, list) else value
    ctx.default_map = defaults
    return file


def _seeds(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    words = [word.strip() for word in str(text).split(",")]
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise UsageError(f"--seeds {text!r}: give whole numbers joined by commas, such as 1,2,3")
    return tuple(dict.fromkeys(map(int, words)))


@click.command("run")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    callback=_from_config,
    is_eager=True,
    expose_value=False,
    metavar="FILE",
    help="A TOML file with these options' values, for a whole experiment.",
)
@click.option(
    "--rankers",
    metavar="NAMES",
    default="",
    help="Such as bm25,de:dim=32; name=X calls a row X.",
)
@click.option("--task", default="wordnet", show_default=True, help="Such as wordnet:root=animal.n.01,esci.")
@click.option("--seeds", default="1", show_default=True, callback=_seeds, help="One trial a seed: 1,2,3.")
@click.option(
    "--k", type=int, help="Documents a ranking.  [default: 100 retrieving, all candidates reranking]"
)
@click.option(
    "--candidates",
    metavar="RUN",
    help="Rerank what a TREC run file holds, or what a ranker's own record on the task does: bm25.",
)
@click.option("--limit", type=int, help="At most so many queries a split: a trial run, not a result.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps …")
@click.option("--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads a trial may use.")
@click.option(
    "--jobs",
    type=int,
    metavar="N",
    help="At most N trials at once, trained or waiting to be timed; figures other than times don't depend on "
    "it.  [default: as many as train on one for each --threads of cores (one on an accelerator), a few more "
    "that wait, and no more than fit the memory available, at 1 GiB and 4 times the inputs each]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the task's data lie.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where records go.",
)
@click.option("--no-save", is_flag=True, help="Keep no trained models.")
@click.option("--force", is_flag=True, help="Run what is recorded already again.")
@click.option("--offline", is_flag=True, help="Nothing may reach for a network.")
@click.option(
    "--timeout", type=float, default=7200.0, show_default=True, help="Seconds a phase of a trial may take."
)
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@method_options
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What is printed on stdout: a table as wide as the terminal, or everything as markdown, csv or "
    "the records as json.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def command(
    rankers: str,
    task: str,
    seeds: tuple[int, ...],
    no_save: bool,
    timeout: float,
    dry_run: bool,
    test: Test | None,
    correction: Correction | None,
    format: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> int:
    """Train and measure rankers on a task, or on several joined by commas, and print their leaderboard.

    Query-independent baselines run beside them, since a board without them can't be read. What is
    recorded under the same key is not run again.
    """
    from arrbench import spec
    from arrbench.cli.progress import watching
    from arrbench.measure.method import Method
    from arrbench.planning import Experiment, plans
    from arrbench.record import row
    from arrbench.runner import run
    from arrbench.store import Store

    form = "json" if as_json else format
    method = Method().replaced(test, correction)
    asked = Experiment(spec.split(rankers), seeds=seeds, save=not no_save, timeout_s=timeout, **settings)
    planned = plans(asked, spec.split(task))
    for warning in dict.fromkeys(warning for plan in planned for warning in plan.warnings):
        click.echo(f"arrbench: {warning}", err=True)
    if dry_run:
        _print_plans(planned, form == "json")
        return 0
    with watching(sum(len(plan.missing) for plan in planned), quiet) as watcher:
        records = [record for plan in planned for record in run(plan, watcher)]
    rows = [row(record, cached=cached) for record, cached in records]
    print_leaderboard(rows, Store(settings["out"]), form, method)
    return 1 if any(record.status == "failed" for record, _ in records) else 0


def _print_plans(plans: Sequence[Plan], as_json: bool) -> None:
    import json

    lines = [
        {"ranker": p.trial.ranker.name, "task": p.trial.task.title or p.trial.task.label,
         "seed": p.trial.seed, "key": p.trial.key, "cached": p.record is not None,
         "command": p.trial.command()}
        for plan in plans
        for p in plan.trials
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"schema": 1, "plan": lines}, indent=1))
        return
    for line in lines:
        click.echo(f"{'cached' if line['cached'] else 'to run':7} {line['key']}  {line['command']}")

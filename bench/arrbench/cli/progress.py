"""What a run shows while it runs: one line a trial on stderr, nothing when nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from arrbench.execution import Watcher, quiet


class RateColumn(ProgressColumn):
    """Steps a second of the phase."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


class Bars:
    """A Watcher that shows each running trial's phase, steps, rate and time left."""

    def __init__(self, progress: Progress, trials: int) -> None:
        self._progress = progress
        self._whole = progress.add_task("trials", total=trials, phase="")
        self._lines: dict[str, TaskID] = {}
        self._phases: dict[str, str] = {}

    def started(self, name: str) -> None:
        self._lines[name] = self._progress.add_task(name, total=None, phase="start")

    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None:
        line = self._lines[name]
        if self._phases.get(name) != phase:
            self._phases[name] = phase
            self._progress.reset(line, total=total, phase=phase)
        if done is not None:
            self._progress.update(line, completed=done, total=total)

    def finished(self, name: str, error: str | None) -> None:
        self._progress.remove_task(self._lines.pop(name))
        self._progress.advance(self._whole)
        if error:
            self._progress.console.print(Text.assemble(("failed", "red"), f" {name}: {error}"))

    def notice(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)


class Lines:
    """A Watcher for stderr that is no terminal: a line where something has to be known, no progress."""

    def started(self, name: str) -> None: ...
    def progress(self, name: str, phase: str, done: int | None, total: int | None) -> None: ...
    def finished(self, name: str, error: str | None) -> None: ...

    def notice(self, text: str) -> None:
        click.echo(f"arrbench: {text}", err=True)


@contextmanager
def watching(trials: int, silent: bool) -> Iterator[Watcher]:
    """A Watcher for a run of so many trials: silent when asked to be, no bars where stderr is no terminal."""
    console = Console(stderr=True)
    if silent or trials == 0:
        yield quiet()
        return
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[phase]}", style="cyan", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress, trials)

"""Taking a board's records out of a folder of runs, under the board's words and without a machine's paths."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arrbench import paths, plugins, spec
from arrbench.choosing import choose
from arrbench.errors import UsageError
from arrbench.leaderboard.board import Board
from arrbench.planning import cache_folder, load_task
from arrbench.record import Record
from arrbench.store import RECORD, Store
from arrbench.task import DataSource
from arrbench.trial import RankerChoice, TaskChoice, choose_tasks, command, distinct

BESIDE = ("run.trec.gz", "samples.npz", "training.jsonl")  # no model, and no log with its paths
PUBLISHED = (*BESIDE, RECORD)
# What a task says of itself, which no key knows: taken from another record of the same content.
TASK_WORDS = ("task", "task_options", "task_facts", "task_notes", "licence", "headline", "candidates")


@dataclass(frozen=True, slots=True)
class Content:
    """What one of a board's tasks holds by its fingerprint, and what it says of itself with that."""

    task: TaskChoice
    fingerprint: str
    words: Mapping[str, Any]

    @classmethod
    def of(cls, task: TaskChoice, record: Record) -> Content:
        return cls(task, record.fingerprint, {name: getattr(record, name) for name in TASK_WORDS})


def collect(board: Board, runs: Store) -> tuple[int, list[str]]:
    """Copy the board's records out of `runs`, each in place of an older one of the same trial.

    A record belongs to the board by its ranker's options, its seed, and its task's words or content:
    it may have been made under other names. Returns how many were copied, and a line on each record that
    can't be read. Raises UsageError where something that is no record of the board's is in the way.
    """
    records = [r for r in runs.all() if r.limit is None and r.seed in board.seeds]
    rankers, warnings = _rankers(board) if records else ([], [])
    wanted = [(record, ranker) for record in records for ranker in rankers if ranker.made(record)]
    published = board.records
    mine = {_trial(r): r for r in published.all() if not published.path(r.key).is_symlink()}
    contents: list[Content] = []
    for task in choose_tasks(board.tasks) if wanted else ():
        try:
            contents.append(_content(task, board, [r for r, _ in wanted], list(mine.values()), runs))
        except UsageError as error:
            warnings.append(
                f"no record names task {task.label!r}, and its content can't be compared: {error}"
            )
    found: dict[tuple[object, ...], Record] = {}
    for record, ranker in wanted:  # oldest first: the newest of a trial stays
        content = _content_of(record, contents, board)
        if content is not None:
            new = _as_published(record, ranker, content)
            found[_trial(new)] = new
    copied = 0
    for trial, new in found.items():
        old = mine.get(trial)
        if old is not None and (new == old or new.finished_at < old.finished_at):
            continue
        _put(new, runs.path(new.key), published.path(new.key))
        if old is not None and old.key != new.key:
            _take_away(published.path(old.key))
        copied += 1
    return copied, [*warnings, *runs.faults.values()]


def _rankers(board: Board) -> tuple[list[RankerChoice], list[str]]:
    """The board's rankers and every baseline installed, and a line on each baseline that can't be had."""
    choices = [choose(words) for words in board.rankers]
    warnings: list[str] = []
    for name in sorted({p.name for p in plugins.installed("baseline")}):
        try:
            choices.append(choose(spec.Spec(name, {})))
        except UsageError as error:
            warnings.append(f"left out: {error}")
    chosen, said = distinct(choices, "ranker")
    return chosen, [*said, *warnings]


def _content(
    task: TaskChoice, board: Board, records: Sequence[Record], published: Sequence[Record], runs: Store
) -> Content:
    """What a task holds now: what its newest record says, or else the task itself.

    Its trials may all have been served from records that another task of the same content left.
    """
    named = [r for r in records if _names(task, r, board)]
    named = named or [r for r in published if r.task_label == task.label]
    if named:
        return Content.of(task, max(named, key=lambda r: r.finished_at))
    source = DataSource(None, cache_folder(), offline=True)
    _, facts, _ = load_task(task.asked.words(), source, None, board.candidates, runs)
    said = {
        "task": facts.name,
        "task_options": dict(facts.options),
        "task_facts": dict(facts.facts),
        "task_notes": facts.notes,
        "licence": facts.licence,
        "headline": facts.headline,
        "candidates": facts.candidates,
    }
    return Content(task, facts.fingerprint, said)


def _content_of(record: Record, contents: Sequence[Content], board: Board) -> Content | None:
    """What the record was made on, if it is the board's: by its task's words, else by its content."""
    for content in contents:
        if _names(content.task, record, board):
            return Content.of(content.task, record)
    return next((c for c in contents if c.fingerprint == record.fingerprint), None)


def _names(task: TaskChoice, record: Record, board: Board) -> bool:
    return task.given(record) and record.candidates == board.candidates


def _as_published(record: Record, ranker: RankerChoice, content: Content) -> Record:
    """The record under the board's words, in which a path is shown as labels show it."""
    task, candidates = content.task, content.words["candidates"]
    candidates = candidates and paths.shown(candidates)
    again = command(
        ranker.asked.words(ranker.parts),
        task.asked.words(task.parts),
        candidates,
        seed=record.seed,
        k=record.k,
        limit=record.limit,
        device=record.device,
        dtype=record.dtype,
        threads=record.threads,
    )
    words = {
        **content.words,
        "label": ranker.label,
        "title": ranker.asked.title,
        "task_label": task.label,
        "task_title": task.asked.title,
        "candidates": candidates,
        "command": again,
    }
    shown = {p: paths.last(p, choice.parts) for choice in (task, ranker) for p in choice.asked.paths()}
    plain = record.model_copy(update=words).model_dump(mode="json")
    return Record.model_validate(paths.without(plain, shown))


def _trial(record: Record) -> tuple[object, ...]:
    """What makes two records two runs of one trial."""
    hardware = record.hardware["fingerprint"]
    c = record
    return (c.task_label, c.label, c.seed, c.k, c.device, c.dtype, c.threads, hardware)


def _put(record: Record, source: Path, target: Path) -> None:
    """Make `target` the record's folder, each file in one rename and record.json last.

    Nothing is followed out of either folder, and what else lies in `target` stays.
    """
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
        raise UsageError(f"{target} is in the way of a record: it is no folder that publish made")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publishing-", dir=target.parent) as scratch:
        for name in BESIDE:
            file = source / name
            if file.is_file() and not file.is_symlink():
                shutil.copyfile(file, Path(scratch) / name)
        (Path(scratch) / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        _unlink(target, (name for name in BESIDE if not (Path(scratch) / name).exists()))
        for name in PUBLISHED:
            if (Path(scratch) / name).exists():
                (Path(scratch) / name).replace(target / name)


def _take_away(folder: Path) -> None:
    """Remove a published record's files, and its folder unless something else is in it."""
    _unlink(folder, PUBLISHED)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _unlink(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)

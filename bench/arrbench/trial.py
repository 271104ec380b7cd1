"""What one trial is: a ranker with its options, on a task, with a seed; and the key of its record."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from arrbench import labels, plugins, spec
from arrbench.measure.latency import PROTOCOL
from arrbench.options import BaseOptions
from arrbench.plugins import Plugin
from arrbench.record import KEY_LENGTH, SCHEMA, Record
from arrbench.spec import Spec
from arrbench.task import Setting, Task


@dataclass(frozen=True, slots=True)
class RankerChoice:
    """A ranker as asked for, as plain data: its class may never have been imported into this process.

    `options` and `defaults` are resolved, `code` is a hash of its files, `software` the versions that
    matter to it, `weights` and `inputs` what it says it loads and depends on. `parts` is how many parts
    its label shows of a path.
    """

    spec: Spec
    plugin: Plugin
    asked: labels.Words
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    code: str
    learns: bool
    generates: bool
    tuning: str
    query_independent: bool
    settings: frozenset[Setting]
    libraries: tuple[str, ...]
    software: Mapping[str, str]
    weights: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    parts: int = 1

    @property
    def label(self) -> str:
        return self.asked.label(self.parts)

    @property
    def name(self) -> str:
        """What its row is called."""
        return self.asked.title or self.label

    def made(self, record: Record) -> bool:
        """Whether a record is of this ranker with these options; one that lacks an option had its default."""
        return record.ranker == self.plugin.name and {**self.defaults, **record.options} == self.options


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """A task as asked for, its class in this process; `resolved` are the options that it is made with."""

    plugin: Plugin
    cls: type[Task]
    asked: labels.Words
    resolved: BaseOptions
    options: Mapping[str, Any]
    parts: int = 1

    @property
    def label(self) -> str:
        return self.asked.label(self.parts)

    def given(self, record: Record) -> bool:
        """Whether a record is of this task with these options, whatever its content was."""
        defaults = self.cls.Options().model_dump(mode="json")
        return record.task == self.asked.name and {**defaults, **record.task_options} == self.options


Choice = TypeVar("Choice", RankerChoice, TaskChoice)


def choose_tasks(words: Iterable[str]) -> list[TaskChoice]:
    """The tasks that words stand for, each once, under labels of their own; UsageError for wrong words."""
    choices: list[TaskChoice] = []
    for asked in map(spec.parse, words):
        plugin, cls = plugins.task_class(asked.name)
        with plugin.blamed("when its options were read"):
            understood = labels.ask(asked, cls.Options, "task")
            options = understood.options.model_dump(mode="json")
            choices.append(TaskChoice(plugin, cls, understood.plain(), understood.options, options))
    return distinct(choices, "task")[0]


def distinct(choices: Sequence[Choice], kind: str) -> tuple[list[Choice], list[str]]:
    """Each choice once, in order, under a label of its own; and a line on each that has a second name."""
    by_options: dict[str, Choice] = {}
    warnings: list[str] = []
    for choice in choices:
        same = json.dumps([choice.asked.name, choice.options], sort_keys=True)
        first = by_options.setdefault(same, choice)
        names = [c.asked.title or c.label for c in (first, choice)]
        if names[0] != names[1]:
            warnings.append(
                f"{kind} {choice.label!r} is asked for under two names, {names[0]!r} and {names[1]!r}: "
                "it has one row, under the first"
            )
    kept = list(by_options.values())
    parts = labels.told_apart([c.asked for c in kept], kind)
    return [replace(c, parts=n) for c, n in zip(kept, parts, strict=True)], warnings


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What records say of the task; plain data, so that a trial holds no task."""

    name: str
    label: str
    title: str | None
    words: str
    options: Mapping[str, Any]
    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    licence: str
    headline: str
    measures: tuple[str, ...]
    setting: Setting
    fingerprint: str
    n_queries: int
    n_documents: int
    candidates: str | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all trials of a run share besides the task."""

    k: int
    limit: int | None
    device: str
    dtype: str
    threads: int
    hardware: Mapping[str, Any]
    software: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    ranker: RankerChoice
    task: TaskFacts
    conditions: Conditions
    seed: int

    @property
    def software(self) -> Mapping[str, Any]:
        """The versions that can change this trial's figures, and what is said of the system beside them."""
        return {**self.conditions.software, **self.ranker.software}

    @property
    def name(self) -> str:
        return f"{self.ranker.name} · seed {self.seed}"

    @property
    def key(self) -> str:
        """A hash of all that can change a figure; where the record lies."""
        plugin, c = self.ranker.plugin, self.conditions
        versions = {k: v for k, v in self.software.items() if k not in ("os", "git_commit")}
        parts = {
            "schema": SCHEMA,
            "protocol": PROTOCOL,
            "ranker": plugin.name,
            "options": self.ranker.options,
            "weights": self.ranker.weights,
            "inputs": self.ranker.inputs,
            "plugin": [plugin.distribution, plugin.version, plugin.target, self.ranker.code],
            "task": self.task.fingerprint,
            "measures": self.task.measures,
            "setting": self.task.setting,
            "split": "test",
            "k": c.k,
            "limit": c.limit,
            "seed": self.seed,
            "device": c.device.partition(":")[0],
            "dtype": c.dtype,
            "threads": c.threads,
            "hardware": c.hardware["fingerprint"],
            "versions": versions,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]

    def command(self) -> str:
        """The command that runs this trial again, here or elsewhere."""
        c = self.conditions
        return command(
            self.ranker.asked.words(),
            self.task.words,
            self.task.candidates,
            seed=self.seed,
            k=c.k,
            limit=c.limit,
            device=c.device,
            dtype=c.dtype,
            threads=c.threads,
        )


def command(
    ranker: str,
    task: str,
    candidates: str | None,
    *,
    seed: int,
    k: int,
    limit: int | None,
    device: str,
    dtype: str,
    threads: int,
) -> str:
    """The command line that runs a trial."""
    words = ["arrbench", "run", "--rankers", ranker, "--task", task, "--seeds", str(seed), "--k", str(k)]
    words += ["--device", device.partition(":")[0], "--dtype", dtype, "--threads", str(threads)]
    if candidates is not None:
        words += ["--candidates", candidates]
    if limit is not None:
        words += ["--limit", str(limit)]
    return shlex.join(words)

"""What one trial is: a ranker with its options, on a task, with a seed; and the key of its record."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arrbench.measure.latency import PROTOCOL
from arrbench.plugins import Plugin
from arrbench.record import SCHEMA
from arrbench.spec import Spec
from arrbench.task import Setting


@dataclass(frozen=True, slots=True)
class RankerChoice:
    """A ranker as asked for, as plain data: its class may never have been imported into this process.

    `options` are resolved to the last default, `code` is a hash of its files, `software` the versions
    that matter to it, `weights` and `inputs` what it says it loads and depends on.
    """

    asked: Spec
    plugin: Plugin
    label: str
    options: Mapping[str, Any]
    code: str
    learns: bool
    tuning: str
    query_independent: bool
    settings: frozenset[Setting]
    libraries: tuple[str, ...]
    software: Mapping[str, str]
    weights: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What records say of the task; plain data, so that a trial holds no task."""

    name: str
    label: str
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
        return f"{self.ranker.label} · seed {self.seed}"

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
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    def command(self) -> str:
        """The command that runs this trial again, here or elsewhere."""
        c = self.conditions
        words = ["arrbench", "run", "--rankers", self.ranker.label, "--task", self.task.label]
        words += ["--seeds", str(self.seed), "--k", str(c.k), "--device", c.device.partition(":")[0]]
        words += ["--dtype", c.dtype, "--threads", str(c.threads)]
        if self.task.candidates is not None:
            words += ["--candidates", self.task.candidates]
        if c.limit is not None:
            words += ["--limit", str(c.limit)]
        return shlex.join(words)

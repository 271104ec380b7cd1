"""From an experiment's words to trials: names, options, device and task checked before any work starts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs
import psutil

from arrbench import choosing, devices, exchange, plain, plugins, spec, task_check
from arrbench.candidates import Candidates, read_candidates
from arrbench.errors import UsageError
from arrbench.measure import resources
from arrbench.ranker import Context
from arrbench.record import Record
from arrbench.store import Store
from arrbench.task import DataSource, Split, Task
from arrbench.trial import Conditions, RankerChoice, TaskChoice, TaskFacts, Trial, choose_tasks, distinct

DTYPES = ("float32", "bfloat16", "float16")
K_RETRIEVING = 100
K_MOST = 10**9  # search engines count in 32 bits
SEEDS = range(2**32)  # what numpy's and scikit-learn's generators take; torch's and Python's take more


def cache_folder() -> Path:
    """Where data, models and compiled kernels are kept: $ARRBENCH_CACHE or the platform's cache."""
    return Path(os.environ.get("ARRBENCH_CACHE") or platformdirs.user_cache_path("arrbench"))


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a run is asked for; the command line's options under the same names."""

    rankers: Sequence[str]
    task: str = "wordnet"
    seeds: Sequence[int] = (1,)
    k: int | None = None  # 100 when retrieving, all candidates when reranking
    limit: int | None = None
    candidates: str | None = None  # a TREC run file, or a ranker that has a record in `out`
    device: str = "auto"
    dtype: str = "float32"
    threads: int = 1
    jobs: int | None = None  # trials at once; by default what cores and memory carry
    data_dir: Path | None = None
    out: Path = Path("runs")
    cache: Path = field(default_factory=cache_folder)
    offline: bool = False
    save: bool = True
    force: bool = False
    timeout_s: float = 7_200.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A trial and the record it already has, if any."""

    trial: Trial
    record: Record | None


@dataclass(frozen=True)
class Plan:
    """All trials of an experiment, baselines first, and the data they run on."""

    experiment: Experiment
    trials: Sequence[Planned]
    task: Task
    test: Split
    warnings: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The torch device that all trials run on."""
        return self.trials[0].trial.conditions.device

    @property
    def missing(self) -> list[Trial]:
        return [p.trial for p in self.trials if p.record is None]


def plan(experiment: Experiment) -> Plan:
    """Check every word of the experiment and find what is already recorded; UsageError otherwise."""
    return plans(experiment, [experiment.task])[0]


def plans(experiment: Experiment, tasks: Sequence[str]) -> list[Plan]:
    """The experiment's plan on each of several tasks in place of its own; raises as `plan`."""
    _check(experiment)
    with offline_switches(experiment.offline), choosing.session():
        rankers, warnings = _choose_rankers(experiment.rankers)
        if not tasks:
            known = ", ".join(sorted({p.name for p in plugins.installed("task")}))
            raise UsageError(f"no task given; known: {known}")
        choices = choose_tasks(tasks)
        return [_plan(replace(experiment, task=t.asked.words()), t, rankers, warnings) for t in choices]


def _plan(
    experiment: Experiment, asked: TaskChoice, rankers: Sequence[RankerChoice], warnings: Sequence[str]
) -> Plan:
    store = Store(experiment.out)
    device = devices.choose(experiment.device)
    source = DataSource(experiment.data_dir, experiment.cache, experiment.offline)
    task, facts, test = _loaded(asked, source, experiment.limit, experiment.candidates, store)
    for choice in rankers:
        if facts.setting not in choice.settings:
            can = " or ".join(sorted(choice.settings))
            raise UsageError(
                f"ranker {choice.label!r} can only {can}; task {facts.label!r} is to {facts.setting}"
            )
    conditions = Conditions(
        k=_cutoff(experiment.k, test),
        limit=experiment.limit,
        device=device["device"],
        dtype=experiment.dtype,
        threads=experiment.threads,
        hardware=resources.hardware(device),
        software=resources.harness(),
    )
    context = Context(conditions.device, experiment.dtype, cache=experiment.cache, offline=experiment.offline)
    asked_for = [_with_inputs(choice, context) for choice in rankers]
    baselines, left_out = _baselines(facts.setting, {c.plugin.name for c in rankers}, context)
    choices, _ = distinct([*baselines, *asked_for], "ranker")
    seeds = dict.fromkeys(experiment.seeds)
    trials = [Trial(choice, facts, conditions, seed) for choice in choices for seed in seeds]
    planned = [Planned(t, None if experiment.force else _complete(store, t.key)) for t in trials]
    said = (*warnings, *left_out, *task.warnings, *store.faults.values())
    return Plan(experiment, planned, task, test, said)


def load_task(
    words: str,
    source: DataSource,
    limit: int | None = None,
    candidates: str | None = None,
    runs: Store | None = None,
) -> tuple[Task, TaskFacts, Split]:
    """The task that the words stand for, what records say of it, and its test split.

    `candidates` names a run whose documents are to be reranked, or a ranker whose record lies in `runs`.
    """
    return _loaded(choose_tasks([words])[0], source, limit, candidates, runs or Store(Path("runs")))


def _loaded(
    choice: TaskChoice, source: DataSource, limit: int | None, candidates: str | None, runs: Store
) -> tuple[Task, TaskFacts, Split]:
    with task_check.asking(choice.label):
        task = given = choice.cls(choice.resolved, source)
    task_check.check(given, choice.label)
    if candidates is not None:
        run = read_candidates(candidates, task, runs, limit)
        task = Candidates(task, run, candidates)
    test = exchange.limited(task.split("test"), limit)
    facts = TaskFacts(
        name=choice.asked.name,
        label=choice.label,
        title=choice.asked.title,
        words=choice.asked.words(),
        options=choice.options,
        facts=plain.facts("facts", task.facts),
        notes=task.notes,
        licence=given.licence,
        headline=given.headline,
        measures=task_check.measured(given),
        setting=task.setting,
        fingerprint=task.fingerprint(),
        n_queries=len(test.queries),
        n_documents=len(test.corpus),
        candidates=candidates,
    )
    return task, facts, test


@contextmanager
def offline_switches(offline: bool) -> Iterator[None]:
    """Tell Hugging Face's libraries, here and in every child, that nothing may reach for a network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    if offline:
        os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check(experiment: Experiment) -> None:
    if experiment.k is not None and not 1 <= experiment.k <= K_MOST:
        raise UsageError(f"k is {experiment.k}; it must be 1 to {K_MOST}")
    if experiment.limit is not None and experiment.limit < 1:
        raise UsageError(f"limit is {experiment.limit}; it must be 1 or more")
    cores = psutil.cpu_count() or 1
    if not 1 <= experiment.threads <= cores:
        raise UsageError(
            f"threads is {experiment.threads}; it must be 1 to {cores}, the logical cores of this machine"
        )
    if experiment.jobs is not None and experiment.jobs < 1:
        raise UsageError(f"jobs is {experiment.jobs}; it must be 1 or more")
    if experiment.dtype not in DTYPES:
        raise UsageError(f"unknown dtype {experiment.dtype!r}; known: {', '.join(DTYPES)}")
    if not experiment.seeds or any(s not in SEEDS for s in experiment.seeds):
        raise UsageError(
            f"seeds are {list(experiment.seeds)}; give one or more, each from 0 to {SEEDS[-1]}, "
            "which is as far as the random generators of libraries go"
        )
    if not 0 < experiment.timeout_s < math.inf:
        raise UsageError(f"timeout is {experiment.timeout_s}; give seconds, more than 0 and finite")
    for name, folder in (("out", experiment.out), ("the cache", experiment.cache)):
        _check_folder(name, folder)
    if experiment.data_dir is not None and not experiment.data_dir.is_dir():
        raise UsageError(f"data_dir is {experiment.data_dir}, which is not a directory")
    if not experiment.rankers:
        known = ", ".join(sorted({p.name for p in plugins.installed("ranker")}))
        raise UsageError(f"no rankers given; known: {known}")


def _check_folder(name: str, folder: Path) -> None:
    """UsageError where a folder is something else, or can't be made since something above it is no folder."""
    nearest = next((p for p in (folder, *folder.parents) if os.path.lexists(p)), Path())
    try:
        if not nearest.is_dir():
            raise UsageError(f"{name} is {folder}, but {nearest} is not a directory")
    except OSError as error:
        raise UsageError(f"{name} is {folder}, which can't be looked at: {error.strerror}") from error


def _choose_rankers(words: Iterable[str]) -> tuple[list[RankerChoice], list[str]]:
    return distinct([_runnable(spec.parse(word)) for word in words], "ranker")


def _runnable(asked: spec.Spec) -> RankerChoice:
    choice = choosing.choose(asked)
    choosing.check(choice)
    return choice


def _with_inputs(choice: RankerChoice, context: Context) -> RankerChoice:
    weights, inputs = choosing.inputs(choice, context)
    return replace(choice, weights=weights, inputs=inputs)


def _baselines(setting: str, named: set[str], context: Context) -> tuple[list[RankerChoice], list[str]]:
    """The query-independent baselines that fit the setting and were not asked for by name.

    One that can't be had is a warning: nobody asked for it by name, and the others work.
    """
    choices: list[RankerChoice] = []
    warnings: list[str] = []
    for name in sorted({p.name for p in plugins.installed("baseline")} - named):
        try:
            choice = _runnable(spec.Spec(name, {}))
            if setting in choice.settings:
                choices.append(_with_inputs(choice, context))
        except UsageError as error:
            warnings.append(f"left out: {error}")
    return choices, warnings


def _cutoff(k: int | None, test: Split) -> int:
    if k is not None:
        return k
    pools = [len(q.candidates) for q in test.queries if q.candidates is not None]
    return max(pools) if pools else K_RETRIEVING


def _complete(store: Store, key: str) -> Record | None:
    record = store.find(key)
    return record if record and record.status == "ok" else None

"""From an experiment's words to trials: names, options, device and task checked before any work starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs

from arrbench import choosing, devices, exchange, plain, plugins, spec, task_check
from arrbench.candidates import Candidates, read_candidates
from arrbench.errors import UsageError, readable
from arrbench.measure import resources
from arrbench.ranker import Context
from arrbench.record import Record
from arrbench.store import Store
from arrbench.task import DataSource, Split, Task
from arrbench.trial import Conditions, RankerChoice, TaskFacts, Trial

DTYPES = ("float32", "bfloat16", "float16")
K_RETRIEVING = 100


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
    libraries: tuple[str, ...]
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
    _check(experiment)
    with offline_switches(experiment.offline), choosing.session():
        choices = _choose_rankers(experiment.rankers)
        device = devices.choose(experiment.device)
        task, facts, test = load_task(
            experiment.task,
            DataSource(experiment.data_dir, experiment.cache, experiment.offline),
            experiment.limit,
            experiment.candidates,
            Store(experiment.out),
        )
        for choice in choices:
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
        context = Context(
            conditions.device, experiment.dtype, cache=experiment.cache, offline=experiment.offline
        )
        choices = [_with_inputs(choice, context) for choice in choices]
        baselines, warnings = _baselines(facts.setting, {c.plugin.name for c in choices}, context)
        choices = baselines + choices
        warnings += task.warnings
    trials = [Trial(choice, facts, conditions, seed) for choice in choices for seed in experiment.seeds]
    store = Store(experiment.out)
    planned = [Planned(t, None if experiment.force else _complete(store, t.key)) for t in trials]
    libraries = tuple(dict.fromkeys(name for c in choices for name in c.libraries))
    return Plan(experiment, planned, task, test, libraries, tuple(warnings))


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
    plugin, cls = plugins.task_class(spec.parse(words).name)
    with plugin.blamed("when its task was made"):
        return _made(plugin, cls, words, source, limit, candidates, runs)


def _made(
    plugin: plugins.Plugin,
    cls: type[Task],
    words: str,
    source: DataSource,
    limit: int | None,
    candidates: str | None,
    runs: Store | None,
) -> tuple[Task, TaskFacts, Split]:
    asked = spec.parse(words)
    options = spec.validated(cls.Options, asked, "task")
    with task_check.asking(words):
        task = given = cls(options, source)
    task_check.check(given, words)
    if candidates is not None:
        run = read_candidates(candidates, task, runs or Store(Path("runs")), limit)
        task = Candidates(task, run, candidates)
    test = exchange.limited(task.split("test"), limit)
    facts = TaskFacts(
        name=asked.name,
        label=readable(spec.label(asked, options)),
        options=options.model_dump(mode="json"),
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
    if experiment.k is not None and experiment.k < 1:
        raise UsageError(f"k is {experiment.k}; it must be 1 or more")
    if experiment.limit is not None and experiment.limit < 1:
        raise UsageError(f"limit is {experiment.limit}; it must be 1 or more")
    if experiment.threads < 1:
        raise UsageError(f"threads is {experiment.threads}; it must be 1 or more")
    if experiment.dtype not in DTYPES:
        raise UsageError(f"unknown dtype {experiment.dtype!r}; known: {', '.join(DTYPES)}")
    if not experiment.seeds or any(s < 0 for s in experiment.seeds):
        raise UsageError(f"seeds are {list(experiment.seeds)}; give one or more, each 0 or more")
    if not experiment.rankers:
        known = ", ".join(sorted({p.name for p in plugins.installed("ranker")}))
        raise UsageError(f"no rankers given; known: {known}")


def _choose_rankers(words: Iterable[str]) -> list[RankerChoice]:
    choices: dict[str, RankerChoice] = {}
    for word in words:
        choice = _runnable(spec.parse(word))
        choices[choice.label] = choice
    return list(choices.values())


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

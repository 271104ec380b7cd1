"""Running a plan: what has no record yet goes through worker processes and comes out as records."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from arrbench import exchange, jobs, launch
from arrbench.execution import Assignment, Execution, Watcher, quiet
from arrbench.inputs import Inputs
from arrbench.machine_lock import MachineLock, lock_file
from arrbench.measure import kernels
from arrbench.outcome import as_asked, to_record
from arrbench.planning import Experiment, Plan, offline_switches
from arrbench.record import Record
from arrbench.separately import python
from arrbench.store import Store
from arrbench.trial import Trial
from arrbench.worker import Job


def run(plan: Plan, watcher: Watcher | None = None) -> list[tuple[Record, bool]]:
    """Run the trials that have no record; every record in the plan's order, and whether it was there.

    One that was there is called what the plan calls it, whatever it was made for. Raises UsageError
    where records can't be written.
    """
    watcher = watcher or quiet()
    new: dict[str, Record] = {}
    if plan.missing:
        for record in _run_trials(plan, watcher):
            new[record.key] = record
    return [
        (as_asked(p.record, p.trial), True) if p.record else (new[p.trial.key], False) for p in plan.trials
    ]


def _run_trials(plan: Plan, watcher: Watcher) -> Iterator[Record]:
    experiment = plan.experiment
    store = Store(experiment.out)
    store.prepare()
    store.discard_leftovers()
    kernels.use_cache(kernels_folder(experiment.cache))
    key = launch.worker_key()
    staged: dict[str, Path] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arrbench-")))
        stack.enter_context(offline_switches(experiment.offline))
        exchange.write(work / "inputs", plan.task, experiment.limit)
        inputs = stack.enter_context(Inputs(work / "inputs", exchange.FILES))
        queries = stack.enter_context(Inputs(work / "inputs", (exchange.QUERIES,)))
        environment = _environment(experiment, key, plan.device, work)
        background = _compile_measures(experiment.cache, environment)
        server = launch.launcher(_libraries(plan.missing), environment, work)
        limits = jobs.limits(experiment.jobs, plan.device, experiment.threads, inputs.size)
        machine = MachineLock(lock_file())
        execution = Execution(
            server, key, watcher, inputs, queries, limits, machine, experiment.timeout_s, background
        )
        trials = {t.name: t for t in plan.missing}
        try:
            for ending in execution.run(_assignments(plan, store, work, staged)):
                trial, folder = trials[ending.name], staged.pop(ending.name)
                record = to_record(trial, plan.test, folder, ending)
                store.commit(folder, record)
                watcher.finished(ending.name, record.error)
                yield record
        finally:
            execution.close()
            for process in background:
                process.kill()
                process.wait()
            for folder in staged.values():
                shutil.rmtree(folder, ignore_errors=True)


def _assignments(plan: Plan, store: Store, work: Path, staged: dict[str, Path]) -> Iterator[Assignment]:
    """What is to be run, its folders made when it is asked for: no other trial meets them before."""
    for number, trial in enumerate(_longest_first(plan.missing)):
        staged[trial.name] = store.stage(trial.key)
        temporary = work / str(number)
        temporary.mkdir()
        job = _job(trial, plan.experiment, staged[trial.name])
        yield Assignment(trial.name, job, trial.ranker.plugin.distribution, temporary)


def _libraries(trials: Iterable[Trial]) -> dict[str, tuple[str, ...]]:
    """The modules that the rankers of each distribution want imported, each once."""
    wanted: dict[str, dict[str, None]] = {}
    for trial in trials:
        modules = wanted.setdefault(trial.ranker.plugin.distribution, {})
        modules |= dict.fromkeys(trial.ranker.libraries)
    return {distribution: tuple(modules) for distribution, modules in wanted.items()}


def kernels_folder(cache: Path) -> Path:
    """Where numba keeps what it compiled, for this process and the workers."""
    return cache / "numba"


def _longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that learn go first, so that nobody waits with a loaded index while others train."""
    return sorted(trials, key=lambda t: not t.ranker.learns)


def _job(trial: Trial, experiment: Experiment, out: Path) -> Job:
    c = trial.conditions
    return Job(
        ranker=trial.ranker.plugin.name,
        code=trial.ranker.code,
        options=trial.ranker.options,
        out=str(out.resolve()),
        k=c.k,
        device="cuda:0" if c.device.startswith("cuda") else c.device,
        dtype=c.dtype,
        threads=c.threads,
        seed=trial.seed,
        cache=str(experiment.cache),
        offline=experiment.offline,
        save=experiment.save,
        rerank=trial.task.setting == "rerank",
    )


def _environment(experiment: Experiment, key: str, device: str, work: Path) -> dict[str, str]:
    """What workers inherit: thread counts for libraries that read them when loaded, and quiet tokenizers.

    Temporary files lie in the folder `work` or below it, so that a worker that is killed leaves none
    behind. A worker sees the one GPU it was given, as cuda:0: trainers take the first they see.
    Interpreters that it starts don't have the working folder on their path either.
    """
    threads = str(experiment.threads)
    gpu = {"CUDA_VISIBLE_DEVICES": _visible_gpu(device)} if device.startswith("cuda") else {}
    return {
        **os.environ,
        **gpu,
        launch.KEY_VARIABLE: key,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "RAYON_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "true" if experiment.threads > 1 else "false",
        "NUMBA_CACHE_DIR": str(kernels_folder(experiment.cache)),
        "TMPDIR": str(work),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",
    }


def _visible_gpu(device: str) -> str:
    """How CUDA_VISIBLE_DEVICES names a torch device, which counts those visible now."""
    number = int(device.partition(":")[2] or 0)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[number] if visible else str(number)


def _compile_measures(cache: Path, environment: dict[str, str]) -> list[subprocess.Popen[Any]]:
    """ranx's kernels compile once a machine, while rankers train; later runs find them in the cache."""
    if kernels.is_warm(kernels_folder(cache)):
        return []
    command = python("-m", "arrbench.measure.kernels", str(kernels_folder(cache)))
    return [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]

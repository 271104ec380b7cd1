"""From what a worker left in its folder to a record: checked, brought into canonical order, measured."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from arrbench import protocol
from arrbench.asking import calls, needed
from arrbench.errors import ContractError, TrialError, one_line
from arrbench.execution import Ending
from arrbench.measure import latency, resources
from arrbench.measure.observed import Observed
from arrbench.measure.quality import canonical, evaluate, validate
from arrbench.measure.validity import constraint_violations
from arrbench.plain import readable_json
from arrbench.ranker import Query, Ranking
from arrbench.record import Memory, Record, Seconds
from arrbench.store import RECORD, is_folder, remove
from arrbench.task import Split
from arrbench.trial import Trial

AGREEMENT_CUTOFF = 10
# What a worker leaves for the parent to read, and a record does not keep.
WORKINGS = (
    "rankings.jsonl",
    "single.jsonl",
    "timing.npz",
    "generations.jsonl",
    "worker.json",
)
DOCUMENTS = "documents.txt"  # the ids that a saved model can rank, one a line
RUN, SAMPLES = "run.trec.gz", "samples.npz"
RESULTS = (RECORD, RUN, SAMPLES, DOCUMENTS)  # what the parent writes, whatever a worker left there
MEASURE = "measure:"  # prefix of the per-query measures in samples.npz


def per_query(folder: Path, measure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One value a test query, in the order of their ids, of a measure of the record in `folder`."""
    file = folder / SAMPLES
    try:
        with np.load(file, allow_pickle=False) as samples:
            order = np.argsort(samples["query_ids"])
            values: np.ndarray[Any, np.dtype[np.float64]] = samples[f"{MEASURE}{measure}"][order]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise TrialError(f"{file} holds no per-query {measure}: {one_line(error)}") from error
    return values


@dataclass(frozen=True, slots=True)
class _Answers:
    """A scenario's rankings in canonical order, and what was wrong with those that are missing."""

    rankings: dict[str, Ranking]
    raw_scores: dict[str, list[float]]
    faults: list[str]


def to_record(trial: Trial, test: Split, folder: Path, ending: Ending) -> Record:
    """The record of a trial that ended; what belongs beside record.json is written into `folder`.

    Whatever breaks the contract makes a failed record that says so; it never raises for it.
    """
    error = ending.error or _fault_of_timing(trial, ending)
    if not is_folder(folder):
        lost = "the folder that this trial writes into was removed or replaced while it ran"
        return Record(status="failed", error=f"{lost}; {error}" if error else lost, **_described(trial))
    try:
        _make_ready(folder)
        if error is None:
            return _measured(trial, test, folder, ending.scenarios)
    except (TrialError, OSError) as broken:
        error = str(broken)
    except Exception as broken:  # nothing that a worker leaves may end the run of the others
        error = f"what the trial left can't be read: {type(broken).__name__}: {one_line(broken)}"
    finally:
        for name in WORKINGS:
            remove(folder / name)
    return Record(status="failed", error=one_line(error), **_described(trial))


def _make_ready(folder: Path) -> None:
    """A folder that can be written, with nothing where the parent's own files go."""
    folder.chmod(folder.stat().st_mode | 0o700)
    for name in RESULTS:
        remove(folder / name)


def as_asked(record: Record, trial: Trial) -> Record:
    """A record that was there, under the words of a trial with its key.

    The key knows a task by its content and a ranker by its options, so the record may have been made
    for a task or a ranker of another name.
    """
    return record.model_copy(update=_words(trial))


def _fault_of_timing(trial: Trial, ending: Ending) -> str | None:
    """What the parent saw of a scenario that its samples can't stand for."""
    for name, seen in ending.scenarios.items():
        if mismatch := seen.mismatch():
            return f"clock mismatch in the {name} scenario: {mismatch}"
        on_cpu = trial.conditions.device == "cpu"  # a driver's threads beside an accelerator are no cheat
        if on_cpu and (threads := seen.too_many_threads(trial.conditions.threads)):
            return f"too many threads in the {name} scenario: {threads}"
    return None


def _measured(trial: Trial, test: Split, folder: Path, scenarios: Mapping[str, Observed]) -> Record:
    queries, k = test.queries, trial.conditions.k
    worker = protocol.read_figures(folder / "worker.json")
    together = {i: call.k for call in calls(queries, k) for i in call.places}
    answers = _read_answers(folder / "rankings.jsonl", test, k, [together[i] for i in range(len(queries))])
    single = _read_answers(folder / "single.jsonl", test, k, [needed(q, k) for q in queries])
    for scenario, found in (("batch", answers), ("single-stream", single)):
        if found.faults:
            raise TrialError(
                f"{len(found.faults)} of {len(queries)} {scenario} rankings break the contract; "
                f"the first: {found.faults[0]}"
            )
    measured = evaluate(trial.task.measures, queries, test.judgments, answers.rankings)
    with np.load(protocol.present(folder / "timing.npz"), allow_pickle=False) as timing:
        single_ms, batch_ms = _samples("single-stream", timing["single"]), _samples("batch", timing["batch"])
    _write_run(folder / RUN, trial, queries, answers.rankings)
    _write_samples(folder / SAMPLES, queries, answers, single_ms, batch_ms, measured)
    if is_folder(folder / "model"):
        (folder / DOCUMENTS).write_text("\n".join(test.corpus.ids), encoding="utf-8")
    phases = worker.phases
    first_ms, repeats_ms = single_ms[: len(queries)].tolist(), single_ms[len(queries) :].tolist()
    cached = latency.from_cache(first_ms, repeats_ms)
    busy = [s.contended(trial.conditions.threads) for s in scenarios.values()] + [
        resources.contended(s) for s in phases.values()
    ]
    return Record(
        status="ok",
        **_described(trial),
        n_empty=sum(not answers.rankings[q.id].ids for q in queries),
        n_failed=0,
        metrics={name: float(np.mean(values)) for name, values in measured.items()},
        latency_ms=latency.summary(first_ms),
        repeats_ms=latency.summary(repeats_ms),
        repeat_agreement=worker.repeat_agreement,
        answers_cached=cached,
        throughput_qps=None if cached else latency.queries_per_second(batch_ms.tolist(), len(queries)),
        batch_size=len(queries),
        single_batch_agreement=_agreement(queries, answers, single),
        contended=trial.conditions.device == "cpu" and any(busy),
        scenarios={name: Seconds(wall=s.wall, cpu=s.cpu) for name, s in scenarios.items()},
        memory=Memory(
            rss_increase_mb=worker.rss_increase_mb,
            device_peak_mb=worker.device_peak_mb,
            index_mb=None if worker.index_bytes is None else worker.index_bytes / resources.MIB,
            parameters=worker.parameters,
        ),
        cvr=_violations(folder / "generations.jsonl", test) if trial.ranker.generative else None,
        facts=worker.facts,
        load_s=phases.get("load_s"),
        fit_s=phases.get("fit_s"),
        index_s=phases.get("index_s"),
        warmup_s=phases.get("warmup_s"),
    )


def _words(trial: Trial) -> dict[str, Any]:
    """What ranker and task are called, and what the task says of itself: in no key."""
    ranker, task = trial.ranker, trial.task
    return {
        "label": ranker.label,
        "title": ranker.asked.title,
        "task": task.name,
        "task_label": task.label,
        "task_title": task.title,
        "task_options": dict(task.options),
        "task_facts": dict(task.facts),
        "task_notes": task.notes,
        "candidates": task.candidates,
        "licence": task.licence,
        "headline": task.headline,
        "command": trial.command(),
    }


def _described(trial: Trial) -> dict[str, Any]:
    """The fields that are known before a trial runs, their texts such as every file can carry."""
    ranker, task, c = trial.ranker, trial.task, trial.conditions
    described = {
        **_words(trial),
        "key": trial.key,
        "ranker": ranker.plugin.name,
        "options": dict(ranker.options),
        "tuning": ranker.tuning,
        "query_independent": ranker.query_independent,
        "learns": ranker.learns,
        "distribution": f"{ranker.plugin.distribution} {ranker.plugin.version}",
        "weights": dict(ranker.weights),
        "inputs": dict(ranker.inputs),
        "setting": task.setting,
        "fingerprint": task.fingerprint,
        "split": "test",
        "n_queries": task.n_queries,
        "n_documents": task.n_documents,
        "k": c.k,
        "limit": c.limit,
        "seed": trial.seed,
        "device": c.device,
        "dtype": c.dtype,
        "threads": c.threads,
        "hardware": dict(c.hardware),
        "software": dict(trial.software),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {name: readable_json(value) for name, value in described.items()}


def _samples(scenario: str, samples_ms: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The samples of a scenario in ms; TrialError where a clock that goes can't have given them."""
    samples = np.asarray(samples_ms, dtype=np.float64)
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all() or samples.min() < 0:
        raise TrialError(f"the {scenario} samples are no list of times in milliseconds")
    if not np.median(samples) > 0:
        zero = int((samples == 0).sum())
        raise TrialError(f"{zero} of {samples.size} {scenario} samples are 0 ms: the clock stood still")
    return samples


def _read_answers(file: Path, test: Split, k: int, asked: Sequence[int]) -> _Answers:
    """The rankings of a scenario, each checked against the contract before it counts.

    `asked` is how many documents each query was asked for.
    """
    lines = list(protocol.read_lines(file, protocol.Answer))
    if len(lines) != len(test.queries):
        raise TrialError(f"rank() answered {len(test.queries)} queries with {len(lines)} rankings")
    answers = _Answers({}, {}, [])
    for query, line, most in zip(test.queries, lines, asked, strict=True):
        if line.id != query.id:
            raise ContractError(f"{file.name} has query {line.id!r} where {query.id!r} was asked")
        ranking = Ranking(line.ids, line.scores)
        try:
            validate(query, ranking, test.corpus.positions, most)
        except TrialError as fault:
            answers.faults.append(str(fault))
            continue
        ordered = canonical(query, ranking, k)
        raw = dict(zip(ranking.ids, ranking.scores, strict=True))
        answers.rankings[query.id] = ordered
        answers.raw_scores[query.id] = [raw[d] for d in ordered.ids]
    return answers


def _agreement(queries: Sequence[Query], batch: _Answers, single: _Answers) -> float:
    """Share of queries whose top 10 is the same in both scenarios, in the same order."""
    same = [
        list(batch.rankings[q.id].ids[:AGREEMENT_CUTOFF])
        == list(single.rankings[q.id].ids[:AGREEMENT_CUTOFF])
        for q in queries
    ]
    return sum(same) / len(same)


def _violations(file: Path, test: Split) -> float:
    generations = {line.id: line.generated for line in protocol.read_lines(file, protocol.Generations)}
    return constraint_violations(generations, test.queries, test.corpus.positions)


def _write_run(file: Path, trial: Trial, queries: Sequence[Query], rankings: Mapping[str, Ranking]) -> None:
    tag = "_".join(trial.ranker.name.split())
    with file.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
        for q in queries:
            ranking = rankings[q.id]
            for rank, (document, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=1):
                packed.write(f"{q.id} Q0 {document} {rank} {score!r} {tag}\n".encode())


def _write_samples(
    file: Path,
    queries: Sequence[Query],
    answers: _Answers,
    single_ms: np.ndarray[Any, np.dtype[np.float64]],
    batch_ms: np.ndarray[Any, np.dtype[np.float64]],
    measured: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]],
) -> None:
    """Arrays without objects: samples in ms, per-query measures, raw scores in the run's order."""
    scores = [answers.raw_scores[q.id] for q in queries]
    arrays: dict[str, Any] = {
        "query_ids": np.array([q.id for q in queries]),
        "single_stream_ms": single_ms,
        "batch_ms": batch_ms,
        "raw_scores": np.array([s for row in scores for s in row], dtype=np.float64),
        "raw_offsets": np.cumsum([0, *map(len, scores)]),
    }
    arrays |= {f"{MEASURE}{name}": values for name, values in measured.items()}
    np.savez_compressed(file, **arrays)

"""One trial, in a fresh process: load or fit, index, warm up, be timed, write what came out.

The process gets a folder to write into and a connection to the parent, through which its job and
the inputs (exchange.py) come before any of the ranker's code runs. It tells the parent what it is
doing and waits for its word before the phases that must run alone. It never holds the task or the
test judgments.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from json import dumps, loads  # by name, before a plugin is imported that may put its own in their place
from math import isfinite
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import numpy as np

from arrbench import exchange, plain, plugins
from arrbench.errors import ContractError, TrialError, one_line, shown
from arrbench.inputs import received
from arrbench.launch import KEY_VARIABLE
from arrbench.measure import latency, resources
from arrbench.measure.repeats import Repeats
from arrbench.ranker import Context, Generative, Query, Ranker, Ranking
from arrbench.record import Seconds

REPORT_EVERY_S = 0.1
GENERATED_BEAMS = 10


@dataclass(frozen=True, slots=True)
class Job:
    """What the parent asks of a worker; travels as JSON."""

    ranker: str
    code: str  # the hash of the plugin's source, as planned and in the trial's key
    options: Mapping[str, Any]
    out: str
    k: int
    device: str
    dtype: str
    threads: int
    seed: int
    cache: str
    offline: bool
    save: bool
    rerank: bool


@dataclass
class Parent:
    """The worker's side of the conversation."""

    connection: Connection
    training_log: Path
    _last: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _saying: threading.Lock = field(default_factory=threading.Lock)  # a ranker may report from threads

    def say(self, event: str, **words: object) -> None:
        with self._saying:
            self.connection.send_bytes(dumps({"event": event, **words}).encode())

    def wait_for_turn(self) -> None:
        """Block until the parent lets this trial run alone."""
        self.say("ready")
        self.connection.recv_bytes()

    def test_queries(self) -> list[Query]:
        """Ask the parent for the test queries, which nothing here has seen before."""
        self.say("queries")
        return exchange.read_queries(received(self.connection, exchange.QUERIES))

    def start_clock(self, scenario: str) -> None:
        """Block until the parent's own clock over this scenario runs, so that it bounds the samples."""
        self.say("timing", scenario=scenario)
        self.connection.recv_bytes()

    def report(self, phase: str, done: int, total: int, /, **figures: float) -> None:
        """A ranker's progress: figures are kept in training.jsonl, the parent hears at most ten a second."""
        phase = one_line(plain.text("report(phase, …)", phase))
        steps, of = plain.amount("report(…, done, …)", done), plain.amount("report(…, total)", total)
        now = time.perf_counter()
        if figures:
            line = {"phase": phase, "step": steps, "seconds": round(now - self._started, 3)}
            with self.training_log.open("a", encoding="utf-8") as log:
                log.write(dumps({**line, **_reported(figures)}) + "\n")
        if now - self._last >= REPORT_EVERY_S or steps >= of:
            self._last = now
            self.say("progress", phase=phase, done=steps, total=of)


def _reported(figures: Mapping[str, object]) -> dict[str, int | float | str]:
    """Figures as JSON has them: a loss that diverges is the text `NaN` or `Infinity`, and no failure."""
    numbers = {one_line(k): plain.figure(f"report(…, {k}=…)", v) for k, v in figures.items()}
    return {k: v if isfinite(v) else dumps(v) for k, v in numbers.items()}


def main(address: str, name: str) -> int:
    """Run the job of that name and tell the parent how it ended; 0 when it ended well."""
    plugins.set_apart()
    with Client(address, authkey=bytes.fromhex(os.environ[KEY_VARIABLE])) as connection:
        connection.send_bytes(dumps({"event": "hello", "job": name, "pid": os.getpid()}).encode())
        job = Job(**loads(connection.recv_bytes()))
        out = Path(job.out)
        parent = Parent(connection, out / "training.jsonl")
        try:
            figures = _trial(job, parent)
            (out / "worker.json").write_text(dumps(figures), encoding="utf-8")
        except BaseException as error:
            with contextlib.suppress(Exception):  # the plugin may have closed the log
                traceback.print_exc()
            kind = "" if isinstance(error, ContractError) else f"{type(error).__name__}: "
            parent.say("failed", error=f"{kind}{one_line(error)}")
            return 1
        parent.say("done")
    return 0


def _trial(job: Job, parent: Parent) -> dict[str, Any]:
    out = Path(job.out)
    context = Context(
        job.device, job.dtype, job.threads, job.seed, Path(job.cache), job.offline, parent.report
    )
    baseline_rss = resources.peak_rss()
    given = exchange.read(partial(received, parent.connection))
    corpus, train, dev = given.corpus, given.train, given.dev
    phases: dict[str, Seconds] = {}
    cls = _ranker_class(job)
    _prepare_process(job)
    parent.say("phase", phase="load")
    with resources.clock(phases, "load_s"):
        ranker = cls(cls.Options.model_validate(job.options), context)
    _prepare_process(job)  # again: loading may have brought in libraries with thread pools of their own
    if cls.fit is not Ranker.fit:
        parent.say("phase", phase="fit")
        with resources.clock(phases, "fit_s"):
            ranker.fit(train, dev)
    parent.wait_for_turn()
    parent.say("phase", phase="index")
    with resources.clock(phases, "index_s"):
        ranker.index(corpus)
    warm_up = latency.warm_up_queries((*dev.queries, *train.queries), corpus, job.rerank, job.k)
    parent.say("phase", phase="warm-up")
    with resources.clock(phases, "warmup_s"):
        latency.warm_up(ranker, warm_up, job.k, latency.synchronizer(job.device))
    queries = parent.test_queries()
    repeats = Repeats(corpus.positions)
    timed, facts = _timed_phases(ranker, queries, job.k, job.device, parent, repeats)
    _write_rankings(out / "rankings.jsonl", queries, timed["batch"].rankings)
    _write_rankings(out / "single.jsonl", queries, timed["single"].rankings)
    np.savez(
        out / "timing.npz",
        single=np.array(timed["single"].samples_ms),
        batch=np.array(timed["batch"].samples_ms),
    )
    if isinstance(ranker, Generative):
        _generate(ranker, queries, out / "generations.jsonl", parent)
    if cls.audit is not Ranker.audit:
        parent.say("phase", phase="audit")
        facts |= plain.facts("audit()", ranker.audit(queries, job.k))
    if job.save:
        parent.say("phase", phase="save")
        ranker.save(out / "model")
    return {
        "phases": {name: seconds.model_dump() for name, seconds in phases.items()},
        "rss_increase_mb": (resources.peak_rss() - baseline_rss) / resources.MIB,
        "device_peak_mb": _device_peak(job.device),
        "parameters": _count("parameters", ranker.parameters),
        "index_bytes": _count("index_bytes", ranker.index_bytes),
        "facts": facts,
        "repeat_agreement": repeats.agreement,
    }


def _ranker_class(job: Job) -> type[Ranker]:
    """The class that the trial was planned with; TrialError where this process would run other code."""
    plugin = plugins.find(job.ranker, "ranker", "baseline")
    if plugin.source_hash() != job.code:
        raise TrialError(
            f"the code of ranker {job.ranker!r} ({plugin.target}) is not what the run was planned with: it "
            "was changed meanwhile, or the planning process found a copy that is on its own path alone, "
            "such as one beside the script that was started"
        )
    return plugins.ranker_class(job.ranker)[1]


def _count(what: str, value: object) -> int | None:
    return None if value is None else plain.whole(what, value)


def _timed_phases(
    ranker: Ranker, queries: Sequence[Query], k: int, device: str, parent: Parent, repeats: Repeats
) -> tuple[dict[str, latency.Timed], dict[str, Any]]:
    """Both scenarios, each under the parent's clock; the ranker's facts are those of the last batch call."""
    sync = latency.synchronizer(device)
    scenarios = {"single": latency.single_stream, "batch": latency.batch}
    timed: dict[str, latency.Timed] = {}
    for name, measure in scenarios.items():
        parent.start_clock(name)
        timed[name] = measure(ranker, queries, k, sync, repeats)
        parent.say("timed", scenario=name, claimed=asdict(timed[name].claimed))
    return timed, plain.facts("facts", ranker.facts)


def _prepare_process(job: Job) -> None:
    """Seeds and thread counts for whatever libraries are loaded by now."""
    from threadpoolctl import threadpool_limits

    random.seed(job.seed)
    np.random.seed(job.seed)
    threadpool_limits(job.threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        if job.device != "cpu":
            torch.accelerator.set_device_index(torch.device(job.device).index or 0)


def _device_peak(device: str) -> float | None:
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / resources.MIB


def _generate(ranker: Generative, queries: Sequence[Query], file: Path, parent: Parent) -> None:
    parent.say("phase", phase="generate")
    with file.open("w", encoding="utf-8") as lines:
        for query, generated in zip(queries, ranker.generate(queries, GENERATED_BEAMS), strict=True):
            where = f"generate() for query {query.id!r}"
            line = {"id": query.id, "generated": _spelt(where, generated)}
            lines.write(dumps(line, ensure_ascii=False) + "\n")


def _spelt(where: str, generated: object) -> list[str | None]:
    if isinstance(generated, str) or not isinstance(generated, Sequence):
        raise ContractError(f"{where} is {shown(generated)}; it must be a list of document ids and None")
    return [None if d is None else plain.text(where, d) for d in generated]


def _write_rankings(file: Path, queries: Sequence[Query], rankings: Sequence[Ranking]) -> None:
    """As returned, as plain ids and numbers: whether they are right, and enough, the parent checks."""
    with file.open("w", encoding="utf-8") as lines:
        for i, ranking in enumerate(rankings):
            query_id = queries[i].id if i < len(queries) else None
            line = {"id": query_id, "ids": list(ranking.ids), "scores": list(ranking.scores)}
            try:
                lines.write(dumps(line, ensure_ascii=False) + "\n")
            except UnicodeEncodeError as error:
                held = shown(error.object[error.start : error.end])
                where = f"the ranking of query {query_id!r}"
                raise ContractError(f"an id in {where} holds {held}, which is no character") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

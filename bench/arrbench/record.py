"""What one trial left behind: record.json, schema-versioned and validated on load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arrbench.errors import TrialError

SCHEMA: Literal[1] = 1
KEY_LENGTH = 20  # hexadecimal digits; a key names a folder, so nothing else may stand in it


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Seconds(Part):
    """Wall clock and CPU time (all threads) of a phase, in seconds."""

    wall: float
    cpu: float


class LatencySummary(Part):
    """Percentiles of single-stream samples, in milliseconds; p99 only from 1,000 samples."""

    p50: float
    p90: float
    p95: float
    p99: float | None
    mean: float
    n: int


class Memory(Part):
    """Peak growth of the resident set and of the device's memory, index size (MiB), learnt numbers."""

    rss_increase_mb: float | None = None
    device_peak_mb: float | None = None
    index_mb: float | None = None
    parameters: int | None = None


class Record(Part):
    """One trial: what was asked for, what came out, on what machine, and how to have it again."""

    schema_version: Literal[1] = SCHEMA
    key: str = Field(pattern=f"^[0-9a-f]{{{KEY_LENGTH}}}$")
    status: Literal["ok", "failed"]
    error: str | None = None
    ranker: str
    label: str
    title: str | None = None  # what the row is called where the user's words gave it a `name=`
    options: dict[str, Any]
    tuning: str
    query_independent: bool
    learns: bool
    distribution: str
    weights: dict[str, str]
    inputs: dict[str, str] = {}  # versions and hashes of what else the ranker's figures depend on
    task: str
    task_label: str
    task_title: str | None = None
    task_options: dict[str, Any]
    task_facts: dict[str, Any]
    task_notes: tuple[str, ...] = ()
    candidates: str | None = None  # the run file or ranker whose documents are reranked
    licence: str
    headline: str
    setting: Literal["retrieve", "rerank"]
    fingerprint: str
    split: str
    n_queries: int
    n_documents: int
    n_empty: int | None = None
    n_failed: int | None = None
    k: int
    limit: int | None
    seed: int
    device: str
    dtype: str
    threads: int
    metrics: dict[str, float] = {}
    latency_ms: LatencySummary | None = None  # of the pass in which each query is new
    repeats_ms: LatencySummary | None = None  # of the same queries asked again
    repeat_agreement: float | None = None  # share of repeated calls with the first call's ids
    answers_cached: bool = False  # repeats are answered from memory, so that no batch can be timed
    throughput_qps: float | None = None
    batch_size: int | None = None
    single_batch_agreement: float | None = None
    load_s: Seconds | None = None
    fit_s: Seconds | None = None
    index_s: Seconds | None = None
    warmup_s: Seconds | None = None
    scenarios: dict[str, Seconds] = {}  # the timed ones by the parent's clock, the worker's children included
    contended: bool = False
    memory: Memory = Memory()
    cvr: float | None = None
    facts: dict[str, Any] = {}
    hardware: dict[str, Any]
    software: dict[str, Any]
    command: str
    finished_at: str


def read(file: Path) -> Record:
    """The record in a record.json; TrialError names the file and the field that is wrong."""
    try:
        return Record.model_validate_json(file.read_bytes())
    except OSError as error:
        raise TrialError(f"no record at {file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        raise TrialError(f"{file} is no record of schema {SCHEMA}: {where}: {first['msg']}") from error


def row(record: Record, *, cached: bool) -> Mapping[str, Any]:
    """The record as plain data for tables and --json, with whether this run computed it."""
    return {**record.model_dump(mode="json"), "cached": cached}

"""What passes from a worker to the parent: messages while it runs, files when it has ended; all validated.

A worker's process belongs to its plugin, which may write anything at all: what is not of these types
becomes that trial's failure, by ContractError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from arrbench.errors import ContractError, one_line, shown
from arrbench.plain import LARGEST, readable_json
from arrbench.record import Seconds

MESSAGE_BYTES = 1 << 20

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Amount = Count | Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Whole = Annotated[StrictInt, Field(ge=-LARGEST, le=LARGEST)]
Model = TypeVar("Model", bound=BaseModel)


class Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Hello(Said):
    event: Literal["hello"]
    job: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]


class Phase(Said):
    event: Literal["phase"]
    phase: str


class Progress(Said):
    event: Literal["progress"]
    phase: str
    done: Amount
    total: Amount


class Ready(Said):
    event: Literal["ready"]


class Queries(Said):
    event: Literal["queries"]


class Timing(Said):
    event: Literal["timing"]
    scenario: str


class Claims(Said):
    """Fields of `measure.observed.Claimed`."""

    samples: Amount
    elapsed: Amount
    answers: Count
    documents: Count


class Timed(Said):
    event: Literal["timed"]
    scenario: str
    claimed: Claims


class Failed(Said):
    event: Literal["failed"]
    error: str


class Done(Said):
    event: Literal["done"]


class Figures(Said):
    """worker.json: what a trial cost, and what its ranker says of itself."""

    phases: dict[str, Seconds]
    rss_increase_mb: Finite
    device_peak_mb: Finite | None
    parameters: Count | None
    index_bytes: Count | None
    facts: dict[str, StrictBool | Whole | Finite | StrictStr]
    repeat_agreement: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None


class Answer(Said):
    """A line of rankings.jsonl: ids and scores of one query, which the parent checks further."""

    id: str | None
    ids: list[str]
    scores: list[float]


class Generations(Said):
    """A line of generations.jsonl: the documents that a query's unconstrained beams spell."""

    id: str
    generated: list[str | None]


_MESSAGE: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Hello | Phase | Progress | Ready | Queries | Timing | Timed | Failed | Done,
        Field(discriminator="event"),
    ]
)


def message(raw: bytes) -> dict[str, Any]:
    """A worker's message, its texts fit to be shown; ContractError for anything else."""
    try:
        said = _MESSAGE.validate_python(readable_json(json.loads(raw)))
    except ValidationError as error:
        raise ContractError(f"a message to the harness is malformed: {_first(error)}") from error
    except (ValueError, RecursionError):
        raise ContractError(f"a message to the harness is no JSON: {shown(raw)}") from None
    return dict(said.model_dump())


def read_figures(file: Path) -> Figures:
    """worker.json; ContractError names the field that is wrong."""
    text = _content(file)
    try:
        return Figures.model_validate(readable_json(json.loads(text)))
    except ValidationError as error:
        raise ContractError(f"{file.name} is malformed: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{file.name} is no JSON: {one_line(error)}") from error


def read_lines(file: Path, model: type[Model]) -> Iterator[Model]:
    """The lines of a file; ContractError names the line and the field that is wrong."""
    for number, line in enumerate(_content(file).splitlines(), 1):
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            raise ContractError(f"{file.name}, line {number}, is malformed: {_first(error)}") from error


def present(file: Path) -> Path:
    """The file, if it still is one: ContractError for what a worker removed, or made a link or a pipe of."""
    if file.is_symlink() or not file.is_file():
        raise ContractError(f"{file.name}, which the worker wrote, is gone or no longer a file")
    return file


def _content(file: Path) -> bytes:
    return present(file).read_bytes()


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    return one_line(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {shown(first['input'])}")

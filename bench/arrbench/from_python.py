"""What a caller in Python asks for, brought into the forms that the command line gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from arrbench import plugins, spec
from arrbench.errors import UsageError
from arrbench.planning import Experiment


def experiment(rankers: object, settings: Mapping[str, Any]) -> Experiment:
    """An experiment from a caller's values: paths may be text, and a lone seed a number.

    Raises UsageError for the name of no setting, and for a value that does not fit it.
    """
    names = sorted({f.name for f in fields(Experiment)} - {"rankers", "task"})
    for name in settings:
        if name not in names:
            raise UsageError(f"unknown setting {name!r}; {plugins.nearest(name, names)}")
    values = dict(settings)
    if isinstance(values.get("seeds"), int):
        values["seeds"] = [values["seeds"]]
    try:
        return TypeAdapter(Experiment).validate_python({"rankers": words(rankers, "rankers"), **values})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise UsageError(f"{first['loc'][0]}={settings.get(str(first['loc'][0]))!r}: {message}") from error


def words(value: object, what: str) -> list[str]:
    """Words joined by commas, or a sequence of words; UsageError for anything else."""
    if isinstance(value, str):
        return spec.split(value)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return list(value)
    raise UsageError(f"{what} {value!r}: give words joined by commas, or a list of them")

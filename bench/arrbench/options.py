"""Typed, documented, defaulted options: the base of every ranker's and every task's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from arrbench import contents

TITLE = "name"  # `name=` in a user's words says what a row is called, whatever the plugin


class BaseOptions(BaseModel):
    """Options of a plugin. Every field has a default and a description; unknown names are refused.

    Values arrive as text from the command line or as TOML values and are coerced to the field's
    type by pydantic, which raises `pydantic.ValidationError` for what does not fit. A file or folder
    that a field of type Path names is part of what a record's key covers, content and all. No field may
    be called `name`: TypeError for a class that has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if TITLE in cls.model_fields:
            raise TypeError(
                f"{cls.__name__}.{TITLE}: `{TITLE}=` says what a row is called; rename the option"
            )


def checked(plugin: Any, options: BaseOptions) -> Any:
    """The options, if they are of the kind that the plugin's class names as its own; TypeError otherwise.

    So a plugin may declare `options` with its own type.
    """
    cls = type(plugin)
    if not isinstance(options, cls.Options):
        raise TypeError(f"{cls.__name__} takes {cls.Options.__name__}, got {type(options).__name__}")
    return options


def first_fault(error: ValidationError) -> str:
    """The first thing that did not fit: where, and what would."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def named_files(options: BaseOptions) -> dict[str, str]:
    """Content hashes of the files and folders that options of type Path name, by option.

    A list or tuple of paths counts by place. Where there is no file, that is what is said. Raises
    OSError for one that can't be read.
    """
    return {
        f"option {name}": contents.of(path) if path.is_file() or path.is_dir() else "no file"
        for field in type(options).model_fields
        for name, path in _paths(field, getattr(options, field))
    }


def _paths(name: str, value: object) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield name, value.expanduser()
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _paths(f"{name}[{i}]", part)

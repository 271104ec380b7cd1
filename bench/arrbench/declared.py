"""What a plugin's class says of itself, checked when it is loaded: attributes' types, options' defaults."""

from __future__ import annotations

import inspect
import json
from typing import get_args

from pydantic import ValidationError

from arrbench.errors import ContractError, one_line, shown
from arrbench.options import BaseOptions
from arrbench.plain import text, texts
from arrbench.task import Setting


def check_ranker(cls: type[object]) -> None:
    """ContractError naming the first class attribute of a ranker that is not what the contract says."""
    _check_abstract(cls)
    check_options(cls)
    text("tuning", _attribute(cls, "tuning"))
    independent = _attribute(cls, "query_independent")
    if not isinstance(independent, bool):
        raise ContractError(f"query_independent is {shown(independent)}; it must be True or False")
    for name in texts("libraries", _attribute(cls, "libraries")):
        if not all(part.isidentifier() for part in name.split(".")):
            raise ContractError(f"libraries names {name!r}; each must be a module's name, as `import` takes")
    settings, there_are = _attribute(cls, "settings"), get_args(Setting)
    if not isinstance(settings, set | frozenset) or not settings or not settings <= set(there_are):
        raise ContractError(
            f"settings is {shown(settings)}; it must be a frozenset of {' and '.join(there_are)}"
        )


def check_task(cls: type[object]) -> None:
    """ContractError naming the first class attribute of a task that is not what the contract says."""
    _check_abstract(cls)
    check_options(cls)
    for name in ("headline", "licence", "data_are"):
        text(name, _attribute(cls, name))
    texts("measures", _attribute(cls, "measures"))
    may = _attribute(cls, "texts_may_be_republished")
    if may is not None and not isinstance(may, bool):
        raise ContractError(f"texts_may_be_republished is {shown(may)}; it must be True, False or None")


def check_options(cls: type[object]) -> None:
    """ContractError where `Options` is no class of options, or can't be made from its defaults."""
    options = _attribute(cls, "Options")
    if not isinstance(options, type) or not issubclass(options, BaseOptions):
        raise ContractError(f"Options is {shown(options)}; it must be a subclass of arrbench's BaseOptions")
    try:
        json.dumps(options().model_dump(mode="json"), allow_nan=False)
    except ValidationError as error:
        first = error.errors()[0]
        where, why = ".".join(map(str, first["loc"])) or "together", one_line(first["msg"])
        raise ContractError(f"the defaults of Options are not valid: {where}: {why}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise ContractError(f"Options can't be made from its defaults: {what}") from error


def _check_abstract(cls: type[object]) -> None:
    if inspect.isabstract(cls):
        lacks = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise ContractError(f"{cls.__name__} lacks {lacks}, which the contract asks for")


def _attribute(cls: type[object], name: str) -> object:
    try:
        return getattr(cls, name)
    except Exception as error:
        raise ContractError(f"{name} can't be read: {type(error).__name__}: {one_line(error)}") from error

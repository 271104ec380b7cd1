"""Words on the command line: `name:key=value:key=value`, several of them joined by commas."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union, get_args, get_origin

from pydantic import ValidationError

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.plugins import nearest

# A colon splits only before `name=`, so that cuda:1, URLs and drive letters pass unquoted.
_OPTION = re.compile(r""":(?=[A-Za-z_]\w*=)(?=(?:[^"]*"[^"]*")*[^"]*$)""")
_COMMA = re.compile(r""",(?=(?:[^"]*"[^"]*")*[^"]*$)""")


@dataclass(frozen=True, slots=True)
class Spec:
    """A plugin's name and the options given to it, as text."""

    name: str
    given: Mapping[str, str]


def parse(text: str) -> Spec:
    """`de:dim=32` -> Spec("de", {"dim": "32"}); a value in double quotes may hold anything."""
    name, *words = _OPTION.split(recordable(text).strip())
    if not name or "=" in name or '"' in name:
        raise UsageError(f"{text!r} is no name:key=value:key=value")
    given: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key in given:
            raise UsageError(f"option {key!r} is given twice in {text!r}")
        given[key] = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return Spec(name, given)


def recordable(word: str) -> str:
    """The word as it is; UsageError for one that a record can't hold, such as a path that is not UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{word!r} is not UTF-8, so no record can hold it; rename it, or give a link with another name"
        ) from None
    return word


def split(text: str) -> list[str]:
    """Specs joined by commas; a comma inside double quotes does not split."""
    if text.count('"') % 2:
        raise UsageError(f"unbalanced double quote in {text!r}")
    return [word.strip() for word in _COMMA.split(text) if word.strip()]


def validated(cls: type[BaseOptions], spec: Spec, kind: str) -> BaseOptions:
    """The options of a spec, resolved to the last default; UsageError names what is wrong with them."""
    fields = cls.model_fields
    for key in spec.given:
        if key not in fields:
            what = nearest(key, sorted(fields)) if fields else "it has no options"
            raise UsageError(f"unknown option {key!r} of {kind} {spec.name!r}; {what}")
    values = {
        k: None if v == "none" and _may_be_none(fields[k].annotation) else v for k, v in spec.given.items()
    }
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        if not first["loc"]:  # options that don't go together
            raise UsageError(f"options of {kind} {spec.name!r}: {message}") from error
        key = str(first["loc"][0])
        given = f"={spec.given[key]}" if key in spec.given else ""
        raise UsageError(f"option {key}{given} of {kind} {spec.name!r}: {message}") from error


def label(spec: Spec, options: BaseOptions) -> str:
    """How a row is named: the plugin's name and the options that differ from its defaults, in field order."""
    defaults = type(options)()
    words = [spec.name]
    for key in type(options).model_fields:
        value = getattr(options, key)
        if value != getattr(defaults, key):
            words.append(f"{key}={_text(value)}")
    return ":".join(words)


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return f'"{text}"' if "," in text or _OPTION.search(text) else text


def _may_be_none(annotation: object) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_may_be_none(a) for a in get_args(annotation))
    return annotation is type(None)

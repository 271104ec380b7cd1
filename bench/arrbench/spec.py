"""Words on the command line: `name:key=value:key=value`, several of them joined by commas.

A value in double quotes may hold anything, a double quote in it written twice: `x:path="a, ""b"" c"`.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Union, get_args, get_origin

from pydantic import ValidationError

from arrbench.errors import UsageError
from arrbench.options import TITLE, BaseOptions
from arrbench.plugins import nearest

# A colon splits only before `name=`, so that cuda:1, URLs and drive letters pass unquoted. Inside quotes
# an odd number of quotes is still to come, however often one is written twice.
_OPTION = re.compile(r""":(?=[^\W\d]\w*=)(?=(?:[^"]*"[^"]*")*[^"]*$)""")
_COMMA = re.compile(r""",(?=(?:[^"]*"[^"]*")*[^"]*$)""")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True, slots=True)
class Spec:
    """A plugin's name and the options given to it, as text; `quoted` are those that stood in quotes."""

    name: str
    given: Mapping[str, str]
    quoted: frozenset[str] = field(default=frozenset(), compare=False)


def parse(text: str) -> Spec:
    """`de:dim=32` -> Spec("de", {"dim": "32"}). Raises UsageError for what is none."""
    _check_quotes(text)
    name, *words = _OPTION.split(recordable(text).strip())
    if not name or "=" in name or '"' in name:
        raise UsageError(f"{text!r} is no name:key=value:key=value")
    given: dict[str, str] = {}
    quoted: set[str] = set()
    for word in words:
        key, _, value = word.partition("=")
        if key in given:
            raise UsageError(f"option {key!r} is given twice in {text!r}")
        if '"' in value:
            if not _QUOTED.fullmatch(value):
                raise UsageError(
                    f"option {key}={value} in {text!r}: a value that holds a double quote stands in double "
                    'quotes, with each one inside written twice: "a ""b"" c"'
                )
            value = value[1:-1].replace('""', '"')
            quoted.add(key)
        given[key] = value
    return Spec(name, given, frozenset(quoted))


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
    _check_quotes(text)
    return [word.strip() for word in _COMMA.split(text) if word.strip()]


def titled(asked: Spec) -> tuple[Spec, str | None]:
    """A spec without its `name=`, which is no option but what its row is called; None without one.

    Raises UsageError for a name that is blank or can't be printed on one line.
    """
    if TITLE not in asked.given:
        return asked, None
    title = asked.given[TITLE]
    if not title.strip() or not title.isprintable():
        raise UsageError(f"name={title!r} of {asked.name!r}: give a name that can be printed on one line")
    return replace(asked, given={k: v for k, v in asked.given.items() if k != TITLE}), title.strip()


def written(name: str, given: Mapping[str, str], quoted: frozenset[str] = frozenset()) -> str:
    """The text that `parse` reads as these words; values are quoted where they must be or `quoted` says."""
    words = (f"{key}={_word(value, quoted=key in quoted)}" for key, value in given.items())
    return ":".join([name, *words])


def validated(cls: type[BaseOptions], spec: Spec, kind: str) -> BaseOptions:
    """The options of a spec, resolved to the last default; UsageError names what is wrong with them."""
    fields = cls.model_fields
    for key in spec.given:
        if key not in fields:
            what = nearest(key, sorted(fields)) if fields else "it has no options"
            raise UsageError(f"unknown option {key!r} of {kind} {spec.name!r}; {what}")
    values = {
        k: None if v == "none" and k not in spec.quoted and may_be_none(fields[k].annotation) else v
        for k, v in spec.given.items()
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


def may_be_none(annotation: object) -> bool:
    """Whether a field of this type takes the word `none` for None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(may_be_none(a) for a in get_args(annotation))
    return annotation is type(None)


def _check_quotes(text: str) -> None:
    if text.count('"') % 2:
        raise UsageError(
            f"unbalanced double quote in {text!r}; inside a value in double quotes one is written twice"
        )


def _word(value: str, *, quoted: bool) -> str:
    plain = not (quoted or "," in value or '"' in value or value != value.strip() or _OPTION.search(value))
    return value if plain else '"' + value.replace('"', '""') + '"'

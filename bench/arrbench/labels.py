"""What a row is called: a plugin's name and the options that differ from its defaults, or the user's `name=`.

A label shows a path by its last part, or by as many as tell it from the other labels beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from arrbench import paths, spec
from arrbench.errors import UsageError
from arrbench.options import TITLE, BaseOptions

WHOLE = 1_000  # parts of a path: more than any has


@dataclass(frozen=True, slots=True)
class Words:
    """A user's words for a plugin as plain data: the options that differ from their defaults, as text.

    Those `quoted` must be, those `at_paths` are paths, and `title` is what `name=` says.
    """

    name: str
    given: Mapping[str, str]
    quoted: frozenset[str] = frozenset()
    at_paths: frozenset[str] = frozenset()
    title: str | None = None

    def label(self, parts: int = WHOLE) -> str:
        """The words that give these options, those equal to a default left out; paths cut to `parts`.

        With whole paths `spec.parse` and `spec.validated` give the same options again.
        """
        cut = {key: _shown(value, parts, key in self.at_paths) for key, value in self.given.items()}
        return spec.written(self.name, cut, self.quoted)

    def words(self, parts: int = WHOLE) -> str:
        """The label with the title, as it is asked for on a command line."""
        label = self.label(parts)
        return label if self.title is None else label + spec.written("", {TITLE: self.title})

    def paths(self) -> list[str]:
        """Every path in the options, also in those of a ranker that an option names."""
        return [p for key, value in self.given.items() for p in _paths(value, key in self.at_paths)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A user's words for a plugin, understood; `title` is what their `name=` says."""

    spec: spec.Spec
    options: BaseOptions
    title: str | None = None

    def plain(self) -> Words:
        """The words as plain data: those of options that differ from their defaults, in field order."""
        defaults = type(self.options)()
        given: dict[str, str] = {}
        quoted: set[str] = set()
        for key, field in type(self.options).model_fields.items():
            value = getattr(self.options, key)
            if value != getattr(defaults, key):
                given[key] = _text(value, self.spec.given.get(key))
                if value is not None and given[key] == "none" and spec.may_be_none(field.annotation):
                    quoted.add(key)
        at_paths = frozenset(key for key in given if isinstance(getattr(self.options, key), PurePath))
        return Words(self.spec.name, given, frozenset(quoted), at_paths, self.title)

    def label(self, parts: int = WHOLE) -> str:
        """As Words.label."""
        return self.plain().label(parts)

    def words(self, parts: int = WHOLE) -> str:
        """As Words.words."""
        return self.plain().words(parts)

    def paths(self) -> list[str]:
        """As Words.paths."""
        return self.plain().paths()


def ask(text: str | spec.Spec, options: type[BaseOptions], kind: str) -> Asked:
    """Words understood as options of a plugin's class; UsageError names what is wrong with them."""
    asked, title = spec.titled(spec.parse(text) if isinstance(text, str) else text)
    return Asked(asked, spec.validated(options, asked, kind), title)


def told_apart(asked: Sequence[Asked | Words], kind: str) -> list[int]:
    """How many parts of its paths each shows, so that no two have one label.

    Raises UsageError where two that differ would have one name all the same, by a `name=`.
    """
    parts = [1] * len(asked)
    while True:
        labels = [a.label(n) for a, n in zip(asked, parts, strict=True)]
        same = {label for label, count in Counter(labels).items() if count > 1}
        grows = [
            i
            for i, label in enumerate(labels)
            if label in same and parts[i] < WHOLE and label != asked[i].label()
        ]
        if not grows:
            break
        for i in grows:
            parts[i] += 1
    names = Counter(a.title or label for a, label in zip(asked, labels, strict=True))
    for name, count in names.items():
        if count > 1:
            raise UsageError(f"{count} {kind}s are called {name!r}; give each a name= of its own")
    return parts


def _text(value: object, given: str | None) -> str:
    """A value as a word; one of a type that the words can't tell is as it was given."""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float | str | PurePath) or given is None:
        return str(value)
    return given


def _shown(value: str, parts: int, is_path: bool) -> str:
    if is_path or paths.is_path(value):
        return paths.last(value, parts)
    inner = _spec_in(value)
    if inner is None:
        return value
    cut = {key: _shown(v, parts, is_path=False) for key, v in inner.given.items()}
    return value if cut == inner.given else spec.written(inner.name, cut, inner.quoted)


def _paths(value: str, is_path: bool) -> Iterator[str]:
    if is_path or paths.is_path(value):
        yield value
    elif (inner := _spec_in(value)) is not None:
        for v in inner.given.values():
            yield from _paths(v, is_path=False)


def _spec_in(value: str) -> spec.Spec | None:
    """A value that is a spec with options itself, such as a stage of a cascade."""
    try:
        inner = spec.parse(value)
    except UsageError:
        return None
    return inner if inner.given else None

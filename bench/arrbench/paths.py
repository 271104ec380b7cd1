"""Paths among a user's words: what is one, and how it is shown without the machine that it lies on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

_WRITTEN = re.compile(r"[/~]|\.\.?(?:[/\\]|$)|[A-Za-z]:[/\\]|\\\\")
# Two parts or more, so that "/" and "1/r" stay; none of a URL, whose slashes follow each other or a word.
_PART = r"""[^\s/\\'"`,;:()<>|]+"""
_FILE_URL = "file://"
_ABSOLUTE = re.compile(
    rf"(?:{_FILE_URL}|(?<![\w/.\\~]))(?:[A-Za-z]:(?:[/\\]{_PART})+[/\\]?|~?(?:/{_PART}){{2,}}/?)"
)


def is_path(text: str) -> bool:
    """Whether a text is written as a path (/a, ~/a, ./a, ../a, C:\\a), or names one that is there (a/b)."""
    if _WRITTEN.match(text):
        return True
    try:
        return ("/" in text or "\\" in text) and Path(text).exists()
    except (OSError, ValueError):  # longer than a file system takes, or with a NUL in it
        return False


def last(text: str, parts: int = 1) -> str:
    """The last `parts` parts of a path, or all of it as it is written where it has no more."""
    pure: PurePath = PurePosixPath(text)
    if "\\" in text:
        pure = PureWindowsPath(text)
    names = [part for part in pure.parts if part != pure.anchor]
    return text if parts > len(names) else str(type(pure)(*names[-parts:]))


def shown(text: str) -> str:
    """A word for people: the last part of a path, anything else as it is."""
    return last(text) if is_path(text) else text


def without(value: Any, cut_to: Mapping[str, str]) -> Any:
    """Plain data with the paths in its strings cut: one of `cut_to` to what it says, others to the last part.

    Keys of mappings count as strings; two that become one are numbered.
    """
    if isinstance(value, str):
        return _cut(value, cut_to)
    if isinstance(value, list | tuple):
        return [without(v, cut_to) for v in value]
    if isinstance(value, Mapping):
        cut: dict[str, Any] = {}
        for key, inner in value.items():
            new, n = _cut(str(key), cut_to), 1
            while new in cut:
                n += 1
                new = f"{_cut(str(key), cut_to)} ({n})"
            cut[new] = without(inner, cut_to)
        return cut
    return value


def _cut(text: str, cut_to: Mapping[str, str]) -> str:
    if cut_to:
        longest_first = sorted(cut_to, key=len, reverse=True)
        any_path = rf"(?<![\w/.\\-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])"
        text = re.sub(any_path, lambda met: cut_to[met.group()], text)
    return _ABSOLUTE.sub(lambda met: last(met.group().removeprefix(_FILE_URL)), text)

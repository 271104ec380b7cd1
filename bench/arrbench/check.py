"""Importing every plugin in a process of its own, so that a broken one harms nothing."""

from __future__ import annotations

import json
import sys

from arrbench.errors import UsageError
from arrbench.plugins import GROUPS, installed, ranker_class, task_class
from arrbench.separately import answer


def check_plugins() -> dict[tuple[str, str, str], str | None]:
    """(kind, name, target) of each plugin -> what is wrong with it, None where it can be used."""
    found = answer("the plugins can't be checked", "-m", "arrbench.check")
    return {(kind, name, target): fault for kind, name, target, fault in found}


def _faults() -> list[tuple[str, str, str, str | None]]:
    found: list[tuple[str, str, str, str | None]] = []
    for plugin in installed(*GROUPS):
        fault = None
        try:
            if plugin.kind == "task":
                task_class(plugin.name)
            elif plugin.kind == "docid":
                plugin.import_class()
            else:
                ranker_class(plugin.name)
        except UsageError as error:
            fault = str(error)
        found.append((plugin.kind, plugin.name, plugin.target, fault))
    return found


if __name__ == "__main__":
    _real, sys.stdout = sys.stdout, sys.stderr  # a plugin that prints when imported spoils nothing
    json.dump(_faults(), _real)

"""Importing plugins in a process of its own, so that a broken one harms nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from arrbench.errors import UsageError
from arrbench.plugins import GROUPS, IMPORT_S, Plugin, find, installed, loaded, set_apart
from arrbench.respondent import Doing, Respondent, respond


def check_plugins() -> dict[tuple[str, str, str], str | None]:
    """(kind, name, target) of each plugin -> what is wrong with it, None where it can be used."""
    checker = Respondent("arrbench.check")
    try:
        return {(p.kind, p.name, p.target): _fault(checker, p) for p in installed(*GROUPS)}
    finally:
        checker.close()


def _fault(checker: Respondent, plugin: Plugin) -> str | None:
    try:
        find(plugin.name, *(("ranker", "baseline") if plugin.kind == "baseline" else (plugin.kind,)))
        checker.ask(plugin.title, asdict(plugin))
    except UsageError as error:
        return str(error)
    return None


def _imported(request: Any, doing: Doing) -> None:
    doing("when imported", IMPORT_S)
    loaded(Plugin(**request))


if __name__ == "__main__":
    set_apart()
    respond(_imported)

"""arrbench: rankers of any architecture behind one interface, measured on equal terms.

The names below are the whole public interface: `run`, and what rankers and tasks are written with. Each
loads when it is asked for.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrbench.errors import TrialError, UsageError
    from arrbench.options import BaseOptions
    from arrbench.ranker import (
        Context,
        Corpus,
        Document,
        Generative,
        Query,
        Ranker,
        Ranking,
        Report,
    )
    from arrbench.record import Record
    from arrbench.task import DataSource, Judgments, Setting, Split, SplitName, Task

__all__ = [
    "BaseOptions",
    "Context",
    "Corpus",
    "DataSource",
    "Document",
    "Generative",
    "Judgments",
    "Query",
    "Ranker",
    "Ranking",
    "Record",
    "Report",
    "Setting",
    "Split",
    "SplitName",
    "Task",
    "TrialError",
    "UsageError",
    "run",
]

_HOMES = {
    "errors": ("TrialError", "UsageError"),
    "options": ("BaseOptions",),
    "ranker": ("Context", "Corpus", "Document", "Generative", "Query", "Ranker", "Ranking", "Report"),
    "record": ("Record",),
    "task": ("DataSource", "Judgments", "Setting", "Split", "SplitName", "Task"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(rankers: str | Sequence[str], task: str = "wordnet", **settings: Any) -> list[Record]:
    """Train and measure rankers on a task, as `arrbench run` does; one record a trial.

    `rankers` are words such as "bm25" or "de:dim=32", in a list or joined by commas; `task` may be
    several joined by commas, too. `settings` are the other fields of `arrbench.planning.Experiment`
    (seeds, k, limit, device, dtype, threads, out, …); paths may be text. A trial that failed is a record
    whose status is "failed". What a plan warns of comes as a Python warning. Raises UsageError for a wrong
    name or value.
    """
    from arrbench.from_python import experiment, words
    from arrbench.planning import plans
    from arrbench.runner import run as run_plan

    planned = plans(experiment(rankers, settings), words(task, "task"))
    for line in dict.fromkeys(line for plan in planned for line in plan.warnings):
        warnings.warn(line, stacklevel=2)
    return [record for plan in planned for record, _ in run_plan(plan)]

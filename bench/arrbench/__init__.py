"""arrbench: rankers of any architecture behind one interface, measured on equal terms.

The names below are the whole public interface; `run` and its kin load only when asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrbench.record import Record

__all__ = ["run"]


def run(rankers: Sequence[str], task: str = "wordnet", **settings: Any) -> list[Record]:
    """Train and measure rankers on a task, as `arrbench run` does; one record a trial.

    `rankers` are words such as "bm25" or "de:dim=32"; `settings` are the other fields of
    `arrbench.planning.Experiment` (seeds, k, limit, device, dtype, threads, out, …). A trial that
    failed is a record whose status is "failed". Raises UsageError for a wrong name or value.
    """
    from arrbench.planning import Experiment, plan
    from arrbench.runner import run as run_plan

    return [record for record, _ in run_plan(plan(Experiment(rankers, task, **settings)))]

"""Two ways to the same answer, timed in turn: the ratio of their times, and how it is printed."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Call = Callable[[], Any]


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(ours: Sequence[Call], theirs: Sequence[Call], repeats: int) -> list[float]:
    """Time of all our calls over that of theirs, a repeat; each call is followed by its counterpart.

    Which of the two goes first alternates, for the second finds the caches warm.
    """
    found = []
    for repeat in range(-1, repeats):  # the first is a warm-up
        above = below = 0.0
        for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            if (i + repeat) % 2:
                below += seconds(their)
                above += seconds(our)
            else:
                above += seconds(our)
                below += seconds(their)
        found.append(above / below)
    return found[1:]


def show(name: str, values: Sequence[float], goal: float, as_json: bool) -> None:
    """One line: the median ratio and its goal."""
    median = statistics.median(values)
    figure = {"name": name, "ratio": median, "goal": goal, "better": "lower", "unit": "x"}
    figure |= {"repeats": len(values), "min": min(values), "median": median}
    print(json.dumps(figure) if as_json else f"{name}: {median:.3f} x (goal: at most {goal:g})")

"""How a benchmark prints what it measured, for people and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence


def show(
    name: str, values: Sequence[float], goal: float, unit: str, as_json: bool, better: str = "lower"
) -> None:
    """One line: the median of the repeats and its goal; `better` is lower or higher."""
    median = statistics.median(values)
    figure = {"name": name, "ratio": median, "goal": goal, "better": better, "unit": unit}
    figure |= {"repeats": len(values), "min": min(values), "median": median}
    bound = "at most" if better == "lower" else "at least"
    print(json.dumps(figure) if as_json else f"{name}: {median:.3g} {unit} (goal: {bound} {goal:g})")

"""How a benchmark prints what it measured, for people and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence


def show(name: str, values: Sequence[float], goal: float, unit: str, as_json: bool) -> None:
    """One line: the median of the repeats and its goal; lower is better."""
    median = statistics.median(values)
    figure = {"name": name, "ratio": median, "goal": goal, "better": "lower", "unit": unit}
    figure |= {"repeats": len(values), "min": min(values), "median": median}
    print(json.dumps(figure) if as_json else f"{name}: {median:.3g} {unit} (goal: at most {goal:g})")

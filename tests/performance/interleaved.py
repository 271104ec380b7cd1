"""Two ways to the same answer, timed in turn: the ratio of their times."""

from __future__ import annotations

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

"""How much one forward pass may hold where nothing is kept for a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from arrbench.errors import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

FLOATS = 2**26  # masks and logits: 256 MiB of float32
CPU_FLOATS = 2**22  # a CPU gains nothing from larger batches: they leave its caches


def pass_floats(device: torch.device) -> int:
    """Numbers in masks and logits that a pass on that device may hold."""
    return min(FLOATS, CPU_FLOATS) if device.type == "cpu" else FLOATS


def in_passes(
    items: Sequence[Item],
    fitting: Callable[[Item], int],
    read: Callable[[Sequence[Item]], list[Result]],
    refusal: Callable[[Item], str],
    on_halved: Callable[[], None],
) -> list[Result]:
    """What is read for each item, as many in a pass as fit where that item is the first.

    Where a device runs out of memory, half as many are read from then on and `on_halved` is called.
    Raises UsageError with the refusal of an item that is too much by itself.
    """
    found: list[Result] = []
    most = len(items)
    while len(found) < len(items):
        first = items[len(found)]
        some = items[len(found) : len(found) + min(most, fitting(first))]
        try:
            found += read(some)
        except torch.OutOfMemoryError as error:
            if len(some) == 1:
                raise UsageError(refusal(first)) from error
            most = len(some) // 2
            on_halved()
    return found

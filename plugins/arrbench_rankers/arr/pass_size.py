"""How much one forward pass may hold where nothing is kept for a backward pass."""

from __future__ import annotations

import torch

FLOATS = 2**26  # masks and logits: 256 MiB of float32
CPU_FLOATS = 2**22  # a CPU gains nothing from larger batches: they leave its caches


def pass_floats(device: torch.device) -> int:
    """Numbers in masks and logits that a pass on that device may hold."""
    return min(FLOATS, CPU_FLOATS) if device.type == "cpu" else FLOATS

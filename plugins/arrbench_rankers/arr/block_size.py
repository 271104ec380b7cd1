"""How many nodes to read in one forward pass: chosen by what passes of a loaded model cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.reading import PACKED, Reading

SIZES = (1, 8, 16, 32, 64)
PROMPT_TOKENS = 16
ENOUGH_S = 0.2  # a model slow enough to take that long once is not timed again
NODES_A_DOCUMENT = 3  # read for each document found by trained models, corpora of 292 to 16,897 names


@torch.inference_mode()
def forward_seconds(model: Any, reading: Reading = PACKED) -> dict[int, float]:
    """Seconds that reading so many nodes behind a short prompt takes, the fastest of up to twenty times.

    A CPU's are those of this process, so that what else a machine does has no part in them.
    """
    seconds = dict.fromkeys(SIZES, float("inf"))
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    started = clock()
    for _ in range(20):  # the first also warms up
        reader = reading.reader(model, [[0] * PROMPT_TOKENS], 1)
        for size in SIZES:
            tokens = torch.zeros(1, size, dtype=torch.long, device=model.device)
            _wait(model.device)
            start = clock()
            reader.read(tokens, torch.full_like(tokens, PROMPT))
            _wait(model.device)
            seconds[size] = min(seconds[size], clock() - start)
        if clock() - started > ENOUGH_S:
            break
    return seconds


def cheapest_block(seconds: Mapping[int, float], k: int, depth: float) -> int:
    """The block size under which finding k documents costs least, by the seconds of a pass of each size.

    A search takes about as many passes as docIDs have tokens before their last (`depth` tokens on
    average; nothing is read behind the last), and as its nodes fill.
    """
    nodes = NODES_A_DOCUMENT * k
    return min(seconds, key=lambda size: (depth - 1 + nodes / size) * seconds[size])


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

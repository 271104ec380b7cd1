"""Which devices torch can use here; run as a module it prints them, for a parent without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from arrbench.errors import UsageError
from arrbench.separately import answer

CPU: dict[str, Any] = {"device": "cpu", "name": None}


def probe() -> list[dict[str, Any]]:
    """Every accelerator torch sees: its device string, name, memory and driver."""
    import torch

    if not torch.accelerator.is_available():
        return []
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    return [_describe(f"{kind.type}:{i}") for i in range(torch.accelerator.device_count())]


def _describe(device: str) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"device": device, "name": device.partition(":")[0]}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found["name"] = properties.name
        found["memory_gib"] = round(properties.total_memory / 1024**3)
        found["driver"] = _driver()
    return found


def _driver() -> str | None:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.splitlines()[0].strip() if told.strip() else None


def choose(asked: str) -> dict[str, Any]:
    """The device that `auto`, `cpu`, `cuda`, `cuda:1`, `mps` … stands for; UsageError if it isn't there.

    Torch is imported in a process of its own: its import takes seconds, and a parent that has
    touched a device can't be forked from.
    """
    if asked == "cpu":
        return CPU
    found: list[dict[str, Any]] = answer("torch can't be asked for its devices", "-m", "arrbench.devices")
    if asked == "auto":
        return found[0] if found else CPU
    wanted = asked if ":" in asked else f"{asked}:0"
    for device in found:
        if device["device"] == wanted:
            return device
    there = ", ".join(["cpu", *(d["device"] for d in found)])
    raise UsageError(f"no such device {asked!r}; torch sees: {there}")


if __name__ == "__main__":
    json.dump(probe(), sys.stdout)

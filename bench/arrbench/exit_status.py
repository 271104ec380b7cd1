"""How a process ended, in words."""

from __future__ import annotations

import signal


def in_words(status: int | None) -> str:
    """`exited with status 3`, or `killed by signal 9 (SIGKILL; out of memory?)` for -9; None: not known."""
    if status is None:
        return "ended, and so did the process that would have heard with which status,"
    if status >= 0:
        return f"exited with status {status}"
    number = -status
    hint = "; out of memory?" if number == signal.SIGKILL else ""
    return f"killed by signal {number} ({_name(number)}{hint})"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name of their own
        return "a real-time signal" if number >= getattr(signal, "SIGRTMIN", number + 1) else "unnamed"

"""A timed scenario as the parent saw it: its clock and the system's accounts bound what a worker claims."""

from __future__ import annotations

from dataclasses import dataclass

from arrbench.measure.resources import Usage

# A message's way to the parent, and what the worker's clock may differ from the parent's by.
_MESSAGE_S = 0.03
_CLOCK_SHARE = 0.1
# What the harness does between timed calls: checks of each answer and each document in it.
_ANSWER_S = 20e-6
_DOCUMENT_S = 0.5e-6
# More CPU time than wall clock x threads means more threads than that; system accounts are this coarse.
_SPARE_SHARE = 0.2
_SPARE_S = 0.1
# A scenario that lacked so much of the CPU time that it could have used shared the machine.
_LACKED_SHARE = 0.05
_LACKED_S = 0.02


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker's own account of a scenario: the sum of its samples and its clock over all of it, in seconds;
    how many queries were answered, and how many documents the answers hold.
    """

    samples: float
    elapsed: float
    answers: int
    documents: int


@dataclass(frozen=True, slots=True)
class Observed:
    """Seconds of a scenario: the parent's wall clock, CPU time of the worker and all that it started, time
    that its threads waited for one of the `processors` that they may run on (None where the system does not
    say), and what the worker claims.
    """

    wall: float
    cpu: float
    waited: float | None
    processors: int | None
    claimed: Claimed

    def mismatch(self) -> str | None:
        """What is wrong where the worker's clock is not the parent's, or its samples don't add up to it."""
        claimed, stretch = self.claimed, 1 + (self.waited or 0.0) / max(self.cpu, 1e-3)  # by what else runs
        spare = _CLOCK_SHARE * self.wall + stretch * _MESSAGE_S
        if not self.wall - spare <= claimed.elapsed <= self.wall:
            return f"its clock ran {claimed.elapsed * 1e3:.0f} ms, the parent's {self.wall * 1e3:.0f} ms"
        checks = stretch * (_ANSWER_S * claimed.answers + _DOCUMENT_S * claimed.documents)
        if max(claimed.elapsed - spare - checks, 0.0) < claimed.samples <= claimed.elapsed:
            return None
        return f"its samples add up to {claimed.samples * 1e3:.0f} ms of {claimed.elapsed * 1e3:.0f} ms"

    def too_many_threads(self, threads: int) -> str | None:
        """What is wrong where more CPU time was used, or waited for, than `threads` processors have.

        Not where all threads share so few processors, nor where the system does not say.
        """
        wanted = self.cpu + (self.waited or 0.0)
        bound = self.processors is None or self.processors <= threads
        if bound or wanted <= (1 + _SPARE_SHARE) * threads * self.wall + _SPARE_S:
            return None
        return f"it used or waited for {wanted / self.wall:.1f} processors, --threads allows {threads}"

    def contended(self, threads: int) -> bool:
        """Whether the scenario waited for processors that others used, not for its own threads alone."""
        if self.waited is None:
            return self.wall > 1.5 * self.cpu + 1.0
        usable = min(self.cpu + self.waited, threads * self.wall)
        return self.cpu < (1 - _LACKED_SHARE) * usable - _LACKED_S


def observed(wall: float, before: Usage, after: Usage, claimed: Claimed) -> Observed:
    """A scenario that took `wall` seconds between two looks at what the worker has used."""
    known = before.waited is not None and after.waited is not None
    waited = max(0.0, after.waited - before.waited) if known else None  # type: ignore[operator]
    return Observed(wall, max(0.0, after.cpu - before.cpu), waited, after.processors, claimed)

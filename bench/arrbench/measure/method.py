"""How differences between rankers are tested: presentation only, in no record and no key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Test = Literal["t", "randomization", "wilcoxon"]
Correction = Literal["holm", "bh"]

TESTS: tuple[Test, ...] = get_args(Test)
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)


@dataclass(frozen=True, slots=True)
class Method:
    """`t` is over queries and seeds, the other tests over queries on means over seeds.

    `holm` bounds the chance of any false claim among all pairs, `bh` (Benjamini and Hochberg) the
    expected share of false ones among the claims.
    """

    test: Test = "t"
    correction: Correction = "holm"

    def replaced(self, test: Test | None, correction: Correction | None) -> Method:
        """This method with what was asked for in place of its own."""
        return Method(test or self.test, correction or self.correction)

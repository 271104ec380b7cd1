"""Answers to calls that were made before: as valid as the first, and no less work."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from arrbench.errors import TrialError
from arrbench.measure.quality import validate
from arrbench.ranker import Query, Ranking


@dataclass
class Repeats:
    """Counts repeats and those with the ids and order of the first answer.

    A Corpus's `positions` serves as `corpus_ids`.
    """

    corpus_ids: Collection[str]
    checked: int = 0
    same: int = 0

    def check(self, query: Query, k_asked: int, first: Ranking, again: Ranking) -> None:
        """Count one; TrialError where it breaks the contract or holds under half as many documents.

        The first answer is checked elsewhere, and so is whatever repeats it to the letter.
        """
        self.checked += 1
        if again == first:
            self.same += 1
            return
        validate(query, again, self.corpus_ids, k_asked)
        self.same += again.ids == first.ids
        if 2 * len(again.ids) < len(first.ids):
            raise TrialError(
                f"query {query.id!r} got {len(first.ids)} documents at first and {len(again.ids)} when "
                "repeated; a repeat must be ranked as the first call is"
            )

    @property
    def agreement(self) -> float | None:
        """Share of repeats whose ids are those of the first answer, in the same order; None without any."""
        return self.same / self.checked if self.checked else None

"""Encoders on collections without a train or a dev split, as a user's own often are."""

from __future__ import annotations

from typing import Any

import pytest

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dual_encoder import DualEncoder

CORPUS = Corpus(Document(f"d{i}", "", f"{colour} paint") for i, colour in enumerate(("red", "blue", "grey")))
EMPTY = Split((), Judgments({}), CORPUS)
TRAIN = Split((Query("q", "red"), Query("r", "blue")), Judgments({"q": {"d0": 1}, "r": {"d1": 1}}), CORPUS)
ONE_EPOCH: list[tuple[Any, dict[str, int]]] = [
    (DualEncoder, {"epochs": 1}),
    (CrossEncoder, {"epochs": 1, "start_epochs": 1}),
]


@pytest.mark.parametrize(("cls", "passes"), ONE_EPOCH)
def test_nothing_to_learn_from_is_refused_and_no_epochs_are_not(cls: Any, passes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no training query has a relevant document to learn from"):
        cls(cls.Options(**passes), Context()).fit(EMPTY, EMPTY)
    untrained = cls(cls.Options(**dict.fromkeys(passes, 0)), Context())
    untrained.fit(EMPTY, EMPTY)
    untrained.index(CORPUS)
    assert len(untrained.rank([Query("q", "red")], 3)[0].ids) == 3


@pytest.mark.parametrize(("cls", "passes"), ONE_EPOCH)
def test_a_train_split_without_a_dev_split_is_enough(cls: Any, passes: dict[str, int]) -> None:
    ranker = cls(cls.Options(**passes), Context())
    ranker.fit(TRAIN, EMPTY)
    ranker.index(CORPUS)
    found = ranker.rank([Query("q", "red"), Query("s", "blue", candidates=()), Query("t", "x", ("d2",))], 3)
    assert [len(ranking.ids) for ranking in found] == [3, 0, 1]

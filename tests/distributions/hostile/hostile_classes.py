"""Rankers whose classes say what the contract does not allow, or do at planning what ends a process."""

import os
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from trouble import Counter, Toy

from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Ranker


def refuse() -> int:
    raise RuntimeError("no default today")


class RaisingOptions(BaseOptions):
    number: int = Field(default_factory=refuse, description="a number")


class BareOptions(BaseOptions):
    number: int = Field(description="a number without a default")


class NoTuning(Counter):
    tuning = None


class NumberIndependent(Counter):
    query_independent = 1


class TextLibraries(Counter):
    libraries = "torch"


class NoLibraries(Counter):
    libraries = None


class OddLibraries(Counter):
    libraries = ("torch; import os",)


class NoSettings(Counter):
    settings = None


class OddSettings(Counter):
    settings = frozenset({"sort"})


class NoOptions(Counter):
    Options = None


class OptionsRaise(Counter):
    Options: ClassVar[type[BaseOptions]] = RaisingOptions


class OptionsBare(Counter):
    Options: ClassVar[type[BaseOptions]] = BareOptions


class Abstract(Ranker):
    def index(self, corpus: Corpus) -> None: ...


class CheckRaises(Counter):
    @classmethod
    def check(cls, options: BaseOptions) -> None:
        raise ZeroDivisionError("in here")


class CheckExits(Counter):
    @classmethod
    def check(cls, options: BaseOptions) -> None:
        os._exit(0)


class WeightsNone(Counter):
    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return None


class WeightsExit(Counter):
    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        raise SystemExit(0)


class InputsNumber(Counter):
    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        return {"jar": 3}


class TaskHeadline(Toy):
    headline = None


class TaskMeasures(Toy):
    measures = "ndcg@10"


class TaskFacts(Toy):
    def __init__(self, options, source):
        super().__init__(options, source)
        self.facts = {"edition": [1]}


class TaskRaises(Toy):
    def __init__(self, options, source):
        raise KeyError("corpus")


class TaskExits(Toy):
    def __init__(self, options, source):
        raise SystemExit(0)

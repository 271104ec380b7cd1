"""The ranker contract: what a ranker is given, what it gives back, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, overload

from pydantic import ValidationError

from arrbench.errors import TrialError, UsageError
from arrbench.options import BaseOptions, checked, first_fault

if TYPE_CHECKING:
    from arrbench.task import Split


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its id, its short name (what a generative ranker may spell) and its text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A query: its id, its text, and what its ranking may hold.

    `candidates` are the ids to be ranked when reranking, None when the whole corpus is searched.
    `excluded` are ids that count neither in its ranking nor in its ideal (a query that is itself a
    document, what a user has seen). No excluded id is a candidate: those given are dropped here. A
    ranker that searches the corpus need not look at them: the harness asks for as many documents more
    and drops them (see asking.py), and no split that a ranker sees has a judgment of one.
    """

    id: str
    text: str
    candidates: tuple[str, ...] | None = None
    excluded: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.candidates is not None and self.excluded:
            ranked = tuple(d for d in self.candidates if d not in self.excluded)
            object.__setattr__(self, "candidates", ranked)


class Corpus(Sequence[Document]):
    """Documents in a fixed order, each id once; a trial gets them in the order of `ties.id_hash`.

    Raises UsageError for a duplicate id.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = tuple(documents)
        self.positions: Mapping[str, int] = {d.id: i for i, d in enumerate(self._documents)}
        if len(self.positions) != len(self._documents):
            seen: set[str] = set()
            twice = next(d.id for d in self._documents if d.id in seen or seen.add(d.id))  # type: ignore[func-returns-value]
            raise UsageError(f"document id {twice!r} occurs twice in the corpus; ids must be unique")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(d.id for d in self._documents)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | Sequence[Document]:
        return self._documents[index]

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents)

    def by_id(self, document_id: str) -> Document:
        return self._documents[self.positions[document_id]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Document ids and their finite scores, higher is better; ties and order are the harness's."""

    ids: Sequence[str]
    scores: Sequence[float]


class Report(Protocol):
    """Tells the harness how far a phase is; figures (loss, dev measures) go to training.jsonl."""

    def __call__(self, phase: str, done: int, total: int, /, **figures: float) -> None: ...


def silent(phase: str, done: int, total: int, /, **figures: float) -> None:
    """A Report that nobody hears."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where and how a ranker works: everything about the machine that it may depend on."""

    device: str = "cpu"  # a torch.device string
    dtype: str = "float32"  # a torch dtype's name
    threads: int = 1
    seed: int = 0
    cache: Path = field(default_factory=lambda: Path.home() / ".cache" / "arrbench")
    offline: bool = False
    report: Report = silent


class Ranker(ABC):
    """A ranking architecture. Subclasses live in any distribution and register an entry point.

    A class is imported to read its options, so its module imports heavy libraries inside methods
    and names them in `libraries`: modules that the harness imports once for all trials, and whose
    distributions' versions, with those of what they require, are in the record's key.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions
    libraries: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[frozenset[str]] = frozenset({"retrieve", "rerank"})
    query_independent: ClassVar[bool] = False
    tuning: ClassVar[str] = "none"  # what was tuned, on which dev split, over how many settings

    def __init__(self, options: BaseOptions, context: Context) -> None:
        self.options = checked(self, options)
        self.check(self.options)
        self.context = context
        self.parameters: int | None = None  # learnt numbers in the model
        self.index_bytes: int | None = None  # what index() made, in bytes
        self.facts: dict[str, float | int | str | bool] = {}  # counted events; see `rank`

    @classmethod  # noqa: B027 - optional, not abstract
    def check(cls, options: BaseOptions) -> None:
        """Raise UsageError, naming what would help, where this machine lacks what the options need.

        Asked before any work starts, and again by the constructor; it imports nothing heavy.
        """

    @classmethod
    def weights(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """Revision or content hash of everything learnt that is loaded from outside, by name."""
        return {}

    @classmethod
    def inputs(cls, options: BaseOptions, context: Context) -> Mapping[str, str]:
        """Version or hash of all else, outside the plugin's package, that changes figures, by name.

        Such as a jar, another plugin's code, a library that only some options need. Versions of
        `libraries`, and files that options of type Path name, are counted without being named here.
        """
        return {}

    @classmethod
    def learns(cls, options: BaseOptions) -> bool:
        """Whether `fit` learns from judged queries with these options: by default, where there is one."""
        return cls.fit is not Ranker.fit

    def fit(self, train: Split, dev: Split) -> None:  # noqa: B027 - optional, not abstract
        """Learn from judged queries. A ranker that does not learn leaves this out."""

    @abstractmethod
    def index(self, corpus: Corpus) -> None:
        """Offline work over the documents, timed apart from fit and rank."""

    @abstractmethod
    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """The timed path: one Ranking a query, at most k documents each, tokenization included.

        What it counts in `facts` is of all queries since `count_anew`.
        """

    def count_anew(self) -> None:  # noqa: B027 - optional, not abstract
        """Forget what `rank` has counted in `facts`; asked before all test queries are ranked once more."""

    def audit(self, queries: Sequence[Query], k: int) -> Mapping[str, float | int | str | bool]:
        """What the ranker can say of its own approximations; asked once, after the timed phases.

        Kept beside `facts` in the record, such as an approximate index's recall against an exact one.
        """
        return {}

    def save(self, folder: Path) -> None:
        """Write all that `load` needs, index included, without pickle; subclasses add their files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "options.json").write_text(self.options.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        """The ranker as saved, ready to rank; subclasses extend what this builds from the options.

        Raises TrialError where the folder holds no options of this ranker.
        """
        file = folder / "options.json"
        try:
            options = cls.Options.model_validate_json(file.read_bytes())
        except OSError as error:
            raise TrialError(f"saved file {file} can't be used: {error.strerror}") from error
        except ValidationError as error:
            raise TrialError(f"saved file {file} can't be used: {first_fault(error)}") from error
        return cls(options, context)


class Generative(Ranker):
    """A ranker that writes document ids and whose constraint violations can be counted."""

    @abstractmethod
    def generate(self, queries: Sequence[Query], k: int) -> list[list[str | None]]:
        """Top k of an unconstrained beam search a query: the id of the document spelt, else None.

        Length is bounded by the longest docID + 1 tokens; an unfinished beam spells nothing.
        """

"""The contract of a docID scheme: which tokens a generative ranker writes for a document."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from arrbench import plugins, spec
from arrbench.errors import UsageError
from arrbench.options import BaseOptions, checked, named_files
from arrbench.ranker import Corpus
from arrbench.ties import id_hash
from arrbench_rankers import saved

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.arr.ragged import Ragged

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]  # texts -> [texts, width]

DIGITS = "0123456789"
SEED = "docid_seed.json"


class DocIdScheme(ABC):
    """A way to write documents as token sequences. Subclasses register an entry point `arrbench.docids`.

    A scheme gives each document a code; several documents may share one. `unique` then keeps them apart
    by numbers, and the docIDs of a `closed` scheme end with the tokenizer's end token. A scheme is
    deterministic under its seed. What it learns from the first corpus that it writes (a dictionary,
    centroids) it keeps, writes with `save`, reads with `load`, and uses for any other corpus.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions
    closed: ClassVar[bool] = True  # False where no docID can begin another one
    embeds: ClassVar[bool] = False  # whether codes come from embeddings, which are dear
    libraries: ClassVar[tuple[str, ...]] = ()  # modules it needs beyond the rankers': named in records' keys
    joint: ClassVar[str] = ""  # what stands before the number that keeps equal codes apart

    def __init__(self, options: BaseOptions, seed: int) -> None:
        self.options: Any = checked(self, options)
        self.seed = seed

    @abstractmethod
    def codes(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, embed: Embed) -> Ragged:
        """One sequence of tokens a document, in the corpus's order, end token left out.

        `embed` gives the untrained backbone's embeddings of texts. Raises UsageError where the
        tokenizer can't spell the codes.
        """

    def words(self, corpus: Corpus) -> Iterable[str]:
        """Texts whose every word a tokenizer made for the corpus must know to spell the docIDs."""
        return [" ".join(DIGITS)]

    def extend(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> None:  # noqa: B027 - optional
        """Add tokens for a corpus to be trained on; the backbone's model is loaded afterwards."""

    def save(self, folder: Path) -> None:
        """Write the seed, and in subclasses what was learnt from the first corpus; without pickle."""
        (folder / SEED).write_text(json.dumps(self.seed), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.seed = saved.parsed(folder / SEED, int)


@dataclass(frozen=True)
class AskedScheme:
    """A scheme as asked for: where it comes from, its class and its options."""

    plugin: plugins.Plugin
    cls: type[DocIdScheme]
    options: BaseOptions

    @classmethod
    def of(cls, text: str) -> AskedScheme:
        """`name:tokens=16` and the like; UsageError names what is unknown or wrong."""
        asked = spec.parse(text)
        plugin = plugins.find(asked.name, "docid")
        scheme = plugins.loaded(plugin)
        if not issubclass(scheme, DocIdScheme):
            raise UsageError(
                f"docid {asked.name!r} of {plugin.distribution}: {plugin.target} is no DocIdScheme"
            )
        return cls(plugin, scheme, spec.validated(scheme.Options, asked, "docid"))

    def made(self, seed: int) -> DocIdScheme:
        return self.cls(self.options, seed)

    def inputs(self) -> dict[str, str]:
        """Which code it is and what it builds on, for a record's key."""
        code = f"{self.plugin.distribution} {self.plugin.version} {self.plugin.source_hash()}"
        others = {**self.plugin.versions(self.cls.libraries), **named_files(self.options)}
        return {"docid": code, **{f"docid: {name}": value for name, value in others.items()}}


def by_hash(corpus: Corpus) -> list[int]:
    """The documents' positions in the order of a hash of their ids: what every scheme counts in.

    Which document bears which number is then unrelated to its place in the corpus and to its id's look,
    which may carry the answer.
    """
    return sorted(range(len(corpus)), key=lambda position: id_hash(corpus.ids[position]))


def texts(corpus: Corpus) -> list[str]:
    """What is embedded of each document: its title, and its text where that says more."""
    return [d.text if d.text.startswith(d.title) else f"{d.title} {d.text}" for d in corpus]

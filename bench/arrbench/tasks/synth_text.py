"""A made-up collection of any size: texts, queries and judgments drawn from one seed, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from arrbench.ranker import Document
from arrbench.task import SPLITS, SplitName

CHUNK = 1_000  # documents drawn together; the text of a document depends on its number's chunk alone
TOPIC_DOCUMENTS = 10  # documents of a topic
TOPIC_WORDS = 8  # words that a topic's documents prefer
TITLE_WORDS = 4  # the first words of a text, all of its topic
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
ZIPF_SHIFT = 2.7  # of Zipf and Mandelbrot's law, as it fits English


@dataclass(frozen=True)
class Synth:
    """The law of a collection.

    A document has one topic. Its words are, half and half, those of its topic and words of the whole
    vocabulary with frequencies 1 / (rank + 2.7), Zipf and Mandelbrot's law. A query is three words of a
    topic and one of a document of it: that document has grade 2, the topic's others 1. The topics of
    train, dev and test are disjoint.
    """

    documents: int
    words: int
    vocabulary: int
    seed: int

    @property
    def topics(self) -> int:
        return max(1, self.documents // TOPIC_DOCUMENTS)

    @cached_property
    def spelling(self) -> np.ndarray[Any, Any]:
        """Words by rank, consonant and vowel in turn, at least four letters; no two alike."""
        syllables = [c + v for c in CONSONANTS for v in VOWELS]
        numbers = np.random.default_rng([self.seed, 0]).permutation(self.vocabulary)
        return np.array([_word(int(n), syllables) for n in numbers], dtype=object)

    @cached_property
    def _cumulative(self) -> np.ndarray[Any, Any]:
        """Shares of the words up to each rank [vocabulary]."""
        shares = 1.0 / (np.arange(self.vocabulary) + ZIPF_SHIFT)
        total: np.ndarray[Any, Any] = np.cumsum(shares / shares.sum())
        return total

    @cached_property
    def topic_words(self) -> np.ndarray[Any, Any]:
        """Word ranks [topics, TOPIC_WORDS]: uniform over the log of the rank, so that few are common."""
        drawn = np.random.default_rng([self.seed, 1]).random((self.topics, TOPIC_WORDS))
        ranks: np.ndarray[Any, Any] = (self.vocabulary ** (0.3 + 0.7 * drawn)).astype(np.int64)
        return ranks.clip(max=self.vocabulary - 1)

    def texts(self) -> Iterator[Document]:
        """All documents, in the order of their numbers."""
        for start in range(0, self.documents, CHUNK):
            ranks = self._chunk(start)
            spelt = self.spelling[ranks]
            for i, row in enumerate(spelt.tolist(), start=start):
                yield Document(document_id(i), " ".join(row[:TITLE_WORDS]), " ".join(row))

    def _chunk(self, start: int) -> np.ndarray[Any, Any]:
        """Word ranks of the documents from `start` on [documents, words]."""
        stop = min(start + CHUNK, self.documents)
        random = np.random.default_rng([self.seed, 2, start])
        ranks = np.searchsorted(self._cumulative, random.random((stop - start, self.words)))
        preferred = self.topic_words[np.arange(start, stop) % self.topics]
        choice = random.integers(TOPIC_WORDS, size=ranks.shape)
        own = np.take_along_axis(preferred, choice, axis=1)
        topical = random.random(ranks.shape) < 0.5
        topical[:, :TITLE_WORDS] = True
        return np.minimum(np.where(topical, own, ranks), self.vocabulary - 1)

    def queries(self, name: SplitName, count: int) -> Iterator[tuple[str, str, dict[str, int]]]:
        """Id, text and grades by document id of at most `count` queries of a split, one a topic."""
        part = SPLITS.index(name)
        random = np.random.default_rng([self.seed, 3, part])
        topics = np.random.default_rng([self.seed, 4]).permutation(self.topics)[part :: len(SPLITS)]
        for topic in topics[:count].tolist():
            members = range(topic, self.documents, self.topics)
            source = members[int(random.integers(len(members)))]
            start = source // CHUNK * CHUNK
            own = self._chunk(start)[source - start]
            chosen = [*random.choice(self.topic_words[topic], 3), random.choice(own)]
            grades = {document_id(d): 2 if d == source else 1 for d in members}
            yield f"{name}-{topic}", " ".join(self.spelling[chosen].tolist()), grades


def document_id(number: int) -> str:
    return f"d{number}"


def _word(number: int, syllables: list[str]) -> str:
    """Two syllables for the first 90 x 90 numbers, more beyond."""
    size = len(syllables)
    first, rest = number % size, number // size
    word = syllables[first] + syllables[rest % size]
    rest //= size
    while rest:
        word += syllables[rest % size]
        rest //= size
    return word

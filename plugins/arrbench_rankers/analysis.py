"""Text to terms, as Lucene's EnglishAnalyzer makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

StemWords = Callable[[list[str]], list[str]]
Stemming = Literal["porter", "english", "none"]

# What `word_breaks` finds in lower-case ASCII, several times faster: a word goes on after a point or an
# apostrophe between two letters or two digits, a colon between letters, a comma or semicolon between digits.
_INSIDE = r"(?:(?<=[a-z])[.:'](?=[a-z])|(?<=\d)[.,;'](?=\d))"
_ASCII_WORD = re.compile(rf"\w+(?:{_INSIDE}\w+)*", re.ASCII)
_POSSESSIVES = ("'s", "’s", "＇s")


class Analyser:
    """Lower-cased words without possessive endings and stop words, stemmed.

    Words are those of `word_breaks`, in any script; what follows knows English alone. Lucene's
    EnglishAnalyzer stems with Porter's first algorithm; `english` is his later one (Snowball).
    """

    def __init__(self, stemming: Stemming, stop: bool) -> None:
        from bm25s.stopwords import STOPWORDS_EN

        from arrbench_rankers import word_breaks

        self._breaks = word_breaks
        self._stems = _stemmer(stemming)
        self._stop = frozenset(STOPWORDS_EN) if stop else frozenset()

    def terms(self, text: str) -> list[str]:
        words = self._ascii_words(text) if text.isascii() else self._words(text)
        words = [w for w in words if w not in self._stop]
        return self._stems(words) if self._stems else words

    def _words(self, text: str) -> list[str]:
        # A letter at a time, as Java has it: none becomes two, and none looks at its neighbours.
        lowered = text.replace("İ", "i").replace("Σ", "σ").lower()
        words = [lowered[start:end] for start, end in self._breaks.spans(text)]
        return [w[:-2] if w.endswith(_POSSESSIVES) else w for w in words]

    def _ascii_words(self, text: str) -> list[str]:
        words: list[str] = _ASCII_WORD.findall(text.lower())
        if "_" in text:  # which is no letter and no digit
            words = [w for w in words if w.strip("_")]
        longest = self._breaks.LONGEST
        if len(text) > longest and any(len(w) > longest for w in words):
            return self._words(text)
        return [w.removesuffix("'s") for w in words] if "'" in text else words


def _stemmer(stemming: Stemming) -> StemWords | None:
    if stemming == "none":
        return None
    if stemming == "porter":
        from arrbench_rankers.porter import Porter

        return Porter().stems
    import Stemmer

    stems: StemWords = Stemmer.Stemmer(stemming).stemWords
    return stems

"""English text to terms, close to Lucene's EnglishAnalyzer."""

from __future__ import annotations

import re
from typing import Literal

Stemming = Literal["porter", "english", "none"]

# A word may hold apostrophes and, between letters or digits, points (UAX #29, roughly).
_WORD = re.compile(r"\w+(?:['’.]\w+)*")


class Analyser:
    """Lower-cased words without possessive endings and stop words, stemmed.

    Lucene's EnglishAnalyzer stems with Porter's first algorithm; `english` is his later one (Snowball).
    """

    def __init__(self, stemming: Stemming, stop: bool) -> None:
        import Stemmer
        from bm25s.stopwords import STOPWORDS_EN

        self._stem = None if stemming == "none" else Stemmer.Stemmer(stemming).stemWords
        self._stop = frozenset(STOPWORDS_EN) if stop else frozenset()

    def terms(self, text: str) -> list[str]:
        words = [_bare(w) for w in _WORD.findall(text.lower())]
        kept = [w for w in words if w and w not in self._stop]
        return kept if self._stem is None else list(self._stem(kept))


def _bare(word: str) -> str:
    return word[:-2] if word.endswith(("'s", "’s")) else word

"""English text to terms, as Lucene's EnglishAnalyzer makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

StemWords = Callable[[list[str]], list[str]]
Stemming = Literal["porter", "english", "none"]

# Words after UAX #29, which Lucene's StandardTokenizer follows: a word goes on after a point or an
# apostrophe between two letters or two digits, a colon between letters, a comma between digits; each
# ideograph and each hiragana is a word of its own.
_ALONE = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN = rf"[^\W{_ALONE}]+"
_LETTER = rf"[^\W\d_{_ALONE}]"
_INSIDE = rf"(?:(?<={_LETTER})[.:'’](?={_LETTER})|(?<=\d)[.,;'’](?=\d))"
_WORD = re.compile(rf"{_RUN}(?:{_INSIDE}{_RUN})*|[{_ALONE}]")

_DEPARTURES = ("logi", "bli")
_MEASURED = re.compile("[aeiou][^aeiou]|y[^aeiouy]")  # Porter's m > 0


class Analyser:
    """Lower-cased words without possessive endings and stop words, stemmed.

    Lucene's EnglishAnalyzer stems with Porter's first algorithm; `english` is his later one (Snowball).
    """

    def __init__(self, stemming: Stemming, stop: bool) -> None:
        import Stemmer
        from bm25s.stopwords import STOPWORDS_EN

        self._stemming = stemming
        self._stem: StemWords | None = None if stemming == "none" else Stemmer.Stemmer(stemming).stemWords
        self._stop = frozenset(STOPWORDS_EN) if stop else frozenset()

    def terms(self, text: str) -> list[str]:
        words = [_bare(w) for w in _WORD.findall(text.lower())]
        kept = [w for w in words if w and w not in self._stop]
        if self._stem is None:
            return kept
        stems = self._stem(kept)
        if self._stemming == "english":
            return list(stems)
        return [
            _as_published(w, s, self._stem) if len(w) < 3 or s.endswith(_DEPARTURES) else s
            for w, s in zip(kept, stems, strict=True)
        ]


def _as_published(word: str, stem: str, stem_words: StemWords) -> str:
    """A stem after Porter's own program, and Lucene's, where it departs from his paper.

    Words of one or two letters are left alone; -logi becomes -log, and -bli, not only -abli, -ble
    where a vowel and a consonant stand before. Source: https://tartarus.org/martin/PorterStemmer/,
    "points of difference from the published algorithm".
    """
    if len(word) < 3:
        return word
    if stem.endswith("logi"):
        return stem[:-1] if _MEASURED.search(stem[:-4]) else stem
    return stem_words([stem[:-1] + "e"])[0] if _MEASURED.search(stem[:-3]) else stem


def _bare(word: str) -> str:
    return word[:-2] if word.endswith(("'s", "’s")) else word

"""Porter's stemmer as Lucene has it, over Snowball's."""

from __future__ import annotations

import re

ASTRAL = "\U00010000"  # from here on a character is two of Java's
_INFLECTIONS = frozenset(("", "s", "es", "ed", "eds", "ing", "ings"))  # all that the first step takes off
_MEASURED = re.compile("[aeiou][^aeiou]|[^aeiou]y[^aeiou]")  # Porter's m > 0

# The ends of stems that may not be Lucene's, where all is ASCII.
_DOUBLED = frozenset(2 * c for c in "chjkqvwx_0123456789")
_DOUBTFUL = _DOUBLED | {"gi", "li", "yi"}


class Porter:
    """Stems of lower-cased words.

    Porter's program, which Lucene's follows, departs from his paper: words of one or two letters are left
    alone; -logi becomes -log, and -bli, not only -abli, -ble where a vowel and a consonant stand before.
    Source: https://tartarus.org/martin/PorterStemmer/, "points of difference from the published algorithm".
    Snowball's halves fewer doubled consonants before -ed and -ing: not c, h, j, k, q, v, w, x, nor what is
    no English letter. To Lucene a letter is one of Java's, so that one beyond U+FFFF counts as two.
    """

    def __init__(self) -> None:
        import Stemmer

        self._snowball = Stemmer.Stemmer("porter").stemWords

    def stems(self, words: list[str]) -> list[str]:
        return [
            self._lucenes(word, stem)
            if stem[-2:] in _DOUBTFUL or len(word) < 3 or not word.isascii()
            else stem
            for word, stem in zip(words, self._snowball(words), strict=True)
        ]

    def _lucenes(self, word: str, stem: str) -> str:
        """Lucene's stem of a word, given Snowball's."""
        if len(word) < 3 and max(word) < ASTRAL:
            return word
        before, inflection = word[: len(stem)], word[len(stem) :]
        if inflection in _INFLECTIONS:
            if stem.endswith("logi") and _MEASURED.search(stem[:-4]):
                return stem[:-1]
            if stem.endswith("bli") and _MEASURED.search(stem[:-3]):
                return self._snowball([stem[:-1] + "e"])[0]
            if inflection.startswith(("ed", "ing")) and _doubled(before):
                return self.stems([before[:-1]])[0]
        if stem[-2:-1] >= ASTRAL and stem[-1] == "e" and not word.startswith(stem + "e"):
            return stem[:-1] if _MEASURED.search(stem) else stem  # no single letter for the e to stand behind
        return stem


def _doubled(word: str) -> bool:
    """Whether a word ends in a doubled consonant but l, s or z."""
    last = word[-1]
    if word[-2:] != 2 * last or last in "aeioulsz" or last >= ASTRAL:
        return False
    if last != "y":
        return True
    ys = len(word) - len(word.rstrip("y"))  # by turns a consonant and a vowel
    return (word[-ys - 1 : -ys] in ("", "a", "e", "i", "o", "u")) == bool(ys % 2)
